package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// copies is a folder whose database is opened, copied and put back.
type copies struct {
	*testing.T
	cfg Config
	ids int64
}

func newCopies(t *testing.T) *copies {
	return &copies{T: t, cfg: Config{Path: filepath.Join(t.TempDir(), "sunzi.db"), Sync: SyncOff}}
}

// with opens the store for f and closes it.
func (c *copies) with(f func(s *Store)) {
	c.Helper()
	s, err := Open(c.Context(), c.cfg)
	if err != nil {
		c.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			c.Error(err)
		}
	}()
	f(s)
}

// push opens the store for n pushes to alice.
func (c *copies) push(n int) {
	c.Helper()
	c.with(func(s *Store) {
		for range n {
			c.ids++
			if err := acceptOne(s, envelope(c.ids, "alice", 10)); err != nil {
				c.Fatal(err)
			}
		}
	})
}

func (c *copies) register(ids ...string) {
	c.Helper()
	c.with(func(s *Store) {
		for _, id := range ids {
			if err := s.Register(c.Context(), push.ClientKey{ID: id}, time.Now()); err != nil {
				c.Fatal(err)
			}
		}
	})
}

func (c *copies) incarnation(id string) (incarnation string) {
	c.Helper()
	c.with(func(s *Store) { incarnation = incarnationOf(c.T, s, id) })
	return incarnation
}

func incarnationOf(t *testing.T, s *Store, id string) string {
	t.Helper()
	m, err := s.Open(t.Context(), push.ClientKey{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	return m.Incarnation
}

func (c *copies) file() []byte {
	c.Helper()
	b, err := os.ReadFile(c.cfg.Path)
	if err != nil {
		c.Fatal(err)
	}
	return b
}

func (c *copies) restore(b []byte) {
	c.Helper()
	for _, f := range []string{"-wal", "-shm"} {
		_ = os.Remove(c.cfg.Path + f) // there is none after Close
	}
	if err := os.WriteFile(c.cfg.Path, b, 0o600); err != nil {
		c.Fatal(err)
	}
}

func TestARestoredCopyRenewsEveryMailboxOnce(t *testing.T) {
	c := newCopies(t)
	c.register("alice", "bob")
	c.push(10)
	backup, alice, bob := c.file(), c.incarnation("alice"), c.incarnation("bob")
	c.push(10)
	if c.incarnation("alice") != alice {
		t.Fatal("opening it again made a new incarnation")
	}
	c.restore(backup)
	c.push(12) // the head passes what clients have seen
	renewed := c.incarnation("alice")
	if renewed == alice || c.incarnation("bob") == bob {
		t.Fatal("the restored copy has the old incarnations")
	}
	if c.incarnation("alice") != renewed {
		t.Fatal("one restore renewed twice")
	}
}

func TestACopyOfAnAbandonedLifeRenewsToo(t *testing.T) {
	c := newCopies(t)
	c.register("alice")
	monday := c.file()
	c.push(10)
	tuesday, old := c.file(), c.incarnation("alice")
	c.restore(monday)
	c.push(1)
	c.restore(tuesday) // it has more commits than the one it replaces
	if c.incarnation("alice") == old {
		t.Fatal("the copy of another life has its old incarnation")
	}
}

func TestAnInterruptedRenewalBeginsAgain(t *testing.T) {
	c := newCopies(t)
	c.register("alice", "bob")
	backup := c.file()
	c.push(1)
	mark, err := os.ReadFile(c.cfg.Path + ".mark")
	if err != nil {
		t.Fatal(err)
	}
	c.restore(backup)
	first := c.incarnation("bob")                                         // the renewal, and more commits than the mark says
	if err := os.WriteFile(c.cfg.Path+".mark", mark, 0o600); err != nil { // as if it had ended before the mark
		t.Fatal(err)
	}
	if c.incarnation("bob") == first {
		t.Fatal("a renewal whose end was not marked was taken for done")
	}
}

func TestNoMarkOrABrokenOneIsNoRestore(t *testing.T) {
	c := newCopies(t)
	c.register("alice")
	old := c.incarnation("alice")
	if err := os.Remove(c.cfg.Path + ".mark"); err != nil {
		t.Fatal(err)
	}
	if c.incarnation("alice") != old {
		t.Fatal("a database without its mark was renewed")
	}
	for _, text := range []string{"", "\x00\x00", "0123"} {
		if err := os.WriteFile(c.cfg.Path+".mark", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c.incarnation("alice") != old {
			t.Fatalf("the mark %q renewed the database", text)
		}
	}
}

func TestTheOperatorCanSayThatTheFolderWasRestored(t *testing.T) {
	c := newCopies(t)
	c.register("alice")
	old := c.incarnation("alice")
	said := filepath.Join(filepath.Dir(c.cfg.Path), "restored")
	if err := os.WriteFile(said, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	renewed := c.incarnation("alice")
	if renewed == old {
		t.Fatal("the file was not heeded")
	}
	if _, err := os.Stat(said); !os.IsNotExist(err) {
		t.Fatalf("the file is still there: %v", err)
	}
	if c.incarnation("alice") != renewed {
		t.Fatal("it was heeded twice")
	}
}

func TestRenewalGoesThroughEveryStep(t *testing.T) {
	c := newCopies(t)
	const clients = 2*renewStep + 1
	c.with(func(s *Store) {
		if err := s.do(t.Context(), 0, func(tx *tx) error {
			for i := range clients {
				if err := tx.exec(`INSERT INTO client (realm, client_id, incarnation, born, created) VALUES (?, ?, 'old', ?, 0)`,
					fmt.Sprint(i%2), fmt.Sprintf("c%05d", i), i); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.renewAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left, err := s.any(t.Context(), `SELECT 1 FROM client WHERE incarnation = 'old'`); err != nil || left {
			t.Fatalf("some mailboxes were left out: %v", err)
		}
	})
}

func TestTheMarkFollowsWithinASecondAndOnlyChanges(t *testing.T) {
	c := newCopies(t)
	c.register("alice")
	mark := func() string {
		b, err := os.ReadFile(c.cfg.Path + ".mark")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(b))[1]
	}
	c.with(func(s *Store) {
		before := mark()
		if err := acceptOne(s, envelope(1, "nobody", 10)); err == nil {
			t.Fatal("a push to nobody was taken")
		}
		if err := acceptOne(s, envelope(2, "alice", 10)); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(5 * time.Second); mark() == before; {
			if time.Now().After(end) {
				t.Fatal("the mark stayed behind")
			}
			time.Sleep(10 * time.Millisecond) // polls a condition, with a deadline
		}
		if got := mark(); got != "2" { // alice, her push
			t.Fatalf("the mark counts %s commits", got)
		}
	})
}

func TestRegistrationNumbersNeverGoBack(t *testing.T) {
	c := newCopies(t)
	born := func(id string) (n int64) {
		c.Helper()
		c.with(func(s *Store) {
			if _, err := s.row(context.Background(), `SELECT born FROM client WHERE client_id = ?`, []any{id}, &n); err != nil {
				t.Fatal(err)
			}
		})
		return n
	}
	c.register("alice", "bob")
	last := born("bob")
	c.with(func(s *Store) {
		if err := s.Forget(t.Context(), push.ClientKey{ID: "bob"}); err != nil {
			t.Fatal(err)
		}
	})
	c.register("carol")
	if n := born("carol"); n <= last {
		t.Fatalf("after bob, who was number %d, carol is number %d", last, n)
	}
}
