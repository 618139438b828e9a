package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// maxCredential bounds what is taken for a token or key, in bytes.
const maxCredential = 8 << 10

// bearer is the credential of the Authorization header (RFC 6750 section
// 2.1); empty where there is none of that scheme.
func bearer(r *http.Request) string {
	scheme, raw, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(raw)
}

// admit lets the bearer of an API key with the scope pass, as far as the
// key's limits go. done must be called when the request has ended.
func (a *api) admit(w http.ResponseWriter, r *http.Request, s token.Scope) (done func(), err error) {
	raw := bearer(r)
	if raw == "" {
		return nil, token.ErrMissing
	}
	if len(raw) > maxCredential {
		return nil, token.ErrInvalid
	}
	key, err := a.deps.Keys.Check(r.Context(), raw)
	if err != nil {
		return nil, err
	}
	callOf(r.Context()).key = key
	if !key.Allows(s) {
		return nil, push.Errorf(push.CodeForbidden, "the API key does not have the scope %s", s)
	}
	return a.limits.take(r.Context(), w.Header(), key.ID, a.now())
}

// caller is the API key that a request was admitted with.
func caller(ctx context.Context) token.Key { return callOf(ctx).key }

// realm is the realm that a request means: what it names, else the key's,
// else the default one. A key bound to another is refused.
func realm(ctx context.Context, asked *string) (string, error) {
	bound := caller(ctx).Realm
	switch {
	case asked == nil && bound != nil:
		return *bound, nil
	case asked == nil:
		return "", nil
	case !push.ValidRealm(*asked):
		return "", push.Errorf(push.CodeInvalidField, "realm: must be at most %d characters, without control characters, slashes, or a space at either end", push.MaxNameLen)
	case bound != nil && *bound != *asked:
		return "", push.Errorf(push.CodeWrongRealm, "the API key belongs to another realm")
	}
	return *asked, nil
}

// realmParam is the realm of the query.
func realmParam(r *http.Request) (string, error) {
	q := r.URL.Query()
	if !q.Has("realm") {
		return realm(r.Context(), nil)
	}
	asked := q.Get("realm")
	return realm(r.Context(), &asked)
}

// clientParam is the client that the path names, in the realm of the query.
func clientParam(r *http.Request) (push.ClientKey, error) {
	id, err := nameParam(r, "id")
	if err != nil {
		return push.ClientKey{}, err
	}
	rm, err := realmParam(r)
	return push.ClientKey{Realm: rm, ID: id}, err
}
