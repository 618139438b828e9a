package hub

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sunzi-push/sunzi/push"
)

func serve(tb testing.TB, ln net.Listener, h http.Handler) (stop func()) {
	tb.Helper()
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(ln) })
	return func() {
		_ = srv.Close()
		wg.Wait()
	}
}

// stranger is a session of another transport.
type stranger struct {
	mu     sync.Mutex
	closed push.CloseCode
	offers []uint64
}

func (s *stranger) Offer(_ *push.Message, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offers = append(s.offers, seq)
}
func (s *stranger) Live(*push.Message) bool { return true }
func (s *stranger) Notify(push.Notice)      {}
func (s *stranger) Close(code push.CloseCode, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed == 0 {
		s.closed = code
	}
}
func (s *stranger) Info() push.SessionInfo { return push.SessionInfo{Transport: "sse"} }

func TestSessionsOfOtherTransportsShareTheTable(t *testing.T) {
	r := start(t, testConfig())
	p := r.greet("alice").live()
	s := &stranger{}
	r.hub.Attach(key("alice"), s)
	p.WantClose(4007)
	if got := r.session("alice"); got != push.Session(s) {
		t.Errorf("got %v", got)
	}
	r.office.commit(r.hub, "one", "alice")
	s.mu.Lock()
	if len(s.offers) != 1 || s.offers[0] != 1 {
		t.Errorf("offers %v", s.offers)
	}
	s.mu.Unlock()
	if got := r.value("sunzi_connections", "sse"); got != 1 {
		t.Errorf("%v SSE connections", got)
	}
	r.greet("alice").live()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != push.CloseReplaced {
		t.Errorf("closed %d", s.closed)
	}
	r.hub.Detach(key("alice"), s) // again, by itself
	if n := r.hub.Len(); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// TestTableAgreesWithAModel drives the table with connections and strangers of
// few clients and compares with a list.
func TestTableAgreesWithAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perClient := rapid.IntRange(1, 3).Draw(t, "per client")
		h := &Hub{table: newTable(perClient, nil)}
		l := &loop{hub: h, stopped: true}
		model := map[push.ClientKey][]push.Session{} // oldest first
		var all []push.Session
		keys := []push.ClientKey{{ID: "a"}, {ID: "b"}, {Realm: "r", ID: "a"}}
		t.Repeat(map[string]func(*rapid.T){
			"conn": func(t *rapid.T) {
				k := rapid.SampledFrom(keys).Draw(t, "key")
				c := &conn{loop: l, key: k}
				h.Attach(k, c)
				model[k] = append(model[k], c)
				all = append(all, c)
			},
			"stranger": func(t *rapid.T) {
				k := rapid.SampledFrom(keys).Draw(t, "key")
				s := &stranger{}
				h.Attach(k, s)
				model[k] = append(model[k], s)
				all = append(all, s)
			},
			"leave": func(t *rapid.T) {
				if len(all) == 0 {
					return
				}
				s := rapid.SampledFrom(all).Draw(t, "session") // perhaps gone already
				for k, list := range model {
					h.Detach(k, s)
					for i := range list {
						if list[i] == s {
							model[k] = append(append([]push.Session{}, list[:i]...), list[i+1:]...)
						}
					}
				}
			},
			"": func(t *rapid.T) {
				total := 0
				for k, list := range model {
					if n := len(list) - perClient; n > 0 {
						list = list[n:]
						model[k] = list
					}
					total += len(list)
					got := h.Of(k)
					if len(got) != len(list) || h.Online(k) != (len(list) > 0) {
						t.Fatalf("%s: %d sessions, want %d", k, len(got), len(list))
					}
					for _, want := range list {
						found := false
						for _, s := range got {
							found = found || s == want
						}
						if !found {
							t.Fatalf("%s: a session is missing", k)
						}
					}
				}
				n := 0
				h.Each(nil, func(push.ClientKey, push.Session) bool { n++; return true })
				if h.Len() != total || n != total {
					t.Fatalf("Len %d, Each %d, want %d", h.Len(), n, total)
				}
			},
		})
	})
}

func TestEachStopsAndFilters(t *testing.T) {
	h := &Hub{table: newTable(1, nil)}
	for i := range 200 {
		h.Attach(push.ClientKey{Realm: fmt.Sprint("r", i%2), ID: fmt.Sprint(i)}, &stranger{})
	}
	realm, n := "r1", 0
	h.Each(&realm, func(k push.ClientKey, _ push.Session) bool {
		if k.Realm != realm {
			t.Errorf("got %s", k)
		}
		n++
		return n < 50
	})
	if n != 50 {
		t.Errorf("%d calls, want 50", n)
	}
}

func TestTheConnectionThatAskedLastWins(t *testing.T) {
	for name, order := range map[string][2]uint64{"in turn": {1, 2}, "the older handshake took longer": {2, 1}} {
		t.Run(name, func(t *testing.T) {
			h := &Hub{table: newTable(1, nil)}
			l := &loop{hub: h, stopped: true}
			k := push.ClientKey{ID: "a"}
			for _, gen := range order {
				h.Attach(k, &conn{loop: l, key: k, gen: gen})
			}
			left := h.Of(k)
			if len(left) != 1 || left[0].(*conn).gen != 2 {
				t.Fatalf("%d sessions are left, want the one that asked last", len(left))
			}
		})
	}
}
