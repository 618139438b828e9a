package token

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// The text of an API key is <kind>_<id>_<secret>: sk for secret keys, ck for
// connect keys, which may be published. The kind is in the text so that a
// person, and a scanner of repositories, can tell them apart.
const (
	kindSecret  = "sk"
	kindConnect = "ck"
	keyIDLen    = 12 // of base32: 60 random bits
	secretLen   = 32 // of base32: 160 random bits
)

// base32 without padding and capitals: survives e-mail, URLs and dictation.
var keyText = base32.StdEncoding.WithPadding(base32.NoPadding)

// keyCacheFor is how long a key that was checked is trusted without another
// look at the records: a revocation on another node takes effect after it.
// The one on this node is at once.
const keyCacheFor = time.Second

// keyTrustFor is how long a key that was checked is still good while the
// records can't be reached: live-only pushes need no store, and their sender's
// key should not either. A revocation here ends it at once, even where it could
// not be recorded; one elsewhere, that long after this node lost the records.
const keyTrustFor = 5 * time.Minute

// keyCacheSize bounds the cache. Only keys that exist enter it.
const keyCacheSize = 1024

// Keyring makes, checks and revokes API keys. Safe for concurrent use; its
// methods block for as long as the records do, bounded by their context.
type Keyring struct {
	keys Keys
	now  func() time.Time

	mu     sync.Mutex // held for map access only
	cache  map[[32]byte]cachedKey
	change uint64 // revocations so far: a check that began before one is not cached
}

type cachedKey struct {
	key     Key
	checked time.Time
}

// NewKeyring makes a keyring. now nil means time.Now.
func NewKeyring(keys Keys, now func() time.Time) *Keyring {
	if now == nil {
		now = time.Now
	}
	return &Keyring{keys: keys, now: now, cache: map[[32]byte]cachedKey{}}
}

