package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// PushConfig is the domain's part.
func (c Config) PushConfig() push.Config {
	u := c.Push
	return push.Config{
		DefaultTTL: u.DefaultTTL, HistoryRetention: u.HistoryRetention, MaxPayload: int(u.MaxPayload),
		MailboxEntries: u.MailboxEntries, MailboxBytes: int64(u.MailboxBytes), Overflow: push.OverflowPolicy(u.Overflow),
		IdempotencyWindow: u.IdempotencyWindow, AckFlush: u.AckFlush, Readers: u.Readers,
	}
}

// AuthorityConfig is the tokens' part; it reads the secret's file where one is
// configured.
func (c Config) AuthorityConfig() (token.AuthorityConfig, error) {
	t := c.Tokens
	secret := []byte(t.Secret)
	if t.SecretFile != "" {
		b, err := os.ReadFile(t.SecretFile)
		if err != nil {
			return token.AuthorityConfig{}, fmt.Errorf("tokens.secret_file: can't be read: %w", err)
		}
		secret = []byte(strings.TrimSpace(string(b)))
		if len(secret) < token.MinSecret {
			return token.AuthorityConfig{}, fmt.Errorf("tokens.secret_file: %s holds %d bytes and needs at least %d", t.SecretFile, len(secret), token.MinSecret)
		}
	}
	keys, err := outside(t.Outside)
	if err != nil {
		return token.AuthorityConfig{}, fmt.Errorf("tokens.outside: %w", err)
	}
	return token.AuthorityConfig{
		Secret: secret, Issuer: t.Issuer, Audience: t.Audience, TTL: t.TTL,
		RefreshAge: t.RefreshAge, Grace: t.Grace, Leeway: t.Leeway, Outside: keys,
	}, nil
}

// StorePath is the SQLite file.
func (c Config) StorePath() string {
	if c.Store.Path != "" {
		return c.Store.Path
	}
	return filepath.Join(c.Data, "sunzi.db")
}

// TrustedProxies are the prefixes of a valid configuration.
func (c Config) TrustedProxies() []netip.Prefix {
	var all []netip.Prefix
	for _, s := range c.HTTP.TrustedProxies {
		if p, err := netip.ParsePrefix(s); err == nil {
			all = append(all, p)
		}
	}
	return all
}
