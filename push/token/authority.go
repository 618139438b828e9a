package token

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MinSecret is the least length of a signing secret, in bytes: the output
// size of the hash (RFC 7518 section 3.2).
const MinSecret = 32

// AuthorityConfig is what an [Authority] is made of.
type AuthorityConfig struct {
	// Secret signs tokens (HS256), at least [MinSecret] bytes. Another one
	// makes all tokens invalid at once.
	Secret []byte
	// Issuer and Audience are put in every token and required of it.
	Issuer, Audience string
	// TTL is how long a token lives where the request says nothing.
	TTL time.Duration
	// RefreshAge is the age from which a token that is used is answered
	// with a newer one.
	RefreshAge time.Duration
	// Grace is how long parallel users of one old token get the same new
	// one. The old one stays valid until it expires or is revoked: a client
	// that never got the answer is not logged out.
	Grace time.Duration
	// Leeway is the clock difference that times in tokens may have.
	Leeway time.Duration
	// Outside are the keys of outside issuers (EdDSA, RFC 8037), by kid.
	// They need records that are [OutsideRecords].
	Outside map[string]OutsideKey
}

// OutsideKey is the key of an outside issuer.
type OutsideKey struct {
	Issuer string // the iss that goes with the key
	Key    ed25519.PublicKey
}

// OutsideRecords are records that can also say what was revoked of tokens
// they never saw. Without them outside issuers can't be allowed: a revocation
// would not reach a token that comes for the first time.
type OutsideRecords interface {
	Records
	// RevokedBefore is the latest issuedBefore that RevokeTokens was called
	// with for the client; zero where there was none.
	RevokedBefore(ctx context.Context, realm, client string) (time.Time, error)
}

// DefaultAuthorityConfig has everything but the secret.
func DefaultAuthorityConfig() AuthorityConfig {
	return AuthorityConfig{
		Issuer:     "sunzi",
		Audience:   "sunzi",
		TTL:        10 * 24 * time.Hour,
		RefreshAge: 5 * 24 * time.Hour,
		Grace:      time.Minute,
		Leeway:     5 * time.Second,
	}
}

// Validate returns all problems at once.
func (c AuthorityConfig) Validate() error {
	var errs []error
	bad := func(wrong bool, text string) {
		if wrong {
			errs = append(errs, errors.New("token: "+text))
		}
	}
	bad(len(c.Secret) < MinSecret, fmt.Sprintf("the secret must have at least %d bytes", MinSecret))
	bad(c.Issuer == "", "the issuer must be set")
	bad(c.Audience == "", "the audience must be set")
	bad(c.TTL < time.Second, "the TTL must be at least 1s")
	bad(c.RefreshAge <= 0, "the refresh age must be positive")
	bad(c.Grace < 0, "the grace must not be negative")
	bad(c.Leeway < 0 || c.Leeway > time.Minute, "the leeway must be 0 to 1m")
	for kid, k := range c.Outside {
		bad(kid == "" || k.Issuer == "" || len(k.Key) != ed25519.PublicKeySize,
			fmt.Sprintf("the outside key %q needs a kid, an issuer and a key of 32 bytes", kid))
	}
	return errors.Join(errs...)
}

// Authority mints, checks and revokes client tokens. Safe for concurrent use;
// its methods block for as long as the records do, bounded by their context.
type Authority struct {
	cfg     AuthorityConfig
	records Records
	outside OutsideRecords // nil without outside issuers
	now     func() time.Time
	parser  *jwt.Parser

	refreshes refreshes
}

