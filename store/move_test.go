package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/seal"
	"github.com/sunzi-push/sunzi/push/token"
)

// moveWorld is a store in a file with something of everything in it.
type moveWorld struct {
	*testing.T
	from, to Config
	now      time.Time
	keyed    *push.Envelope
	ids      []int64
	nextID   int64
	sealing  *seal.Service
}

func newMoveWorld(t *testing.T) *moveWorld {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := func() time.Time { return now }
	sealing := newSealing(t, 1)
	return &moveWorld{T: t, now: now, nextID: 1000, sealing: sealing,
		from: Config{Path: t.TempDir() + "/sunzi.db", Clock: clock, Sealer: sealing},
		to:   Config{DSN: server.dsn(t), Clock: clock, Sealer: sealing}}
}

func (w *moveWorld) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *moveWorld) envelope(target push.Target, data string, change func(*push.Envelope)) *push.Envelope {
	w.nextID++
	e := &push.Envelope{ID: w.nextID, Accepted: w.now, Target: target, Size: len(data), Priority: 3,
		Expires: w.now.Add(24 * time.Hour), Store: push.StoreAlways,
		Body: push.BuildBody(push.BodyFields{ID: w.nextID, Sent: w.now, Data: []byte(`"` + data + `"`)})}
	if change != nil {
		change(e)
	}
	return e
}

func (w *moveWorld) push(s *Store, target push.Target, data string, change func(*push.Envelope)) push.Outcome {
	w.Helper()
	out, err := s.Accept(w.Context(), []*push.Envelope{w.envelope(target, data, change)})
	w.must(err)
	if out[0].Err != nil {
		w.Fatal(out[0].Err)
	}
	w.ids = append(w.ids, out[0].ID)
	return out[0]
}

const moveClients = 1200 // more than [push.ExpandAbove]: a push to the group is a job

func (w *moveWorld) key(i int) push.ClientKey {
	return push.ClientKey{Realm: "shop", ID: clientName(i)}
}

// fill fills the file, and closes it.
func (w *moveWorld) fill() {
	w.Helper()
	ctx := w.Context()
	s, err := Open(ctx, w.from)
	w.must(err)
	defer func() { w.must(s.Close()) }()
	for i := range moveClients {
		w.must(s.Register(ctx, w.key(i), w.now))
		_, _, err := s.Join(ctx, "shop", "all of them", w.key(i).ID)
		w.must(err)
	}
	w.must(s.Register(ctx, push.ClientKey{ID: "  ä 😀"}, w.now))
	_, _, err = s.Leave(ctx, "shop", "all of them", w.key(7).ID)
	w.must(err)
	_, err = s.SetEvents(ctx, "shop", "quiet", true)
	w.must(err)
	number, proof := w.sealing.Proof()
	_, err = s.ClaimWrapKey(ctx, number, proof)
	w.must(err)
	d := &device{key: w.key(9)} // and a client that seals
	(&sealed{Store: s, t: w.T, sealing: w.sealing}).shake(d, crt.KindCRT)
	w.fillMailboxes(s)
	w.push(s, push.Target{Realm: "shop", Clients: []string{d.key.ID}}, long, nil)
	w.must(s.InsertToken(ctx, token.Record{ID: "jti1", Realm: "shop", Client: "c0000", Device: "d", Issued: w.now, Expires: w.now.Add(time.Hour)}))
	w.must(s.InsertToken(ctx, token.Record{ID: "jti2", Realm: "shop", Client: "c0000", Device: "d", Family: "jti1", Issued: w.now, Expires: w.now.Add(time.Hour)}))
	_, err = s.RevokeTokens(ctx, "shop", "c0001", w.now)
	w.must(err)
	realm := "shop"
	w.must(s.InsertKey(ctx, token.Key{ID: "key1", Name: "till", Hash: [32]byte{0, 255, 7}, Scopes: []token.Scope{token.ScopePush}, Realm: &realm, Created: w.now}))
	w.must(s.InsertKey(ctx, token.Key{ID: "key2", Name: "any", Hash: [32]byte{9}, Created: w.now, Revoked: true}))
}

