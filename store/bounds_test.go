package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// openGroup is a store without flushes, with a group g of so many members.
func openGroup(t *testing.T, members int) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "sunzi.db"), Sync: SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range members {
		id := fmt.Sprintf("c%04d", i)
		if err := s.Register(t.Context(), push.ClientKey{ID: id}, time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Join(t.Context(), "", "g", id); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Of what one bulk push multiplies by its groups, one commit group makes a
// part and jobs the rest, and everybody gets everything once.
func TestABulkPushToGroupsIsBoundedByCommitGroup(t *testing.T) {
	const members, pushes = push.ExpandAbove, 8
	s := openGroup(t, members)
	envs := make([]*push.Envelope, pushes)
	for i := range envs {
		envs[i] = envelope(int64(i+1), "", 1)
		envs[i].Target = push.Target{Group: "g"}
		if i%2 == 1 {
			envs[i].Target = push.Target{All: true}
		}
	}
	out, err := s.Accept(t.Context(), envs)
	if err != nil {
		t.Fatal(err)
	}
	placed, expanding := 0, 0
	for i, o := range out {
		if o.Err != nil || o.Members != members || o.Expanding == (len(o.Placed) > 0) {
			t.Fatalf("push %d: %d members, %d placed, expanding %v, %v", i+1, o.Members, len(o.Placed), o.Expanding, o.Err)
		}
		placed += len(o.Placed)
		if o.Expanding {
			expanding++
		}
	}
	if placed > inlinePlaces || placed < inlinePlaces-members || expanding == 0 {
		t.Fatalf("one commit group made %d entries and left %d pushes to jobs; the bound is %d", placed, expanding, inlinePlaces)
	}
	for n := members; n == members; {
		if n, err = s.Expand(t.Context(), members); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"c0000", "c0999"} {
		if h := headOf(t, s, id); h != pushes {
			t.Errorf("%s got %d of %d pushes", id, h, pushes)
		}
	}
}

// SQLite reads a row up to the last column asked for, and long values lie on
// pages of their own: counting passes over bodies only where they stand behind
// what is counted.
func TestBodiesStandBehindWhatIsCounted(t *testing.T) {
	s := openGroup(t, 0)
	var last string
	if _, err := s.row(t.Context(), `SELECT name FROM pragma_table_info('offline_message') ORDER BY cid DESC LIMIT 1`, nil, &last); err != nil {
		t.Fatal(err)
	}
	if last != "msg" {
		t.Fatalf("the last column of offline_message is %s, want msg", last)
	}
}
