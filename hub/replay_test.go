package hub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
	"github.com/sunzi-push/sunzi/push"
)

// TestHandOverUnderConcurrentCommits is the hand-over on real sockets:
// committers place messages while clients come, ack, and go at random. Each
// client must see every sequence of its mailbox once and in order, over all
// its connections.
func TestHandOverUnderConcurrentCommits(t *testing.T) {
	const (
		clients    = 24
		committers = 4
		each       = 500 // commits of one committer
	)
	cfg := testConfig()
	cfg.Outbound = 4096 // so that feeds stop and go on
	r := start(t, cfg)
	names := make([]string, clients)
	for i := range names {
		names[i] = fmt.Sprintf("realm%d/client%d", i%3, i)
	}
	var done atomic.Bool
	var wg, commits sync.WaitGroup
	for n := range committers {
		commits.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(n), 1))
			for i := range each {
				k := 1 + rnd.IntN(clients)
				first := rnd.IntN(clients - k + 1)
				r.office.commit(r.hub, fmt.Sprintf("%d of %d %0*d", i, n, 1+rnd.IntN(600), 0), names[first:first+k]...)
			}
		})
	}
	head := func(name string) uint64 {
		r.office.mu.Lock()
		defer r.office.mu.Unlock()
		return uint64(len(r.office.box(key(name)).entries))
	}
	for i, name := range names {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 2))
			var seen uint64
			for !done.Load() || seen < head(name) {
				more := rnd.IntN(200)
				if done.Load() {
					more = -1 // the last connection stays until all is seen
				}
				if err := stay(r, name, &seen, more, func() uint64 {
					if !done.Load() {
						return 1 << 62
					}
					return head(name)
				}); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
			}
		})
	}
	commits.Wait()
	done.Store(true)
	wg.Wait()
	if t.Failed() {
		return
	}
	if r.value("sunzi_mailbox_fetches_total") == 0 || r.value("sunzi_replayed_messages_total") == 0 {
		t.Error("nothing was replayed: the run shows nothing")
	}
}