func (w *moveWorld) fillMailboxes(s *Store) {
	one := push.Target{Realm: "shop", Clients: []string{"c0000"}}
	few := push.Target{Realm: "shop", Clients: []string{"c0000", "c0001", "c0002"}}
	w.push(s, one, "short", nil)
	w.push(s, one, strings.Repeat("long ", 300_000), nil)
	w.push(s, push.Target{Clients: []string{"  ä 😀"}}, "ü € 😀", nil)
	w.push(s, few, "shared by three", nil)
	w.push(s, one, "old", func(e *push.Envelope) { e.CollapseKey = "k" })
	w.push(s, one, "new", func(e *push.Envelope) { e.CollapseKey = "k" })
	w.push(s, one, "once", func(e *push.Envelope) {
		e.Idempotency = &push.Idempotency{Key: [32]byte{0, 200, 1}, Body: [32]byte{255}}
		w.keyed = e
	})
	w.push(s, few, "later", func(e *push.Envelope) { e.NotBefore = w.now.Add(time.Hour) })
	if o := w.push(s, push.Target{Realm: "shop", Group: "all of them"}, "to many", nil); !o.Expanding {
		w.Fatal("a push to the group made no job")
	}
	_, err := s.Expand(w.Context(), 500) // and the job is under way
	w.must(err)
	w.must(s.Ack(w.Context(), []push.Ack{
		{Client: w.key(0), Seq: 2, Read: 1, Failed: []push.FailedEntry{{Seq: 2, Code: 17}}, At: w.now},
		{Client: w.key(1), Seq: 1, At: w.now},
	}))
}

// answers is what the ports say about everything in the store.
func (w *moveWorld) answers(s *Store) map[string]any {
	w.Helper()
	ctx := w.Context()
	all := map[string]any{}
	keep := func(name string, v any, err error) {
		w.Helper()
		w.must(err)
		all[name] = v
	}
	keys := []push.ClientKey{{ID: "  ä 😀"}, {ID: "unknown"}}
	for i := range 10 {
		keys = append(keys, w.key(i))
	}
	boxes, err := s.Mailboxes(ctx, keys)
	keep("mailboxes", boxes, err)
	for _, k := range append(keys[:1:1], keys[2:]...) {
		p, err := s.Read(ctx, k, 0, 100, 8<<20)
		for _, it := range p.Items {
			if it.Message != nil && it.Message.Sealed != nil {
				it.Message.Sealed.Prelude = nil // sealed anew by each store
			}
		}
		keep("read "+k.String(), p, err)
		h, err := s.History(ctx, k, push.HistoryQuery{PageQuery: push.PageQuery{Limit: 100}})
		keep("history "+k.String(), h, err)
	}
	for _, id := range w.ids {
		st, err := s.Status(ctx, nil, id, push.PageQuery{Limit: 100})
		keep(fmt.Sprint("status ", id), st, err)
	}
	w.credentials(s, keep)
	for _, name := range []string{"all of them", "quiet"} {
		g, err := s.Group(ctx, "shop", name)
		keep("group "+name, g, err)
		m, _, err := s.Members(ctx, "shop", name, push.PageQuery{Limit: 100})
		keep("members "+name, m, err)
	}
	in, err := s.IsMember(ctx, "shop", "all of them", "c0007")
	keep("left", in, err)
	last, err := s.LastID(ctx)
	keep("last", last, err)
	return all
}

func (w *moveWorld) credentials(s *Store, keep func(string, any, error)) {
	for _, jti := range []string{"jti1", "jti2"} {
		r, err := s.Token(w.Context(), jti)
		keep("token "+jti, r, err)
	}
	before, err := s.RevokedBefore(w.Context(), "shop", "c0001")
	keep("revoked", before, err)
	found, err := s.ListKeys(w.Context())
	keep("keys", found, err)
}

