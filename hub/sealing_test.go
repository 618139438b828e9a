package hub

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
	"github.com/sunzi-push/sunzi/push"
)

// sealedOf makes a sealed message of a text: "CB1", "CB1|body", "channel CB1|body",
// "channel CBprelude<CB1|body".
func sealedOf(text string) *push.Sealed {
	text, channel := strings.CutPrefix(text, "channel ")
	head, body, ok := strings.Cut(text, "|")
	m := &push.Sealed{Head: []byte(head), Channel: channel}
	if before, rest, brings := strings.Cut(head, "<"); brings {
		m.Head, m.Prelude = []byte(rest), &push.Sealed{Head: []byte(before)}
	}
	if ok {
		m.Body = []byte(body)
	}
	return m
}

var officeKey = bytes.Repeat([]byte{0xfb}, 32)

func (o *office) offer() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.public = officeKey
}

// helloNonce is that of every hello here that asks for sealing.
var helloNonce = []byte("sixteen  letters")

// hello asks for sealing; more are members of it.
func hello(seal, more string) string {
	if more != "" {
		more = "," + more
	}
	return fmt.Sprintf(`{"type":"hello","seal":%q,"seal_nonce":%q%s}`, seal, base64.RawURLEncoding.EncodeToString(helloNonce), more)
}

func startSealing(t *testing.T) *rig {
	t.Helper()
	r := start(t, testConfig())
	r.office.offer()
	return r
}

func TestWelcomeSaysWhatIsSealed(t *testing.T) {
	for _, tc := range []struct {
		hello, seal string
		offered     bool
		heard       string
	}{
		{hello("crt", `"seal_held":[3,2]`), "crt", true, "crt []uint32{0x3, 0x2}"},
		{hello("crt", `"seal_held":[]`), "crt", true, "crt []uint32{}"},
		{hello("aead", ""), "aead", true, "aead []uint32(nil)"},
		{hello("crt", ""), "", false, "crt []uint32(nil)"},
		{`{"type":"hello","seal":"none"}`, "", true, "none []uint32(nil)"},
		{`{"type":"hello","seal":"rot13"}`, "", true, "rot13 []uint32(nil)"},
		{`{"type":"hello"}`, "", true, " []uint32(nil)"},
	} {
		r := start(t, testConfig())
		if tc.offered {
			r.office.offer()
		}
		p := r.dial("alice")
		p.say(tc.hello)
		w := p.next(wire.TypeWelcome).Welcome
		if w.Seal != tc.seal || tc.seal != "" && (!bytes.Equal(w.SealKey, officeKey) || w.SealGeneration != 7) {
			t.Errorf("%s: %q %x %d", tc.hello, w.Seal, w.SealKey, w.SealGeneration)
		}
		r.office.mu.Lock()
		h := r.office.hellos[0]
		r.office.mu.Unlock()
		if got := fmt.Sprintf("%s %#v", h.Seal, h.Held); got != tc.heard {
			t.Errorf("%s: the backend heard %s, want %s", tc.hello, got, tc.heard)
		}
	}
}

func TestAHandshake(t *testing.T) {
	r := startSealing(t)
	p := r.dial("bank/alice")
	p.say(hello("crt", `"seal_held":[7]`))
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
	r.office.mu.Lock()
	if h, confirmed := r.office.hellos[0], r.office.sealedFor; !bytes.Equal(h.Nonce, helloNonce) || !slices.Equal(confirmed[:2], []string{string(helloNonce), string(helloNonce)}) {
		t.Errorf("hello with %q, confirmed for %q", h.Nonce, confirmed)
	}
	r.office.mu.Unlock()
	if m := p.next(wire.TypeError); m.Code != int(push.CodeInvalidField) {
		t.Errorf("%+v", m)
	}
	p.say(`{"type":"seal_hello"}`)
	p.WantClose(4002)
}

// The secret of a channel came under keys that the client did not have: once it
// has made others it comes again.
func TestSecretsOfChannelsComeAgainAfterAHandshake(t *testing.T) {
	r := startSealing(t)
	r.office.commit(r.hub, "sealed:channel CBrekey<CB1|body", "alice")
	p := r.dial("alice")
	p.say(hello("crt", `"seal_held":[7]`))
	want := func(all ...string) {
		t.Helper()
		for _, payload := range all {
			if ev := p.NextMessage(); string(ev.Payload) != payload {
				t.Fatalf("%q, want %q", ev.Payload, payload)
			}
		}
	}
	p.next(wire.TypeWelcome)
	want("CBrekey", "CP\x00\x00\x00\x00\x00\x00\x00\x01CB1body")
	p.next(wire.TypeReplayComplete)
	r.office.commit(r.hub, "sealed:channel CBrekey<CB2|body", "alice")
	want("CP\x00\x00\x00\x00\x00\x00\x00\x02CB2body") // it has come
	p.say(`{"type":"seal_hello","data":"aGVsbG8"}`)
	p.next(wire.TypeSealWelcome)
	p.say(`{"type":"seal_confirm","data":"aGVsbG8"}`)
	p.next(wire.TypeSealed)
	r.office.commit(r.hub, "sealed:channel CBrekey<CB3|body", "alice")
	want("CBrekey", "CP\x00\x00\x00\x00\x00\x00\x00\x03CB3body")
	r.office.commit(r.hub, "sealed:channel CBrekey<CB4|body", "alice")
	want("CP\x00\x00\x00\x00\x00\x00\x00\x04CB4body")
}

