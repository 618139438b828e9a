package api

import (
	"bytes"
	"encoding/base64"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunzi-push/sunzi/push"
)

func TestSealedEvents(t *testing.T) {
	s := newServer(t)
	s.world.public = bytes.Repeat([]byte{0xfb}, 32)
	base, raw := s.serveStreams()
	a := push.ClientKey{ID: "a"}
	s.world.sealed = &push.Sealed{Head: []byte("CB-head"), Body: []byte("body")}
	s.world.commit(a, "1")
	s.world.sealed = &push.Sealed{Head: []byte("CB-channel"), Channel: true}
	s.world.commit(a, "2")
	r := openStream(t, base+"/v1/events?seal=crt&seal_nonce=AAECAwQFBgcICQoLDA0ODw&seal_held=3,4294967295", raw)
	if w := r.want("welcome"); w.msg["seal"] != "crt" || w.msg["seal_generation"] != 2.0 || w.msg["seal_key"] != base64.RawURLEncoding.EncodeToString(s.world.public) {
		t.Errorf("%v", w.msg)
	}
	inc := s.world.boxes[a].incarnation
	frame := func(payload, id string) {
		t.Helper()
		e := r.want("sealed")
		if got, err := base64.StdEncoding.DecodeString(e.data); err != nil || string(got) != payload || e.id != id {
			t.Errorf("%q, id %q, %v; want %q, id %q", got, e.id, err, payload, id)
		}
	}
	frame("CB-headbody", "1-"+inc)
	frame("CP\x00\x00\x00\x00\x00\x00\x00\x02CB-channel", "2-"+inc)
	r.want("replay_complete")
	for _, session := range s.world.Of(a) {
		session.Live(&push.Message{Sealed: &push.Sealed{Head: []byte("CB-cover")}})
	}
	frame("CB-cover", "")
}

// Whatever has content comes sealed for the stream where it seals.
func TestAStreamThatSealsIsToldEverythingSealed(t *testing.T) {
	s := newServer(t)
	s.world.public = bytes.Repeat([]byte{0xfb}, 32)
	base, raw := s.serveStreams()
	a := push.ClientKey{ID: "a"}
	s.world.commit(a, `"in clear"`)
	s.world.mu.Lock()
	s.world.boxes[a].items = append(s.world.boxes[a].items, push.Item{Seq: 2, To: 2, Reason: push.GapExpired})
	s.world.mu.Unlock()
	r := openStream(t, base+"/v1/events?seal=crt&seal_nonce=AAECAwQFBgcICQoLDA0ODw&seal_held=1", raw)
	r.want("welcome")
	inc := s.world.boxes[a].incarnation
	next := byte('0')
	told := func(kind, id string) {
		t.Helper()
		e := r.want("sealed")
		got, err := base64.StdEncoding.DecodeString(e.data)
		if !strings.HasPrefix(string(got), "CBs"+string(next)+`{"type":"`+kind+`"`) || err != nil || e.id != id {
			t.Errorf("%q, id %q, %v; want a %s, id %q", got, e.id, err, kind, id)
		}
		next++
	}
	told("message", "1-"+inc)
	told("gap", "2-"+inc)
	r.want("replay_complete")
	live := &push.Message{ID: 9, Body: push.BuildBody(push.BodyFields{ID: 9, Topic: "t"})}
	for _, session := range s.world.Of(a) {
		required := &push.Message{ID: 9, Body: live.Body, Require: push.SealAEAD}
		if session.Info().Seal != push.SealCRT || session.Live(required) || !session.Live(live) {
			t.Error("a stream of kind crt takes other live messages than it should")
		}
		required.Require = push.SealCRT
		session.Live(required)
		session.Notify(push.Notice{Kind: push.NoticeTombstone, PushID: 1, Seq: 1})
		session.Notify(push.Notice{Kind: push.NoticeMemberJoined, Group: "g", ClientID: "b"})
		session.Notify(push.Notice{Kind: push.NoticeMemberLeft, Group: "g", ClientID: "b"})
		session.Notify(push.Notice{Kind: push.NoticeTyping, Group: "g", ClientID: "b"})
		session.Notify(push.Notice{Kind: push.NoticeTokenExpiring, ExpiresInMilli: 5})
	}
	for _, kind := range []string{"message", "message", "tombstone", "member_joined", "member_left", "typing"} {
		told(kind, "")
	}
	r.want("token_expiring")
}

