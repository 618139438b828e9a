package e2e

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// stream is an open event stream.
type stream struct {
	t *testing.T
	r *bufio.Reader
}

// event is one server-sent event.
type event struct{ name, id, data string }

// listenSSE opens /v1/events as the client, after an event ID where one is
// given.
func listenSSE(t *testing.T, s *server, token, lastID string) *stream {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	return &stream{t, bufio.NewReader(resp.Body)}
}

// next is the next event, comments passed over.
func (s *stream) next() (e event) {
	s.t.Helper()
	timeout := time.AfterFunc(30*time.Second, func() { panic("no event in 30 s") })
	defer timeout.Stop()
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the stream ended: %v", err)
		}
		switch name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ": "); {
		case line == "\n" && e.name != "":
			return e
		case name == "event":
			e.name = value
		case name == "id":
			e.id = value
		case name == "data":
			e.data += value
		}
	}
}

func (s *stream) want(name string) event {
	s.t.Helper()
	e := s.next()
	if e.name != name {
		s.t.Fatalf("got %+v, want a %s", e, name)
	}
	return e
}

func TestAnEventStreamGoesOnWhereItWas(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, "127.0.0.1:0")
	addr := s.addr()
	first := s.push(t, pushTo(s.ClientID, "one"))
	st := listenSSE(t, s, s.Token, "")
	st.want("welcome")
	one := st.want("message")
	st.want("replay_complete")
	second := s.push(t, pushTo(s.ClientID, "two"))
	two := st.want("message")
	if got := idIn(t, one) + " " + idIn(t, two); got != first+" "+second {
		t.Fatalf("got pushes %s, want %s %s", got, first, second)
	}
	s.kill()
	s = start(t, dir, addr)
	third := s.push(t, pushTo(s.ClientID, "three"))
	st = listenSSE(t, s, s.Token, one.id) // the browser had handled one
	st.want("welcome")
	if got := idIn(t, st.want("message")) + " " + idIn(t, st.want("message")); got != second+" "+third {
		t.Fatalf("after %s: %s, want %s %s", one.id, got, second, third)
	}
	eventually(t, "the last event ID acked the first", func() bool { return s.stateOf(t, first) == "acked" })
	if got := s.stateOf(t, second); got != "stored" {
		t.Fatalf("the second is %s before its ack", got)
	}
	ack, err := s.as(s.Token).do(t.Context(), request{method: "POST", path: "/v1/ack", body: map[string]any{"seq": "3"}})
	if err != nil || ack.status >= 300 {
		t.Fatalf("ack: %d %s, %v", ack.status, ack.body, err)
	}
	eventually(t, "an ack over HTTP counts", func() bool { return s.stateOf(t, third) == "acked" })
}

func TestSocketAndEventStreamAreOneClient(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	p, _ := arrive(t, s, s.Token, plainHello)
	st := listenSSE(t, s, s.Token, "")
	st.want("welcome")
	p.WantClose(4007)
	st.want("replay_complete")
	s.push(t, pushTo(s.ClientID, 1))
	st.want("message")
}

func idIn(t *testing.T, e event) string {
	t.Helper()
	var m struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(e.data), &m); err != nil {
		t.Fatalf("%v in %+v", err, e)
	}
	return m.ID
}

// as is the server, called with another credential.
func (s *server) as(token string) *server {
	return &server{URL: s.URL, WSURL: s.WSURL, APIKey: token}
}
