package hub

import (
	"net/http"
	"testing"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/push"
)

func routes(h *Hub) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/ws", h)
	mux.Handle("/ws/", h)
	mux.Handle("/echo", h.EchoHandler())
	return mux
}

func TestAMessageIsOfferedSentAndAcked(t *testing.T) {
	r := start(t, testConfig())
	p := r.dial("alice")
	w := p.hello()
	if w.ClientID != "alice" || w.Incarnation != "00000000000000aa" || w.HeartbeatMS != 25000 || w.Session == "" || w.Generation == 0 {
		t.Errorf("welcome %+v", w)
	}
	p.live()
	r.office.commit(r.hub, "one", "alice", "bob")
	m := p.next(wire.TypeMessage)
	if m.Delivery.Seq != 1 || m.Delivery.Replayed || string(m.Delivery.Data) != `"one"` {
		t.Errorf("got %+v", m.Delivery)
	}
	p.say(`{"type":"ack","seq":"1"}`)
	until(t, "the ack arrives", func() bool {
		r.office.mu.Lock()
		defer r.office.mu.Unlock()
		return len(r.office.acks) == 1 && r.office.acks[0].Seq == 1 && r.office.acks[0].Client == key("alice")
	})
	_ = push.CloseNormal
}
