package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

func (a *api) mintToken(w http.ResponseWriter, r *http.Request) error {
	var b struct {
		Client string  `json:"client"`
		Realm  *string `json:"realm"`
		Device string  `json:"device"`
		TTL    *int64  `json:"ttl"`
	}
	if err := a.decode(w, r, &b); err != nil {
		return err
	}
	key, err := bodyClient(r.Context(), b.Client, b.Realm)
	if err != nil {
		return err
	}
	ttl, err := a.tokenTTL(b.TTL)
	if err != nil {
		return err
	}
	if err := deviceOK(b.Device); err != nil {
		return err
	}
	// The authority does not ask: a token for a client that was never
	// registered would be let in, to find no mailbox.
	if _, err := a.mailboxOf(r.Context(), key); err != nil {
		return err
	}
	return a.mint(w, r, token.MintRequest{Realm: key.Realm, Client: key.ID, Device: b.Device, TTL: ttl})
}

// bodyClient is the client that a body names.
func bodyClient(ctx context.Context, id string, asked *string) (push.ClientKey, error) {
	if !push.ValidName(id) {
		return push.ClientKey{}, push.Errorf(push.CodeInvalidField, "client: must be the ID of a client")
	}
	rm, err := realm(ctx, asked)
	return push.ClientKey{Realm: rm, ID: id}, err
}

type revokedBody struct {
	Revoked int `json:"revoked"`
	closedBody
}

func (a *api) revokeTokens(w http.ResponseWriter, r *http.Request) error {
	var b struct {
		Client       string  `json:"client"`
		Realm        *string `json:"realm"`
		IssuedBefore instant `json:"issued_before"`
	}
	if err := a.decode(w, r, &b); err != nil {
		return err
	}
	key, err := bodyClient(r.Context(), b.Client, b.Realm)
	if err != nil {
		return err
	}
	before := b.IssuedBefore.Time
	if before.IsZero() {
		before = a.now().Add(time.Millisecond) // those of this very millisecond too
	}
	n, err := a.deps.Authority.RevokeClient(r.Context(), key.Realm, key.ID, before)
	if err != nil {
		return err
	}
	closed := a.disconnectAll(r.Context(), revocation(key, push.Closing{IssuedBefore: before}))
	return a.answer(w, r, http.StatusOK, revokedBody{n, closed})
}

func (a *api) revokeToken(w http.ResponseWriter, r *http.Request) error {
	jti := param(r, "jti")
	if len(jti) > 64 {
		return token.ErrNotFound
	}
	if err := a.mayRevoke(r.Context(), jti); err != nil {
		return err
	}
	rec, err := a.deps.Authority.RevokeID(r.Context(), jti)
	if err != nil {
		return err
	}
	key := push.ClientKey{Realm: rec.Realm, ID: rec.Client}
	return a.answer(w, r, http.StatusOK, revokedBody{1, a.closeRevoked(r.Context(), key, jti)})
}

// closeRevoked ends the sessions that stand on the token, and on those that it
// was refreshed to.
func (a *api) closeRevoked(ctx context.Context, key push.ClientKey, jti string) closedBody {
	sessions, err := a.deps.Clients.Connections(ctx, []push.ClientKey{key})
	out := a.disconnectAll(ctx, revocation(key, push.Closing{TokenID: jti}))
	out.Incomplete = out.Incomplete || err != nil
	asked := map[string]bool{jti: true}
	for _, i := range sessions[0].Sessions {
		if asked[i.TokenID] {
			continue
		}
		asked[i.TokenID] = true
		if a.revoked(ctx, i.TokenID) {
			more := a.disconnectAll(ctx, revocation(key, push.Closing{TokenID: i.TokenID}))
			out.Closed += more.Closed
			out.Incomplete = out.Incomplete || more.Incomplete
		}
	}
	return out
}

// revocation is c as the end of sessions that stand on revoked tokens.
func revocation(key push.ClientKey, c push.Closing) push.Closing {
	c.Client, c.Code, c.Reason = key, push.CloseTokenRevoked, "the token was revoked"
	return c
}

// revoked reports whether a token's record says so: the successors that a
// token was refreshed to are revoked with it. Where the records can't be
// reached it is taken for revoked; its client comes back when they can.
func (a *api) revoked(ctx context.Context, jti string) bool {
	if a.deps.Tokens == nil {
		return false
	}
	rec, err := a.deps.Tokens.Token(ctx, jti)
	if errors.Is(err, token.ErrNotFound) {
		return false
	}
	return err != nil || rec.Revoked
}

