package token

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func newKeyring() (*Keyring, *memory, *clock) {
	m, c := newMemory(), &clock{t: noon}
	return NewKeyring(m, c.now), m, c
}

func create(t testing.TB, k *Keyring, scopes ...Scope) (string, Key) {
	t.Helper()
	raw, key, err := k.Create(t.Context(), "test", scopes, nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw, key
}

func TestACreatedKeyChecks(t *testing.T) {
	k, m, _ := newKeyring()
	realm := "shop"
	raw, key, err := k.Create(t.Context(), "till", []Scope{ScopePush, ScopeRead}, &realm)
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Check(t.Context(), raw)
	if err != nil || got.ID != key.ID || got.Name != "till" || *got.Realm != "shop" || len(got.Scopes) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if parts := strings.Split(raw, "_"); len(parts) != 3 || parts[0] != "sk" || parts[1] != key.ID || len(parts[2]) != 32 {
		t.Fatalf("text %q", raw)
	}
	if kept := m.keys[key.ID]; strings.Contains(string(kept.Hash[:]), raw[len(raw)-32:]) || kept.Hash == [32]byte{} {
		t.Fatal("the secret is kept in clear, or no hash at all")
	}
	if raw, _ := create(t, k, ScopeConnect); !strings.HasPrefix(raw, "ck_") {
		t.Fatalf("connect key %q", raw)
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	k, m, _ := newKeyring()
	raw, key := create(t, k, ScopePush)
	other, _ := create(t, k, ScopePush)
	parts := strings.Split(raw, "_")
	for name, in := range map[string]string{
		"another's secret": strings.Join(append(parts[:2:2], strings.Split(other, "_")[2]), "_"),
		"unknown ID":       "sk_aaaaaaaaaaaa_" + parts[2],
		"as connect key":   "ck" + raw[2:],
		"capitals":         strings.ToUpper(raw),
		"no secret":        "sk_" + key.ID,
		"longer":           raw + "a",
		"more parts":       raw + "_a",
		"spaces":           " " + raw,
		"noise":            "hello",
	} {
		if _, err := k.Check(t.Context(), in); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := k.Check(t.Context(), ""); !errors.Is(err, ErrMissing) {
		t.Errorf("none: %v", err)
	}
	m.setDown(true)
	if _, err := k.Check(t.Context(), raw); !errors.Is(err, ErrUnavailable) {
		t.Errorf("records down: %v", err)
	}
}

func TestARevokedKeyIsRefusedAtOnceHereAndAfterASecondElsewhere(t *testing.T) {
	k, m, c := newKeyring()
	elsewhere := NewKeyring(m, c.now)
	raw, key := create(t, k, ScopePush)
	for _, r := range []*Keyring{k, elsewhere} {
		if _, err := r.Check(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Check(t.Context(), raw); !errors.Is(err, ErrInvalid) {
		t.Fatalf("here: %v", err)
	}
	c.add(keyCacheFor)
	if _, err := elsewhere.Check(t.Context(), raw); !errors.Is(err, ErrInvalid) {
		t.Fatalf("elsewhere: %v", err)
	}
	if err := k.Revoke(t.Context(), "unknown"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("unknown: %v", err)
	}
}

// A check whose look-up was before a revocation and which ends after it must
// not put the key back.
func TestACheckThatOvertookARevocationIsNotKept(t *testing.T) {
	k, _, _ := newKeyring()
	raw, key := create(t, k, ScopePush)
	_, _, change := k.cached([32]byte{}, keyCacheFor)
	if err := k.Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	k.keep(key.Hash, key, change)
	if _, err := k.Check(t.Context(), raw); !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
}

// Live-only pushes go on while the store is away, and so do the keys of those
// who send them.
func TestAKeyThatWasCheckedLatelyOutlivesTheRecords(t *testing.T) {
	k, m, c := newKeyring()
	used, _ := create(t, k, ScopePush)
	unused, _ := create(t, k, ScopePush)
	gone, goneKey := create(t, k, ScopePush)
	revoked, revokedKey := create(t, k, ScopePush)
	check := func(when, raw string, want error) {
		t.Helper()
		if _, err := k.Check(t.Context(), raw); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", when, err, want)
		}
	}
	for _, raw := range []string{used, gone, revoked} {
		check("records up", raw, nil)
	}
	if err := m.RevokeKey(t.Context(), goneKey.ID); err != nil { // elsewhere
		t.Fatal(err)
	}
	c.add(keyCacheFor)
	check("revoked elsewhere, records up", gone, ErrInvalid)
	m.setDown(true)
	check("records down", used, nil)
	check("revoked elsewhere and seen so, records down", gone, ErrUnavailable)
	check("never checked, records down", unused, ErrUnavailable)
	c.add(keyTrustFor - keyCacheFor - time.Millisecond)
	check("minutes later", used, nil)
	check("the one to be revoked, minutes later", revoked, nil)
	c.add(time.Millisecond)
	check("too late", used, ErrUnavailable)

	m.setDown(false)
	check("records up again", revoked, nil)
	m.setDown(true)
	if err := k.Revoke(t.Context(), revokedKey.ID); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	check("revoked here, outcome unknown", revoked, ErrUnavailable)
}

func TestTheCacheSparesLookUpsAndIsBounded(t *testing.T) {
	k, m, c := newKeyring()
	raw, _ := create(t, k, ScopePush)
	before := m.looked
	for range 10 {
		if _, err := k.Check(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.looked - before; got != 1 {
		t.Fatalf("%d look-ups for ten checks", got)
	}
	c.add(time.Second)
	for range keyCacheSize + 10 {
		raw, _ := create(t, k, ScopePush)
		if _, err := k.Check(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
	}
	if len(k.cache) > keyCacheSize {
		t.Fatalf("%d keys are cached", len(k.cache))
	}
}

func TestImportIsRepeatableAndRefusesAnother(t *testing.T) {
	k, _, _ := newKeyring()
	raw := NewKeyText([]Scope{ScopePush})
	one, err := k.Import(t.Context(), raw, "dev", []Scope{ScopePush}, nil)
	if err != nil {
		t.Fatal(err)
	}
	two, err := k.Import(t.Context(), raw, "dev", []Scope{ScopePush}, nil)
	if err != nil || two.ID != one.ID {
		t.Fatalf("again: %+v, %v", two, err)
	}
	forged := raw[:len(raw)-secretLen] + strings.Repeat("a", secretLen)
	if _, err := k.Import(t.Context(), forged, "dev", []Scope{ScopePush}, nil); err == nil {
		t.Fatal("another secret under the same ID was taken")
	}
	if _, err := k.Import(t.Context(), raw, "dev", []Scope{ScopeConnect}, nil); err == nil {
		t.Fatal("a secret key was taken as a connect key")
	}
	if err := k.Revoke(t.Context(), one.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Import(t.Context(), raw, "dev", []Scope{ScopePush}, nil); err == nil {
		t.Fatal("a revoked key came back")
	}
}

func TestScopes(t *testing.T) {
	if got, err := ParseScopes([]string{"push", " read", "push"}); err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	for _, in := range [][]string{nil, {"everything"}, {"connect", "push"}, {""}} {
		if _, err := ParseScopes(in); err == nil {
			t.Errorf("%q was taken", in)
		}
	}
}

func FuzzSplitKey(f *testing.F) {
	f.Add(NewKeyText([]Scope{ScopePush}))
	f.Add("sk__")
	f.Add("ck_aaaaaaaaaaaa_")
	f.Fuzz(func(t *testing.T, in string) {
		kind, id, ok := splitKey(in)
		if ok && (len(in) != 3+keyIDLen+1+secretLen || !strings.HasPrefix(in, kind+"_"+id+"_")) {
			t.Fatalf("%q passed as %q %q", in, kind, id)
		}
	})
}
