package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/store"
)

// storeFile compares the schema with what this binary knows.
func storeFile(ctx context.Context, c *config.Config) Finding {
	if c.Store.DSN != "" {
		return schema(ctx, c)
	}
	path := c.StorePath()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return good("%s is not there yet; the server makes it", path)
	} else if err != nil {
		return Finding{Grade: Bad, Text: err.Error(), Remedy: "give the user that runs the server the right to read and write it"}
	}
	return schema(ctx, c)
}

// schema compares the version of the database's schema with this binary's.
func schema(ctx context.Context, c *config.Config) Finding {
	have, known, err := store.Version(ctx, c.StoreConfig())
	remedy := "restore a backup, or move the file away to start empty"
	if c.Store.DSN != "" {
		remedy = "start the database, or mend store.dsn: host, user, password and an existing database"
	}
	switch {
	case err != nil:
		return Finding{Grade: Bad, Text: strings.TrimPrefix(err.Error(), "store: "), Remedy: remedy}
	case have > known:
		return Finding{Grade: Bad, Text: fmt.Sprintf("the schema is at version %d, this binary knows %d", have, known), Remedy: "run a newer sunzi"}
	case have < known:
		return Finding{Grade: Doubt, Text: fmt.Sprintf("the schema is at version %d, this binary's is %d", have, known), Remedy: "nothing, or ahead of the start: sunzi migrate"}
	}
	return good("the schema is at version %d, up to date", have)
}

// durability looks whether an answered push is on the disk.
func durability(ctx context.Context, c *config.Config) Finding {
	if c.Store.DSN == "" {
		if c.Store.Sync != string(store.SyncFull) {
			return Finding{Grade: Doubt, Text: "store.sync is " + c.Store.Sync + ": a power cut may lose pushes that were answered", Remedy: "store.sync: full"}
		}
		return good("each commit is flushed before it is answered")
	}
	wrong, err := store.Durability(ctx, c.StoreConfig())
	switch {
	case err != nil:
		return Finding{Grade: Doubt, Text: "the database's settings can't be read: " + strings.TrimPrefix(err.Error(), "store: ")}
	case len(wrong) > 0: // each names its remedy
		return Finding{Grade: Bad, Text: strings.Join(wrong, "; ")}
	}
	return good("each commit is flushed before it is answered")
}

// certificateSoon is when a certificate should have been renewed.
const certificateSoon = 14 * 24 * time.Hour

// certificate looks whether the pair fits and how long it is good for.
func certificate(_ context.Context, c *config.Config) Finding {
	if !c.TLS.Enabled() {
		return good("none is configured; what ends TLS in front of this server is not looked at")
	}
	pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
	if err != nil {
		return Finding{Grade: Bad, Text: err.Error(), Remedy: "mend tls.cert and tls.key: PEM files, the key that of the first certificate"}
	}
	now, leaf := time.Now(), pair.Leaf
	const renew = "renew it; the files are read again by themselves, or at SIGHUP"
	switch left := leaf.NotAfter.Sub(now); {
	case now.Before(leaf.NotBefore):
		return Finding{Grade: Bad, Text: "is good from " + leaf.NotBefore.Format(time.RFC3339) + " on only", Remedy: "set this machine's clock, or wait"}
	case left <= 0:
		return Finding{Grade: Bad, Text: "ended at " + leaf.NotAfter.Format(time.RFC3339), Remedy: renew}
	case left < certificateSoon:
		return Finding{Grade: Doubt, Text: fmt.Sprintf("ends in %d days", int(left.Hours()/24)), Remedy: renew}
	}
	return good("good until %s", leaf.NotAfter.Format(time.DateOnly))
}
