package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// tape is a response that takes everything and can be read meanwhile.
type tape struct {
	header http.Header
	mu     sync.Mutex
	text   strings.Builder
}

func (w *tape) Header() http.Header { return w.header }
func (w *tape) WriteHeader(int)     {}
func (w *tape) Flush()              {}
func (w *tape) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}
func (w *tape) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func TestStreamHeartbeatsWarnsAndExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(c *Config, d *Deps) {
			c.SSE.Heartbeat, c.SSE.ExpiryWarning = 25*time.Second, 5*time.Minute
			d.Now = time.Now
		})
		s.world.now = time.Now()
		raw, _, _ := s.world.Mint(t.Context(), token.MintRequest{Client: "a", TTL: 20 * time.Minute})
		r := httptest.NewRequest("GET", "/v1/events", nil)
		r.Header.Set("Authorization", "Bearer "+raw)
		out := &tape{header: http.Header{}}
		done := make(chan struct{})
		go func() { defer close(done); s.handler.ServeHTTP(out, r) }()

		time.Sleep(15*time.Minute - time.Millisecond)
		synctest.Wait()
		if n := strings.Count(out.String(), ":\n\n"); n < 35 || n > 37 {
			t.Errorf("%d heartbeats in 15 minutes, want one in 25 s", n)
		}
		if strings.Contains(out.String(), "token_expiring") {
			t.Error("warned too early")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if !strings.Contains(out.String(), `"in":300000`) {
			t.Errorf("no warning five minutes ahead: %s", out)
		}
		time.Sleep(5*time.Minute - time.Millisecond)
		synctest.Wait()
		if strings.Contains(out.String(), `"close"`) {
			t.Error("ended too early")
		}
		time.Sleep(time.Millisecond)
		<-done
		if !strings.Contains(out.String(), `"close":4003`) {
			t.Errorf("ended with %s", out)
		}
	})
}

// TestStuckStreamHoldsABoundedQueue fills a session whose goroutine does not
// run: what does not fit is told as missed, refused, or ends the session.
func TestStuckStreamHoldsABoundedQueue(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SSE.Queue, cfg.SSE.PageBytes = 4, 1000
	a := &api{cfg: cfg, now: time.Now}
	r := httptest.NewRequest("GET", "/v1/events", nil).WithContext(context.Background())
	stuck := func() *stream { return newStream(a, httptest.NewRecorder(), r, push.Admission{}) }

	s := stuck()
	small := &push.Message{Body: []byte(strings.Repeat("x", 100))}
	for seq := uint64(1); seq <= 10; seq++ {
		s.Offer(small, seq)
	}
	if len(s.queue) != 4 || s.missed != 10 {
		t.Errorf("%d offers wait and %d is missed, want 4 and 10", len(s.queue), s.missed)
	}
	if s.Live(small) {
		t.Error("a full queue took a live message")
	}
	for range 4 {
		s.Notify(push.Notice{Kind: push.NoticeTombstone})
	}
	if s.closed() != nil {
		t.Error("closed before the second limit")
	}
	s.Notify(push.Notice{Kind: push.NoticeTombstone})
	s.Close(push.CloseNormal, "later")
	if e := s.closed(); e == nil || e.code != push.CloseSlow {
		t.Errorf("ending is %+v", e)
	}

	s = stuck()
	large := &push.Message{Body: []byte(strings.Repeat("x", 900))}
	s.Offer(large, 1)
	s.Offer(large, 2)
	if len(s.queue) != 1 || s.missed != 2 {
		t.Errorf("%d offers of 900 bytes wait, want 1 in a queue of 1000", len(s.queue))
	}
	s = stuck()
	s.Offer(nil, 7)
	if len(s.queue) != 0 || s.missed != 7 {
		t.Errorf("a bare hint was queued: %+v", s.queue)
	}
}

// TestPageDoesNotPileUp: whatever a turn of the stream has to say, what waits
// for the connection stays near a page.
func TestPageDoesNotPileUp(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SSE.PageBytes = 1000
	a := &api{cfg: cfg, now: time.Now, met: newMetrics(prometheus.NewRegistry(), nil, func() float64 { return 0 })}
	out := &tape{header: http.Header{}}
	s := newStream(a, out, httptest.NewRequest("GET", "/v1/events", nil), push.Admission{})
	body := push.BuildBody(push.BodyFields{ID: 1, Data: []byte(`"` + strings.Repeat("x", 200) + `"`)})
	for seq := range uint64(100) {
		s.Message(&push.Message{ID: 1, Body: body}, seq+1, false)
	}
	if cap(s.out) > 3000 || out.text.Len() < 20_000 {
		t.Errorf("%d bytes were kept and %d written", cap(s.out), out.text.Len())
	}
}

// TestCancelIsLookedAtBeforeThePage: both wait for the stream, which may find
// the page first.
func TestCancelIsLookedAtBeforeThePage(t *testing.T) {
	w := newWorld()
	w.silent = true
	defer w.work.Wait()
	a := &api{cfg: DefaultConfig(), deps: Deps{Backend: backend{w}}, now: time.Now, met: newMetrics(prometheus.NewRegistry(), nil, func() float64 { return 0 })}
	s := newStream(a, &tape{header: http.Header{}}, httptest.NewRequest("GET", "/v1/events", nil), push.Admission{})
	s.ready.Store(true)
	s.feed.Open(s, 0, 1)
	s.Notify(push.Notice{Kind: push.NoticeTombstone, PushID: 5, Seq: 1})
	body := push.BuildBody(push.BodyFields{ID: 5, Data: []byte(`1`)})
	s.page(fetched{Page: push.Page{Items: []push.Item{{Seq: 1, Message: &push.Message{ID: 5, Body: body}}}, Through: 1, Head: 1}})
	if len(s.out) != 0 {
		t.Errorf("told %s", s.out)
	}
}

func TestEventIDs(t *testing.T) {
	for _, c := range []struct {
		id, inc string
		seq     uint64
		ok      bool
	}{
		{"7", "", 7, true}, {"18446744073709551615-00ff", "00ff", 1<<64 - 1, true},
		{"", "", 0, false}, {"-1", "", 0, false}, {"x-1", "", 0, false}, {"7-" + strings.Repeat("a", 65), "", 0, false},
	} {
		seq, inc, ok := parseEventID(c.id)
		if ok != c.ok || ok && (seq != c.seq || inc != c.inc) {
			t.Errorf("%q reads as %d %q %v", c.id, seq, inc, ok)
		}
		if ok && string(appendEventID(nil, seq, inc)) != "id: "+c.id+"\n" {
			t.Errorf("%q is written as %q", c.id, appendEventID(nil, seq, inc))
		}
	}
}
