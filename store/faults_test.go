package store

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// contextOf is a context that outlives the test's own, for its end.
func contextOf(t *testing.T) context.Context { return context.WithoutCancel(t.Context()) }

type listener struct {
	mu  sync.Mutex
	ids []int64
}

func (l *listener) Placed(m *push.Message, _ []push.Placement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids = append(l.ids, m.ID)
}

func openFor(t *testing.T, client string) (*Store, *listener) {
	t.Helper()
	l := &listener{}
	s, err := Open(t.Context(), Config{Path: t.TempDir() + "/sunzi.db", Listener: l})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Register(t.Context(), push.ClientKey{ID: client}, time.Now()); err != nil {
		t.Fatal(err)
	}
	return s, l
}

func envelope(id int64, client string, body int) *push.Envelope {
	now := time.Now()
	return &push.Envelope{
		ID: id, Accepted: now, Expires: now.Add(time.Hour), Target: push.Target{Clients: []string{client}},
		Body: []byte(`"` + strings.Repeat("x", body) + `"`), Size: body, Priority: push.DefaultPriority, Store: push.StoreAlways,
	}
}

// hold keeps the writer busy until release is called: what comes meanwhile
// joins one commit group.
func hold(t *testing.T, s *Store) (release func()) {
	t.Helper()
	busy, free, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.do(contextOf(t), 0, func(*tx) error {
			close(busy)
			<-free
			return nil
		})
	}()
	<-busy
	return func() {
		close(free)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// waitQueued returns when n operations wait for the writer.
func waitQueued(t *testing.T, s *Store, n int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); len(s.queue) < n; {
		if time.Now().After(end) {
			t.Fatalf("%d operations wait, want %d", len(s.queue), n)
		}
		time.Sleep(100 * time.Microsecond) // polls a condition, with a deadline
	}
}

// together runs the calls in one commit group and answers their errors.
func together(t *testing.T, s *Store, calls ...func() error) []error {
	t.Helper()
	release := hold(t, s)
	errs := make([]error, len(calls))
	var wg sync.WaitGroup
	for i, call := range calls {
		wg.Go(func() { errs[i] = call() })
		waitQueued(t, s, i+1)
	}
	release()
	wg.Wait()
	return errs
}

func acceptOne(s *Store, e *push.Envelope) error {
	out, err := s.Accept(context.Background(), []*push.Envelope{e})
	if err == nil && out[0].Err != nil {
		return out[0].Err
	}
	return err
}

func headOf(t *testing.T, s *Store, client string) uint64 {
	t.Helper()
	m, err := s.Open(contextOf(t), push.ClientKey{ID: client})
	if err != nil {
		t.Fatal(err)
	}
	return m.Head
}

// patient is a listener that gives an answer the time to come too early.
type patient struct{ answered, early chan struct{} }

func (p patient) Placed(*push.Message, []push.Placement) {
	select {
	case <-p.answered:
		close(p.early)
	case <-time.After(20 * time.Millisecond):
	}
}

func TestTheListenerHearsBeforeTheAnswer(t *testing.T) {
	s, _ := openFor(t, "a")
	p := patient{make(chan struct{}), make(chan struct{})}
	s.SetListener(p)
	if err := acceptOne(s, envelope(1, "a", 10)); err != nil {
		t.Fatal(err)
	}
	close(p.answered)
	if err := acceptOne(s, envelope(2, "nobody", 10)); err == nil { // the writer is past the first
		t.Fatal("a push to nobody was taken")
	}
	select {
	case <-p.early:
		t.Fatal("the push was answered before the listener had heard")
	default:
	}
}

func TestOneBadOperationFailsNobodyElse(t *testing.T) {
	s, l := openFor(t, "a")
	errs := together(t, s,
		func() error { return acceptOne(s, envelope(1, "a", 10)) },
		func() error {
			return s.do(context.Background(), 0, func(t *tx) error {
				return t.exec(`INSERT INTO body (id, msg) VALUES (1, NULL)`)
			})
		},
		func() error { return acceptOne(s, envelope(2, "a", 10)) },
	)
	if errs[0] != nil || errs[2] != nil {
		t.Fatalf("the others answer %v and %v", errs[0], errs[2])
	}
	if !push.HasCode(errs[1], push.CodeNoStore) {
		t.Fatalf("the bad one answers %v", errs[1])
	}
	if h := headOf(t, s, "a"); h != 2 || len(l.ids) != 2 || l.ids[0] != 1 || l.ids[1] != 2 {
		t.Fatalf("the head is %d, the listener heard %v", h, l.ids)
	}
}

func TestFailedCommitAnswersAllAndTellsNobody(t *testing.T) {
	s, l := openFor(t, "a")
	errs := together(t, s,
		func() error { return acceptOne(s, envelope(1, "a", 10)) },
		func() error { return acceptOne(s, envelope(2, "a", 10)) },
		func() error { // leaves COMMIT without a transaction
			return s.do(context.Background(), 0, func(t *tx) error { return firstError(t.flush(), t.exec(`ROLLBACK`)) })
		},
	)
	for i, err := range errs {
		if !push.HasCode(err, push.CodeNoStore) {
			t.Fatalf("call %d answers %v", i, err)
		}
	}
	if h := headOf(t, s, "a"); h != 0 || len(l.ids) != 0 {
		t.Fatalf("the head is %d, the listener heard %v", h, l.ids)
	}
	if err := acceptOne(s, envelope(3, "a", 10)); err != nil || headOf(t, s, "a") != 1 {
		t.Fatalf("afterwards a push answers %v, the head is %d", err, headOf(t, s, "a"))
	}
}

