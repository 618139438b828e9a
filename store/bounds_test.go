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

// Going through a mailbox's entries reads each row whole, with the pages that a
// long value goes on: long bodies must not be in it.
func TestLongBodiesStandApartAndGoWithTheirEntry(t *testing.T) {
	s := openGroup(t, 1)
	alice := push.ClientKey{ID: "c0000"}
	long := func(id int64, key string) *push.Envelope {
		e := envelope(id, alice.ID, 2*inlineBody)
		e.CollapseKey = key
		return e
	}
	count := func(query string) (n int) {
		t.Helper()
		if _, err := s.row(t.Context(), query, nil, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	expired := long(5, "")
	expired.Expires = expired.Accepted.Add(time.Hour)
	for _, e := range []*push.Envelope{long(1, ""), long(2, "k"), long(3, "k"), long(4, ""), expired} {
		if err := acceptOne(s, e); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(`SELECT COUNT(*) FROM offline_message WHERE msg IS NOT NULL`); n != 0 {
		t.Fatalf("%d long bodies stand in their entries", n)
	}
	if n := count(`SELECT COUNT(*) FROM body`); n != 4 {
		t.Fatalf("%d bodies are kept, want 4: one was collapsed", n)
	}
	p, err := s.Read(t.Context(), alice, 0, 10, 1<<20)
	if err != nil || len(p.Items) != 5 || string(p.Items[0].Message.Body) != string(long(1, "").Body) {
		t.Fatalf("the mailbox reads %+v, %v", p, err)
	}
	if _, err := s.Cancel(t.Context(), nil, 4); err != nil {
		t.Fatal(err)
	}
	if n := count(`SELECT COUNT(*) FROM body WHERE id = 4`); n != 0 {
		t.Fatal("a cancelled push left its body")
	}
	// A redriven dead letter keeps its body.
	if err := s.Ack(t.Context(), []push.Ack{{Client: alice, Seq: 1, Failed: []push.FailedEntry{{Seq: 1, Code: 7}}}}); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Redrive(t.Context(), alice, nil); err != nil || n != 1 {
		t.Fatalf("%d were redriven, %v", n, err)
	}
	if p, err = s.Read(t.Context(), alice, 5, 10, 1<<20); err != nil || len(p.Items) != 1 || len(p.Items[0].Message.Body) != len(long(1, "").Body) {
		t.Fatalf("the redriven letter reads %+v, %v", p, err)
	}
	if _, err := s.Expire(t.Context(), time.Now().Add(2*time.Hour), 100); err != nil {
		t.Fatal(err)
	}
	if n := count(`SELECT COUNT(*) FROM body`); n != 0 {
		t.Fatalf("%d bodies outlived their TTL", n)
	}
	if err := s.Forget(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
}
