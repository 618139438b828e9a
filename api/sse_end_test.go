package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

func TestNewestStreamWins(t *testing.T) {
	s := newServer(t)
	url, raw := s.serveStreams()
	first := openStream(t, url+"/v1/events", raw)
	first.want("welcome")
	openStream(t, url+"/v1/events", raw).want("welcome")
	first.ends(push.CloseReplaced)
}

func TestStreamsAreRefusedAsSocketsAre(t *testing.T) {
	s := newServer(t, func(c *Config, _ *Deps) { c.SSE.MaxStreams = 1 })
	s.mustFail(push.CodeNotSignedIn, "GET", "/v1/events", "", "Authorization:")
	s.mustFail(push.CodeBadCredentials, "GET", "/v1/events", "", "Authorization: Bearer x")
	s.mustFail(push.CodeNotSignedIn, "GET", "/v1/events?token=x", "", "Authorization:")
	s.mustFail(push.CodeInvalidField, "GET", "/v1/events", "", "Last-Event-ID: x")
	bound, _, _ := s.world.Mint(t.Context(), token.MintRequest{Client: "a", Device: "phone"})
	s.mustFail(push.CodeForbidden, "GET", "/v1/events?device=tablet", "", "Authorization: Bearer "+bound)
	s.world.fail["Admit"] = errors.New("down")
	s.mustFail(push.CodeNoAuth, "GET", "/v1/events", "")
	clear(s.world.fail)

	url, raw := s.serveStreams()
	openStream(t, url+"/v1/events", raw).want("welcome")
	s.mustFail(push.CodeOverloaded, "GET", "/v1/events", "", "Authorization: Bearer "+raw)
}

func TestRefusalsReadAsProblems(t *testing.T) {
	for _, c := range []struct {
		refusal push.Refusal
		want    push.Code
	}{
		{push.Refusal{Code: push.CloseUnauthorized, Reason: push.ReasonMismatch}, push.CodeForbidden},
		{push.Refusal{Code: push.CloseUnauthorized, Reason: push.ReasonWrongRealm}, push.CodeWrongRealm},
		{push.Refusal{Code: push.CloseForbidden}, push.CodeForbidden},
		{push.Refusal{Code: push.CloseMalformed}, push.CodeInvalidRequest},
		{push.Refusal{Code: push.CloseTryLater}, push.CodeNoStore},
		{push.Refusal{Code: push.CloseTooMany}, push.CodeOverloaded},
		{push.Refusal{Code: push.CloseInternal}, push.CodeInternal},
	} {
		if got := refusalError(&c.refusal); got.Code != c.want {
			t.Errorf("%d %q reads as %d, want %d", c.refusal.Code, c.refusal.Reason, got.Code, c.want)
		}
	}
}

func TestConnectKeyRegistersOnAStream(t *testing.T) {
	s := newServer(t, func(c *Config, _ *Deps) { c.SSE.QueryToken = true })
	url, _ := s.serveStreams()
	r := openStream(t, url+"/v1/events?token=ck_x", "", "Authorization: none")
	if w := r.want("welcome"); w.msg["client_id"] != "new" || w.msg["token"] == nil {
		t.Errorf("welcome is %s", w.data)
	}
}

func TestStreamEndsForTheBackendsTrouble(t *testing.T) {
	s := newServer(t)
	url, raw := s.serveStreams()
	s.world.commit(clientA, `1`)
	s.world.fail["Fetch"] = push.Errorf(push.CodeNoStore, "down")
	openStream(t, url+"/v1/events", raw).ends(push.CloseTryLater)

	unknown, _, _ := s.world.Mint(t.Context(), token.MintRequest{Client: "nobody"})
	openStream(t, url+"/v1/events", unknown).ends(push.CloseDeleted)
}

func TestForgettingAClientEndsItsStream(t *testing.T) {
	s := newServer(t)
	url, raw := s.serveStreams()
	r := openStream(t, url+"/v1/events", raw)
	r.want("welcome")
	s.must(204, "DELETE", "/v1/clients/a", "")
	r.ends(push.CloseDeleted)
}