// stay is one connection: it reads and acks until it has read more messages
// (negative: no bound) or has seen the end, then goes without a word.
func stay(r *rig, name string, seen *uint64, more int, end func() uint64) error {
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		return err
	}
	defer func() { _ = nc.Close() }()
	if _, err := hubtest.Upgrade(nc, hubtest.Handshake{Path: "/ws", Protocols: []string{wire.ProtocolJSON, "bearer." + name}}); err != nil {
		return err
	}
	c := hubtest.NewConn(nc)
	c.Timeout = 100 * time.Millisecond // to look again whether this was the end
	cursor := *seen
	hello := wire.EncodeClient(wire.JSON, &wire.ClientMessage{Type: wire.TypeHello, Cursor: &cursor})
	if err := c.Send(frame.Frame{Op: frame.Text, Payload: hello}); err != nil {
		return err
	}
	for read := 0; read != more && *seen < end(); {
		ev, err := c.Read()
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			continue
		}
		if err != nil {
			return fmt.Errorf("after sequence %d: %w", *seen, err)
		}
		if ev.Op == frame.Ping {
			continue // the stay is short
		}
		if ev.Op != frame.Text {
			return fmt.Errorf("after sequence %d: frame %d %d %q", *seen, ev.Op, ev.Code, ev.Payload)
		}
		m, err := wire.DecodeServer(wire.JSON, ev.Payload)
		if err != nil {
			return err
		}
		if m.Type != wire.TypeMessage {
			continue
		}
		if m.Delivery.Seq != *seen+1 {
			return fmt.Errorf("sequence %d after %d", m.Delivery.Seq, *seen)
		}
		*seen++
		read++
		if read%7 == 0 {
			ack := wire.EncodeClient(wire.JSON, &wire.ClientMessage{Type: wire.TypeAck, Seq: *seen})
			if err := c.Send(frame.Frame{Op: frame.Text, Payload: ack}); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestASlowReaderGoesBackToItsMailbox: what waits for it is bounded, others
// are served meanwhile, and in the end it has everything.
func TestASlowReaderGoesBackToItsMailbox(t *testing.T) {
	cfg := testConfig()
	cfg.Outbound = 64 << 10
	cfg.Loops = 1 // the same loop for both
	r := start(t, cfg)
	slow := r.greet("slow").live()
	quick := r.greet("quick").live()
	const n, size = 1500, 16 << 10 // 24 MB: more than loopback's buffers take
	body := fmt.Sprintf("%0*d", size, 0)
	for i := range n {
		r.office.commit(r.hub, body, "slow", "quick")
		if m := quick.next(wire.TypeMessage); m.Delivery.Seq != uint64(i+1) {
			t.Fatalf("quick: sequence %d, want %d", m.Delivery.Seq, i+1)
		}
	}
	until(t, "the slow one is known as slow", func() bool { return r.value("sunzi_slow_sessions") == 1 })
	s := r.session("slow")
	if s.Live(message(1, "x")) {
		t.Error("a full session took a live-only message")
	}
	if got := s.Info().Outbound; got == 0 || got > 64<<10+size+100 {
		t.Errorf("%d bytes wait for the slow reader", got)
	}
	if got := r.value("sunzi_outbound_queue_bytes"); got == 0 || got > 64<<10+size+100 {
		t.Errorf("%v bytes in all queues", got)
	}
	for i := range n {
		if m := slow.next(wire.TypeMessage); m.Delivery.Seq != uint64(i+1) {
			t.Fatalf("slow: sequence %d, want %d", m.Delivery.Seq, i+1)
		}
	}
	until(t, "nothing waits", func() bool {
		return r.value("sunzi_slow_sessions") == 0 && r.value("sunzi_outbound_queue_bytes") == 0 && s.Info().Outbound == 0
	})
	r.office.commit(r.hub, "live again", "slow")
	slow.next(wire.TypeMessage)
}

func TestReadersThatNeverReadAreGoneInTime(t *testing.T) {
	cfg := testConfig()
	cfg.Outbound = 16 << 10
	cfg.WriteTimeout = 200 * time.Millisecond
	cfg.CloseTimeout = 100 * time.Millisecond
	cfg.Heartbeat, cfg.PongWait = 10*time.Second, 10*time.Second
	r := start(t, cfg)
	const n = 8
	names := make([]string, n)
	for i := range n {
		names[i] = fmt.Sprint("mute", i)
		r.greet(names[i])
	}
	body := fmt.Sprintf("%0*d", 64<<10, 0)
	for range 200 {
		r.office.commit(r.hub, body, names...)
	}
	fresh := r.greet("fresh").live()
	fresh.Ping("x")
	fresh.Want(frame.Pong, "x")
	until(t, "they are gone", func() bool { return r.hub.Len() == 1 && r.hub.gate.total.Load() == 1 })
	if got := r.value("sunzi_closes_total", "4102", "server"); got != n {
		t.Errorf("%v closed as slow, want %d", got, n)
	}
	if got := r.value("sunzi_outbound_queue_bytes"); got != 0 {
		t.Errorf("%v bytes still queued", got)
	}
}

// TestNoticesBeyondTheSecondLimitClose: a mailbox can wait, notices can't.
func TestNoticesBeyondTheSecondLimitClose(t *testing.T) {
	cfg := testConfig()
	cfg.Outbound = 16 << 10
	cfg.CloseTimeout = 100 * time.Millisecond
	r := start(t, cfg)
	r.greet("mute").live()
	s := r.session("mute")
	until(t, "it is closed", func() bool {
		for range 1000 {
			s.Notify(push.Notice{Kind: push.NoticeMemberJoined, Group: "group of a long name", ClientID: "someone of a long name"})
		}
		return r.value("sunzi_closes_total", "4102", "server") == 1
	})
	until(t, "and gone", func() bool { return r.hub.gate.total.Load() == 0 })
}

// TestAPeerThatOnlyAsksIsNotHeard: what it asked for piles up, so that reading
// from it stops, and what it makes the server hold is bounded.
func TestAPeerThatOnlyAsksIsNotHeard(t *testing.T) {
	cfg := testConfig()
	cfg.Outbound = 128 << 10
	cfg.MessageRate = 0
	cfg.WriteTimeout = 300 * time.Millisecond
	cfg.CloseTimeout = 100 * time.Millisecond
	for name, tc := range map[string]struct {
		path  string
		frame frame.Frame
		code  string
	}{
		"pongs of a session": {"/ws", frame.Frame{Op: frame.Ping, Masked: true, Payload: make([]byte, 125)}, "4102"},
		"echoes":             {"/echo", frame.Frame{Op: frame.Binary, Masked: true, Payload: make([]byte, 1000)}, "4102"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, cfg)
			c := hubtest.Dial(t, r.addr, hubtest.Handshake{Path: tc.path, Header: http.Header{"Authorization": {"Bearer asker"}}})
			var flood []byte
			for len(flood) < 64<<10 {
				flood = tc.frame.Append(flood)
			}
			c.Conn.Timeout = 50 * time.Millisecond
			peak := 0.0
			until(t, "it is gone", func() bool {
				_ = c.Conn.SendRaw(flood) // blocks once the server stops reading
				peak = max(peak, r.value("sunzi_outbound_queue_bytes"))
				return r.hub.gate.total.Load() == 0
			})
			if peak < float64(cfg.Outbound) || peak > float64(cfg.Outbound+2*readSize) {
				t.Errorf("%v bytes were queued", peak)
			}
			if got := r.value("sunzi_closes_total", tc.code, "server"); got != 1 {
				t.Errorf("%v closed as slow, want 1", got)
			}
		})
	}
}