// NewAuthority makes an authority. now nil means time.Now.
func NewAuthority(cfg AuthorityConfig, records Records, now func() time.Time) (*Authority, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	a := &Authority{cfg: cfg, records: records, now: now}
	methods := []string{jwt.SigningMethodHS256.Alg()}
	if len(cfg.Outside) > 0 {
		out, ok := records.(OutsideRecords)
		if !ok {
			return nil, errors.New("token: outside issuers need records that keep revocations of tokens they never saw")
		}
		a.outside = out
		methods = append(methods, jwt.SigningMethodEdDSA.Alg())
	}
	// The library's default accepts a token without exp, and any algorithm
	// that fits the key: everything is required by name.
	a.parser = jwt.NewParser(
		jwt.WithValidMethods(methods),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithAudience(cfg.Audience),
		jwt.WithLeeway(cfg.Leeway),
		jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(now),
	)
	return a, nil
}

// MintRequest says for whom a token is.
type MintRequest struct {
	Realm  string
	Client string
	Device string        // empty: any device
	TTL    time.Duration // zero: the configured one
}

// claims are what a token says (RFC 7519 section 4.1; realm and device are
// ours).
type claims struct {
	jwt.RegisteredClaims
	Realm  string `json:"realm,omitempty"`
	Device string `json:"device,omitempty"`
}

// Mint makes a token and its record. The token is shown here and never again.
// It does not ask whether the client exists.
func (a *Authority) Mint(ctx context.Context, req MintRequest) (raw string, rec Record, err error) {
	return a.mint(ctx, req, "")
}

func (a *Authority) mint(ctx context.Context, req MintRequest, family string) (raw string, rec Record, err error) {
	if req.Client == "" {
		return "", Record{}, errors.New("token: a token needs a client")
	}
	if req.TTL == 0 {
		req.TTL = a.cfg.TTL
	}
	if req.TTL < time.Second {
		return "", Record{}, errors.New("token: the TTL must be at least 1s")
	}
	now := a.now().Truncate(time.Millisecond)
	rec = Record{
		ID:     newID(),
		Realm:  req.Realm,
		Client: req.Client,
		Device: req.Device,
		Issued: now,
		// exp is in whole seconds, and the record says the same.
		Expires: now.Add(req.TTL).Truncate(time.Second),
		Family:  family,
	}
	raw, err = a.sign(rec)
	if err != nil {
		return "", Record{}, fmt.Errorf("token: signing: %w", err)
	}
	if err := a.records.InsertToken(ctx, rec); err != nil {
		return "", Record{}, unavailable(err)
	}
	return raw, rec, nil
}

func (a *Authority) sign(rec Record) (string, error) {
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    a.cfg.Issuer,
			Subject:   rec.Client,
			Audience:  jwt.ClaimStrings{a.cfg.Audience},
			ExpiresAt: jwt.NewNumericDate(rec.Expires),
			IssuedAt:  jwt.NewNumericDate(rec.Issued),
			ID:        rec.ID,
		},
		Realm:  rec.Realm,
		Device: rec.Device,
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(a.cfg.Secret)
}

// newID is a jti: 128 random bits.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand, since Go 1.24)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// RevokeID revokes a token by its jti, and those that it was refreshed to, at
// whatever time that was. [ErrNotFound] for an unknown one: an outside issuer's
// tokens have no record and are revoked by client.
func (a *Authority) RevokeID(ctx context.Context, jti string) (Record, error) {
	rec, err := a.records.RevokeToken(ctx, jti)
	if err != nil {
		return Record{}, unavailable(err)
	}
	// A refresh under way sees the revocation before it answers; one that was
	// answered within the grace must not be handed out again.
	a.refreshes.forget(jti, a.now(), a.cfg.Grace)
	return rec, nil
}

// RevokeClient revokes the client's tokens that were issued before the time,
// and answers how many records that were.
func (a *Authority) RevokeClient(ctx context.Context, realm, client string, issuedBefore time.Time) (int, error) {
	n, err := a.records.RevokeTokens(ctx, realm, client, issuedBefore)
	if err != nil {
		return 0, unavailable(err)
	}
	return n, nil
}

// unavailable keeps ErrNotFound and reads everything else as records that
// can't be reached.
func unavailable(err error) error {
	if errors.Is(err, ErrNotFound) {
		return ErrNotFound
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
