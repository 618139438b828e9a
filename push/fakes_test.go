package push

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunzi-push/sunzi/push/token"
)

// stubStore is a Storage whose answers a test sets; what it does not set
// panics by the nil embedded interface. The contract of the real ones is held
// in pushtest.
type stubStore struct {
	Storage
	mu      sync.Mutex
	box     Mailbox
	err     error // of every call, while set
	acked   []Ack
	renewed int
	opens   int
	group   Group
	members []string
	known   map[ClientKey]bool
	hangs   bool // answers nothing in time

	onOpen, onForget func() // while the call is under way, without the lock
	ended            []Placement
	cancelErr        error
}

func (s *stubStore) set(f func(*stubStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *stubStore) Open(context.Context, ClientKey) (Mailbox, error) {
	s.mu.Lock()
	s.opens++
	box, err, then := s.box, s.err, s.onOpen
	s.mu.Unlock()
	if then != nil {
		then()
	}
	return box, err
}

func (s *stubStore) Forget(context.Context, ClientKey) error {
	s.mu.Lock()
	err, then := s.err, s.onForget
	s.mu.Unlock()
	if then != nil {
		then()
	}
	return err
}

// Accept places everything at 7.
func (s *stubStore) Accept(_ context.Context, envs []*Envelope) ([]Outcome, error) {
	out := make([]Outcome, len(envs))
	for i, env := range envs {
		out[i].ID = env.ID
		for _, id := range env.Target.Clients {
			out[i].Placed = append(out[i].Placed, Placement{ClientKey{env.Target.Realm, id}, 7})
		}
	}
	return out, nil
}

func (s *stubStore) change() (Group, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.group.Epoch++
	return s.group, true, s.err
}

func (s *stubStore) Join(context.Context, string, string, string) (Group, bool, error) {
	return s.change()
}

func (s *stubStore) Leave(context.Context, string, string, string) (Group, bool, error) {
	return s.change()
}

func (s *stubStore) SetEvents(context.Context, string, string, bool) (Group, error) {
	g, _, err := s.change()
	return g, err
}

func (s *stubStore) Cancel(context.Context, *string, int64) ([]Placement, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended, s.cancelErr
}

func (s *stubStore) Renew(context.Context, ClientKey) (Mailbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewed++
	s.box.Incarnation = "ffffffffffffffff"
	return s.box, s.err
}

func (s *stubStore) Ack(_ context.Context, acks []Ack) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.acked = append(s.acked, acks...)
	}
	return s.err
}

func (s *stubStore) Group(ctx context.Context, _, _ string) (Group, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hangs {
		<-ctx.Done()
		return Group{}, Errorf(CodeNoStore, "away")
	}
	return s.group, s.err
}

func (s *stubStore) Members(context.Context, string, string, PageQuery) ([]string, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.members, "", s.err
}

func (s *stubStore) Register(_ context.Context, key ClientKey, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[key] {
		return Errorf(CodeClientExists, "exists")
	}
	if s.err == nil {
		s.known[key] = true
	}
	return s.err
}

func (s *stubStore) Mailboxes(ctx context.Context, keys []ClientKey) ([]*Mailbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hangs {
		<-ctx.Done()
		return nil, Errorf(CodeNoStore, "away")
	}
	boxes := make([]*Mailbox, len(keys))
	for i, k := range keys {
		if s.known[k] {
			boxes[i] = &Mailbox{Head: s.box.Head}
		}
	}
	return boxes, s.err
}

// stubSessions is a table of recording sessions.
type stubSessions struct {
	mu sync.Mutex
	by map[ClientKey][]Session
}

func (t *stubSessions) Attach(key ClientKey, s Session) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.by[key] = append(t.by[key], s)
	return uint64(len(t.by[key]))
}
func (t *stubSessions) Detach(key ClientKey, s Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.by[key] = slices.DeleteFunc(slices.Clone(t.by[key]), func(x Session) bool { return x == s })
}
func (t *stubSessions) Of(key ClientKey) []Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.by[key]
}
func (t *stubSessions) Online(key ClientKey) bool { return len(t.Of(key)) > 0 }
func (t *stubSessions) Len() int                  { return len(t.by) }
func (t *stubSessions) Each(realm *string, f func(ClientKey, Session) bool) {
	for key, list := range t.by {
		for _, s := range list {
			if (realm == nil || key.Realm == *realm) && !f(key, s) {
				return
			}
		}
	}
}

func (t *stubSessions) Placed(m *Message, to []Placement) {
	for _, p := range to {
		for _, s := range t.Of(p.Client) {
			s.Offer(m, p.Seq)
		}
	}
}

type stubSession struct {
	mu      sync.Mutex
	full    bool
	offers  []uint64
	live    []int64
	notices []Notice
	closed  CloseCode
	info    SessionInfo
}

func (s *stubSession) Offer(_ *Message, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offers = append(s.offers, seq)
}

