package cluster

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sunzi-push/sunzi/push"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// session is a push.Session that remembers.
type session struct {
	info push.SessionInfo

	mu      sync.Mutex
	offers  []uint64
	lives   []string
	frames  []string // sealed: head|body
	notices []push.Notice
	code    push.CloseCode
}

func (s *session) Offer(_ *push.Message, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offers = append(s.offers, seq)
}

func (s *session) Live(m *push.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Sealed != nil {
		s.frames = append(s.frames, string(m.Sealed.Head)+"|"+string(m.Sealed.Body))
	} else {
		s.lives = append(s.lives, string(m.Body)+string(m.Require))
	}
	return true
}

func (s *session) Notify(n push.Notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notices = append(s.notices, n)
}

func (s *session) Close(code push.CloseCode, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.code == 0 {
		s.code = code
	}
}

func (s *session) Info() push.SessionInfo { return s.info }

func (s *session) closed() push.CloseCode {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.code
}

func (s *session) offered(seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.offers {
		if o == seq {
			return true
		}
	}
	return false
}

func (s *session) heard(body string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lives {
		if l == body {
			return true
		}
	}
	return false
}

// covered are the sealed frames that it got.
func (s *session) covered() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.frames)
}

func (s *session) noticed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.notices)
}

// table is push.Sessions in memory: one session a client.
type table struct {
	mu  sync.Mutex
	gen uint64
	of  map[push.ClientKey]*session
}

func (t *table) Placed(*push.Message, []push.Placement) {}

func (t *table) Attach(key push.ClientKey, s push.Session) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of[key] = s.(*session)
	t.gen++
	return t.gen
}

func (t *table) Detach(key push.ClientKey, s push.Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of[key] == s {
		delete(t.of, key)
	}
}

func (t *table) Online(key push.ClientKey) bool { return len(t.Of(key)) > 0 }

func (t *table) Of(key push.ClientKey) []push.Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.of[key]; s != nil {
		return []push.Session{s}
	}
	return nil
}

func (t *table) Each(realm *string, f func(push.ClientKey, push.Session) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, s := range t.of {
		if (realm == nil || *realm == k.Realm) && !f(k, s) {
			return
		}
	}
}

func (t *table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.of)
}

// node is one Cluster at work.
type node struct {
	*Cluster
	t       *testing.T
	table   *table
	stop    func()
	changed chan string // groups that others changed
}

// start runs a node until the test ends, or its stop is called.
func start(t *testing.T, url, name string, change ...func(*Config)) *node {
	t.Helper()
	return startWith(t, url, name, Deps{}, change...)
}

// startWith is start for a node with more to stand on.
func startWith(t *testing.T, url, name string, deps Deps, change ...func(*Config)) *node {
	t.Helper()
	cfg := DefaultConfig()
	cfg.URL, cfg.Node = url, name
	cfg.Lease, cfg.Beat = 1500*time.Millisecond, 100*time.Millisecond
	for _, f := range change {
		f(&cfg)
	}
	n := &node{t: t, table: &table{of: map[push.ClientKey]*session{}, gen: uint64(time.Now().UnixMilli()) << 10},
		changed: make(chan string, 4096)}
	deps.Sessions, deps.Log, deps.Metrics = n.table, slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry()
	deps.GroupChanged = func(realm, group string) { n.changed <- realm + "/" + group }
	c, err := Open(t.Context(), cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	n.Cluster = c
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	n.stop = func() { cancel(); <-done }
	t.Cleanup(n.stop)
	return n
}

// attach gives the client a session here, as the hub does.
func (n *node) attach(key push.ClientKey) *session {
	s := &session{info: push.SessionInfo{Client: key, ID: n.cfg.Node + "-" + key.ID}}
	n.Came(key, s, n.table.Attach(key, s))
	return s
}

func (n *node) detach(key push.ClientKey) {
	h, ok := n.holds(key)
	if !ok {
		n.t.Fatalf("%s has no session of %s", n.cfg.Node, key)
	}
	n.table.Detach(key, h.session)
	n.Went(key, h.proposed)
}

// sees reports whether the node would look for the client elsewhere.
func (n *node) sees(key push.ClientKey) bool {
	owners, err := n.owners(context.Background(), []push.ClientKey{key})
	return err == nil && len(owners[0]) > 0
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// together waits until all nodes see and hear each other.
func together(t *testing.T, nodes ...*node) {
	t.Helper()
	eventually(t, "all nodes know of each other", func() bool {
		for _, n := range nodes {
			if len(*n.nodes.living.Load()) != len(nodes) || n.Healthy() != nil {
				return false
			}
		}
		return true
	})
}

func client(id string) push.ClientKey { return push.ClientKey{Realm: "shop", ID: id} }

func (n *node) hint(key push.ClientKey, seq uint64) {
	n.Hint([]push.Placement{{Client: key, Seq: seq}})
}
