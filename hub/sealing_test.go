package hub

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
	"github.com/sunzi-push/sunzi/push"
)

// sealedOf makes a sealed message of a text: "CB1", "CB1|body", "channel CB1|body".
func sealedOf(text string) *push.Sealed {
	text, channel := strings.CutPrefix(text, "channel ")
	head, body, ok := strings.Cut(text, "|")
	m := &push.Sealed{Head: []byte(head), Channel: channel}
	if ok {
		m.Body = []byte(body)
	}
	return m
}

func startSealing(t *testing.T) *rig {
	t.Helper()
	r := start(t, testConfig())
	r.office.public = bytes.Repeat([]byte{0xfb}, 32)
	return r
}

func TestWelcomeSaysWhatIsSealed(t *testing.T) {
	for _, tc := range []struct {
		hello, seal string
		offered     bool
	}{
		{`{"type":"hello","seal":"crt","seal_held":[3,2]}`, "crt", true},
		{`{"type":"hello","seal":"aead"}`, "aead", true},
		{`{"type":"hello","seal":"crt"}`, "", false},
		{`{"type":"hello","seal":"rot13"}`, "", true},
		{`{"type":"hello"}`, "", true},
	} {
		r := start(t, testConfig())
		if tc.offered {
			r.office.public = bytes.Repeat([]byte{0xfb}, 32)
		}
		p := r.dial("alice")
		p.say(tc.hello)
		w := p.next(wire.TypeWelcome).Welcome
		if w.Seal != tc.seal || tc.seal != "" && (!bytes.Equal(w.SealKey, r.office.public) || w.SealGeneration != 7) {
			t.Errorf("%s: %q %x %d", tc.hello, w.Seal, w.SealKey, w.SealGeneration)
		}
		if tc.seal == "crt" {
			if h := r.office.hellos[0]; h.Seal != push.SealCRT || fmt.Sprint(h.Held) != "[3 2]" {
				t.Errorf("the backend heard %+v", h)
			}
		}
	}
}

func TestAHandshake(t *testing.T) {
	r := startSealing(t)
	p := r.dial("bank/alice")
	p.say(`{"type":"hello","seal":"crt"}`)
	p.live()
	for range 2 {
		p.say(`{"type":"seal_hello","data":"aGVsbG8"}`)
		if m := p.next(wire.TypeSealWelcome); string(m.Handshake) != "for bank/alice: hello" {
			t.Errorf("%q", m.Handshake)
		}
		p.say(`{"type":"seal_confirm","data":"aGVsbG8"}`)
		if m := p.next(wire.TypeSealed); m.Sealing != 8 {
			t.Errorf("generation %d", m.Sealing)
		}
		p.say(`{"type":"seal_confirm","data":"aGVsbG8"}`) // it is used up
		p.next(wire.TypeError)
	}
	p.say(`{"type":"seal_hello","data":"aGVsbG8"}`)
	p.next(wire.TypeSealWelcome)
	p.say(`{"type":"seal_confirm","data":"aGVsbA"}`)
	if m := p.next(wire.TypeError); m.Code != int(push.CodeInvalidField) {
		t.Errorf("%+v", m)
	}
	p.say(`{"type":"seal_hello"}`)
	p.WantClose(4002)
}

func TestHandshakesAreFewAndOneAtATime(t *testing.T) {
	r := startSealing(t)
	r.office.hold = make(chan struct{})
	p := r.greet("alice").live()
	p.say(`{"type":"seal_hello","data":"AQ"}`)
	p.say(`{"type":"seal_hello","data":"Ag"}`)
	if m := p.next(wire.TypeError); m.Code != int(push.CodeRateLimited) {
		t.Errorf("%+v", m)
	}
	p.say(`{"type":"seal_confirm","data":"AQ"}`) // of what?
	p.next(wire.TypeError)
	close(r.office.hold)
	p.next(wire.TypeSealWelcome)
	for range sealBurst - 1 {
		p.say(`{"type":"seal_hello","data":"AQ"}`)
		p.next(wire.TypeSealWelcome)
	}
	p.say(`{"type":"seal_hello","data":"AQ"}`)
	if m := p.next(wire.TypeError); m.Code != int(push.CodeRateLimited) {
		t.Errorf("%+v", m)
	}
	p.say(`{"type":"seal_confirm","data":"AQ"}`) // the last that was let through
	p.next(wire.TypeSealed)
}

func TestAServerThatDoesNotSealSaysSo(t *testing.T) {
	r := start(t, testConfig())
	p := r.dial("alice")
	p.say(`{"type":"seal_hello","data":"AQ"}`)
	if m := p.next(wire.TypeError); !strings.Contains(m.Text, "after welcome") {
		t.Errorf("%+v", m)
	}
	p.hello()
	p.live()
	p.say(`{"type":"seal_hello","data":"AQ"}`)
	if m := p.next(wire.TypeError); m.Text != "this server does not seal" {
		t.Errorf("%+v", m)
	}
}

