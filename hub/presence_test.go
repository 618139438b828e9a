package hub

import (
	"sync"
	"testing"

	"github.com/sunzi-push/sunzi/push"
)

// register is who is present, as push.Presence was told.
type register struct {
	mu    sync.Mutex
	here  map[push.ClientKey]map[uint64]push.Session
	check func(push.ClientKey) // called by both, before they return
}

func (r *register) Came(key push.ClientKey, s push.Session, gen uint64) {
	r.check(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.here[key] == nil {
		r.here[key] = map[uint64]push.Session{}
	}
	r.here[key][gen] = s
}

func (r *register) Went(key push.ClientKey, gen uint64) {
	r.check(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.here[key], gen)
}

// only is the single session of the client, and its generation.
func (r *register) only(t *testing.T, key push.ClientKey) (uint64, push.Session) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.here[key]); n != 1 {
		t.Fatalf("%d sessions of %s are present, want 1", n, key)
	}
	for gen, s := range r.here[key] {
		return gen, s
	}
	return 0, nil
}

func TestPresenceHearsOfSessionsOfBothTransports(t *testing.T) {
	r := start(t, testConfig())
	reg := &register{here: map[push.ClientKey]map[uint64]push.Session{}}
	reg.check = func(key push.ClientKey) { r.hub.Online(key) } // would hang under the stripe's lock
	r.hub.table.presence = reg

	p := r.greet("alice").live()
	first, s := reg.only(t, key("alice"))
	if got := s.Info().Generation; got != first {
		t.Errorf("the session says generation %d, presence heard %d", got, first)
	}
	q := r.greet("alice").live() // takes over
	p.WantClose(uint16(push.CloseReplaced))
	second, _ := reg.only(t, key("alice"))
	if second <= first {
		t.Errorf("generation %d after %d", second, first)
	}
	other := &stranger{}
	gen := r.hub.Attach(key("alice"), other)
	q.WantClose(uint16(push.CloseReplaced))
	if got, s := reg.only(t, key("alice")); got != gen || s != push.Session(other) {
		t.Errorf("generation %d, want that of the stream, %d", got, gen)
	}
	r.hub.Detach(key("alice"), other)
	reg.mu.Lock()
	defer reg.mu.Unlock()
	if n := len(reg.here[key("alice")]); n != 0 {
		t.Errorf("%d sessions are present after all have left", n)
	}
}

// Sessions of one client that take each other's place at the same moment must
// not stay present for ever.
func TestPresenceAgreesWithTheTableAfterARush(t *testing.T) {
	reg := &register{here: map[push.ClientKey]map[uint64]push.Session{}, check: func(push.ClientKey) {}}
	h := &Hub{table: newTable(1, reg)}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 2000 {
				s := &stranger{}
				h.Attach(key("alice"), s)
				if i%3 == 0 {
					h.Detach(key("alice"), s)
				}
			}
		})
	}
	wg.Wait()
	reg.mu.Lock()
	defer reg.mu.Unlock()
	if got, want := len(reg.here[key("alice")]), len(h.Of(key("alice"))); got != want {
		t.Errorf("%d are present, %d in the table", got, want)
	}
}
