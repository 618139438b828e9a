package wsclient

import (
	"context"
	"testing"

	"github.com/sunzi-push/sunzi/api/wire"
)

func TestManualAck(t *testing.T) {
	acks := make(chan uint64, 4)
	base := server(t, func(p *peer) {
		p.welcome(0)
		for i := uint64(1); i <= 3; i++ {
			p.send(p.pushBytes(i, `0`))
		}
		p.send(wire.AppendGap(nil, p.codec, 4, 5, "expired"))
		acks <- p.message(wire.TypeAck).Seq
		p.closing()
	})
	cursors := NewMemoryCursors()
	r := runClient(t, Config{URL: base + "/ws/alice", ManualAck: true, Cursors: cursors})
	for range 3 {
		r.wait(t)
	}
	r.c.Ack(t.Context(), 2)
	if got := <-acks; got != 2 {
		t.Errorf("acked %d", got)
	}
	if at, _, _ := cursors.Load(t.Context(), base+"//alice"); at.Seq != 2 {
		t.Errorf("saved %+v", at)
	}
}

// manual is an inbox with ManualAck, and how often its handler was called.
type manual struct {
	*inbox
	calls int
}

func newManual(t *testing.T) *manual {
	t.Helper()
	c, err := New(Config{URL: "wss://push.example/ws/alice", Token: "t", ManualAck: true, Cursors: NewMemoryCursors()})
	if err != nil {
		t.Fatal(err)
	}
	return &manual{inbox: c.inbox}
}

// connection is one connection's life: welcome, then the places after the
// server's cursor.
func (m *manual) connection(t *testing.T, cursor uint64, items ...item) {
	t.Helper()
	m.drop()
	m.welcome(t.Context(), &wire.Welcome{ClientID: "alice", Incarnation: "aa", Cursor: cursor})
	for _, it := range items {
		m.put(it)
	}
	for it, ok := m.take(); ok; it, ok = m.take() {
		m.handle(t.Context(), func(context.Context, *Message) error { m.calls++; return nil }, it)
	}
}

func (m *manual) wantAck(t *testing.T, seq uint64, due bool) {
	t.Helper()
	if got, ok := m.takeAck(); ok != due || got.Seq != seq {
		t.Errorf("ack due: %t of %d, want %t of %d", ok, got.Seq, due, seq)
	}
}

func places(from, to uint64) []item {
	var out []item
	for seq := from; seq <= to; seq++ {
		out = append(out, item{m: &Message{ID: "x", Seq: seq}})
	}
	return out
}

func TestReplayIsNoWordOfTheApplications(t *testing.T) {
	m := newManual(t)
	m.connection(t, 0, places(1, 3)...)
	m.connection(t, 0, places(1, 3)...)
	m.wantAck(t, 0, false)
	if m.at.Seq != 0 || m.calls != 3 {
		t.Errorf("cursor %d after %d calls, want 0 after 3", m.at.Seq, m.calls)
	}
	m.ack(t.Context(), 2)
	m.wantAck(t, 2, true)
	m.connection(t, 2, places(3, 4)...)
	m.wantAck(t, 0, false)
	if m.at.Seq != 2 || m.calls != 4 {
		t.Errorf("cursor %d after %d calls, want 2 after 4", m.at.Seq, m.calls)
	}
}

// TestAckThatWasLostIsSentAgain: the application acked, the connection ended
// before the server knew.
func TestAckThatWasLostIsSentAgain(t *testing.T) {
	m := newManual(t)
	m.connection(t, 0, places(1, 3)...)
	m.ack(t.Context(), 3)
	m.wantAck(t, 3, true)
	m.connection(t, 0)
	m.wantAck(t, 3, true) // above the server's cursor
	m.connection(t, 0, places(1, 2)...)
	m.takeAck()
	for _, it := range places(3, 3) { // the last that was acked, sent once more
		m.put(it)
		next, _ := m.take()
		m.handle(t.Context(), nil, next)
	}
	m.wantAck(t, 3, true)
	if m.calls != 3 {
		t.Errorf("handled %d times, want 3", m.calls)
	}
}
