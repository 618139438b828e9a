package hub

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/hubtest"
	"github.com/sunzi-push/sunzi/push"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// office is a Backend with mailboxes in memory. A token is the client's name,
// "realm/id" or "id", with options after a colon: "alice:dev1" is bound to a
// device.
type office struct {
	admit   func(push.Credentials) (push.Admission, *push.Refusal) // nil: by the token's text
	refresh func(id push.Identity, token string) (push.Identity, error)
	openErr error
	ttl     time.Duration // of tokens; zero: a day

	commits sync.Mutex // one commit at a time, as the port promises
	wg      sync.WaitGroup

	mu         sync.Mutex
	boxes      map[push.ClientKey]*box
	acks       []push.Ack
	reads      []push.Ack
	typing     []string
	hellos     []push.Hello
	sealedFor  []string                         // the nonce of each confirmation, the session of each unsealer
	refusals   map[push.ClientKey]*push.Refusal // of hellos
	lastID     int64
	public     []byte        // nil: nothing is sealed
	noUnsealer bool          // nobody has keys to send sealed with
	hold       chan struct{} // nil: a step of a handshake is answered at once
}

type box struct {
	entries []*push.Message // at sequence index+1; nil: a gap
	cursor  uint64
}

func newOffice() *office { return &office{boxes: map[push.ClientKey]*box{}} }

func (o *office) box(key push.ClientKey) *box {
	b := o.boxes[key]
	if b == nil {
		b = &box{}
		o.boxes[key] = b
	}
	return b
}

func (o *office) Admit(_ context.Context, c push.Credentials) (push.Admission, *push.Refusal) {
	if o.admit != nil {
		return o.admit(c)
	}
	if c.Token == "" {
		return push.Admission{}, &push.Refusal{Code: push.CloseUnauthorized, Reason: push.ReasonMissingToken}
	}
	ttl := o.ttl
	if ttl == 0 {
		ttl = 24 * time.Hour
	}
	name, device, _ := strings.Cut(c.Token, ":")
	id := push.Identity{Client: key(name), TokenID: "AAECAwQFBgcICQoLDA0ODw", Device: device,
		TokenIssued: time.Now(), Expires: time.Now().Add(ttl)}
	if c.Path != nil && *c.Path != id.Client {
		return push.Admission{}, &push.Refusal{Code: push.CloseUnauthorized, Reason: push.ReasonMismatch}
	}
	return push.Admission{Identity: id}, nil
}

func key(name string) push.ClientKey {
	if realm, id, ok := strings.Cut(name, "/"); ok {
		return push.ClientKey{Realm: realm, ID: id}
	}
	return push.ClientKey{ID: name}
}

func (o *office) Open(id push.Identity, h push.Hello, done func(push.Opened, error)) {
	o.wg.Go(func() {
		o.mu.Lock()
		o.hellos = append(o.hellos, h)
		b := o.box(id.Client)
		r := push.Opened{Mailbox: push.Mailbox{Incarnation: "00000000000000aa", Head: uint64(len(b.entries)),
			Cursor: b.cursor, Count: len(b.entries) - int(b.cursor)}, Start: b.cursor}
		r.Refusal = o.refusals[id.Client]
		if o.public != nil && (h.Seal == push.SealCRT || h.Seal == push.SealAEAD) {
			r.Public, r.SealGeneration = o.public, 7
			if slices.Contains(h.Held, 7) {
				r.Session = &officeSealer{generation: 7}
			}
		}
		if h.Cursor != nil {
			r.Start = min(*h.Cursor, r.Head)
		}
		err := o.openErr
		o.mu.Unlock()
		done(r, err)
	})
}

func (o *office) Fetch(key push.ClientKey, after uint64, room int, alive func() bool, done func(push.Page, error)) {
	o.wg.Go(func() {
		if !alive() {
			return
		}
		o.mu.Lock()
		b := o.box(key)
		p := push.Page{Through: after, Head: uint64(len(b.entries))}
		for bytes := 0; p.Through < p.Head && len(p.Items) < 64 && bytes < room; {
			seq := p.Through + 1
			m := b.entries[seq-1]
			if m == nil {
				p.Items = append(p.Items, push.Item{Seq: seq, To: seq, Reason: push.GapExpired})
			} else {
				p.Items = append(p.Items, push.Item{Seq: seq, Message: m})
				bytes += len(m.Body)
			}
			p.Through = seq
		}
		o.mu.Unlock()
		done(p, nil)
	})
}

