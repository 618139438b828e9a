package hub

import (
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
	"github.com/sunzi-push/sunzi/push"
)

// told reads the next message, which must be sealed for the session, under that
// generation and in that place.
func (p *peer) told(generation, n byte) wire.ServerMessage {
	p.tb.Helper()
	ev := p.NextMessage()
	text, ok := strings.CutPrefix(string(ev.Payload), string([]byte{'C', 'B', '0' + generation, '0' + n}))
	if !ok || ev.Op != frame.Binary {
		p.tb.Fatalf("got %v %q, want frame %d of generation %d", ev.Op, ev.Payload, n, generation)
	}
	m, err := wire.DecodeServer(wire.JSON, []byte(text))
	if err != nil {
		p.tb.Fatalf("%q: %v", text, err)
	}
	return m
}

func (r *rig) notify(n push.Notice) {
	for _, s := range r.hub.Of(key("alice")) {
		s.Notify(n)
	}
}

// Whatever has content is sealed for a session that seals, in the order in which
// it is written; what has none goes in clear.
func TestASealingSessionIsToldEverythingSealed(t *testing.T) {
	r := startSealing(t)
	r.office.commit(r.hub, "in clear, before it had keys", "alice")
	r.office.mu.Lock()
	b := r.office.box(key("alice"))
	b.entries = append(b.entries, nil) // a gap
	r.office.mu.Unlock()
	r.office.commit(r.hub, "sealed:CB3", "alice")
	p := r.dial("alice")
	p.say(hello("crt", `"seal_held":[7]`))
	p.next(wire.TypeWelcome)
	if m := p.told(7, 0); m.Delivery.Seq != 1 || !m.Delivery.Replayed || m.Type != wire.TypeMessage {
		t.Errorf("%+v", m)
	}
	if m := p.told(7, 1); m.Type != wire.TypeGap || m.From != 2 {
		t.Errorf("%+v", m)
	}
	if ev := p.NextMessage(); string(ev.Payload) != "CB3" {
		t.Errorf("%q", ev.Payload)
	}
	p.next(wire.TypeReplayComplete)
	r.office.commit(r.hub, "in clear", "alice")
	if m := p.told(7, 2); m.Delivery.Seq != 4 || m.Delivery.Replayed {
		t.Errorf("%+v", m)
	}
	for _, s := range r.hub.Of(key("alice")) {
		if !s.Live(message(9, "now or never")) {
			t.Error("a live message was not taken")
		}
	}
	if m := p.told(7, 3); m.Delivery.Seq != 0 || m.Type != wire.TypeMessage {
		t.Errorf("%+v", m)
	}
	for i, n := range []push.Notice{
		{Kind: push.NoticeTombstone, PushID: 1, Seq: 1}, {Kind: push.NoticeMemberJoined, Group: "g", ClientID: "bob"},
		{Kind: push.NoticeMemberLeft, Group: "g", ClientID: "bob"}, {Kind: push.NoticeTyping, Group: "g", ClientID: "bob"},
	} {
		r.notify(n)
		want := []wire.Type{wire.TypeTombstone, wire.TypeMemberJoined, wire.TypeMemberLeft, wire.TypeTyping}[i]
		if m := p.told(7, byte(4+i)); m.Type != want {
			t.Errorf("%+v", m)
		}
	}
	r.notify(push.Notice{Kind: push.NoticeTokenExpiring, ExpiresInMilli: 5})
	p.next(wire.TypeTokenExpiring)
	p.say(`{"type":"ping"}`)
	p.next(wire.TypePong)
	if n := r.value("sunzi_sealed_frames_total", "session"); n != 8 {
		t.Errorf("%v are counted", n)
	}
	// A handshake on the way changes the keys from its end on.
	p.say(`{"type":"seal_hello","data":"aGVsbG8"}`)
	p.next(wire.TypeSealWelcome)
	r.office.commit(r.hub, "under the keys of before", "alice")
	p.told(7, 8)
	p.say(`{"type":"seal_confirm","data":"aGVsbG8"}`)
	p.next(wire.TypeSealed)
	r.office.commit(r.hub, "under the new ones", "alice")
	p.told(8, 0)
}

