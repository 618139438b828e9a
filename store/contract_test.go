package store

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sunzi-push/sunzi/push/pushtest"
)

func TestContract(t *testing.T) {
	seen := &queries{texts: make(map[string]struct{})}
	pushtest.All(t, func(t *testing.T, o pushtest.Options) (pushtest.Store, func() pushtest.Store) {
		return openContract(t, o, seen)
	})
	t.Run("every query is served by an index", func(t *testing.T) { seen.explain(t) })
}

func openContract(t *testing.T, o pushtest.Options, seen *queries) (pushtest.Store, func() pushtest.Store) {
	cfg := Config{Path: t.TempDir() + "/sunzi.db", Limits: o.Config, Clock: o.Now, Listener: o.Listener}
	var s *Store
	end := func() {
		seen.collect(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	open := func() pushtest.Store {
		var err error
		if s, err = Open(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		return s
	}
	open()
	t.Cleanup(func() { end() })
	return s, func() pushtest.Store {
		end()
		return open()
	}
}

// queries gathers what the suites made the store prepare.
type queries struct {
	mu    sync.Mutex
	texts map[string]struct{}
}

func (q *queries) collect(t *testing.T, s *Store) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.stmts.Range(func(text, _ any) bool {
		q.texts[text.(string)] = struct{}{}
		return true
	})
	if err := s.do(contextOf(t), 0, func(tx *tx) error {
		for text := range tx.w.stmts {
			q.texts[text] = struct{}{}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// allowedScans are the queries that may read a table or an index whole: each
// is bounded by LIMIT, or reads a table that stays small, or runs once.
var allowedScans = []string{
	`FROM store`,                     // one row
	`FROM job`,                       // pushes that are being expanded now
	`FROM api_key ORDER BY id LIMIT`, // keys, made by people
}

// explain asks SQLite for each query's plan, and refuses those that read a
// table whole.
func (q *queries) explain(t *testing.T) {
	s, err := Open(t.Context(), Config{Path: t.TempDir() + "/sunzi.db"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	checked := 0
	for _, text := range slices.Sorted(maps.Keys(q.texts)) {
		verb, _, _ := strings.Cut(strings.TrimSpace(text), " ")
		if !slices.Contains([]string{"SELECT", "UPDATE", "DELETE"}, verb) {
			continue
		}
		plan := planOf(t, s, text)
		checked++
		for _, step := range plan {
			wide := strings.Contains(step, "(realm=?)") && !strings.Contains(step, "client_born")
			whole := wide || strings.HasPrefix(step, "SCAN ") && !strings.HasPrefix(step, "SCAN old") && !strings.HasPrefix(step, "SCAN CONSTANT")
			allowed := slices.ContainsFunc(allowedScans, func(a string) bool { return strings.Contains(text, a) })
			if whole && !allowed {
				t.Errorf("%s\n\treads whole: %s", text, strings.Join(plan, "; "))
			}
		}
	}
	if checked < 50 {
		t.Fatalf("only %d queries were seen: the suites did not run", checked)
	}
}

func planOf(t *testing.T, s *Store, text string) []string {
	t.Helper()
	args := make([]any, strings.Count(text, "?"))
	rows, err := s.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}