// TestWhatIsCommittedWhileTheMailboxIsReadIsSent: the session is in the table
// before its mailbox is read, so that the hint finds it.
func TestWhatIsCommittedWhileTheMailboxIsReadIsSent(t *testing.T) {
	r := start(t, testConfig())
	b := &meanwhile{office: r.office, hub: r.hub}
	r.hub.Serve(b)
	p := r.greet("alice")
	if m := p.next(wire.TypeReplayComplete); m.Seq != 0 {
		t.Errorf("got %+v", m)
	}
	if m := p.next(wire.TypeMessage); m.Delivery.Seq != 1 || m.Delivery.Replayed {
		t.Errorf("got %+v", m.Delivery)
	}
}

// meanwhile commits between the reading of a mailbox and the answer.
type meanwhile struct {
	*office
	hub *Hub
}

func (b *meanwhile) Open(id push.Identity, h push.Hello, done func(push.Opened, error)) {
	b.office.Open(id, h, func(o push.Opened, err error) {
		b.commit(b.hub, "meanwhile", id.Client.ID)
		done(o, err)
	})
}

// TestHintsThatDoNotFitInTheInboxAreNotLost holds the loop up, and offers
// more than its inbox takes.
func TestHintsThatDoNotFitInTheInboxAreNotLost(t *testing.T) {
	cfg := testConfig()
	cfg.Loops = 1
	r := start(t, cfg)
	p := r.greet("alice").live()
	c, ok := r.session("alice").(*conn)
	if !ok {
		t.Fatal("not a conn")
	}
	l := c.loop
	r.office.commits.Lock()
	r.office.mu.Lock()
	for i := range 3 {
		b := r.office.box(key("alice"))
		b.entries = append(b.entries, message(int64(i+1), "x"))
	}
	r.office.mu.Unlock()
	r.office.commits.Unlock()

	l.mu.Lock() // the loop can take nothing now
	full := make([]command, maxInbox)
	for i := range full {
		full[i] = command{c: c, kind: cmdOffer, seq: 0}
	}
	l.inbox = append(l.inbox, full...)
	l.mu.Unlock()
	c.Offer(nil, 3)
	for i := range 3 {
		if m := p.next(wire.TypeMessage); m.Delivery.Seq != uint64(i+1) {
			t.Fatalf("sequence %d, want %d", m.Delivery.Seq, i+1)
		}
	}
}

// TestShutdownDrains: every client is told to come back, with its own delay;
// upgrades are refused; the loops end.
func TestShutdownDrains(t *testing.T) {
	cfg := testConfig()
	cfg.Drain = 100 * time.Millisecond
	r := start(t, cfg)
	const n = 20
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = r.greet(fmt.Sprint("client", i)).live()
	}
	echo := hubtest.Dial(t, r.addr, hubtest.Handshake{Path: "/echo"})
	echo.Text("taken over")
	echo.Want(frame.Text, "taken over")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- r.hub.Shutdown(ctx) }()
	delays := map[string]bool{}
	for _, p := range peers {
		delays[p.WantClose(4200)] = true
	}
	echo.WantClose(1001)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(delays) < n/2 {
		t.Errorf("%d different delays among %d clients", len(delays), n)
	}
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	resp, err := hubtest.Upgrade(nc, hubtest.Handshake{Path: "/ws", Protocols: []string{"bearer.alice"}})
	if err == nil || resp == nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("an upgrade after the shutdown: %v, %v", resp, err)
	}
}

func TestShutdownCutsWhoDoesNotLeave(t *testing.T) {
	cfg := testConfig()
	cfg.CloseTimeout = time.Minute
	r := start(t, cfg)
	r.greet("alice").live()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.hub.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if n := r.hub.gate.total.Load(); n != 0 {
		t.Errorf("%d connections left", n)
	}
}