func TestHandshakesAreFewAndOneAtATime(t *testing.T) {
	r := startSealing(t)
	hold := make(chan struct{})
	r.office.mu.Lock()
	r.office.hold = hold
	r.office.mu.Unlock()
	p := r.greet("alice").live()
	p.say(`{"type":"seal_hello","data":"AQ"}`)
	p.say(`{"type":"seal_hello","data":"Ag"}`)
	if m := p.next(wire.TypeError); m.Code != int(push.CodeRateLimited) {
		t.Errorf("%+v", m)
	}
	p.say(`{"type":"seal_confirm","data":"AQ"}`) // of what?
	p.next(wire.TypeError)
	close(hold)
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
			say(wire.ClientMessage{Type: wire.TypeHello, Seal: "crt", SealHeld: []uint32{7}, SealNonce: make([]byte, wire.SealNonceLen)})
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
	p.say(hello("crt", `"seal_held":[7]`))
	p.next(wire.TypeWelcome)
	for _, s := range r.hub.Of(key("alice")) {
		s.Live(&push.Message{Sealed: sealedOf("CBcover")})
		s.Live(message(9, "plain"))
	}
	if ev := p.NextMessage(); !strings.HasPrefix(string(ev.Payload), `CB70{"type":"message",`) { // the plain one; the cover is gone
		t.Errorf("%q", ev.Payload)
	}
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
		{"aead", "CB..", 4100},
	} {
		r := startSealing(t)
		p := r.dial("alice")
		p.say(hello(tc.seal, `"seal_held":[7]`))
		p.live()
		p.Binary([]byte(tc.payload))
		p.WantClose(tc.closed)
	}
}

// What a client of mode aead sends sealed is acted on like anything else, in
// order, as binary and as base64 in text; what does not open ends the session.
func TestSealedMessagesOfClients(t *testing.T) {
	r := startSealing(t)
	free := make(chan struct{})
	p := r.dial("alice")
	p.say(hello("aead", `"seal_held":[7]`))
	session := p.next(wire.TypeWelcome).Welcome.Session
	p.live()
	r.office.mu.Lock()
	r.office.hold = free // the keys take their time
	r.office.mu.Unlock()
	p.Binary([]byte(`CB0{"type":"ping","id":"one"}`))
	p.say(base64.StdEncoding.EncodeToString([]byte(`CB1{"type":"ping","id":"two"}`)))
	p.say(`{"type":"ping","id":"in clear"}`)
	if m := p.next(wire.TypePong); m.ID != "in clear" {
		t.Errorf("pong %q came first", m.ID)
	}
	close(free)
	for _, want := range []string{"one", "two"} {
		if m := p.next(wire.TypePong); m.ID != want {
			t.Errorf("pong %q, want %q", m.ID, want)
		}
	}
	r.office.mu.Lock()
	if opened := r.office.sealedFor; !slices.Equal(opened, []string{session}) {
		t.Errorf("opened for %q, not %q", opened, session)
	}
	r.office.mu.Unlock()
	p.Binary([]byte(`CB1{"type":"ping","id":"again"}`))
	p.WantClose(uint16(push.CloseTryLater))
}

func TestSealedMessagesWithoutKeys(t *testing.T) {
	r := startSealing(t)
	r.office.noUnsealer = true
	p := r.dial("alice")
	p.say(hello("aead", `"seal_held":[7]`))
	p.live()
	p.Binary([]byte(`CB0{"type":"ping"}`))
	if m := p.next(wire.TypeError); m.Code != int(push.CodeNoSealKey) {
		t.Errorf("error %d %s", m.Code, m.Text)
	}
	// Who seals with crt sends in clear.
	q := r.dial("bob")
	q.say(hello("crt", `"seal_held":[7]`))
	q.live()
	q.Binary([]byte(`CB0{"type":"ping"}`))
	q.WantClose(uint16(push.CloseUnsupported))
}
