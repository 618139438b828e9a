// Package hub owns the connections: it upgrades HTTP requests to WebSockets,
// takes the sockets off Go's poller onto event loops of its own, speaks the
// protocol of api/wire on them, and is the table of live sessions, those of
// SSE included.
//
// Read first: [Hub] (lifetime and the upgrade), loop (one goroutine and the
// connections that it owns), conn (one connection; conn.go is the socket,
// outbound.go what is sent, session.go what is said), table in stripe.go (who
// is online). Which message may be sent next is decided by push.Feed, framing
// is hub/frame's, readiness hub/poll's.
//
// # Goroutines
//
// A loop's goroutine owns its connections: their fields, their feeds, their
// sockets. Everybody else hands it commands ([push.Session]'s methods do), a
// mutex-guarded list and one eventfd wake-up, and never waits. net/http's
// goroutines run the upgrade until the socket is handed over. The backend's
// answers come back as commands.
//
// One turn of a loop takes what epoll reports and all commands that wait,
// brings each connection's commands together, and sends all that is due to one
// connection in one write: the cost of delivery is per write, not per message.
// The bytes are gathered in one buffer of the loop's; a connection holds
// outbound bytes only while the kernel takes no more, a frame reader only while
// a message is incomplete, and a goroutine never.
//
// Lock order: table stripe, then loop inbox. Neither is held while a port or
// a foreign session is called.
//
// # What it does not do
//
// It keeps no message: the mailbox is the queue, and a session that can't keep
// up replays from it. TLS is read here where the listener is [ListenTLS]'s.
// RFC 7692 (compression) is never negotiated.
package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunzi-push/sunzi/push"
)

// Backend is what sessions need of the domain: push.Gate and push.Desk
// together are one.
type Backend interface {
	// Admit decides about a connection. It may block until ctx ends.
	Admit(ctx context.Context, c push.Credentials) (push.Admission, *push.Refusal)

	// The others never block. done is called at most once, on any
	// goroutine.

	Open(id push.Identity, h push.Hello, done func(push.Opened, error))
	// Fetch reads what follows a sequence, up to room bytes of body (and at
	// least one entry). done need not be called once alive answers false.
	Fetch(key push.ClientKey, after uint64, room int, alive func() bool, done func(push.Page, error))
	// Ack may keep failed.
	Ack(key push.ClientKey, seq uint64, failed []push.FailedEntry)
	Read(key push.ClientKey, seq uint64)
	Typing(from push.ClientKey, conversation, senderName string)
	// Refresh exchanges the session's token. Errors are *push.Error.
	Refresh(id push.Identity, token string, done func(push.Identity, error))
	// SealHello begins a handshake for sealing keys, SealConfirm completes it.
	// Errors are *push.Error.
	SealHello(id push.Identity, hello []byte, done func(welcome []byte, h push.Handshake, err error))
	SealConfirm(id push.Identity, nonce []byte, h push.Handshake, confirm []byte, done func(push.Completed, error))
	// Unsealer makes what opens the client's sealed messages.
	Unsealer(id push.Identity, session string, done func(push.Unsealer, error))
	// DecodeText answers the sealed message that came as text, nil for what is
	// none.
	DecodeText(text []byte) []byte
}

// Deps is what a hub stands on.
type Deps struct {
	// Backend serves sessions. It may be set later, by [Hub.Serve], because
	// backends need the hub's sessions; until then upgrades answer 503.
	Backend Backend
	// Remote is the peer's address, where a trusted proxy in front is the
	// one that knows it. Nil: the request's RemoteAddr.
	Remote func(*http.Request) netip.AddrPort
	// Presence hears which clients come and go; of one that goes, perhaps
	// twice. It is called by the loops. Nil: [push.Alone].
	Presence push.Presence
	Log      *slog.Logger          // nil: slog.Default()
	Metrics  prometheus.Registerer // nil: counted, shown nowhere
}

// Hub owns the connections. It implements push.Sessions and
// push.CommitListener, and is the http.Handler of the upgrade. All methods may
// be called from any goroutine.
type Hub struct {
	// static after New
	cfg    Config
	log    *slog.Logger
	start  time.Time // of the loops' clock
	loops  []*loop
	met    *metrics
	table  *table
	gate   *gatekeeper
	orig   origins
	remote func(*http.Request) netip.AddrPort
	wg     sync.WaitGroup // the loops

	msgInterval, msgBurst int64 // of [Config.MessageRate], nanoseconds

	backend  atomic.Pointer[Backend]
	next     atomic.Uint32 // loop of the next connection
	draining atomic.Bool
	closed   sync.Once
	closeErr error // written under closed

	placeMu sync.Mutex  // commits come one at a time; this makes sure
	placed  [][]command // guarded by placeMu: scratch of Placed, by loop
}