// A client that seals and has no keys yet gets nothing that has content: its
// mailbox waits until the handshake is done, the rest is missed.
func TestNothingHasContentBeforeThereAreKeys(t *testing.T) {
	r := startSealing(t)
	for _, data := range []string{"one", "sealed:CB2", "three"} {
		r.office.commit(r.hub, data, "alice")
	}
	c := hubtest.Dial(t, r.addr, hubtest.Handshake{Path: "/ws", Protocols: []string{wire.ProtocolJSON, wire.BearerPrefix + "alice"}})
	p := &peer{c, t}
	p.say(hello("crt", `"cursor":"1"`))
	p.next(wire.TypeWelcome)
	r.office.commit(r.hub, "four", "alice")
	for _, s := range r.hub.Of(key("alice")) {
		if s.Live(message(9, "missed")) || s.Info().Seal != "" {
			t.Error("a session without keys takes live messages")
		}
	}
	r.notify(push.Notice{Kind: push.NoticeTyping, Group: "g", ClientID: "bob"})
	r.notify(push.Notice{Kind: push.NoticeTombstone, PushID: 1, Seq: 1})
	r.notify(push.Notice{Kind: push.NoticeTokenExpiring, ExpiresInMilli: 5})
	p.next(wire.TypeTokenExpiring)
	p.say(`{"type":"ack","seq":"1"}`) // what hello said may be said again
	p.say(`{"type":"ack","seq":"2"}`)
	if m := p.next(wire.TypeError); m.Code != int(push.CodeInvalidField) {
		t.Errorf("%+v", m)
	}
	p.say(`{"type":"seal_hello","data":"aGVsbG8"}`)
	p.next(wire.TypeSealWelcome)
	p.say(`{"type":"seal_confirm","data":"aGVsbG8"}`)
	p.next(wire.TypeSealed)
	if ev := p.NextMessage(); string(ev.Payload) != "CB2" {
		t.Errorf("%q", ev.Payload)
	}
	for i, seq := range []uint64{3, 4} {
		if m := p.told(8, byte(i)); m.Delivery.Seq != seq {
			t.Errorf("%+v", m)
		}
	}
	if m := p.next(wire.TypeReplayComplete); m.Seq != 3 { // the fourth was committed after welcome
		t.Errorf("%+v", m)
	}
	for _, s := range r.hub.Of(key("alice")) {
		if !s.Live(message(9, "now")) || s.Info().Seal != push.SealCRT {
			t.Error("a session with keys takes no live messages")
		}
	}
	p.told(8, 2)
	if n := r.value("sunzi_live_drops_total", "not_open"); n != 3 {
		t.Errorf("%v drops are counted", n)
	}
}

func TestKeysThatAreNotMadeEndTheSession(t *testing.T) {
	cfg := testConfig()
	cfg.SealWait = 100 * time.Millisecond
	r := start(t, cfg)
	r.office.offer()
	p := r.dial("alice")
	p.say(hello("crt", ""))
	p.next(wire.TypeWelcome)
	p.WantClose(uint16(push.CloseHelloTimeout))
	q := r.dial("bob")
	q.say(hello("crt", ""))
	q.next(wire.TypeWelcome)
	q.say(`{"type":"seal_hello","data":"aGVsbG8"}`)
	q.next(wire.TypeSealWelcome)
	q.WantClose(uint16(push.CloseHelloTimeout))
}

// What requires a way of sealing goes to sessions that have keys of it.
func TestALiveMessageThatRequiresASeal(t *testing.T) {
	r := startSealing(t)
	for _, hello := range []string{`{"type":"hello"}`, hello("crt", `"seal_held":[7]`), hello("aead", `"seal_held":[7]`)} {
		p := r.dial("alice")
		p.say(hello)
		p.live()
		seals := r.hub.Of(key("alice"))[0].Info().Seal
		for _, mode := range []push.SealMode{push.SealCRT, push.SealAEAD} {
			m := message(9, "secret")
			m.Require = mode
			if took := r.hub.Of(key("alice"))[0].Live(m); took != (seals == mode) {
				t.Errorf("%s, %s required: %t", hello, mode, took)
			}
		}
		if seals != "" {
			p.told(7, 0)
		}
	}
	if n := r.value("sunzi_live_drops_total", "unsealed"); n != 4 {
		t.Errorf("%v drops are counted", n)
	}
}

// A long message that was sealed for a session costs its length for a turn.
func TestALoopKeepsNoLongMessage(t *testing.T) {
	r := startSealing(t)
	c := &conn{loop: r.hub.loops[0], codec: wire.JSON, rare: &rare{sealing: &sealing{mode: push.SealCRT, session: &officeSealer{generation: 7}}}}
	l := &loop{hub: c.loop.hub}
	c.loop, c.phase = l, phaseDead
	tail, err := tailOf(message(9, strings.Repeat("x", 8*corkSpill)), wire.JSON)
	if err != nil {
		t.Fatal(err)
	}
	c.putBody(wire.Head{}, tail)
	if l.giveBack(nil); cap(l.scratch)+cap(l.cork) > 4*corkSpill {
		t.Errorf("%d and %d bytes are kept", cap(l.scratch), cap(l.cork))
	}
}
