package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// reader is a client of an event stream on a real socket.
type reader struct {
	t    *testing.T
	res  *http.Response
	scan *bufio.Scanner
	stop context.CancelFunc
}

type readEvent struct {
	name, id, data, retry string
	msg                   map[string]any
}

// serveStreams puts the server on a socket and mints a token for client a.
func (s *server) serveStreams() (url, raw string) {
	ts := httptest.NewServer(s.handler)
	s.t.Cleanup(ts.Close)
	raw, _, _ = s.world.Mint(s.t.Context(), token.MintRequest{Client: "a"})
	return ts.URL, raw
}

func openStream(t *testing.T, url, raw string, headers ...string) *reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+raw)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); res.Body.Close() })
	scan := bufio.NewScanner(res.Body)
	scan.Buffer(nil, 1<<20)
	return &reader{t, res, scan, cancel}
}

// next is the next event; heartbeats are passed over. ok is false at the end.
func (r *reader) next() (e readEvent, ok bool) {
	r.t.Helper()
	for r.scan.Scan() {
		line := r.scan.Text()
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "retry":
			e.retry = value
		case "data":
			e.data = value
			if e.name == "sealed" { // a frame
				break
			}
			if err := json.Unmarshal([]byte(value), &e.msg); err != nil {
				r.t.Fatalf("data %q: %v", value, err)
			}
			if e.msg["type"] != e.name {
				r.t.Fatalf("event %s holds %s", e.name, value)
			}
		case "":
			if e.data != "" {
				return e, true
			}
		}
	}
	return e, false
}

// want reads the next event, which must be of that name.
func (r *reader) want(name string) readEvent {
	r.t.Helper()
	e, ok := r.next()
	if !ok || e.name != name {
		r.t.Fatalf("got event %q (%s), want %q; end is %v, err %v", e.name, e.data, name, !ok, r.scan.Err())
	}
	return e
}

// ends reads to the last event, which must tell the close code.
func (r *reader) ends(code push.CloseCode) readEvent {
	r.t.Helper()
	var last readEvent
	for {
		e, ok := r.next()
		if !ok {
			break
		}
		last = e
	}
	if last.name != "error" || last.msg["close"] != float64(code) {
		r.t.Errorf("last event is %q %s, want close %d", last.name, last.data, code)
	}
	return last
}

var clientA = push.ClientKey{ID: "a"}

func TestStreamReplaysThenGoesLive(t *testing.T) {
	s := newServer(t)
	url, raw := s.serveStreams()
	s.world.commit(clientA, `1`)
	s.world.commit(clientA, `2`)
	s.world.boxes[clientA].items = append(s.world.boxes[clientA].items, push.Item{Seq: 3, To: 3, Reason: push.GapExpired})

	r := openStream(t, url+"/v1/events", raw)
	if h := r.res.Header; !strings.HasPrefix(h.Get("Content-Type"), "text/event-stream") || h.Get("X-Accel-Buffering") != "no" || h.Get("refresh-token") != "fresh" {
		t.Errorf("headers are %v", h)
	}
	w := r.want("welcome")
	if w.msg["client_id"] != "a" || w.msg["incarnation"] != "00000000000000aa" || w.id != "" || w.retry == "" {
		t.Errorf("welcome is %+v", w)
	}
	for seq := 1; seq <= 2; seq++ {
		m := r.want("message")
		if m.id != fmt.Sprintf("%d-00000000000000aa", seq) || m.msg["seq"] != fmt.Sprint(seq) || m.msg["data"] != float64(seq) || m.msg["replayed"] != true {
			t.Errorf("message %d is %+v", seq, m)
		}
	}
	if g := r.want("gap"); g.id != "3-00000000000000aa" || g.msg["reason"] != "expired" {
		t.Errorf("gap is %+v", g)
	}
	r.want("replay_complete")
	s.world.commit(clientA, `"live"`)
	if m := r.want("message"); m.msg["seq"] != "4" || m.msg["replayed"] != nil {
		t.Errorf("live message is %+v", m)
	}
	st := s.must(200, "GET", "/v1/clients/a", "")
	conn := st.body["connections"].([]any)[0].(map[string]any)
	if conn["transport"] != "sse" || conn["last_message"] == nil || conn["remote"] != "127.0.0.1" {
		t.Errorf("status is %s", st.raw)
	}
}