// ParseScopes reads scopes by name. The connect scope stands alone: a key
// that may be published must not be able to do anything else.
func ParseScopes(names []string) ([]Scope, error) {
	all := []Scope{ScopePush, ScopeRead, ScopeClients, ScopeGroups, ScopeTokens, ScopeAdmin, ScopeConnect}
	var out []Scope
	for _, n := range names {
		s := Scope(strings.TrimSpace(n))
		if !slices.Contains(all, s) {
			return nil, fmt.Errorf("token: there is no scope %q; take some of %v", n, all)
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("token: a key needs at least one scope of %v", all)
	}
	if slices.Contains(out, ScopeConnect) && len(out) > 1 {
		return nil, errors.New("token: connect stands alone: a key that may be published must not do anything else")
	}
	return out, nil
}

// NewKeyText is the text of a key that is not recorded yet: see
// [Keyring.Import].
func NewKeyText(scopes []Scope) string {
	return kindOf(scopes) + "_" + random(keyIDLen) + "_" + random(secretLen)
}

// Create makes a key. raw is its text, shown here and never again. A realm
// binds it; nil lets it act in any.
func (k *Keyring) Create(ctx context.Context, name string, scopes []Scope, realm *string) (raw string, key Key, err error) {
	raw = NewKeyText(scopes)
	key, err = k.Import(ctx, raw, name, scopes, realm)
	if err != nil {
		return "", Key{}, err
	}
	return raw, key, nil
}

// Import records a key whose text came from elsewhere ([NewKeyText]): a
// secrets file that outlived the store. It does nothing where the same key is
// recorded; another one under its ID is an error.
func (k *Keyring) Import(ctx context.Context, raw, name string, scopes []Scope, realm *string) (Key, error) {
	if !utf8.ValidString(name) || len(name) > 200 {
		return Key{}, errors.New("token: a key's name has at most 200 bytes of UTF-8")
	}
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	scopes, err := ParseScopes(names)
	if err != nil {
		return Key{}, err
	}
	kind, id, ok := splitKey(raw)
	if !ok || kind != kindOf(scopes) {
		return Key{}, errors.New("token: that is no text of such a key")
	}
	key := Key{ID: id, Name: name, Hash: sha256.Sum256([]byte(raw)), Scopes: scopes, Realm: realm, Created: k.now().Truncate(time.Millisecond)}
	switch have, err := k.keys.Key(ctx, id); {
	case err == nil && subtle.ConstantTimeCompare(have.Hash[:], key.Hash[:]) == 1 && !have.Revoked:
		return have, nil
	case err == nil:
		return Key{}, fmt.Errorf("token: the key %s is revoked, or another", id)
	case !errors.Is(err, ErrNotFound):
		return Key{}, unavailable(err)
	}
	if err := k.keys.InsertKey(ctx, key); err != nil {
		return Key{}, unavailable(err)
	}
	return key, nil
}

// Check answers the key that raw is the text of. [ErrMissing] where raw is
// empty, [ErrUnavailable] where the records can't be reached and the key was not
// checked here within the last minutes, else [ErrInvalid]. The key is shared: do not change its scopes.
func (k *Keyring) Check(ctx context.Context, raw string) (Key, error) {
	if raw == "" {
		return Key{}, ErrMissing
	}
	kind, id, ok := splitKey(raw)
	if !ok {
		return Key{}, invalid("no text of a key")
	}
	hash := sha256.Sum256([]byte(raw))
	key, ok, change := k.cached(hash, keyCacheFor)
	if ok {
		return key, nil
	}
	key, err := k.keys.Key(ctx, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		if key, ok, _ := k.cached(hash, keyTrustFor); ok {
			return key, nil
		}
		return Key{}, unavailable(err)
	}
	// An unknown ID is compared like a known one (with a hash of zeroes, of
	// which no text is known), so that time does not tell them apart.
	if subtle.ConstantTimeCompare(key.Hash[:], hash[:]) != 1 || err != nil {
		k.drop(hash)
		return Key{}, invalid("unknown key")
	}
	if key.Revoked || kind != kindOf(key.Scopes) {
		k.drop(hash)
		return Key{}, invalid("key is revoked, or of another kind")
	}
	k.keep(hash, key, change)
	return key, nil
}

// List answers all keys, revoked ones too.
func (k *Keyring) List(ctx context.Context) ([]Key, error) {
	keys, err := k.keys.ListKeys(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	return keys, nil
}

// Revoke ends a key; [ErrNotFound] for an unknown ID.
func (k *Keyring) Revoke(ctx context.Context, id string) error {
	err := k.keys.RevokeKey(ctx, id)
	k.mu.Lock()
	clear(k.cache) // whatever the outcome was: it may be unknown
	k.change++
	k.mu.Unlock()
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// cached answers a key that was checked at most so long ago.
func (k *Keyring) cached(hash [32]byte, age time.Duration) (Key, bool, uint64) {
	now := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	c, ok := k.cache[hash]
	return c.key, ok && now.Before(c.checked.Add(age)), k.change
}

func (k *Keyring) keep(hash [32]byte, key Key, change uint64) {
	checked := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if change != k.change {
		return
	}
	if len(k.cache) >= keyCacheSize {
		clear(k.cache)
	}
	k.cache[hash] = cachedKey{key, checked}
}

// drop forgets a key that the records no longer let pass.
func (k *Keyring) drop(hash [32]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.cache[hash]; ok {
		delete(k.cache, hash)
		k.change++
	}
}

func kindOf(scopes []Scope) string {
	if slices.Contains(scopes, ScopeConnect) {
		return kindConnect
	}
	return kindSecret
}

// splitKey checks the form of a key's text before anything is looked up.
func splitKey(raw string) (kind, id string, ok bool) {
	kind, rest, _ := strings.Cut(raw, "_")
	id, secret, _ := strings.Cut(rest, "_")
	ok = (kind == kindSecret || kind == kindConnect) &&
		len(id) == keyIDLen && isBase32(id) && len(secret) == secretLen && isBase32(secret)
	return kind, id, ok
}

func isBase32(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// random is n characters of lower-case base32, 5 random bits each.
func random(n int) string {
	b := make([]byte, (n*5+7)/8)
	rand.Read(b) // never fails (crypto/rand, since Go 1.24)
	return strings.ToLower(keyText.EncodeToString(b))[:n]
}
