package token

import (
	"context"
	"crypto/ed25519"
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

// A log-out by the jti that the application knows ends what the client has
// been refreshed to since, however long ago, in whatever process.
func TestRevokingATokenRevokesItsSuccessors(t *testing.T) {
	for name, later := range map[string]time.Duration{"within the grace": 0, "long after it": 30 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			a, m, c := newAuthority(t, testConfig())
			_, rec := mint(t, a, MintRequest{Client: "c"})
			first := rec
			var raw string
			for range 3 {
				c.add(6 * 24 * time.Hour)
				var err error
				if raw, err = a.MaybeRefresh(t.Context(), rec); err != nil {
					t.Fatal(err)
				}
				if rec, err = a.Check(t.Context(), raw); err != nil || rec.Family != first.ID {
					t.Fatalf("%+v, %v", rec, err)
				}
			}
			if later > 0 {
				delete(m.tokens, first.ID) // expired long ago
				a, _ = NewAuthority(testConfig(), m, c.now)
			}
			if _, err := a.RevokeID(t.Context(), first.ID); err != nil {
				t.Fatal(err)
			}
			if _, err := a.Check(t.Context(), raw); !errors.Is(err, ErrInvalid) {
				t.Fatalf("the newest token: %v", err)
			}
		})
	}
}

func TestRevokingASuccessorLeavesItsPredecessor(t *testing.T) {
	a, _, c := newAuthority(t, testConfig())
	raw, rec := mint(t, a, MintRequest{Client: "c"})
	c.add(6 * 24 * time.Hour)
	next, err := a.MaybeRefresh(t.Context(), rec)
	if err != nil {
		t.Fatal(err)
	}
	newer, err := a.Check(t.Context(), next)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.RevokeID(t.Context(), newer.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Check(t.Context(), raw); err != nil {
		t.Fatalf("the older token: %v", err)
	}
}

// What a session stands on is looked at again once it is in the table.
func TestRevokedSeesWhatHappenedSinceAdmission(t *testing.T) {
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	outside := testConfig()
	outside.Outside = map[string]OutsideKey{"k": {Issuer: "idp", Key: pub}}
	theirs := Record{ID: "theirs", Realm: "r", Client: "c", Issued: noon}
	for name, tc := range map[string]struct {
		cfg   AuthorityConfig
		was   Record // zero: a minted one
		since func(t *testing.T, a *Authority, m *memory, was Record)
		want  bool
	}{
		"nothing":                 {cfg: testConfig(), want: false},
		"deleted with its client": {cfg: testConfig(), want: true, since: func(_ *testing.T, _ *Authority, m *memory, was Record) { delete(m.tokens, was.ID) }},
		"revoked": {cfg: testConfig(), want: true, since: func(t *testing.T, a *Authority, _ *memory, was Record) {
			if _, err := a.RevokeID(t.Context(), was.ID); err != nil {
				t.Error(err)
			}
		}},
		"nothing, an outside issuer's": {cfg: outside, was: theirs, want: false},
		"revoked, an outside issuer's": {cfg: outside, was: theirs, want: true, since: func(t *testing.T, a *Authority, _ *memory, was Record) {
			if _, err := a.RevokeClient(t.Context(), was.Realm, was.Client, noon.Add(time.Second)); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a, m, _ := newAuthority(t, tc.cfg)
			was := tc.was
			if was == (Record{}) {
				_, was = mint(t, a, MintRequest{Realm: "r", Client: "c"})
			}
			if tc.since != nil {
				tc.since(t, a, m, was)
			}
			if got, err := a.Revoked(t.Context(), was); got != tc.want || err != nil {
				t.Fatalf("revoked %v, %v; want %v", got, err, tc.want)
			}
			m.setDown(true)
			if got, err := a.Revoked(t.Context(), was); got || !errors.Is(err, ErrUnavailable) {
				t.Fatalf("records down: %v, %v", got, err)
			}
		})
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