// TestSealedFramesAreBinary reads the bytes of each kind, replayed and live,
// under both sub-protocols.
func TestSealedFramesAreBinary(t *testing.T) {
	long := strings.Repeat("b", 2*corkSpill)
	for _, protocol := range []string{wire.ProtocolJSON, wire.ProtocolMsgpack} {
		t.Run(protocol, func(t *testing.T) {
			r := startSealing(t)
			r.office.commit(r.hub, "sealed:CB1", "alice")
			r.office.commit(r.hub, "sealed:channel CBC|body", "alice")
			c := hubtest.Dial(t, r.addr, hubtest.Handshake{Path: "/ws", Protocols: []string{protocol, wire.BearerPrefix + "alice"}})
			say := func(m wire.ClientMessage) {
				if protocol == wire.ProtocolJSON {
					c.Text(string(wire.EncodeClient(wire.JSON, &m)))
				} else {
					c.Binary(wire.EncodeClient(wire.Msgpack, &m))
				}
			}
			say(wire.ClientMessage{Type: wire.TypeHello, Seal: "crt"})
			c.NextMessage() // welcome
			want := func(payload string) {
				t.Helper()
				if ev := c.NextMessage(); ev.Op != frame.Binary || string(ev.Payload) != payload {
					t.Fatalf("%v %q, want %q", ev.Op, ev.Payload[:min(len(ev.Payload), 100)], payload[:min(len(payload), 100)])
				}
			}
			want("CB1")
			want("CP\x00\x00\x00\x00\x00\x00\x00\x02CBCbody")
			c.NextMessage() // replay_complete
			r.office.commit(r.hub, "sealed:CB3|"+long, "alice")
			want("CB3" + long)
			r.office.commit(r.hub, "sealed:channel CB4", "alice")
			want("CP\x00\x00\x00\x00\x00\x00\x00\x04CB4")
			for _, s := range r.hub.Of(key("alice")) {
				s.Live(&push.Message{Sealed: sealedOf("CBcover")})
				s.Live(&push.Message{Sealed: sealedOf("channel CB|x")})
			}
			want("CBcover")
			want("CBx")
			say(wire.ClientMessage{Type: wire.TypeAck, Seq: 4})
			until(t, "the ack is taken", func() bool {
				r.office.mu.Lock()
				defer r.office.mu.Unlock()
				return len(r.office.acks) == 1
			})
			if a, b := r.value("sunzi_sealed_frames_total", "mailbox"), r.value("sunzi_sealed_frames_total", "none"); a != 4 || b != 2 {
				t.Errorf("%v with a place, %v without are counted", a, b)
			}
			if n := r.value("sunzi_replayed_messages_total"); n != 2 {
				t.Errorf("%v are counted as replayed", n)
			}
		})
	}
}

// TestCoversWaitForTheReplay: what has no place is not sent among what is
// replayed.
func TestCoversWaitForTheReplay(t *testing.T) {
	r := startSealing(t)
	slow := slowFetch{office: r.office, let: make(chan struct{})}
	r.hub.Serve(slow)
	r.office.commit(r.hub, "sealed:CB1", "alice")
	p := r.dial("alice")
	p.say(`{"type":"hello","seal":"crt"}`)
	p.next(wire.TypeWelcome)
	for _, s := range r.hub.Of(key("alice")) {
		s.Live(&push.Message{Sealed: sealedOf("CBcover")})
		s.Live(message(9, "plain"))
	}
	p.next(wire.TypeMessage) // the plain one; the cover is gone
	close(slow.let)
	if ev := p.NextMessage(); string(ev.Payload) != "CB1" {
		t.Errorf("%q", ev.Payload)
	}
	p.next(wire.TypeReplayComplete)
	if n := r.value("sunzi_live_drops_total", "replaying"); n != 1 {
		t.Errorf("%v drops are counted", n)
	}
}

// slowFetch holds pages back.
type slowFetch struct {
	*office
	let chan struct{}
}

func (s slowFetch) Fetch(key push.ClientKey, after uint64, room int, alive func() bool, done func(push.Page, error)) {
	s.wg.Go(func() {
		<-s.let
		s.office.Fetch(key, after, room, alive, done)
	})
}

func TestBinaryUnderJSONIsRefused(t *testing.T) {
	for _, tc := range []struct {
		seal, payload string
		closed        uint16
	}{
		{"", "CB..", 1003},
		{"crt", "CB..", 1003},
		{"aead", "CP..", 1003},
		{"aead", "C", 1003},
		{"aead", "CB..", 0},
	} {
		r := startSealing(t)
		p := r.dial("alice")
		p.say(`{"type":"hello","seal":"` + tc.seal + `"}`)
		p.live()
		p.Binary([]byte(tc.payload))
		if tc.closed != 0 {
			p.WantClose(tc.closed)
			continue
		}
		if m := p.next(wire.TypeError); m.Code != int(push.CodeInvalidField) {
			t.Errorf("%s %s: %+v", tc.seal, hex.EncodeToString([]byte(tc.payload)), m)
		}
		p.say(`{"type":"ping"}`)
		p.next(wire.TypePong)
	}
}
