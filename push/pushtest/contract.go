// Package pushtest holds the contract suites of the storage ports: what any
// implementation of them must do, as tests that run on the real thing.
//
// Read first: [Opener], which an implementation provides, and [All]. Each suite
// opens a store per test, with its own clock. The suites use the ports alone,
// so that they say nothing about how an implementation does it.
package pushtest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// Store is every storage port.
type Store interface {
	push.Mailboxes
	push.Pushes
	push.Clients
	push.Groups
	push.Chores
	token.OutsideRecords
	token.Keys
}

// Options are what a test wants of the store that it opens.
type Options struct {
	Config   push.Config
	Now      func() time.Time // for everything that depends on the time
	Listener push.CommitListener
}

// Opener opens an empty store and sees to its end when the test is over.
// reopen closes it and opens the same data again.
type Opener func(t *testing.T, o Options) (s Store, reopen func() Store)

// All runs every suite.
func All(t *testing.T, open Opener) {
	t.Run("Mailboxes", func(t *testing.T) { Mailboxes(t, open) })
	t.Run("Accept", func(t *testing.T) { Accept(t, open) })
	t.Run("Quotas", func(t *testing.T) { Quotas(t, open) })
	t.Run("Pushes", func(t *testing.T) { Pushes(t, open) })
	t.Run("Clients", func(t *testing.T) { Clients(t, open) })
	t.Run("Groups", func(t *testing.T) { Groups(t, open) })
	t.Run("Chores", func(t *testing.T) { Chores(t, open) })
	t.Run("Records", func(t *testing.T) { Records(t, open) })
	t.Run("Keys", func(t *testing.T) { Keys(t, open) })
}

// world is a store under test, its clock, and what its listener heard.
type world struct {
	*testing.T
	ctx    context.Context
	s      Store
	reopen func() Store

	mu    sync.Mutex
	now   time.Time
	id    int64
	heard []heard
}

type heard struct {
	message *push.Message
	to      []push.Placement
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newWorld(t *testing.T, open Opener, change ...func(*push.Config)) *world {
	t.Helper()
	w := &world{T: t, ctx: t.Context(), now: start, id: 1 << 40}
	o := Options{Config: push.DefaultConfig(), Now: w.clock, Listener: w}
	for _, c := range change {
		c(&o.Config)
	}
	s, reopen := open(t, o)
	w.s = s
	w.reopen = func() Store { w.s = reopen(); return w.s }
	return w
}

// Placed implements [push.CommitListener].
func (w *world) Placed(m *push.Message, to []push.Placement) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = append(w.heard, heard{m, to})
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) nextID() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.id++
	return w.id
}

func key(id string) push.ClientKey { return push.ClientKey{ID: id} }

func (w *world) register(ids ...string) {
	w.Helper()
	for _, id := range ids {
		must(w, w.s.Register(w.ctx, key(id), w.clock()))
	}
}

// registerMany registers name-0000 and so on, together.
func (w *world) registerMany(name string, n int) []string {
	w.Helper()
	ids := make([]string, n)
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%04d", name, i)
		wg.Go(func() { errs <- w.s.Register(w.ctx, key(ids[i]), w.clock()) })
	}
	wg.Wait()
	for range ids {
		must(w, <-errs)
	}
	return ids
}

// envelope is a push to the target that lives for an hour.
func (w *world) envelope(to push.Target, change ...func(*push.Envelope)) *push.Envelope {
	now := w.clock()
	e := &push.Envelope{
		ID: w.nextID(), Accepted: now, Target: to, Topic: "t", Size: 10,
		Expires: now.Add(time.Hour), Priority: push.DefaultPriority, Store: push.StoreAlways, Seal: push.SealAuto,
	}
	for _, c := range change {
		c(e)
	}
	e.Body = push.BuildBody(push.BodyFields{ID: e.ID, Sent: now, Topic: e.Topic, Data: []byte(`"<é&\u0000>"`), Expires: e.Expires})
	return e
}

func one(id string) push.Target { return push.Target{Clients: []string{id}} }

// accept pushes one envelope, whose outcome must not be an error.
func (w *world) accept(e *push.Envelope) push.Outcome {
	w.Helper()
	o := w.try(e)
	if o.Err != nil {
		w.Fatalf("push %d was refused: %v", e.ID, o.Err)
	}
	return o
}

// try pushes one envelope, whatever becomes of it.
func (w *world) try(e *push.Envelope) push.Outcome {
	w.Helper()
	out, err := w.s.Accept(w.ctx, []*push.Envelope{e})
	must(w, err)
	if len(out) != 1 {
		w.Fatalf("Accept of one envelope gave %d outcomes", len(out))
	}
	return out[0]
}

// push pushes to one client and answers the push's ID.
func (w *world) push(client string, change ...func(*push.Envelope)) int64 {
	w.Helper()
	e := w.envelope(one(client), change...)
	w.accept(e)
	return e.ID
}

func (w *world) ack(client string, seq uint64, failed ...push.FailedEntry) {
	w.Helper()
	must(w, w.s.Ack(w.ctx, []push.Ack{{Client: key(client), Seq: seq, Failed: failed, At: w.clock()}}))
}

func (w *world) mailbox(client string) push.Mailbox {
	w.Helper()
	m, err := w.s.Open(w.ctx, key(client))
	must(w, err)
	return m
}

// state is the push's state for its one client.
func (w *world) state(id int64) push.State {
	w.Helper()
	st, err := w.s.Status(w.ctx, nil, id, push.PageQuery{})
	must(w, err)
	if len(st.Clients) != 1 {
		w.Fatalf("push %d has %d clients, want 1: %+v", id, len(st.Clients), st)
	}
	return st.Clients[0].State
}

// places tells all of a mailbox after a sequence, as "1:id 2-3:expired".
func (w *world) places(client string, after uint64) string {
	w.Helper()
	p, err := w.s.Read(w.ctx, key(client), after, 10_000, 1<<30)
	must(w, err)
	text := ""
	for _, it := range p.Items {
		if text != "" {
			text += " "
		}
		switch {
		case it.Message != nil:
			text += fmt.Sprintf("%d:%d", it.Seq, it.Message.ID)
		case it.Seq == it.To:
			text += fmt.Sprintf("%d:%s", it.Seq, it.Reason)
		default:
			text += fmt.Sprintf("%d-%d:%s", it.Seq, it.To, it.Reason)
		}
	}
	return text
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s is %v, want %v", what, got, want)
	}
}

func wantCode(t testing.TB, what string, err error, code push.Code) {
	t.Helper()
	if !push.HasCode(err, code) {
		t.Fatalf("%s answers %v, want %s", what, err, code.Info().Name)
	}
}

// withErr makes an outcome's *Error an error that is nil where it is.
func withErr(o push.Outcome) error {
	if o.Err == nil {
		return nil
	}
	return o.Err
}
