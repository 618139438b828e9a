package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// Sync is how hard a commit is pressed onto the disk.
type Sync string

// The levels of durability.
const (
	SyncFull   Sync = "full"   // every commit is flushed before it is answered
	SyncNormal Sync = "normal" // a power cut may lose the last answers; a crash of the process does not
	SyncOff    Sync = "off"    // a power cut may lose the database
)

// Config is what [Open] needs. Only Path, or DSN, is required.
type Config struct {
	// Path is the database file. Its folder is made where missing, and holds
	// the lock that keeps a second server away and the database's mark.
	Path string
	// DSN names a database of MySQL, MariaDB or TiDB instead of Path, as
	// go-sql-driver/mysql writes it: user:password@tcp(host:3306)/sunzi.
	// Time-outs in it hold; those that it leaves out follow from Timeout. Any
	// number of servers may share the database.
	DSN string
	// Sync is the durability of a commit to Path. Empty is [SyncFull]. What
	// is behind DSN decides by itself: see [Durability].
	Sync Sync
	// Limits are the domain's. The zero Config is [push.DefaultConfig].
	Limits push.Config
	// Clock is read for TTL, not_before and quotas. Nil is [time.Now].
	Clock func() time.Time
	// Sealer seals what is pushed to sealing clients. Nil refuses that such a
	// client is pushed to, which only a server that was set up to seal has.
	Sealer push.Sealer
	// Covers says which frames go to the members of a shard that they hold
	// nothing for. Empty is [push.CoverDirect].
	Covers push.Covers
	// Listener hears of what was placed; see [Store.SetListener].
	Listener push.CommitListener
	// Log gets what no caller is told: commit groups that had to be tried
	// again, connections opened anew. Nil is silence.
	Log *slog.Logger
	// Metrics hears of commits. The zero value is silence.
	Metrics Metrics
	// Timeout bounds a call whose context has no earlier deadline. Zero is
	// 5 s.
	Timeout time.Duration
	// QueueLength is how many operations may wait for the writer; more wait
	// at the door until their deadline. Zero is 4,096.
	QueueLength int
	// Window is how long a commit group with a push in it stays open for others
	// to join, from its first push on: fewer commits, and larger sealing
	// batches, for so much longer answers. Zero is no waiting; at most
	// [MaxWindow], and half of Timeout. A full group, and a store that closes, do
	// not wait.
	Window time.Duration
	// ReadConnections is the size of the read pool. Zero is 4.
	ReadConnections int
	// OfflineKeep is how long an acked entry of store=offline stays, unseen
	// by history, so that its push's status can still be asked for. Zero is
	// an hour.
	OfflineKeep time.Duration

	engine *engine // by withDefaults
}

// Metrics are hooks, called by the writer; they must not block. Nil ones are
// not called.
type Metrics struct {
	// Committed is a commit group: how many operations, how long it took
	// from BEGIN to COMMIT's return.
	Committed func(operations int, took time.Duration)
	// Failed is a commit group that was rolled back.
	Failed func()
	// Waiting is how many operations are left when a group was taken.
	Waiting func(operations int)
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Path == "" && c.DSN == "":
		return c, errors.New("store: no database file is configured, and no DSN")
	case c.Path != "" && c.DSN != "":
		return c, errors.New("store: a database file and a DSN are configured: choose one")
	case c.DSN != "":
		c.engine = &mysqlEngine
	default:
		c.engine = &sqliteEngine
	}
	switch c.Sync {
	case "":
		c.Sync = SyncFull
	case SyncFull, SyncNormal, SyncOff:
	default:
		return c, fmt.Errorf("store: sync is %q, and must be full, normal or off", c.Sync)
	}
	if c.Covers == "" {
		c.Covers = push.CoverDirect
	}
	if !c.Covers.Known() {
		return c, fmt.Errorf("store: covers are %q, and must be none, direct or all", c.Covers)
	}
	if c.Limits == (push.Config{}) {
		c.Limits = push.DefaultConfig()
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Timeout = orElse(c.Timeout, 5*time.Second)
	if c.Window < 0 || c.Window > min(MaxWindow, c.Timeout/2) {
		return c, fmt.Errorf("store: the window is %s, and may be %s at most", c.Window, min(MaxWindow, c.Timeout/2))
	}
	c.QueueLength = orElse(c.QueueLength, 4096)
	c.ReadConnections = orElse(c.ReadConnections, 4)
	c.OfflineKeep = orElse(c.OfflineKeep, time.Hour)
	return c, nil
}

// name is what people call the database; it has no password.
func (c *Config) name() string {
	if c.DSN == "" {
		return c.Path
	}
	return mysqlName(c.DSN)
}

func orElse[T ~int | ~int64](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// keepEnded is how long an entry that ended (expired, cancelled …) stays, so
// that its client is told the reason and the application can ask.
func (c *Config) keepEnded() time.Duration {
	return max(c.Limits.HistoryRetention, c.OfflineKeep)
}

func (s *Store) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.cfg.Timeout)
}