// mayRevoke keeps a key that is bound to a realm away from other realms'
// tokens; to such a key they do not exist.
func (a *api) mayRevoke(ctx context.Context, jti string) error {
	bound := caller(ctx).Realm
	if bound == nil {
		return nil
	}
	if a.deps.Tokens == nil {
		return push.Errorf(push.CodeForbidden, "an API key bound to a realm can't revoke by token ID; use POST /v1/tokens/revoke")
	}
	rec, err := a.deps.Tokens.Token(ctx, jti)
	switch {
	case errors.Is(err, token.ErrNotFound):
		return err
	case err != nil:
		return &push.Error{Code: push.CodeNoAuth, Message: "the token store can't be reached", RetryAfter: time.Second, Cause: err}
	case rec.Realm != *bound:
		return token.ErrNotFound
	}
	return nil
}

// keyBody is Key of openapi.yaml; Key is the text, told once.
type keyBody struct {
	ID      string        `json:"id"`
	Name    string        `json:"name"`
	Scopes  []token.Scope `json:"scopes"`
	Realm   *string       `json:"realm,omitempty"`
	Created int64         `json:"created"`
	Revoked bool          `json:"revoked"`
	Key     string        `json:"key,omitempty"`
}

func keyOf(k token.Key, raw string) keyBody {
	return keyBody{ID: k.ID, Name: k.Name, Scopes: k.Scopes, Realm: k.Realm, Created: milli(k.Created), Revoked: k.Revoked, Key: raw}
}

// visible reports whether the caller may see and revoke the key.
func visible(ctx context.Context, k token.Key) bool {
	bound := caller(ctx).Realm
	return bound == nil || k.Realm != nil && *k.Realm == *bound
}

func (a *api) listKeys(w http.ResponseWriter, r *http.Request) error {
	all, err := a.deps.Keys.List(r.Context())
	if err != nil {
		return err
	}
	out := []keyBody{}
	for _, k := range all {
		if visible(r.Context(), k) {
			out = append(out, keyOf(k, ""))
		}
	}
	return a.answer(w, r, http.StatusOK, map[string]any{"keys": out})
}

// scopes are those that a key can hold; connect stands alone.
var scopes = []token.Scope{
	token.ScopePush, token.ScopeRead, token.ScopeClients, token.ScopeGroups,
	token.ScopeTokens, token.ScopeAdmin, token.ScopeConnect,
}

func (a *api) createKey(w http.ResponseWriter, r *http.Request) error {
	var b struct {
		Name   string        `json:"name"`
		Scopes []token.Scope `json:"scopes"`
		Realm  *string       `json:"realm"`
	}
	if err := a.decode(w, r, &b); err != nil {
		return err
	}
	if !push.ValidName(b.Name) {
		return push.Errorf(push.CodeInvalidField, "name: must be 1 to %d characters, without control characters or slashes", push.MaxNameLen)
	}
	if err := checkScopes(b.Scopes); err != nil {
		return err
	}
	bind := b.Realm
	if bind == nil {
		bind = caller(r.Context()).Realm
	}
	if _, err := realm(r.Context(), bind); err != nil {
		return err
	}
	raw, k, err := a.deps.Keys.Create(r.Context(), b.Name, b.Scopes, bind)
	if err != nil {
		return err
	}
	return a.answer(w, r, http.StatusCreated, keyOf(k, raw))
}

func checkScopes(asked []token.Scope) error {
	if len(asked) == 0 {
		return push.Errorf(push.CodeInvalidField, "scopes: is missing; name one or more of %v", scopes)
	}
	for i, s := range asked {
		if !slices.Contains(scopes, s) {
			return push.Errorf(push.CodeInvalidField, "scopes[%d]: must be one of %v", i, scopes)
		}
		if s == token.ScopeConnect && len(asked) > 1 {
			return push.Errorf(push.CodeInvalidField, "scopes: connect stands alone, since its key may be published")
		}
		if slices.Contains(asked[:i], s) {
			return push.Errorf(push.CodeInvalidField, "scopes[%d]: is named twice", i)
		}
	}
	return nil
}

func (a *api) revokeKey(w http.ResponseWriter, r *http.Request) error {
	id := param(r, "id")
	all, err := a.deps.Keys.List(r.Context())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(k token.Key) bool { return k.ID == id })
	if i < 0 || !visible(r.Context(), all[i]) {
		return push.Errorf(push.CodeNoKey, "there is no API key of this ID")
	}
	if err := a.deps.Keys.Revoke(r.Context(), id); err != nil {
		if errors.Is(err, token.ErrNotFound) {
			return push.Errorf(push.CodeNoKey, "there is no API key of this ID")
		}
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