func TestFullDiskAnswersAllAndTheWriterComesBack(t *testing.T) {
	s, l := openFor(t, "a")
	if err := s.do(t.Context(), 0, func(t *tx) error {
		var pages int
		_, err := t.row(`PRAGMA max_page_count = 1`, nil, &pages) // no less than there are
		return err
	}); err != nil {
		t.Fatal(err)
	}
	errs := together(t, s,
		func() error { return acceptOne(s, envelope(1, "a", 10)) },
		func() error { return acceptOne(s, envelope(2, "a", 200_000)) },
	)
	if !push.HasCode(errs[0], push.CodeNoStore) || !push.HasCode(errs[1], push.CodeNoStore) || len(l.ids) != 0 {
		t.Fatalf("the calls answer %v, the listener heard %v", errs, l.ids)
	}
	if err := acceptOne(s, envelope(3, "a", 200_000)); err != nil { // on a new connection, without the limit
		t.Fatal(err)
	}
	if h := headOf(t, s, "a"); h != 1 {
		t.Fatalf("the head is %d", h)
	}
}

func TestAnEndedCallIsWithdrawnOrUnknown(t *testing.T) {
	s, _ := openFor(t, "a")
	release := hold(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error, 1)
	go func() {
		_, err := s.Accept(ctx, []*push.Envelope{envelope(1, "a", 10)})
		answer <- err
	}()
	waitQueued(t, s, 1)
	cancel()
	if err := <-answer; !push.HasCode(err, push.CodeNoStore) {
		t.Fatalf("a call that waits answers %v", err)
	}
	release()
	if err := acceptOne(s, envelope(2, "a", 10)); err != nil {
		t.Fatal(err)
	}
	if h := headOf(t, s, "a"); h != 1 {
		t.Fatalf("the head is %d: the withdrawn push was placed", h)
	}

	ctx, cancel = context.WithCancel(t.Context())
	free := make(chan struct{})
	go func() {
		answer <- s.do(ctx, 0, func(*tx) error {
			cancel()
			<-free
			return nil
		})
	}()
	if err := <-answer; !push.HasCode(err, push.CodeTimeout) {
		t.Fatalf("a call that was begun answers %v", err)
	}
	close(free)
}

func TestCloseCommitsWhatWaits(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Config{Path: dir + "/sunzi.db"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Register(t.Context(), push.ClientKey{ID: "a"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	release := hold(t, s)
	answer, closed := make(chan error, 1), make(chan error, 1)
	go func() { answer <- acceptOne(s, envelope(1, "a", 10)) }()
	waitQueued(t, s, 1)
	go func() { closed <- s.Close() }()
	<-s.closing
	release()
	if err := errors.Join(<-answer, <-closed); err != nil {
		t.Fatal(err)
	}
	if err := acceptOne(s, envelope(2, "a", 10)); !push.HasCode(err, push.CodeNoStore) {
		t.Fatalf("a closed store answers %v", err)
	}
}

func TestOpenRefusesInOneSentence(t *testing.T) {
	taken := t.TempDir()
	s, err := Open(t.Context(), Config{Path: filepath.Join(taken, "sunzi.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	file, garbage := filepath.Join(t.TempDir(), "file"), filepath.Join(t.TempDir(), "sunzi.db")
	for _, name := range []string{file, garbage} {
		if err := os.WriteFile(name, []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	full := t.TempDir() // a lock that can be opened, but not written
	if err := os.Symlink("/dev/full", filepath.Join(full, "lock")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, says string }{
		"a lock to nowhere": {filepath.Join(full, "sunzi.db"), "can't be written"},
		"a second server":   {filepath.Join(taken, "sunzi.db"), "another server"},
		"a folder's a file": {filepath.Join(file, "sunzi.db"), "not a directory"},
		"no place to write": {"/proc/none/sunzi.db", "can't be made"},
		"garbage":           {garbage, "not a database"},
		"no path":           {"", "no database file"},
	} {
		_, err := Open(t.Context(), Config{Path: c.path})
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q in one sentence", name, err, c.says)
		}
	}
	if _, err := Open(t.Context(), Config{Path: t.TempDir() + "/x.db", Sync: "maybe"}); err == nil {
		t.Error("a made-up sync was taken")
	}
}

func TestSchemaComesUpFromNothingAndANewerOneIsRefused(t *testing.T) {
	cfg := Config{Path: t.TempDir() + "/sunzi.db"}
	have, known, err := Version(t.Context(), cfg)
	if err != nil || have != 0 || known < 1 {
		t.Fatalf("an empty file is at %d of %d, %v", have, known, err)
	}
	from, to, err := Migrate(t.Context(), cfg)
	if err != nil || from != 0 || to != known {
		t.Fatalf("it went from %d to %d, %v", from, to, err)
	}
	if from, to, err = Migrate(t.Context(), cfg); err != nil || from != known || to != known {
		t.Fatalf("then from %d to %d, %v", from, to, err)
	}
	db, err := sql.Open("sqlite", cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "newer sunzi") {
		t.Fatalf("a database of a newer binary: %v", err)
	}
}
