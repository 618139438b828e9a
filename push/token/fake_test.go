package token

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, time.November, 22, 12, 0, 0, 123e6, time.UTC)

var errDown = errors.New("connection refused")

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// memory is Records, OutsideRecords and Keys in memory.
type memory struct {
	mu      sync.Mutex
	down    bool
	tokens  map[string]Record
	before  map[string]time.Time
	keys    map[string]Key
	looked  int
	inserts int
	onToken func() // before a look-up, without the lock
}

func newMemory() *memory {
	return &memory{tokens: map[string]Record{}, before: map[string]time.Time{}, keys: map[string]Key{}}
}

func (m *memory) setDown(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
}

// do runs f under the lock, unless the records are down.
func (m *memory) do(f func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return errDown
	}
	return f()
}

func (m *memory) InsertToken(_ context.Context, r Record) error {
	return m.do(func() error { m.inserts++; m.tokens[r.ID] = r; return nil })
}

func (m *memory) Token(_ context.Context, jti string) (r Record, err error) {
	if m.onToken != nil {
		m.onToken()
	}
	err = m.do(func() error {
		m.looked++
		var ok bool
		if r, ok = m.tokens[jti]; !ok {
			return ErrNotFound
		}
		return nil
	})
	return r, err
}

func (m *memory) RevokeToken(_ context.Context, jti string) (r Record, err error) {
	err = m.do(func() error {
		asked, known := m.tokens[jti]
		family := asked.Family
		if family == "" {
			family = jti
		}
		found := false
		for id, t := range m.tokens {
			if id == jti || t.Family == family && !t.Issued.Before(asked.Issued) {
				t.Revoked, found = true, true
				m.tokens[id], r = t, t
			}
		}
		if known {
			r = m.tokens[jti]
		}
		if !found {
			return ErrNotFound
		}
		return nil
	})
	return r, err
}

func (m *memory) RevokeTokens(_ context.Context, realm, client string, before time.Time) (n int, err error) {
	err = m.do(func() error {
		m.before[realm+"/"+client] = before
		for id, r := range m.tokens {
			if r.Realm == realm && r.Client == client && r.Issued.Before(before) {
				r.Revoked = true
				m.tokens[id] = r
				n++
			}
		}
		return nil
	})
	return n, err
}

func (m *memory) RevokedBefore(_ context.Context, realm, client string) (t time.Time, err error) {
	err = m.do(func() error { t = m.before[realm+"/"+client]; return nil })
	return t, err
}

func (m *memory) InsertKey(_ context.Context, k Key) error {
	return m.do(func() error { m.keys[k.ID] = k; return nil })
}

func (m *memory) Key(_ context.Context, id string) (k Key, err error) {
	err = m.do(func() error {
		m.looked++
		var ok bool
		if k, ok = m.keys[id]; !ok {
			return ErrNotFound
		}
		return nil
	})
	return k, err
}

func (m *memory) ListKeys(context.Context) (keys []Key, err error) {
	err = m.do(func() error {
		for _, k := range m.keys {
			keys = append(keys, k)
		}
		return nil
	})
	return keys, err
}

func (m *memory) RevokeKey(_ context.Context, id string) error {
	return m.do(func() error {
		k, ok := m.keys[id]
		if !ok {
			return ErrNotFound
		}
		k.Revoked = true
		m.keys[id] = k
		return nil
	})
}

func testConfig() AuthorityConfig {
	c := DefaultAuthorityConfig()
	c.Secret = []byte("0123456789abcdef0123456789abcdef")
	return c
}

func newAuthority(t testing.TB, cfg AuthorityConfig) (*Authority, *memory, *clock) {
	t.Helper()
	m, c := newMemory(), &clock{t: noon}
	a, err := NewAuthority(cfg, m, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return a, m, c
}

func mint(t testing.TB, a *Authority, r MintRequest) (string, Record) {
	t.Helper()
	raw, rec, err := a.Mint(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return raw, rec
}