func (w *moveWorld) inFile(path string) map[string]any {
	w.Helper()
	cfg := w.from
	cfg.Path = path
	s, err := Open(w.Context(), cfg)
	w.must(err)
	defer func() { w.must(s.Close()) }()
	return w.answers(s)
}

func (w *moveWorld) same(want, got map[string]any) {
	w.Helper()
	if len(want) < 30 {
		w.Fatalf("only %d answers were compared", len(want))
	}
	for name := range want {
		if !reflect.DeepEqual(want[name], got[name]) {
			w.Errorf("%s: the file answers %.300v, the database %.300v", name, want[name], got[name])
		}
	}
}

func TestMovedStoreAnswersAsTheFileDid(t *testing.T) {
	w := newMoveWorld(t)
	w.fill()
	want := w.inFile(w.from.Path)
	told := map[string]int64{}
	w.must(Move(t.Context(), w.from, w.to, func(table string, rows int64) { told[table] = rows }))
	for _, table := range movedTables {
		if told[table.name] == 0 {
			t.Errorf("nothing of table %s was moved: the test has none of it", table.name)
		}
	}
	s := openMore(t, w.to)
	w.same(want, w.answers(s))
	moved := w.ids
	w.goesOn(s)

	if _, err := Open(t.Context(), w.from); err == nil || !strings.Contains(err.Error(), "no SQLite database") {
		t.Errorf("a server on the moved file answers %v", err)
	}
	note, err := os.ReadFile(w.from.Path)
	if err != nil || !strings.Contains(string(note), MovedPath(w.from.Path)) {
		t.Errorf("the note says %q, %v", note, err)
	}
	if err := Move(t.Context(), w.from, w.to, nil); err == nil || !strings.Contains(err.Error(), "moved already") {
		t.Errorf("a second move answers %v", err)
	}
	w.ids, w.from.Path = moved, MovedPath(w.from.Path)
	w.same(want, w.inFile(w.from.Path))
}

// goesOn pushes to the moved store, and lets what was under way end.
func (w *moveWorld) goesOn(s *Store) {
	w.Helper()
	before, err := s.Open(w.Context(), w.key(0))
	w.must(err)
	o := w.push(s, push.Target{Realm: "shop", Clients: []string{"c0000"}}, "next", nil)
	if len(o.Placed) != 1 || o.Placed[0].Seq != before.Head+1 {
		w.Errorf("after place %d the next push got %+v", before.Head, o.Placed)
	}
	again := *w.keyed
	again.ID = 5000
	out, err := s.Accept(w.Context(), []*push.Envelope{&again})
	w.must(err)
	if !out[0].Duplicate || out[0].ID != w.keyed.ID {
		w.Errorf("the known idempotency key answers %+v", out[0])
	}
	if n, err := s.Expand(w.Context(), 10_000); err != nil || n != moveClients-1-500 {
		w.Errorf("the job under way went on with %d members, %v", n, err)
	}
	if n, err := s.Release(w.Context(), w.now.Add(2*time.Hour), 10); err != nil || n != 1 {
		w.Errorf("%d schedules were released, %v", n, err)
	}
	if n, err := s.Redrive(w.Context(), w.key(0), nil); err != nil || n != 1 {
		w.Errorf("%d dead letters were placed again, %v", n, err)
	}
	w.must(s.Register(w.Context(), push.ClientKey{Realm: "shop", ID: "new"}, w.now))
	var born int64
	w.must(s.read.QueryRowContext(w.Context(), `SELECT born FROM client WHERE client_id = 'new'`).Scan(&born))
	if born != moveClients+2 {
		w.Errorf("the next registration is number %d, want %d", born, moveClients+2)
	}
}