// TestStreamsMissNothing commits from several goroutines while the client
// comes and goes with the browser's Last-Event-ID: it sees each place once, in
// order.
func TestStreamsMissNothing(t *testing.T) {
	s := newServer(t, func(c *Config, _ *Deps) { c.SSE.Queue, c.SSE.PageBytes = 4, 1000 })
	url, raw := s.serveStreams()
	const committers, each = 4, 100
	var wg sync.WaitGroup
	var order sync.Mutex // the store commits in order, and tells in that order
	for range committers {
		wg.Go(func() {
			for range each {
				order.Lock()
				s.world.commit(clientA, `{"pad":"`+strings.Repeat("x", 50)+`"}`)
				order.Unlock()
			}
		})
	}
	seen, id := 0, ""
	for reconnects := 0; seen < committers*each; reconnects++ {
		var headers []string
		if id != "" {
			headers = append(headers, "Last-Event-ID: "+id)
		}
		r := openStream(t, url+"/v1/events", raw, headers...)
		for n := 0; seen < committers*each && n < 60; {
			e, ok := r.next()
			if !ok {
				t.Fatalf("the stream ended after %d messages", seen)
			}
			if e.name != "message" {
				continue
			}
			seen++
			n++
			if id = e.id; e.msg["seq"] != strconv.Itoa(seen) {
				t.Fatalf("message %d has sequence %v", seen, e.msg["seq"])
			}
		}
		r.stop()
	}
	wg.Wait()
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	if c := s.world.boxes[clientA].cursor; c < 300 {
		t.Errorf("cursor is %d: Last-Event-ID did not ack", c)
	}
}

func TestStreamTakesACursorOfItsOwnIncarnationOnly(t *testing.T) {
	s := newServer(t)
	url, raw := s.serveStreams()
	for range 5 {
		s.world.commit(clientA, `1`)
	}
	for _, c := range []struct {
		query, header string
		first         string
	}{
		{"", "3-00000000000000bb", "1"}, // another life's: must neither ack nor skip
		{"?cursor=1&incarnation=00000000000000bb", "", "1"},
		{"?cursor=1", "", "2"},
		{"?cursor=1", "3-00000000000000aa", "4"},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{"Last-Event-ID: " + c.header}
		}
		r := openStream(t, url+"/v1/events"+c.query, raw, headers...)
		r.want("welcome")
		if m := r.want("message"); m.msg["seq"] != c.first {
			t.Errorf("%+v: first is %v", c, m.msg["seq"])
		}
		r.stop()
	}
}

func TestStreamTellsNoticesAndLiveMessages(t *testing.T) {
	s := newServer(t)
	url, raw := s.serveStreams()
	s.world.commit(clientA, `1`)
	r := openStream(t, url+"/v1/events", raw)
	r.want("welcome")
	r.want("message")
	r.want("replay_complete")
	session := s.world.Of(clientA)[0]
	for kind := push.NoticeTombstone; kind <= push.NoticeTokenExpiring; kind++ {
		session.Notify(push.Notice{Kind: kind, PushID: 5, Seq: 1, Group: "g", ClientID: "b", SenderName: "B", SenderType: "client", ExpiresInMilli: 7})
	}
	for _, name := range []string{"tombstone", "member_joined", "member_left", "typing", "token_expiring"} {
		if e := r.want(name); e.id != "" {
			t.Errorf("%s has an ID", name)
		}
	}
	body := push.BuildBody(push.BodyFields{ID: 1, Sent: s.world.now, Data: []byte(`"now"`)})
	if !session.Live(&push.Message{ID: 1, Body: body}) {
		t.Error("a live message was dropped")
	}
	if m := r.want("message"); m.id != "" || m.msg["seq"] != nil || m.msg["data"] != "now" {
		t.Errorf("live message is %+v", m)
	}
}
