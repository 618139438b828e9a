// Package token mints, checks and revokes the two kinds of credentials:
// client tokens (JWT, one client each) and API keys (opaque, of application
// servers; a connect key is the publishable kind that may only register new
// clients).
//
// Read first: [Authority] for tokens, [Keyring] for keys. Both may be used
// from any goroutine. Both check every use against their records: a token
// that the records do not know is refused however good its signature, and
// where the records can't be reached nobody new is let in ([ErrUnavailable]);
// an API key that was checked lately goes on working for some minutes.
//
// The package does no I/O of its own; store implements the records.
package token

import (
	"context"
	"errors"
	"slices"
	"time"
)

// What a check can answer.
var (
	ErrMissing     = errors.New("token: none was sent")
	ErrInvalid     = errors.New("token: invalid, expired or revoked")
	ErrUnavailable = errors.New("token: the records can't be reached")
	ErrNotFound    = errors.New("token: no such record")
)

// Record is a minted token as it is kept: its ID and whom it is for, never
// the token itself.
type Record struct {
	ID      string // jti: 128 random bits, base64url
	Realm   string
	Client  string
	Device  string // empty: any device
	Issued  time.Time
	Expires time.Time
	Revoked bool
	// Family is the jti of the first token of a line of refreshes. Empty:
	// this is the first, or there is no line.
	Family string
}

// Records is where minted tokens are kept. Implemented by store. Errors other
// than ErrNotFound mean that the store can't be reached.
type Records interface {
	InsertToken(ctx context.Context, r Record) error
	// Token answers ErrNotFound for an unknown jti.
	Token(ctx context.Context, jti string) (Record, error)
	// RevokeToken revokes a token with those of its family that were issued
	// no earlier: what it was refreshed to. A family is known by its first jti
	// for as long as one of it has a record; then any record of it is the
	// answer. ErrNotFound for an unknown jti.
	RevokeToken(ctx context.Context, jti string) (Record, error)
	// RevokeTokens revokes those of the client issued before the time, and
	// answers how many.
	RevokeTokens(ctx context.Context, realm, client string, issuedBefore time.Time) (int, error)
}

// Scope is something an API key may do.
type Scope string

// The scopes of API keys.
const (
	ScopePush    Scope = "push"    // push, bulk push, cancel
	ScopeRead    Scope = "read"    // status, history, presence, groups
	ScopeClients Scope = "clients" // register, forget, disconnect, redrive
	ScopeGroups  Scope = "groups"  // change membership
	ScopeTokens  Scope = "tokens"  // mint and revoke
	ScopeAdmin   Scope = "admin"   // manage keys
	ScopeConnect Scope = "connect" // publishable: register on the socket, nothing else
)

// Key is an API key as it is kept: the secret part only as a hash.
type Key struct {
	ID      string // 12 characters, part of the key's text
	Name    string // for people
	Hash    [32]byte
	Scopes  []Scope
	Realm   *string // bound to it; nil: any realm
	Created time.Time
	Revoked bool
}

// Keys is where API keys are kept. Implemented by store.
type Keys interface {
	InsertKey(ctx context.Context, k Key) error
	// Key answers ErrNotFound for an unknown ID.
	Key(ctx context.Context, id string) (Key, error)
	ListKeys(ctx context.Context) ([]Key, error)
	RevokeKey(ctx context.Context, id string) error
}

// Allows reports whether the key holds the scope.
func (k Key) Allows(s Scope) bool { return slices.Contains(k.Scopes, s) }
