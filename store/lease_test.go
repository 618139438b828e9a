package store

import (
	"errors"
	"sync"
	"testing"
	"time"
)

func TestTwoServersNeverHoldOneNumber(t *testing.T) {
	two := openTwo(t, 0)
	const each = 10
	var mu sync.Mutex
	seen := make(map[int64]string)
	var wg sync.WaitGroup
	for i, s := range two {
		wg.Go(func() {
			for n := range each {
				holder := string(rune('a'+i)) + clientName(n)
				l, err := s.LeaseNode(t.Context(), holder, time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if other := seen[l.Node]; other != "" {
					t.Errorf("number %d is leased to %s and %s", l.Node, other, holder)
				}
				seen[l.Node] = holder
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// fill has every number leased, number 7 until a second ago.
func fill(t *testing.T, s *Store) {
	t.Helper()
	tx, err := s.read.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for id := range nodeNumbers {
		age := 3_600_000
		if id == 7 {
			age = -1000
		}
		if _, err := tx.ExecContext(t.Context(), `INSERT INTO node (id, holder, fence, until) VALUES (?, 'x', 4, `+databaseNow+` + ?)`, id, age); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestALeaseThatEndedIsTakenOverWithItsFence(t *testing.T) {
	two := openTwo(t, 0)
	fill(t, two[0])
	old := Lease{Node: 7, Fence: 4, holder: "x"}
	if _, err := two[0].RenewLease(t.Context(), old, -time.Second); err != nil {
		t.Fatalf("a late holder whom nobody replaced: %v", err)
	}
	l, err := two[1].LeaseNode(t.Context(), "new", time.Minute)
	if err != nil || l.Node != 7 || l.Fence != 5 {
		t.Fatalf("the lease is %+v, %v", l, err)
	}
	if l.After.IsZero() || l.After.After(l.Now) || l.Until.Sub(l.Now) != time.Minute {
		t.Fatalf("its times are %+v", l)
	}
	if _, err := two[0].RenewLease(t.Context(), old, time.Minute); !errors.Is(err, ErrLeaseLost) {
		t.Fatalf("the old holder renews: %v", err)
	}
	if err := two[0].ReleaseLease(t.Context(), old); !errors.Is(err, ErrLeaseLost) {
		t.Fatalf("the old holder releases: %v", err)
	}
	if _, err := two[0].LeaseNode(t.Context(), "other", time.Minute); !errors.Is(err, ErrNoNumber) {
		t.Fatalf("with every number leased: %v", err)
	}
	again, err := two[1].RenewLease(t.Context(), l, time.Hour)
	if err != nil || again.Until.Before(l.Until) {
		t.Fatalf("renewed it is %+v, %v", again, err)
	}
	if err := two[1].ReleaseLease(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if _, err := two[0].LeaseNode(t.Context(), "other", time.Minute); !errors.Is(err, ErrNoNumber) {
		t.Fatalf("a number whose last ID may be later is leased: %v", err)
	}
	again.Until = again.Now // no ID was issued after it
	if err := two[1].ReleaseLease(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if next, err := two[0].LeaseNode(t.Context(), "other", time.Minute); err != nil || next.Node != 7 || next.Fence != 6 {
		t.Fatalf("the released number is leased as %+v, %v", next, err)
	}
}

func TestADatabaseFileHasNoLeases(t *testing.T) {
	s, _ := openFor(t, "a")
	if _, err := s.LeaseNode(t.Context(), "a", time.Minute); err == nil {
		t.Fatal("a number was leased")
	}
}
