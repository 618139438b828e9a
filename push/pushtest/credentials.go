package pushtest

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push/token"
)

// Records is the contract of [token.Records].
func Records(t *testing.T, open Opener) {
	w := newWorld(t, open)
	record := func(jti, client string, issued time.Time) token.Record {
		return token.Record{ID: jti, Client: client, Device: "d", Issued: issued, Expires: issued.Add(24 * time.Hour)}
	}
	if _, err := w.s.Token(w.ctx, "none"); !errors.Is(err, token.ErrNotFound) {
		t.Fatalf("an unknown token answers %v", err)
	}
	if _, err := w.s.RevokeToken(w.ctx, "none"); !errors.Is(err, token.ErrNotFound) {
		t.Fatalf("revoking an unknown token answers %v", err)
	}
	old, young := record("old", "a", start.Add(-time.Hour)), record("young", "a", start)
	for _, r := range []token.Record{old, young, record("other", "b", start.Add(-time.Hour))} {
		must(t, w.s.InsertToken(w.ctx, r))
	}
	if err := w.s.InsertToken(w.ctx, old); err == nil {
		t.Fatal("a token ID was taken twice")
	}
	w.reopen()
	sameToken(w, young)
	n, err := w.s.RevokeTokens(w.ctx, "", "a", start)
	must(t, err)
	equal(t, "tokens issued before", n, 1)
	old.Revoked = true
	sameToken(w, old)
	sameToken(w, young)
	sameToken(w, record("other", "b", start.Add(-time.Hour)))
	revokedBefore(w, "a", start)
	_, err = w.s.RevokeTokens(w.ctx, "", "a", start.Add(-time.Minute))
	must(t, err)
	revokedBefore(w, "a", start) // never back
	revokedBefore(w, "b", time.Time{})
	got, err := w.s.RevokeToken(w.ctx, "young")
	must(t, err)
	young.Revoked = true
	equal(t, "the revoked token's client", got.Client, "a")
	sameToken(w, young)

	line := func(jti, family string, issued time.Time) token.Record {
		r := record(jti, "c", issued)
		r.Family = family
		must(t, w.s.InsertToken(w.ctx, r))
		return r
	}
	first, second, third := line("1st", "", start), line("2nd", "1st", start.Add(time.Hour)), line("3rd", "1st", start.Add(96*time.Hour))
	w.reopen()
	revokeLine := func(jti string, gone ...*token.Record) {
		got, err := w.s.RevokeToken(w.ctx, jti)
		must(t, err)
		equal(t, "the client whose token was revoked", got.Client, "c")
		for _, r := range gone {
			r.Revoked = true
		}
	}
	revokeLine("3rd", &third)
	sameToken(w, first)
	sameToken(w, second)
	sameToken(w, third)
	fourth := line("4th", "1st", start.Add(97*time.Hour))
	revokeLine("2nd", &second, &fourth)
	sameToken(w, first)
	sameToken(w, second)
	sameToken(w, fourth)
	fifth := line("5th", "1st", start.Add(98*time.Hour))

	_, err = w.s.Sweep(w.ctx, start.Add(72*time.Hour), 100)
	must(t, err)
	revokeLine("1st", &fifth) // whose own record is gone
	sameToken(w, fifth)
	if _, err := w.s.Token(w.ctx, "old"); !errors.Is(err, token.ErrNotFound) {
		t.Fatalf("a token that expired long ago answers %v", err)
	}
}

func revokedBefore(w *world, client string, want time.Time) {
	w.Helper()
	got, err := w.s.RevokedBefore(w.ctx, "", client)
	must(w, err)
	if !got.Equal(want) {
		w.Fatalf("tokens of %s are revoked before %v, want %v", client, got, want)
	}
}

func sameToken(w *world, want token.Record) {
	w.Helper()
	got, err := w.s.Token(w.ctx, want.ID)
	must(w, err)
	if !got.Issued.Equal(want.Issued) || !got.Expires.Equal(want.Expires) {
		w.Fatalf("the token's times are %v and %v, want %v and %v", got.Issued, got.Expires, want.Issued, want.Expires)
	}
	got.Issued, got.Expires = want.Issued, want.Expires
	equal(w.T, "the token", got, want)
}

// Keys is the contract of [token.Keys].
func Keys(t *testing.T, open Opener) {
	w := newWorld(t, open)
	if _, err := w.s.Key(w.ctx, "none"); !errors.Is(err, token.ErrNotFound) {
		t.Fatalf("an unknown key answers %v", err)
	}
	if err := w.s.RevokeKey(w.ctx, "none"); !errors.Is(err, token.ErrNotFound) {
		t.Fatalf("revoking an unknown key answers %v", err)
	}
	shop, none := "shop", ""
	keys := []token.Key{
		{ID: "k1", Name: "any realm", Hash: [32]byte{1, 0, 3}, Scopes: []token.Scope{token.ScopePush, token.ScopeRead}, Created: start},
		{ID: "k2", Name: "a shop's", Hash: [32]byte{2}, Scopes: []token.Scope{token.ScopeConnect}, Realm: &shop, Created: start},
		{ID: "k3", Name: "the default realm's", Realm: &none, Created: start},
	}
	for _, k := range keys {
		must(t, w.s.InsertKey(w.ctx, k))
	}
	w.reopen()
	for _, want := range keys {
		got, err := w.s.Key(w.ctx, want.ID)
		must(t, err)
		if !got.Created.Equal(want.Created) {
			t.Fatalf("key %s is of %v", want.ID, got.Created)
		}
		got.Created = want.Created
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("key %s is %+v, want %+v", want.ID, got, want)
		}
	}
	must(t, w.s.RevokeKey(w.ctx, "k2"))
	all, err := w.s.ListKeys(w.ctx)
	must(t, err)
	equal(t, "number of keys", len(all), 3)
	for _, k := range all {
		equal(t, "revoked "+k.ID, k.Revoked, k.ID == "k2")
	}
}