// A stream of a client that asks for sealing and has no keys ends: a handshake
// needs a WebSocket. Nothing with content is sent before that is known.
func TestAStreamWithoutKeysEnds(t *testing.T) {
	s := newServer(t)
	s.world.public = bytes.Repeat([]byte{0xfb}, 32)
	base, raw := s.serveStreams()
	s.world.commit(push.ClientKey{ID: "a"}, `"in clear"`)
	openStream(t, base+"/v1/events?seal=crt&seal_nonce=AAECAwQFBgcICQoLDA0ODw", raw).ends(push.CloseHelloTimeout)

	st := &stream{a: &api{cfg: DefaultConfig()}, wake: make(chan struct{}, 1), hello: push.Hello{Seal: push.SealCRT}}
	if st.Live(&push.Message{Require: push.SealCRT}) {
		t.Error("a stream takes what has to be sealed before it seals")
	}
	st.Live(&push.Message{Body: []byte("{}")})
	st.Notify(push.Notice{Kind: push.NoticeTyping, Group: "g"})
	st.deliver()
	if len(st.out) > 0 {
		t.Errorf("%q was sent", st.out)
	}
}

// A stream that can't be of use to a client that seals ends, and takes nothing
// from it.
func TestAStreamWithoutSealOfAClientThatSealsEnds(t *testing.T) {
	s := newServer(t)
	s.world.public = bytes.Repeat([]byte{0xfb}, 32)
	base, raw := s.serveStreams()
	s.world.sealed = &push.Sealed{Head: []byte("CB-head")}
	s.world.commit(push.ClientKey{ID: "a"}, "1")
	openStream(t, base+"/v1/events", raw).ends(push.CloseHelloTimeout)
}

// A stream that says nothing of sealing may be that of a client that seals, and
// is refused then: until that is known it gets nothing that has content.
func TestAStreamIsToldNothingBeforeWelcome(t *testing.T) {
	st := &stream{a: &api{cfg: DefaultConfig(), now: time.Now, met: newMetrics(prometheus.NewRegistry(), nil, func() float64 { return 0 })}, wake: make(chan struct{}, 1)}
	if st.Live(&push.Message{ID: 9, Body: push.BuildBody(push.BodyFields{ID: 9, Topic: "t"})}) {
		t.Error("a live message was taken")
	}
	st.Notify(push.Notice{Kind: push.NoticeTyping, Group: "g"})
	st.open(opened{Opened: push.Opened{Refusal: &push.Refusal{Code: push.CloseHelloTimeout}}})
	st.deliver()
	if len(st.out) > 0 {
		t.Errorf("%q was sent", st.out)
	}
}

// TestCoversBeforeTheReplayAreDropped: until the mailbox's state is known there
// is nothing to be sent among.
func TestCoversBeforeTheReplayAreDropped(t *testing.T) {
	st := &stream{a: &api{cfg: DefaultConfig()}, wake: make(chan struct{}, 1)}
	st.ready.Store(true)
	st.Live(&push.Message{Sealed: &push.Sealed{Head: []byte("CB-cover")}})
	st.deliver()
	if len(st.out) > 0 {
		t.Errorf("%q was sent", st.out)
	}
}

func TestParseHeld(t *testing.T) {
	for list, ok := range map[string]bool{
		"": true, "0": true, "1,2,3,4,5,6,7,8": true, "4294967295": true,
		"1,2,3,4,5,6,7,8,9": false, "4294967296": false, "-1": false, "1,": false, "x": false, "1, 2": false,
	} {
		h, err := helloOf(httptest.NewRequest("GET", "/v1/events?seal_held="+url.QueryEscape(list), nil))
		if (err == nil) != ok || ok && h.Held == nil {
			t.Errorf("%q: %v, %v", list, h.Held, err)
		}
	}
	if h, err := helloOf(httptest.NewRequest("GET", "/v1/events?seal=crt&seal_nonce=AAECAwQFBgcICQoLDA0ODw", nil)); err != nil || h.Held != nil {
		t.Errorf("what was left out was taken for said: %v, %v", h.Held, err)
	}
}

// Who wants sealing says a nonce of the stream: 16 bytes.
func TestTheNonceOfAStream(t *testing.T) {
	for query, ok := range map[string]bool{
		"": true, "seal=none": true, "seal=crt&seal_nonce=AAECAwQFBgcICQoLDA0ODw": true, "seal=aead&seal_nonce=AAECAwQFBgcICQoLDA0ODw": true,
		"seal=crt": false, "seal=aead&seal_nonce=": false, "seal=crt&seal_nonce=AAECAwQFBgcICQoLDA0O": false,
		"seal=crt&seal_nonce=AAECAwQFBgcICQoLDA0ODxA": false, "seal=crt&seal_nonce=AAECAwQFBgcICQoLDA0ODw==": false, "seal=crt&seal_nonce=AAECAwQFBgcICQoLDA0ODx": false,
	} {
		h, err := helloOf(httptest.NewRequest("GET", "/v1/events?"+query, nil))
		if (err == nil) != ok || ok && strings.Contains(query, "nonce") != (len(h.Nonce) == 16 && h.Nonce[15] == 15) {
			t.Errorf("%s: %x, %v", query, h.Nonce, err)
		}
	}
}
