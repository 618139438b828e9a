package push

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/sunzi-push/sunzi/push/token"
)

// Authority mints and checks client tokens; *token.Authority is one.
type Authority interface {
	Mint(ctx context.Context, r token.MintRequest) (string, token.Record, error)
	Check(ctx context.Context, raw string) (token.Record, error)
	// MaybeRefresh answers a new token where r is past its refresh age,
	// else the empty string.
	MaybeRefresh(ctx context.Context, r token.Record) (string, error)
	// Revoked reports whether a token that was let in has been revoked.
	Revoked(ctx context.Context, r token.Record) (bool, error)
}

// Keyring checks API keys; *token.Keyring is one.
type Keyring interface {
	Check(ctx context.Context, raw string) (token.Key, error)
}

// Gate lets clients in. It fails closed: where a credential can't be checked,
// nobody new is let in.
type Gate struct {
	authority Authority
	keys      Keyring
	clients   Clients
	newID     func() (int64, *Error)
	now       func() time.Time
	log       *slog.Logger

	mu      sync.Mutex
	perKey  map[string]*rate.Limiter
	perAddr map[netip.Addr]*rate.Limiter // at most maxAddrLimiters
}

// Rates of registrations by connect key: each is publishable, so anybody may
// hold it.
const (
	connectKeyRate  rate.Limit = 50 // registrations a second and key
	connectKeyBurst            = 200
	addrRate        rate.Limit = 2 // and address
	addrBurst                  = 20
	maxAddrLimiters            = 65536
)

// ConnectKeyPrefix begins every connect key's text.
const ConnectKeyPrefix = "ck_"

// Admit decides about a connection. It blocks on the records, at most for
// ctx's deadline.
func (g *Gate) Admit(ctx context.Context, c Credentials) (Admission, *Refusal) {
	if c.Token == "" {
		return Admission{}, &Refusal{Code: CloseUnauthorized, Reason: ReasonMissingToken}
	}
	if strings.HasPrefix(c.Token, ConnectKeyPrefix) {
		return g.register(ctx, c)
	}
	rec, err := g.authority.Check(ctx, c.Token)
	if err != nil {
		return Admission{}, refusalOf(err)
	}
	id := identityOf(rec)
	if c.Path != nil && c.Path.Realm != id.Client.Realm {
		return Admission{}, &Refusal{Code: CloseUnauthorized, Reason: ReasonWrongRealm}
	}
	if c.Path != nil && *c.Path != id.Client {
		return Admission{}, &Refusal{Code: CloseUnauthorized, Reason: ReasonMismatch}
	}
	a := Admission{Identity: id}
	a.Refreshed, err = g.authority.MaybeRefresh(ctx, rec)
	if err != nil { // the token that was sent is good for days: go on with it
		g.log.Warn("token not refreshed", "client", id.Client, "err", err)
	}
	return a, nil
}

// Check is Admit for an HTTP request that names no client, or for a token
// brought in-band. Errors are [CodeNotSignedIn], [CodeBadCredentials] and
// [CodeNoAuth].
func (g *Gate) Check(ctx context.Context, raw string) (Identity, error) {
	rec, err := g.authority.Check(ctx, raw)
	switch {
	case err == nil:
		return identityOf(rec), nil
	case errors.Is(err, token.ErrMissing):
		return Identity{}, Errorf(CodeNotSignedIn, ReasonMissingToken)
	case errors.Is(err, token.ErrInvalid):
		return Identity{}, Errorf(CodeBadCredentials, ReasonBadToken)
	}
	return Identity{}, &Error{Code: CodeNoAuth, Message: "the token store can't be reached", Cause: err, RetryAfter: time.Second}
}

// standing answers [CodeBadCredentials] where the token was revoked since it
// was let in. A session asks once it is in the table: a revocation before that
// is seen here, one after it closes the session.
func (g *Gate) standing(ctx context.Context, id Identity) error {
	revoked, err := g.authority.Revoked(ctx, token.Record{
		ID: id.TokenID, Realm: id.Client.Realm, Client: id.Client.ID, Issued: id.TokenIssued,
	})
	if err != nil {
		return &Error{Code: CodeNoAuth, Message: "the token store can't be reached", Cause: err, RetryAfter: time.Second}
	}
	if revoked {
		return Errorf(CodeBadCredentials, "the token was revoked")
	}
	return nil
}

