package token

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"pgregory.net/rapid"
)

func TestAMintedTokenChecksAndIsWhatWasAskedFor(t *testing.T) {
	a, _, _ := newAuthority(t, testConfig())
	raw, minted := mint(t, a, MintRequest{Realm: "shop", Client: "42", Device: "phone", TTL: time.Hour})
	got, err := a.Check(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if got != minted {
		t.Fatalf("checked %+v, minted %+v", got, minted)
	}
	want := Record{ID: got.ID, Realm: "shop", Client: "42", Device: "phone", Issued: noon, Expires: noon.Add(time.Hour).Truncate(time.Second)}
	if got != want {
		t.Fatalf("record %+v, want %+v", got, want)
	}
	if b, err := base64.RawURLEncoding.DecodeString(got.ID); err != nil || len(b) != 16 {
		t.Fatalf("jti %q is not 128 bits", got.ID)
	}
}

// forge signs any header and claims with our own secret.
func forge(t testing.TB, method jwt.SigningMethod, key any, header, claims map[string]any) string {
	t.Helper()
	tok := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	for k, v := range header {
		tok.Header[k] = v
	}
	raw, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// claimsOf is what a.sign writes, as a map to break.
func claimsOf(t testing.TB, raw string) map[string]any {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCheckRefuses(t *testing.T) {
	a, m, _ := newAuthority(t, testConfig())
	raw, rec := mint(t, a, MintRequest{Realm: "r", Client: "c", Device: "d"})
	good := claimsOf(t, raw)
	hs := jwt.SigningMethodHS256
	with := func(k string, v any) map[string]any {
		c := map[string]any{}
		for k, v := range good {
			c[k] = v
		}
		if c[k] = v; v == nil {
			delete(c, k)
		}
		return c
	}
	signed := func(k string, v any) string { return forge(t, hs, a.cfg.Secret, nil, with(k, v)) }
	parts := strings.Split(raw, ".")

	if _, err := a.Check(t.Context(), signed("sub", "c")); err != nil {
		t.Fatalf("the unbroken forgery must pass, or this test shows nothing: %v", err)
	}
	cases := map[string]string{
		"alg none":         forge(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, good),
		"HS512":            forge(t, jwt.SigningMethodHS512, a.cfg.Secret, nil, good),
		"another secret":   forge(t, hs, []byte("another secret of thirty-two byt"), nil, good),
		"crit":             forge(t, hs, a.cfg.Secret, map[string]any{"crit": []string{"b64"}}, good),
		"EdDSA unasked":    forge(t, jwt.SigningMethodEdDSA, ed25519.NewKeyFromSeed(a.cfg.Secret), nil, good),
		"no signature":     parts[0] + "." + parts[1] + ".",
		"other claims":     parts[0] + "." + strings.Split(signed("sub", "x"), ".")[1] + "." + parts[2],
		"no exp":           signed("exp", nil),
		"no iat":           signed("iat", nil),
		"no aud":           signed("aud", nil),
		"another aud":      signed("aud", "bank"),
		"no iss":           signed("iss", nil),
		"another iss":      signed("iss", "bank"),
		"no sub":           signed("sub", nil),
		"no jti":           signed("jti", nil),
		"unknown jti":      signed("jti", "AAAAAAAAAAAAAAAAAAAAAA"),
		"another client":   signed("sub", "x"),
		"another realm":    signed("realm", "x"),
		"no realm":         signed("realm", nil),
		"another device":   signed("device", "x"),
		"a later exp":      signed("exp", rec.Expires.Unix()+60),
		"an earlier iat":   signed("iat", rec.Issued.Unix()-60),
		"a future iat":     signed("iat", rec.Issued.Unix()+60),
		"a future nbf":     signed("nbf", rec.Issued.Unix()+60),
		"exp as text":      signed("exp", "soon"),
		"padded":           raw + "=",
		"half":             raw[:len(raw)/2],
		"four parts":       raw + ".x",
		"not a token":      "hello",
		"longer than 4KiB": forge(t, hs, a.cfg.Secret, nil, with("pad", strings.Repeat("x", 5000))),
	}
	for name, raw := range cases {
		if rec, err := a.Check(t.Context(), raw); !errors.Is(err, ErrInvalid) || rec != (Record{}) {
			t.Errorf("%s: %+v, %v", name, rec, err)
		}
	}
	if _, err := a.Check(t.Context(), ""); !errors.Is(err, ErrMissing) {
		t.Errorf("none: %v", err)
	}
	m.setDown(true)
	if _, err := a.Check(t.Context(), raw); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalid) {
		t.Errorf("records down: %v", err)
	}
	if _, err := a.Check(t.Context(), cases["another secret"]); !errors.Is(err, ErrInvalid) {
		t.Errorf("records down, bad signature: %v", err)
	}
}

// Any change to any byte of a token refuses it.
func TestATamperedTokenIsRefused(t *testing.T) {
	a, _, _ := newAuthority(t, testConfig())
	raw, _ := mint(t, a, MintRequest{Client: "c"})
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(raw)
		at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		b[at] = rapid.Byte().Filter(func(c byte) bool { return c != raw[at] }).Draw(t, "to")
		if _, err := a.Check(t.Context(), string(b)); !errors.Is(err, ErrInvalid) {
			t.Fatalf("%q: %v", b, err)
		}
	})
}