func TestInterruptedMoveKeepsServersOutAndRunsAgain(t *testing.T) {
	w := newMoveWorld(t)
	w.fill()
	want := w.inFile(w.from.Path)
	for _, at := range []string{"client", "offline_message", "revocation"} {
		ctx, cancel := context.WithCancel(t.Context())
		err := Move(ctx, w.from, w.to, func(table string, _ int64) {
			if table == at {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("a move cut off at %s answers %v", at, err)
		}
		if s, err := Open(t.Context(), w.to); err == nil {
			t.Fatalf("a server opens what a move cut off at %s has left: %v", at, s.Close())
		}
	}
	w.must(Move(t.Context(), w.from, w.to, nil))
	w.same(want, w.answers(openMore(t, w.to)))
}

func TestMoveCutOffBeforeItsNoteOnlyPutsTheFileAside(t *testing.T) {
	w := newMoveWorld(t)
	w.fill()
	cfg, err := w.from.withDefaults()
	w.must(err)
	to, err := w.to.withDefaults()
	w.must(err)
	w.must(fillTarget(t.Context(), cfg, to, nil))
	s := openMore(t, w.to)
	w.push(s, push.Target{Realm: "shop", Clients: []string{"c0000"}}, "already served", nil)
	want := w.answers(s)
	w.must(Move(t.Context(), w.from, w.to, nil))
	w.same(want, w.answers(s))
	if _, err := os.Stat(MovedPath(w.from.Path)); err != nil {
		t.Error(err)
	}
}

func TestMoveRefusesFileServedAfterItWasMoved(t *testing.T) {
	w := newMoveWorld(t)
	w.fill()
	w.must(Move(t.Context(), w.from, w.to, nil))
	w.must(os.Rename(MovedPath(w.from.Path), w.from.Path))
	s, err := Open(t.Context(), w.from)
	w.must(err)
	w.push(s, push.Target{Realm: "shop", Clients: []string{"c0000"}}, "to the file", nil)
	w.must(s.Close())
	w.refused("served since")
}

func (w *moveWorld) refused(because string) {
	w.Helper()
	err := Move(w.Context(), w.from, w.to, nil)
	if err == nil || !strings.Contains(err.Error(), because) {
		w.Errorf("the move answers %v, want %q", err, because)
	}
}

func TestMoveRefusals(t *testing.T) {
	w := newMoveWorld(t)
	w.refused("there is no store at")
	s, err := Open(t.Context(), w.from)
	w.must(err)
	w.refused(fmt.Sprintf("another server (process %d) has", os.Getpid()))
	w.must(s.Close())

	target := openMore(t, w.to)
	lease, err := target.LeaseNode(t.Context(), "node", time.Minute)
	w.must(err)
	w.refused("servers run on")
	lease.Until = lease.Now
	w.must(target.ReleaseLease(t.Context(), lease))
	w.must(target.Register(t.Context(), push.ClientKey{ID: "a"}, w.now))
	w.refused("is not empty (table client)")
	w.must(target.Forget(t.Context(), push.ClientKey{ID: "a"}))

	db, err := sql.Open("sqlite", w.from.Path)
	w.must(err)
	_, err = db.ExecContext(t.Context(), `DELETE FROM goose_db_version WHERE version_id = (SELECT MAX(version_id) FROM goose_db_version)`)
	w.must(errors.Join(err, db.Close()))
	w.refused("run sunzi migrate")
}

// TestMoveKnowsEveryTable fails where the schema got a table or a column that
// would stay behind.
func TestMoveKnowsEveryTable(t *testing.T) {
	s := openMore(t, Config{DSN: server.dsn(t)})
	rows, err := s.read.QueryContext(t.Context(), `SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE()`)
	type column struct{ table, name string }
	all, err := collect(rows, err, func(r *sql.Rows, c *column) error { return r.Scan(&c.table, &c.name) })
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	known := map[string][]string{}
	for _, table := range movedTables {
		known[table.name] = table.columns
	}
	for _, c := range all {
		if slices.Contains([]string{"store", "commit_token", "node", "retired", "goose_db_version"}, c.table) {
			continue
		}
		if !slices.Contains(known[c.table], c.name) && !slices.Contains(known[c.table], "`"+c.name+"`") {
			t.Errorf("%s.%s is not moved", c.table, c.name)
		}
	}
}
