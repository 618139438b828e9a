package token

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestOnlyAnAgedTokenIsRefreshed(t *testing.T) {
	a, _, c := newAuthority(t, testConfig())
	_, rec := mint(t, a, MintRequest{Realm: "r", Client: "c", Device: "d"})
	c.add(5*24*time.Hour - time.Second)
	if raw, err := a.MaybeRefresh(t.Context(), rec); raw != "" || err != nil {
		t.Fatalf("young: %q, %v", raw, err)
	}
	c.add(time.Second)
	raw, err := a.MaybeRefresh(t.Context(), rec)
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Check(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if got.Realm != "r" || got.Client != "c" || got.Device != "d" || got.ID == rec.ID {
		t.Fatalf("the new token is %+v", got)
	}
	if want := c.now().Add(10 * 24 * time.Hour).Truncate(time.Second); !got.Expires.Equal(want) {
		t.Fatalf("it expires %s, want %s", got.Expires, want)
	}
}

func TestParallelRequestsGetOneNewToken(t *testing.T) {
	a, m, c := newAuthority(t, testConfig())
	_, rec := mint(t, a, MintRequest{Client: "c"})
	c.add(6 * 24 * time.Hour)
	got := make([]string, 16)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = a.MaybeRefresh(t.Context(), rec); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, raw := range got {
		if raw == "" || raw != got[0] {
			t.Fatalf("callers got %q and %q", got[0], raw)
		}
	}
	if m.inserts != 2 {
		t.Fatalf("%d tokens were minted, want 2", m.inserts)
	}
	c.add(59 * time.Second)
	if raw, _ := a.MaybeRefresh(t.Context(), rec); raw != got[0] {
		t.Fatal("another token within the grace")
	}
	c.add(2 * time.Second)
	if raw, _ := a.MaybeRefresh(t.Context(), rec); raw == got[0] || raw == "" {
		t.Fatalf("after the grace: %q", raw)
	}
}

func TestARevokedTokenIsNotRefreshed(t *testing.T) {
	a, _, c := newAuthority(t, testConfig())
	_, rec := mint(t, a, MintRequest{Client: "c"})
	c.add(6 * 24 * time.Hour)
	if _, err := a.RevokeID(t.Context(), rec.ID); err != nil {
		t.Fatal(err)
	}
	if raw, err := a.MaybeRefresh(t.Context(), rec); raw != "" || err != nil {
		t.Fatalf("%q, %v", raw, err)
	}
}

// A log-out that runs between the check of the old token and the record of
// the new one must not leave the new one behind.
func TestARevocationDuringARefreshWins(t *testing.T) {
	a, m, c := newAuthority(t, testConfig())
	_, rec := mint(t, a, MintRequest{Client: "c"})
	c.add(6 * 24 * time.Hour)
	looks := 0
	m.onToken = func() {
		if looks++; looks == 2 { // after Mint, before the last look
			if _, err := m.RevokeToken(t.Context(), rec.ID); err != nil {
				t.Error(err)
			}
		}
	}
	raw, err := a.MaybeRefresh(t.Context(), rec)
	if raw != "" || err != nil {
		t.Fatalf("%q, %v", raw, err)
	}
	for id, r := range m.tokens {
		if !r.Revoked {
			t.Errorf("%s lives on", id)
		}
	}
}

func TestRevokingTheOldTokenRevokesItsSuccessor(t *testing.T) {
	a, _, c := newAuthority(t, testConfig())
	_, rec := mint(t, a, MintRequest{Client: "c"})
	c.add(6 * 24 * time.Hour)
	raw, err := a.MaybeRefresh(t.Context(), rec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.RevokeID(t.Context(), rec.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Check(t.Context(), raw); !errors.Is(err, ErrInvalid) {
		t.Fatalf("the new token: %v", err)
	}
}

func TestAFailedRefreshIsTriedAgain(t *testing.T) {
	a, m, c := newAuthority(t, testConfig())
	_, rec := mint(t, a, MintRequest{Client: "c"})
	c.add(6 * 24 * time.Hour)
	m.setDown(true)
	if raw, err := a.MaybeRefresh(t.Context(), rec); !errors.Is(err, ErrUnavailable) || raw != "" {
		t.Fatalf("records down: %q, %v", raw, err)
	}
	m.setDown(false)
	if raw, err := a.MaybeRefresh(t.Context(), rec); raw == "" || err != nil {
		t.Fatalf("records up again: %q, %v", raw, err)
	}
}

func TestAWaitingCallerLeavesWithItsContext(t *testing.T) {
	a, _, c := newAuthority(t, testConfig())
	_, rec := mint(t, a, MintRequest{Client: "c"})
	c.add(6 * 24 * time.Hour)
	if _, mine := a.refreshes.get(rec.ID, c.now(), time.Minute); !mine {
		t.Fatal("somebody refreshes already")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.MaybeRefresh(ctx, rec); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestRefreshesAreBoundedAndForgotten(t *testing.T) {
	var s refreshes
	for i := range maxRefreshes {
		if _, mine := s.get(string(rune(i+0x20000)), noon, time.Minute); !mine {
			t.Fatalf("refused at %d", i)
		}
	}
	if r, _ := s.get("one more", noon, time.Minute); r != nil {
		t.Fatal("one more than the bound")
	}
	if r, mine := s.get("one more", noon.Add(time.Minute), time.Minute); r == nil || !mine {
		t.Fatal("refused after the grace")
	}
	s.turn(noon.Add(time.Hour), time.Minute)
	if len(s.current)+len(s.earlier) != 0 {
		t.Fatal("old ones are kept")
	}
}