func TestATokenExpiresAfterTheLeeway(t *testing.T) {
	a, _, c := newAuthority(t, testConfig())
	raw, rec := mint(t, a, MintRequest{Client: "c", TTL: time.Minute})
	c.add(rec.Expires.Sub(noon) + 4*time.Second)
	if _, err := a.Check(t.Context(), raw); err != nil {
		t.Fatalf("within the leeway: %v", err)
	}
	c.add(2 * time.Second)
	if _, err := a.Check(t.Context(), raw); !errors.Is(err, ErrInvalid) {
		t.Fatalf("after it: %v", err)
	}
}

func TestARevocationIsAtOnce(t *testing.T) {
	a, _, c := newAuthority(t, testConfig())
	one, rec := mint(t, a, MintRequest{Client: "c"})
	two, _ := mint(t, a, MintRequest{Client: "c"})
	other, _ := mint(t, a, MintRequest{Client: "d"})
	c.add(time.Second)
	late, _ := mint(t, a, MintRequest{Client: "c"})
	valid := func() (ok []bool) {
		for _, raw := range []string{one, two, other, late} {
			_, err := a.Check(t.Context(), raw)
			ok = append(ok, err == nil)
		}
		return ok
	}
	if got, err := a.RevokeID(t.Context(), rec.ID); err != nil || got.Client != "c" {
		t.Fatalf("RevokeID: %+v, %v", got, err)
	}
	if got := valid(); !slices.Equal(got, []bool{false, true, true, true}) {
		t.Fatalf("after RevokeID: %v", got)
	}
	if _, err := a.RevokeClient(t.Context(), "", "c", noon.Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if got := valid(); !slices.Equal(got, []bool{false, false, true, true}) {
		t.Fatalf("after RevokeClient: %v", got)
	}
	if _, err := a.RevokeID(t.Context(), "unknown"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("unknown jti: %v", err)
	}
}

func TestMintRefusesAndFailsClosed(t *testing.T) {
	a, m, _ := newAuthority(t, testConfig())
	for _, r := range []MintRequest{{}, {Client: "c", TTL: -time.Hour}, {Client: "c", TTL: time.Millisecond}} {
		if _, _, err := a.Mint(t.Context(), r); err == nil {
			t.Errorf("%+v was minted", r)
		}
	}
	m.setDown(true)
	if raw, _, err := a.Mint(t.Context(), MintRequest{Client: "c"}); !errors.Is(err, ErrUnavailable) || raw != "" {
		t.Errorf("records down: %q, %v", raw, err)
	}
}

func TestOutsideIssuers(t *testing.T) {
	key := ed25519.NewKeyFromSeed([]byte("a seed of exactly 32 bytes here!"))
	cfg := testConfig()
	cfg.Outside = map[string]OutsideKey{"k1": {Issuer: "bank", Key: key.Public().(ed25519.PublicKey)}}
	a, m, _ := newAuthority(t, cfg)
	claims := func(edit func(map[string]any)) map[string]any {
		c := map[string]any{"iss": "bank", "aud": "sunzi", "sub": "c", "jti": "j", "iat": noon.Unix(), "exp": noon.Unix() + 60}
		edit(c)
		return c
	}
	ed := func(kid string, edit func(map[string]any)) string {
		return forge(t, jwt.SigningMethodEdDSA, key, map[string]any{"kid": kid}, claims(edit))
	}
	asIs := func(map[string]any) {}
	good := ed("k1", asIs)
	if rec, err := a.Check(t.Context(), good); err != nil || rec.Client != "c" || rec.ID != "j" {
		t.Fatalf("good: %+v, %v", rec, err)
	}
	own, rec := mint(t, a, MintRequest{Client: "c"})
	for name, raw := range map[string]string{
		"unknown kid":      ed("k2", asIs),
		"no kid":           ed("", asIs),
		"our iss":          ed("k1", func(c map[string]any) { c["iss"] = "sunzi" }),
		"no jti":           ed("k1", func(c map[string]any) { delete(c, "jti") }),
		"a jti of ours":    ed("k1", func(c map[string]any) { c["jti"] = rec.ID; c["sub"] = "victim" }),
		"public key as HS": forge(t, jwt.SigningMethodHS256, []byte(key.Public().(ed25519.PublicKey)), map[string]any{"kid": "k1"}, claims(asIs)),
		"our secret, bank": forge(t, jwt.SigningMethodHS256, cfg.Secret, nil, claims(asIs)),
	} {
		if _, err := a.Check(t.Context(), raw); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := a.RevokeClient(t.Context(), "", "c", noon.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{"outside": good, "own": own} {
		if _, err := a.Check(t.Context(), raw); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s, revoked by client: %v", name, err)
		}
	}
	m.setDown(true)
	if _, err := a.Check(t.Context(), good); !errors.Is(err, ErrUnavailable) {
		t.Errorf("records down: %v", err)
	}
}

func TestOutsideIssuersNeedRecordsThatCanRevokeThem(t *testing.T) {
	cfg := testConfig()
	cfg.Outside = map[string]OutsideKey{"k": {Issuer: "bank", Key: make([]byte, 32)}}
	if _, err := NewAuthority(cfg, struct{ Records }{newMemory()}, nil); err == nil {
		t.Fatal("records without RevokedBefore were taken")
	}
}

func TestAuthorityConfigTellsAllProblems(t *testing.T) {
	cfg := AuthorityConfig{Leeway: time.Hour, Grace: -1, Outside: map[string]OutsideKey{"k": {}}}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, word := range []string{"secret", "issuer", "audience", "TTL", "refresh age", "grace", "leeway", `"k"`} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("no word of %s in %q", word, err)
		}
	}
	if err := testConfig().Validate(); err != nil {
		t.Errorf("the default with a secret: %v", err)
	}
}

func FuzzCheck(f *testing.F) {
	a, _, _ := newAuthority(f, testConfig())
	raw, rec := mint(f, a, MintRequest{Client: "c"})
	f.Add(raw)
	f.Add("a.b.c")
	f.Add(forge(f, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, claimsOf(f, raw)))
	f.Add(forge(f, jwt.SigningMethodHS256, a.cfg.Secret, map[string]any{"kid": 7}, claimsOf(f, raw)))
	f.Fuzz(func(t *testing.T, in string) {
		got, err := a.Check(t.Context(), in)
		if err == nil && got != rec {
			t.Fatalf("%q passed as %+v", in, got)
		}
	})
}