func (o *office) Ack(key push.ClientKey, seq uint64, failed []push.FailedEntry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.acks = append(o.acks, push.Ack{Client: key, Seq: seq, Failed: failed})
	b := o.box(key)
	b.cursor = max(b.cursor, seq)
}

func (o *office) Read(key push.ClientKey, seq uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads = append(o.reads, push.Ack{Client: key, Read: seq})
}

func (o *office) Typing(from push.ClientKey, conversation, senderName string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.typing = append(o.typing, fmt.Sprintf("%s in %s as %q", from, conversation, senderName))
}

func (o *office) Refresh(id push.Identity, token string, done func(push.Identity, error)) {
	o.wg.Go(func() { done(o.refresh(id, token)) })
}

// A handshake here: hello comes back in welcome, and confirmation has to be
// the same.

func (o *office) SealHello(id push.Identity, hello []byte, done func([]byte, push.Handshake, error)) {
	o.wg.Go(func() {
		o.mu.Lock()
		hold, public := o.hold, o.public
		o.mu.Unlock()
		if hold != nil {
			<-hold
		}
		if public == nil {
			done(nil, nil, push.Errorf(push.CodeInvalidField, "this server does not seal"))
			return
		}
		done(append([]byte("for "+id.Client.String()+": "), hello...), string(hello), nil)
	})
}

func (o *office) SealConfirm(_ push.Identity, nonce []byte, h push.Handshake, confirm []byte, done func(push.Completed, error)) {
	o.wg.Go(func() {
		o.mu.Lock()
		o.sealedFor = append(o.sealedFor, string(nonce))
		o.mu.Unlock()
		if h != string(confirm) {
			done(push.Completed{}, push.Errorf(push.CodeInvalidField, "the handshake failed"))
			return
		}
		done(push.Completed{Generation: 8, Mode: push.SealCRT, Session: &officeSealer{generation: 8}}, nil)
	})
}

// officeSealer seals as "CB", the generation and a number that counts from 0,
// before the text.
type officeSealer struct{ generation, next byte }

func (s *officeSealer) Seal(text []byte, _ bool) ([]byte, error) {
	b := append([]byte{'C', 'B', '0' + s.generation, '0' + s.next}, text...)
	s.next++
	return b, nil
}

// officeUnsealer opens "CB" and a number that counts from 0, before JSON.
type officeUnsealer struct{ next byte }

func (u *officeUnsealer) Open(frame []byte) ([]byte, bool, error) {
	if len(frame) < 3 || frame[2] != '0'+u.next {
		return nil, false, errors.New("not this one")
	}
	u.next++
	return frame[3:], true, nil
}

func (o *office) Unsealer(_ push.Identity, session string, done func(push.Unsealer, error)) {
	o.wg.Go(func() {
		o.mu.Lock()
		hold, without := o.hold, o.noUnsealer
		o.sealedFor = append(o.sealedFor, session)
		o.mu.Unlock()
		if hold != nil {
			<-hold
		}
		if without {
			done(nil, push.Errorf(push.CodeNoSealKey, "no keys"))
			return
		}
		done(&officeUnsealer{}, nil)
	})
}

func (o *office) DecodeText(text []byte) []byte {
	b, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		return nil
	}
	return b
}

// commit places one message for the clients, as the store does: the entry
// first, then the hint.
func (o *office) commit(h *Hub, data string, names ...string) *push.Message {
	o.commits.Lock()
	defer o.commits.Unlock()
	o.mu.Lock()
	o.lastID++
	m := message(o.lastID, data)
	if sealed, ok := strings.CutPrefix(data, "sealed:"); ok {
		m.Body, m.Sealed = nil, sealedOf(sealed)
	}
	to := make([]push.Placement, 0, len(names))
	for _, name := range names {
		b := o.box(key(name))
		b.entries = append(b.entries, m)
		to = append(to, push.Placement{Client: key(name), Seq: uint64(len(b.entries))})
	}
	o.mu.Unlock()
	h.Placed(m, to)
	return m
}

