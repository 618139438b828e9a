package cluster

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
	"github.com/sunzi-push/sunzi/push/token"
)

// books is the store's records in memory.
type books struct {
	mu     sync.Mutex
	of     map[string]token.Record
	before map[string]time.Time
	reads  int
	hold   func() // called between a read and its answer
}

func newBooks(recs ...token.Record) *books {
	b := &books{of: map[string]token.Record{}, before: map[string]time.Time{}}
	for _, r := range recs {
		b.of[r.ID] = r
	}
	return b
}

func (b *books) InsertToken(_ context.Context, r token.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of[r.ID] = r
	return nil
}

func (b *books) Token(_ context.Context, jti string) (token.Record, error) {
	b.mu.Lock()
	b.reads++
	r, ok := b.of[jti]
	hold := b.hold
	b.mu.Unlock()
	if hold != nil {
		hold()
	}
	if !ok {
		return token.Record{}, token.ErrNotFound
	}
	return r, nil
}

func (b *books) RevokeToken(_ context.Context, jti string) (token.Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, ok := b.of[jti]
	if !ok {
		return r, token.ErrNotFound
	}
	r.Revoked = true
	b.of[jti] = r
	return r, nil
}

func (b *books) RevokeTokens(_ context.Context, realm, client string, before time.Time) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, r := range b.of {
		if r.Realm == realm && r.Client == client && r.Issued.Before(before) {
			r.Revoked = true
			b.of[id] = r
			n++
		}
	}
	b.before[realm+"/"+client] = before
	return n, nil
}

func (b *books) RevokedBefore(_ context.Context, realm, client string) (time.Time, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	return b.before[realm+"/"+client], nil
}

func (b *books) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reads
}

func record(id string) token.Record {
	return token.Record{ID: id, Realm: "shop", Client: "x", Device: "d", Family: "f",
		Issued: time.UnixMilli(1_700_000_000_123), Expires: time.UnixMilli(1_900_000_000_000)}
}

func TestTokensAreReadOnceForAllNodes(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	sql := newBooks(record("t1"))
	ra, rb := a.Records(sql), b.Records(sql)
	for range 5 {
		for _, recs := range []*Records{ra, rb} {
			got, err := recs.Token(t.Context(), "t1")
			if err != nil || !got.Issued.Equal(record("t1").Issued) || got.Client != "x" || got.Device != "d" || got.Family != "f" {
				t.Fatalf("%+v, %v", got, err)
			}
			if before, err := recs.RevokedBefore(t.Context(), "shop", "x"); err != nil || !before.IsZero() {
				t.Fatalf("%v, %v", before, err)
			}
		}
	}
	if n := sql.count(); n != 2 {
		t.Errorf("the store was read %d times", n)
	}
	if _, err := ra.Token(t.Context(), "unknown"); !errors.Is(err, token.ErrNotFound) {
		t.Errorf("an unknown one: %v", err)
	}
	r.FlushAll()
	if got, err := ra.Token(t.Context(), "t1"); err != nil || got.ID != "t1" {
		t.Errorf("after FLUSHALL: %+v, %v", got, err)
	}
}

func TestRevocationsCountAtOnceOnAllNodes(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	sql := newBooks(record("t1"), record("t2"))
	ra, rb := a.Records(sql), b.Records(sql)
	for _, id := range []string{"t1", "t2"} {
		if got, err := rb.Token(t.Context(), id); err != nil || got.Revoked {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if _, err := rb.RevokedBefore(t.Context(), "shop", "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := ra.RevokeToken(t.Context(), "t1"); err != nil {
		t.Fatal(err)
	}
	if got, err := rb.Token(t.Context(), "t1"); err != nil || !got.Revoked {
		t.Errorf("revoked by its ID: %+v, %v", got, err)
	}
	if got, err := rb.Token(t.Context(), "t2"); err != nil || got.Revoked {
		t.Errorf("the other: %+v, %v", got, err)
	}
	now := time.Now()
	if _, err := ra.RevokeTokens(t.Context(), "shop", "x", now); err != nil {
		t.Fatal(err)
	}
	if got, err := rb.Token(t.Context(), "t2"); err != nil || !got.Revoked {
		t.Errorf("revoked by its client: %+v, %v", got, err)
	}
	if before, err := rb.RevokedBefore(t.Context(), "shop", "x"); err != nil || !before.Equal(now) {
		t.Errorf("revoked before %v, %v", before, err)
	}
}

func TestReaderThatWasOvertakenByARevocationDoesNoHarm(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	sql := newBooks(record("t1"))
	ra, rb := a.Records(sql), b.Records(sql)
	var once sync.Once
	sql.hold = func() {
		once.Do(func() {
			if _, err := ra.RevokeToken(t.Context(), "t1"); err != nil {
				t.Error(err)
			}
		})
	}
	if got, err := rb.Token(t.Context(), "t1"); err != nil || got.Revoked {
		t.Fatalf("the reader was not overtaken: %+v, %v", got, err)
	}
	for _, recs := range []*Records{ra, rb} {
		if got, err := recs.Token(t.Context(), "t1"); err != nil || !got.Revoked {
			t.Errorf("the cache kept what the overtaken reader read: %+v, %v", got, err)
		}
	}
}

func TestRedisAwayAsksTheStoreAtABoundedRate(t *testing.T) {
	r := daemons.StartRedis(t)
	a := start(t, r.URL(), "a", func(c *Config) { c.StoreRate = 5 })
	together(t, a)
	recs := a.Records(newBooks(record("t1")))
	r.Kill()
	answered, refused := 0, 0
	for range 200 {
		got, err := recs.Token(t.Context(), "t1")
		switch {
		case err == nil && got.ID == "t1":
			answered++
		case err != nil && !errors.Is(err, token.ErrNotFound):
			refused++
		}
	}
	if answered < 5 || refused < 100 {
		t.Errorf("%d answered, %d refused", answered, refused)
	}
}

func TestRevocationWithoutRedisIsToldLater(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	sql := newBooks(record("t1"))
	ra, rb := a.Records(sql), b.Records(sql)
	if _, err := rb.Token(t.Context(), "t1"); err != nil {
		t.Fatal(err)
	}
	key := client("x")
	s := &session{info: push.SessionInfo{Client: key, TokenID: "t1", TokenIssued: record("t1").Issued}}
	b.Came(key, s, b.table.Attach(key, s))
	r.Stop()
	if _, err := ra.RevokeToken(t.Context(), "t1"); err != nil {
		t.Fatal(err)
	}
	if got, err := ra.Token(t.Context(), "t1"); err != nil || !got.Revoked {
		t.Errorf("here: %+v, %v", got, err)
	}
	r.Continue()
	eventually(t, "the session elsewhere ends", func() bool { return s.closed() == push.CloseTokenRevoked })
	if got, err := rb.Token(t.Context(), "t1"); err != nil || !got.Revoked {
		t.Errorf("there: %+v, %v", got, err)
	}
}
