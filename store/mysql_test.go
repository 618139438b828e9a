package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/pushtest"
)

func TestContractOnMySQL(t *testing.T) {
	seen := &queries{texts: make(map[string]struct{})}
	pushtest.All(t, func(t *testing.T, o pushtest.Options) (pushtest.Store, func() pushtest.Store) {
		cfg := Config{DSN: server.dsn(t), Limits: o.Config, Clock: o.Now, Listener: o.Listener}
		s := openMore(t, cfg)
		end := func() {
			seen.collect(t, s)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		t.Cleanup(func() { end() })
		return s, func() pushtest.Store {
			end()
			var err error
			if s, err = Open(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
	t.Run("every query is served by an index", func(t *testing.T) { seen.explainMySQL(t) })
}

// explainMySQL refuses queries for which the database knows no index: they
// would read the whole table, and lock it. What it would choose for tables that
// are empty says nothing.
func (q *queries) explainMySQL(t *testing.T) {
	s := openMore(t, Config{DSN: server.dsn(t)})
	checked := 0
	for _, text := range slices.Sorted(maps.Keys(q.texts)) {
		verb, _, _ := strings.Cut(strings.TrimSpace(text), " ")
		if !slices.Contains([]string{"SELECT", "UPDATE", "DELETE"}, verb) ||
			slices.ContainsFunc(append(allowedScans, "store SET born"), func(a string) bool { return strings.Contains(text, a) }) {
			continue
		}
		checked++
		var args []any
		for before := range strings.SplitSeq(text[:strings.LastIndex(text, "?")+1], "?") {
			args = append(args, "1") // a number would not be looked up among names
			if strings.HasSuffix(before, "LIMIT ") {
				args[len(args)-1] = 1
			}
		}
		args = args[:strings.Count(text, "?")]
		rows, err := s.read.QueryContext(t.Context(), "EXPLAIN "+text, args...)
		type step struct{ table, how, keys, extra sql.NullString }
		steps, err := collect(rows, err, func(r *sql.Rows, v *step) error {
			var id, kind, key, length, ref, n sql.NullString
			return r.Scan(&id, &kind, &v.table, &v.how, &v.keys, &key, &length, &ref, &n, &v.extra)
		})
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		for _, st := range steps {
			if st.how.String == "ALL" && !st.keys.Valid {
				t.Errorf("%s\n\treads whole: %s", text, st.table.String)
			}
		}
	}
	if checked < 50 {
		t.Fatalf("only %d queries were seen: the suites did not run", checked)
	}
}

// openMore opens one more store on the database; the test's end closes it.
func openMore(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// openTwo opens two stores on one database, with some clients c0000 and so on.
func openTwo(t *testing.T, clients int) [2]*Store {
	t.Helper()
	cfg := Config{DSN: server.dsn(t)}
	two := [2]*Store{openMore(t, cfg), openMore(t, cfg)}
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			if err := two[i%2].Register(t.Context(), push.ClientKey{ID: clientName(i)}, time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return two
}

func clientName(i int) string { return fmt.Sprintf("c%04d", i) }

// idsOf are the pushes in a mailbox, whose places must have no holes.
func idsOf(t *testing.T, s *Store, client string) map[int64]int {
	t.Helper()
	p, err := s.Read(contextOf(t), push.ClientKey{ID: client}, 0, 10_000, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	ids := make(map[int64]int)
	for i, it := range p.Items {
		if it.Message == nil || it.Seq != uint64(i+1) {
			t.Fatalf("place %d of %s is %+v", i+1, client, it)
		}
		ids[it.Message.ID]++
	}
	if head := headOf(t, s, client); head != uint64(len(p.Items)) {
		t.Fatalf("the head of %s is %d, with %d entries", client, head, len(p.Items))
	}
	return ids
}

func TestTwoServersPlaceEveryPushOnceAndWithoutHoles(t *testing.T) {
	const clients, callers, pushes = 6, 8, 40
	two := openTwo(t, clients)
	var mu sync.Mutex
	want := make(map[string]map[int64]int)
	acked := make(map[string]uint64)
	for i := range clients {
		want[clientName(i)] = make(map[int64]int)
	}
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for n := range pushes {
				id := int64(1 + caller*pushes + n)
				e := envelope(id, "", 20)
				e.Target.Clients = e.Target.Clients[:0]
				for _, i := range rand.Perm(clients)[:1+rand.IntN(3)] {
					e.Target.Clients = append(e.Target.Clients, clientName(i))
				}
				out, err := two[caller%2].Accept(t.Context(), []*push.Envelope{e})
				if err != nil || out[0].Err != nil {
					t.Errorf("push %d: %+v, %v", id, out, err)
					return
				}
				at := out[0].Placed[0] // an ack changes the row that pushes change
				if err := two[n%2].Ack(t.Context(), []push.Ack{{Client: at.Client, Seq: at.Seq}}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				least := max(acked[at.Client.ID], at.Seq)
				acked[at.Client.ID] = least
				mu.Unlock()
				if m, err := two[0].Open(t.Context(), at.Client); err != nil || m.Cursor < least {
					t.Errorf("%s acked up to %d, its cursor is %d, %v", at.Client.ID, least, m.Cursor, err)
				}
				mu.Lock()
				for _, c := range e.Target.Clients {
					want[c][id]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for client, ids := range want {
		got := idsOf(t, two[0], client)
		for id := range ids {
			if got[id] != 1 {
				t.Errorf("%s has push %d %d times", client, id, got[id])
			}
		}
		if m, err := two[1].Open(t.Context(), push.ClientKey{ID: client}); err != nil || m.Cursor != acked[client] {
			t.Errorf("%s acked up to %d, its cursor is %d, %v", client, acked[client], m.Cursor, err)
		}
		if len(got) != len(ids) {
			t.Errorf("%s has %d pushes, %d were accepted", client, len(got), len(ids))
		}
	}
}

func TestOneKeyOnTwoServersIsOnePush(t *testing.T) {
	two := openTwo(t, 1)
	const keys = 30
	for k := range keys {
		var out [2][]push.Outcome
		var errs [2]error
		var wg sync.WaitGroup
		for i, s := range two {
			wg.Go(func() {
				e := envelope(int64(1+2*k+i), clientName(0), 20)
				e.Idempotency = &push.Idempotency{Key: [32]byte{byte(k)}}
				out[i], errs[i] = s.Accept(t.Context(), []*push.Envelope{e})
			})
		}
		wg.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		a, b := out[0][0], out[1][0]
		if a.ID != b.ID || a.Duplicate == b.Duplicate {
			t.Fatalf("key %d was answered %+v and %+v", k, a, b)
		}
	}
	if got := idsOf(t, two[1], clientName(0)); len(got) != keys {
		t.Fatalf("%d pushes of %d keys", len(got), keys)
	}
}

func TestTwoServersDoAChoreOnce(t *testing.T) {
	const clients, scheduled = push.ExpandAbove + 1, 100
	two := openTwo(t, clients)
	due := time.Now().Add(time.Hour)
	for i := range scheduled {
		e := envelope(int64(i+1), clientName(0), 20)
		e.NotBefore, e.Expires = due, due.Add(time.Hour)
		if err := acceptOne(two[0], e); err != nil {
			t.Fatal(err)
		}
	}
	all := envelope(1000, "", 20)
	all.Target = push.Target{All: true}
	if err := acceptOne(two[0], all); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range two {
		wg.Go(func() {
			if _, err := s.Release(ctx, due, 1000); err != nil {
				t.Error(err)
			}
			for n := 1; n > 0; {
				var err error
				if n, err = s.Expand(ctx, 300); err != nil {
					t.Error(err)
				}
			}
			if _, err := s.Sweep(ctx, due, 1000); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := idsOf(t, two[0], clientName(0)); len(got) != scheduled+1 {
		t.Errorf("%d pushes of %d", len(got), scheduled+1)
	}
	if got := idsOf(t, two[1], clientName(clients-1)); len(got) != 1 || got[1000] != 1 {
		t.Errorf("the last client has %v", got)
	}
}

func TestNamesAreComparedAsBytes(t *testing.T) {
	s := openTwo(t, 0)[0]
	for _, id := range []string{"a", "A", "á", "aÌ"} {
		if err := s.Register(t.Context(), push.ClientKey{ID: id}, time.Now()); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := s.Open(t.Context(), push.ClientKey{ID: "a "}); !push.HasCode(err, push.CodeNoClient) {
		t.Errorf("a name with a space at its end: %v", err)
	}
}
