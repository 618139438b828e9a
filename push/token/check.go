package token

import (
	"context"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// maxToken bounds a token before anything of it is decoded, in bytes. Ours
// have about 400.
const maxToken = 4 << 10

// Check answers the record of a token that exists, is signed by us or an
// outside issuer, unexpired and unrevoked, as of now. [ErrMissing] where raw
// is empty, [ErrUnavailable] where the records can't be reached, else
// [ErrInvalid]; the cause is wrapped for logs and tells the holder nothing.
func (a *Authority) Check(ctx context.Context, raw string) (Record, error) {
	if raw == "" {
		return Record{}, ErrMissing
	}
	if len(raw) > maxToken {
		return Record{}, invalid("longer than %d bytes", maxToken)
	}
	var c claims
	t, err := a.parser.ParseWithClaims(raw, &c, a.key)
	if err != nil {
		return Record{}, invalid("%w", err)
	}
	if c.Subject == "" || c.ID == "" || c.IssuedAt == nil {
		return Record{}, invalid("sub, jti or iat is missing")
	}
	if kid, _ := t.Header["kid"].(string); t.Method.Alg() == jwt.SigningMethodEdDSA.Alg() {
		return a.checkOutside(ctx, c, a.cfg.Outside[kid])
	}
	if c.Issuer != a.cfg.Issuer {
		return Record{}, invalid("issuer is another")
	}
	rec, err := a.records.Token(ctx, c.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return Record{}, invalid("jti is unknown")
	case err != nil:
		return Record{}, unavailable(err)
	case rec.Revoked:
		return Record{}, invalid("revoked")
	case !c.match(rec):
		return Record{}, invalid("claims differ from the record")
	}
	return rec, nil
}

// key picks the key by method, so that no key is ever used with another
// method than its own (RFC 8725 section 3.1).
func (a *Authority) key(t *jwt.Token) (any, error) {
	if _, ok := t.Header["crit"]; ok { // RFC 7515 section 4.1.11: we know none
		return nil, errors.New("crit is not supported")
	}
	switch t.Method {
	case jwt.SigningMethodHS256:
		return a.cfg.Secret, nil
	case jwt.SigningMethodEdDSA:
		kid, _ := t.Header["kid"].(string)
		if k, ok := a.cfg.Outside[kid]; ok {
			return k.Key, nil
		}
		return nil, errors.New("kid is unknown")
	}
	return nil, errors.New("alg is not allowed")
}

// checkOutside is the rest of a check for a token of an outside issuer. Its
// jti needs no record; one that is revoked, or belongs to somebody else's
// token, refuses it.
func (a *Authority) checkOutside(ctx context.Context, c claims, k OutsideKey) (Record, error) {
	if c.Issuer != k.Issuer {
		return Record{}, invalid("issuer is another")
	}
	before, err := a.outside.RevokedBefore(ctx, c.Realm, c.Subject)
	if err != nil {
		return Record{}, unavailable(err)
	}
	// iat has whole seconds: one of the same second counts as before.
	if c.IssuedAt.Before(before) {
		return Record{}, invalid("revoked")
	}
	rec, err := a.records.Token(ctx, c.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return c.record(), nil
	case err != nil:
		return Record{}, unavailable(err)
	case rec.Revoked || !c.match(rec):
		return Record{}, invalid("revoked, or a jti of another token")
	}
	return rec, nil
}

// match compares in seconds, the resolution of a token's times.
func (c claims) match(r Record) bool {
	return c.ID == r.ID && c.Realm == r.Realm && c.Subject == r.Client && c.Device == r.Device &&
		c.ExpiresAt.Unix() == r.Expires.Unix() && c.IssuedAt.Unix() == r.Issued.Unix()
}

func (c claims) record() Record {
	return Record{
		ID: c.ID, Realm: c.Realm, Client: c.Subject, Device: c.Device,
		Issued: c.IssuedAt.Time, Expires: c.ExpiresAt.Time,
	}
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
}
