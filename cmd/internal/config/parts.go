package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sunzi-push/sunzi/cmd/internal/sealkeys"
	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
	"github.com/sunzi-push/sunzi/store"
)

// PushConfig is the domain's part.
func (c Config) PushConfig() push.Config {
	u := c.Push
	var sweep time.Duration
	if c.Store.DSN != "" {
		sweep = c.Cluster.HeadSweep
	}
	return push.Config{
		HeadSweep:  sweep,
		DefaultTTL: u.DefaultTTL, HistoryRetention: u.HistoryRetention, MaxPayload: int(u.MaxPayload),
		MailboxEntries: u.MailboxEntries, MailboxBytes: int64(u.MailboxBytes), Overflow: push.OverflowPolicy(u.Overflow),
		IdempotencyWindow: u.IdempotencyWindow, AckFlush: u.AckFlush, Readers: u.Readers, RequireSeal: c.Seal.Require,
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

// StoreConfig is the store's part, without what only a running server has.
func (c Config) StoreConfig() store.Config {
	s := c.Store
	out := store.Config{
		DSN: string(s.DSN), Sync: store.Sync(s.Sync), Limits: c.PushConfig(),
		Timeout: s.Timeout, QueueLength: s.Queue, Window: s.Window, ReadConnections: s.Connections, OfflineKeep: s.OfflineKeep,
	}
	if s.DSN == "" {
		out.Path = c.StorePath()
	}
	return out
}

// SealKeys are the sealing keys, nil where none are configured: then nothing is
// sealed. The error is [fs.ErrNotExist] where their file is missing. See
// [Config.OwnSealKeys].
func (c Config) SealKeys() (*sealkeys.Keys, error) {
	switch {
	case c.Seal.Keys != "":
		k, err := sealkeys.Parse([]byte(c.Seal.Keys))
		if err != nil {
			return nil, fmt.Errorf("seal.keys: %w", err)
		}
		return k, nil
	case c.Seal.KeyFile != "":
		k, err := sealkeys.Open(c.Seal.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("seal.key_file: %w; make one with: sunzi key make %s", err, c.Seal.KeyFile)
		}
		return k, nil
	case c.Store.DSN != "":
		return nil, nil
	}
	return sealkeys.Open(c.SealKeyPath())
}

// OwnSealKeys reports whether the sealing keys belong to the data folder, where
// the server makes them at its first start.
func (c Config) OwnSealKeys() bool {
	return c.Seal.Keys == "" && c.Seal.KeyFile == "" && c.Store.DSN == ""
}

// SealKeyPath is where the sealing keys of a server with a data folder are.
func (c Config) SealKeyPath() string { return filepath.Join(c.Data, "seal.keys") }

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
