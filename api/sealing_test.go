package api

import (
	"bytes"
	"encoding/base64"
	"net/http/httptest"
	"net/url"
	"testing"

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
	r := openStream(t, base+"/v1/events?seal=crt&seal_held=3,4294967295", raw)
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

// TestCoversBeforeTheReplayAreDropped: until the mailbox's state is known there
// is nothing to be sent among.
func TestCoversBeforeTheReplayAreDropped(t *testing.T) {
	st := &stream{a: &api{cfg: DefaultConfig()}, wake: make(chan struct{}, 1)}
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
	if h, err := helloOf(httptest.NewRequest("GET", "/v1/events?seal=crt", nil)); err != nil || h.Held != nil {
		t.Errorf("what was left out was taken for said: %v, %v", h.Held, err)
	}
}