// register takes in a client without a token: with a connect key it gets its ID
// and token on the socket.
func (g *Gate) register(ctx context.Context, c Credentials) (Admission, *Refusal) {
	key, err := g.keys.Check(ctx, c.Token)
	if err != nil {
		return Admission{}, refusalOf(err)
	}
	if !key.Allows(token.ScopeConnect) {
		return Admission{}, &Refusal{Code: CloseForbidden, Reason: "this key may not register clients"}
	}
	client, refusal := g.chosenKey(key, c.Path)
	if refusal != nil {
		return Admission{}, refusal
	}
	if !g.allow(key.ID, c.Remote) {
		return Admission{}, &Refusal{Code: CloseTooMany, Reason: "too many registrations"}
	}
	err = g.clients.Register(ctx, client, g.now())
	if HasCode(err, CodeClientExists) {
		return Admission{}, &Refusal{Code: CloseUnauthorized, Reason: ReasonMismatch}
	}
	if err != nil {
		return Admission{}, &Refusal{Code: CloseTryLater, Reason: "the client could not be registered", Cause: err}
	}
	raw, rec, err := g.authority.Mint(ctx, token.MintRequest{Realm: client.Realm, Client: client.ID})
	if err != nil {
		return Admission{}, &Refusal{Code: CloseAuthDown, Reason: "no token could be minted", Cause: err}
	}
	return Admission{Identity: identityOf(rec), Minted: raw}, nil
}

// chosenKey is the identity that a registration asks for: what the path says,
// or a new Snowflake ID, in the key's realm.
func (g *Gate) chosenKey(key token.Key, path *ClientKey) (ClientKey, *Refusal) {
	var client ClientKey
	if path != nil {
		client = *path
	}
	if key.Realm != nil {
		if path != nil && path.Realm != "" && path.Realm != *key.Realm {
			return client, &Refusal{Code: CloseUnauthorized, Reason: ReasonWrongRealm}
		}
		client.Realm = *key.Realm
	}
	if client.ID == "" {
		id, err := g.newID()
		if err != nil {
			return client, &Refusal{Code: CloseTryLater, Reason: "the client could not be registered", Cause: err}
		}
		client.ID = FormatID(id)
	}
	if !ValidName(client.ID) || !ValidRealm(client.Realm) {
		return client, &Refusal{Code: CloseMalformed, Reason: "the client ID or realm is not valid"}
	}
	return client, nil
}

func (g *Gate) allow(keyID string, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() { // a subscriber has a /64
		if p, err := addr.Prefix(64); err == nil {
			addr = p.Addr()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	byKey := g.perKey[keyID]
	if byKey == nil {
		byKey = rate.NewLimiter(connectKeyRate, connectKeyBurst)
		g.perKey[keyID] = byKey
	}
	byAddr := g.perAddr[addr]
	if byAddr == nil {
		if len(g.perAddr) >= maxAddrLimiters {
			clear(g.perAddr) // forgets burst credit, never a key's limit
		}
		byAddr = rate.NewLimiter(addrRate, addrBurst)
		g.perAddr[addr] = byAddr
	}
	now := g.now()
	return byAddr.AllowN(now, 1) && byKey.AllowN(now, 1)
}

func identityOf(r token.Record) Identity {
	return Identity{
		Client: ClientKey{Realm: r.Realm, ID: r.Client}, TokenID: r.ID, Device: r.Device,
		TokenIssued: r.Issued, Expires: r.Expires,
	}
}

func refusalOf(err error) *Refusal {
	switch {
	case errors.Is(err, token.ErrMissing):
		return &Refusal{Code: CloseUnauthorized, Reason: ReasonMissingToken}
	case errors.Is(err, token.ErrInvalid):
		return &Refusal{Code: CloseUnauthorized, Reason: ReasonBadToken}
	}
	return &Refusal{Code: CloseAuthDown, Reason: "credentials can't be checked now", Cause: err}
}

func newGate(p Parts) *Gate {
	return &Gate{
		authority: p.Authority, keys: p.Keys, clients: p.Store, newID: issuer(p.NewID), now: p.Now, log: p.Log,
		perKey: map[string]*rate.Limiter{}, perAddr: map[netip.Addr]*rate.Limiter{},
	}
}