func (s *stubSession) Live(m *Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.full {
		s.live = append(s.live, m.ID)
	}
	return !s.full
}

func (s *stubSession) Notify(n Notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notices = append(s.notices, n)
}
func (s *stubSession) Close(c CloseCode, _ string) { s.closed = c }
func (s *stubSession) Info() SessionInfo           { return s.info }

// stubElsewhere is other nodes with sessions that a test sets. It remembers
// what it was told.
type stubElsewhere struct {
	mu       sync.Mutex
	sessions map[ClientKey][]RemoteSession
	deaf     bool  // knows who is there; nobody answers
	err      error // of every call that has one

	hinted   []Placement
	covered  []ClientKey
	live     [][]string // the clients of each call
	messages []*Message // of each call
	notified map[ClientKey][]Notice
	closed   []Closing
	changed  []string
}

func (e *stubElsewhere) Hint(to []Placement) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hinted = append(e.hinted, to...)
}

func (e *stubElsewhere) Cover(_ *Message, to []ClientKey) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.covered = append(e.covered, to...)
}

func (e *stubElsewhere) Live(ctx context.Context, realm string, clients []string, m *Message) (reached []string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.live = append(e.live, clients)
	e.messages = append(e.messages, m)
	if e.deaf {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, id := range clients {
		if e.err == nil && len(e.sessions[ClientKey{realm, id}]) > 0 {
			reached = append(reached, id)
		}
	}
	return reached, e.err
}

func (e *stubElsewhere) Notify(clients []ClientKey, n Notice) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.notified == nil {
		e.notified = map[ClientKey][]Notice{}
	}
	for _, key := range clients {
		e.notified[key] = append(e.notified[key], n)
	}
}

func (e *stubElsewhere) Online(key ClientKey) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.sessions[key]) > 0
}

func (e *stubElsewhere) Sessions(ctx context.Context, keys []ClientKey) ([][]RemoteSession, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.deaf {
		<-ctx.Done()
		return make([][]RemoteSession, len(keys)), nil
	}
	if e.err != nil {
		return nil, e.err
	}
	out := make([][]RemoteSession, len(keys))
	for i, key := range keys {
		out[i] = e.sessions[key]
	}
	return out, nil
}

func (e *stubElsewhere) Close(_ context.Context, c Closing) (n int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = append(e.closed, c)
	for _, s := range e.sessions[c.Client] {
		if e.err == nil && c.Matches(s.SessionInfo) {
			n++
		}
	}
	return n, e.err
}

func (e *stubElsewhere) GroupChanged(realm, group string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.changed = append(e.changed, realm+"/"+group)
}

type stubAuthority struct {
	rec token.Record
	err error
}

func (a *stubAuthority) Mint(_ context.Context, r token.MintRequest) (string, token.Record, error) {
	return "minted", token.Record{ID: "j", Realm: r.Realm, Client: r.Client}, a.err
}

func (a *stubAuthority) Check(context.Context, string) (token.Record, error) { return a.rec, a.err }

func (a *stubAuthority) Revoked(context.Context, token.Record) (bool, error) {
	return a.rec.Revoked, a.err
}

func (a *stubAuthority) MaybeRefresh(context.Context, token.Record) (string, error) { return "", nil }

type stubKeys struct {
	key token.Key
	err error
}

func (k *stubKeys) Check(context.Context, string) (token.Key, error) { return k.key, k.err }

type rig struct {
	store     *stubStore
	sessions  *stubSessions
	elsewhere *stubElsewhere
	authority *stubAuthority
	keys      *stubKeys
	noIDs     bool
	*Service
}

func newRig(t *testing.T) *rig {
	t.Helper()
	b := &rig{
		store:     &stubStore{known: map[ClientKey]bool{}},
		sessions:  &stubSessions{by: map[ClientKey][]Session{}},
		elsewhere: &stubElsewhere{sessions: map[ClientKey][]RemoteSession{}},
		authority: &stubAuthority{},
		keys:      &stubKeys{},
	}
	id := int64(1000)
	b.Service = New(Parts{
		Config: DefaultConfig(), Store: b.store, Sessions: b.sessions, Elsewhere: b.elsewhere, Authority: b.authority, Keys: b.keys,
		NewID: func() (int64, error) {
			if b.noIDs {
				return 0, errors.New("the lease is over")
			}
			id++
			return id, nil
		}, Now: time.Now,
		Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	})
	return b
}

// start runs the service until stop.
func (b *rig) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	return func() { cancel(); <-done }
}

func (s *stubStore) Release(context.Context, time.Time, int) (int, error) { return 0, nil }
func (s *stubStore) Expand(context.Context, int) (int, error)             { return 0, nil }
func (s *stubStore) Expire(context.Context, time.Time, int) (int, error)  { return 0, nil }
func (s *stubStore) Sweep(context.Context, time.Time, int) (int, error)   { return 0, nil }