func message(id int64, data string) *push.Message {
	raw, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	at := time.UnixMilli(1700000000000)
	return &push.Message{ID: id, Sent: at, Body: push.BuildBody(push.BodyFields{ID: id, Sent: at, Topic: "t", Data: raw})}
}

// rig is a hub behind an HTTP server on a port of its own.
type rig struct {
	tb     testing.TB
	hub    *Hub
	office *office
	addr   string
	log    *bytes.Buffer
	reg    *prometheus.Registry
}

// testConfig has deadlines short enough to wait for, long enough for a loaded
// machine.
func testConfig() Config {
	cfg := DefaultConfig()
	cfg.Loops = 2
	cfg.HelloWait = 10 * time.Second // tests say hello; the one about silence sets its own
	cfg.CloseTimeout = 2 * time.Second
	cfg.Drain = 0
	return cfg
}

func start(tb testing.TB, cfg Config) *rig {
	tb.Helper()
	r := &rig{tb: tb, office: newOffice(), log: new(bytes.Buffer), reg: prometheus.NewRegistry()}
	log := slog.New(slog.NewTextHandler(&locked{w: r.log}, nil))
	h, err := New(cfg, Deps{Backend: r.office, Log: log, Metrics: r.reg})
	if err != nil {
		tb.Fatal(err)
	}
	r.hub = h
	mux := httptest.NewServer(routes(h))
	r.addr = mux.Listener.Addr().String()
	tb.Cleanup(func() {
		mux.Close()
		if err := h.Close(); err != nil {
			tb.Error(err)
		}
		r.office.wg.Wait()
		// A handler that was at the hand-over when the hub closed gives its place
		// back itself, and nobody waits for it: net/http does not know it any more.
		until(tb, "no connection is counted after Close", func() bool { return h.gate.total.Load() == 0 })
	})
	return r
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// peer is a client of the protocol, JSON.
type peer struct {
	*hubtest.Client
	tb testing.TB
}

func (r *rig) dial(token string) *peer {
	r.tb.Helper()
	return &peer{hubtest.Dial(r.tb, r.addr, hubtest.Handshake{Path: "/ws",
		Protocols: []string{wire.ProtocolJSON, wire.BearerPrefix + token}}), r.tb}
}

// greet dials, says hello and reads the welcome.
func (r *rig) greet(token string) *peer {
	r.tb.Helper()
	p := r.dial(token)
	p.hello()
	return p
}

func (p *peer) hello() wire.Welcome {
	p.tb.Helper()
	p.say(`{"type":"hello"}`)
	m := p.next(wire.TypeWelcome)
	return m.Welcome
}

func (p *peer) say(s string) { p.tb.Helper(); p.Text(s) }

// message reads the next message of the protocol.
func (p *peer) message() wire.ServerMessage {
	p.tb.Helper()
	ev := p.NextMessage()
	m, err := wire.DecodeServer(wire.JSON, ev.Payload)
	if err != nil {
		p.tb.Fatalf("%q: %v", ev.Payload, err)
	}
	return m
}

// next reads the next message, which must be of that type.
func (p *peer) next(t wire.Type) wire.ServerMessage {
	p.tb.Helper()
	m := p.message()
	if m.Type != t {
		p.tb.Fatalf("got %s %+v, want %s", m.Type, m, t)
	}
	return m
}

// live reads up to the end of the replay.
func (p *peer) live() *peer {
	p.tb.Helper()
	for p.message().Type != wire.TypeReplayComplete {
	}
	return p
}

// until waits for a condition that other goroutines bring about.
func until(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			tb.Fatal("never: " + what)
		}
		time.Sleep(time.Millisecond) // polling a condition, not waiting for time
	}
}

// value is a metric's value, its series named by label values in order.
func (r *rig) value(name string, labels ...string) float64 {
	r.tb.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			match := len(m.GetLabel()) == len(labels)
			for _, want := range labels {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetValue() == want
				}
				match = match && found
			}
			if match {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	r.tb.Fatalf("no series %s %q", name, labels)
	return 0
}