// New starts the loops. Close or Shutdown ends them.
func New(cfg Config, deps Deps) (*Hub, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	h := &Hub{
		cfg: cfg, log: deps.Log, start: time.Now().Add(-time.Minute), // so that no time of the clock is zero
		gate: newGatekeeper(cfg), orig: newOrigins(cfg.Origins), remote: deps.Remote,
	}
	if h.remote == nil {
		h.remote = remoteAddr
	}
	if h.log == nil {
		h.log = slog.Default()
	}
	if cfg.MessageRate > 0 {
		h.msgInterval = int64(float64(time.Second) / cfg.MessageRate)
		h.msgBurst = h.msgInterval * int64(cfg.MessageBurst)
	}
	h.table = newTable(cfg.PerClient, deps.Presence)
	h.placed = make([][]command, cfg.loops())
	for i := range cfg.loops() {
		l, err := newLoop(h, i)
		if err != nil {
			for _, l := range h.loops {
				err = errors.Join(err, l.poller.Close())
			}
			return nil, err
		}
		h.loops = append(h.loops, l)
	}
	h.met = newMetrics(h)
	if deps.Metrics != nil {
		if err := deps.Metrics.Register(h.met); err != nil {
			for _, l := range h.loops {
				err = errors.Join(err, l.poller.Close())
			}
			return nil, fmt.Errorf("hub: metrics: %w", err)
		}
	}
	if deps.Backend != nil {
		h.Serve(deps.Backend)
	}
	for _, l := range h.loops {
		h.wg.Go(l.run)
	}
	return h, nil
}

func remoteAddr(r *http.Request) netip.AddrPort {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.AddrPort{} // a Unix socket
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Serve sets the backend; call it before the first upgrade.
func (h *Hub) Serve(b Backend) { h.backend.Store(&b) }

func (h *Hub) serving() Backend { return *h.backend.Load() }

// Shutdown refuses upgrades from now on, closes all sessions with
// [push.CloseDraining], spread over [Config.Drain], waits until all are gone
// or ctx ends, and closes the hub. The error is ctx's where connections were
// cut, or Close's.
func (h *Hub) Shutdown(ctx context.Context) error {
	h.draining.Store(true)
	err := h.drain(ctx)
	return errors.Join(err, h.Close())
}

func (h *Hub) drain(ctx context.Context) error {
	sessions := h.table.all()
	const steps = 50
	step := time.NewTicker(max(h.cfg.Drain/steps, time.Millisecond))
	defer step.Stop()
	for i := range steps {
		for _, s := range sessions[i*len(sessions)/steps : (i+1)*len(sessions)/steps] {
			s.Close(push.CloseDraining, h.comeBack())
		}
		if h.cfg.Drain == 0 || len(sessions) == 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-step.C:
		}
	}
	for _, l := range h.loops { // what is in no table: echoes, handshakes under way
		l.post(command{kind: cmdDrain})
	}
	for h.gate.total.Load() > 0 || h.table.count.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-step.C:
		}
	}
	return nil
}

// comeBack is the delay that a client is asked to wait, in milliseconds.
func (h *Hub) comeBack() string {
	return strconv.FormatInt(rand.Int64N(h.cfg.ComeBack.Milliseconds()+1), 10)
}

// Close cuts what connections there are, stops the loops and waits for them.
func (h *Hub) Close() error {
	h.closed.Do(func() {
		h.draining.Store(true)
		for _, l := range h.loops {
			l.stop()
		}
		h.wg.Wait()
		for _, l := range h.loops {
			h.closeErr = errors.Join(h.closeErr, l.poller.Close())
		}
	})
	return h.closeErr
}

// Placed hears of a commit and hands it to the loops: one lock a loop,
// whatever the number of clients. It never blocks.
func (h *Hub) Placed(m *push.Message, to []push.Placement) {
	h.placeMu.Lock()
	defer h.placeMu.Unlock()
	for _, p := range to {
		others := h.table.collect(p.Client, h.placed, command{kind: cmdOffer, m: m, seq: p.Seq})
		for _, s := range others {
			s.Offer(m, p.Seq)
		}
	}
	for i, cmds := range h.placed {
		if len(cmds) == 0 {
			continue
		}
		h.loops[i].postOffers(cmds)
		clear(cmds)
		h.placed[i] = cmds[:0]
		if cap(cmds) > maxSpare {
			h.placed[i] = nil
		}
	}
}

func (h *Hub) logConn(event string, c *conn, args ...any) {
	level := slog.LevelDebug
	if h.cfg.LogConnections {
		level = slog.LevelInfo
	}
	if h.log.Enabled(context.Background(), level) {
		args = append([]any{"client", c.key.String(), "session", c.sessionID(), "remote", c.remote()}, args...)
		h.log.Log(context.Background(), level, event, args...)
	}
}

func (c *conn) logClose(code push.CloseCode, by closer) {
	if !c.has(flagEcho) {
		c.loop.hub.logConn("disconnected", c, "code", int(code), "by", closerNames[by])
	}
}

// now is the loops' clock: milliseconds, never zero. It wraps after 49 days;
// what is compared lies within [maxSpan].
func (h *Hub) now() uint32 { return uint32(time.Since(h.start).Milliseconds()) }

var (
	_ push.Sessions       = (*Hub)(nil)
	_ push.CommitListener = (*Hub)(nil)
)