func TestDrainingEndsStreamsWithADelay(t *testing.T) {
	draining := make(chan struct{})
	s := newServer(t, func(_ *Config, d *Deps) { d.Draining = draining })
	url, raw := s.serveStreams()
	r := openStream(t, url+"/v1/events", raw)
	r.want("welcome")
	session := s.world.Of(clientA)[0]
	close(draining)
	last := r.ends(push.CloseDraining)
	if session.Live(&push.Message{ID: 1, Body: []byte("{}")}) {
		t.Error("a session that has ended took a message")
	}
	if ms, err := strconv.Atoi(last.retry); err != nil || ms < 0 || ms >= 5000 || last.msg["message"] != last.retry {
		t.Errorf("last event is %+v", last)
	}
}

// TestReaderThatNeverReadsIsGone: its memory is bounded by queue and page, and
// it leaves within the write timeout.
func TestReaderThatNeverReadsIsGone(t *testing.T) {
	s := newServer(t, func(c *Config, _ *Deps) { c.SSE.WriteTimeout = 50 * time.Millisecond })
	gone := make(chan struct{})
	h := s.handler
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		close(gone)
	})
	url, raw := s.serveStreams()
	big := `"` + strings.Repeat("x", 200_000) + `"`
	for range 100 { // more than the kernel's buffers hold
		s.world.commit(clientA, big)
	}
	openStream(t, url+"/v1/events", raw)
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Fatal("the stream goes on")
	}
	if n := len(s.world.Of(clientA)); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// TestCancelBesideAPageIsToldAsAGap: the page was read before the cancel, and
// would deliver what the application was told is cancelled.
func TestCancelBesideAPageIsToldAsAGap(t *testing.T) {
	s := newServer(t)
	url, raw := s.serveStreams()
	s.world.commit(clientA, `1`)
	s.world.commit(clientA, `2`)
	var once sync.Once
	s.world.hook["Fetched"] = func(context.Context) {
		once.Do(func() {
			s.world.mu.Lock()
			b := s.world.boxes[clientA]
			cancelled := b.items[0].Message.ID
			b.items[0] = push.Item{Seq: 1, To: 1, Reason: push.GapCancelled}
			s.world.mu.Unlock()
			for _, session := range s.world.Of(clientA) {
				session.Notify(push.Notice{Kind: push.NoticeTombstone, PushID: cancelled, Seq: 1})
			}
		})
	}
	r := openStream(t, url+"/v1/events", raw)
	r.want("welcome")
	if gap := r.want("gap"); gap.msg["reason"] != "cancelled" || gap.msg["from"] != "1" || gap.msg["to"] != "1" {
		t.Errorf("gap is %s", gap.data)
	}
	if m := r.want("message"); m.msg["seq"] != "2" {
		t.Errorf("message is %s", m.data)
	}
	r.want("replay_complete")
	s.world.Of(clientA)[0].Notify(push.Notice{Kind: push.NoticeTombstone, PushID: 9, Seq: 2})
	r.want("tombstone") // that one was sent
}

// TestBodyThatCantBeEncodedIsAGap: its place is told, and what follows comes.
func TestBodyThatCantBeEncodedIsAGap(t *testing.T) {
	s := newServer(t)
	url, raw := s.serveStreams()
	s.world.commit(clientA, `1`)
	s.world.boxes[clientA].items[0].Message.Body = []byte("damaged")
	s.world.commit(clientA, `2`)
	r := openStream(t, url+"/v1/events", raw)
	r.want("welcome")
	if gap := r.want("gap"); gap.id == "" || gap.msg["reason"] != "dropped" || gap.msg["to"] != "1" {
		t.Errorf("gap is %+v", gap)
	}
	r.want("message")
	r.want("replay_complete")
	s.world.Of(clientA)[0].Live(&push.Message{ID: 3, Body: []byte("damaged")})
	s.world.commit(clientA, `4`)
	if m := r.want("message"); m.msg["seq"] != "3" {
		t.Errorf("message is %s", m.data)
	}
}
