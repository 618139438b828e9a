package store

// Everything that only SQLite has: how it is opened, how a transaction starts,
// which of its errors mean that the connection is not to be trusted any more.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"

	"github.com/sunzi-push/sunzi/store/migrations"
)

var sqliteEngine = engine{
	schema: goose.DialectSQLite3,
	steps:  func() (fs.FS, error) { return fs.Sub(migrations.SQLite, "sqlite") },
	open:   openSQLite,
	begin:  "BEGIN IMMEDIATE",

	// Counter rows are overwritten many a statement; every row is there
	// already, so that only the second half ever happens.
	saveCounters: `INSERT INTO client (realm, client_id, incarnation, born, head, cursor, read_cursor,
		total_bytes, acked_bytes, offline_head, created, seal, seal_generation, seal_last, seal_shard, seal_slot) VALUES `,
	saveConflict: ` ON CONFLICT (realm, client_id) DO UPDATE SET incarnation = excluded.incarnation,
		head = excluded.head, cursor = excluded.cursor, read_cursor = excluded.read_cursor, total_bytes = excluded.total_bytes,
		acked_bytes = excluded.acked_bytes, offline_head = excluded.offline_head, seal = excluded.seal, seal_generation = excluded.seal_generation,
		seal_last = excluded.seal_last, seal_shard = excluded.seal_shard, seal_slot = excluded.seal_slot`,
	keepRevocation: `INSERT INTO revocation (realm, client_id, issued_before) VALUES (?, ?, ?)
		ON CONFLICT (realm, client_id) DO UPDATE SET issued_before = max(issued_before, excluded.issued_before)`,

	// The planner would take a longer range of the primary key, which it
	// thinks is short since it keeps no statistics.
	byCollapseKey:  ` INDEXED BY offline_message_collapse `,
	byMemberClient: ` INDEXED BY member_client `,
	byPrimary:      ` `,
	ended:          `status > 0 AND due <= ?`,
	endedOrder:     ` ORDER BY due`,

	remove: func(table, key, where, order string) string {
		return `DELETE FROM ` + table + ` WHERE (` + key + `) IN (SELECT ` + key + ` FROM
			(SELECT ` + key + ` FROM ` + table + ` WHERE ` + where + order + ` LIMIT ?) old)`
	},
	broken: brokenSQLite,
	again:  func(error) bool { return false }, // nobody else writes
}

// Page caches in KiB, a connection each. The writer's holds the pages that
// concurrent pushes change again and again; the readers' are small, for the
// system caches the file already and theirs would come once a connection.
const (
	writerCache = 64 << 10
	readerCache = 2 << 10
)

// openSQLite opens a pool of connections. The WAL is checkpointed by
// the writer's own commits; the timeout on a busy file matters only beside
// tools that read the file.
func openSQLite(ctx context.Context, cfg *Config, use poolUse) (*sql.DB, error) {
	n, cacheKiB := 1, writerCache
	if use == forReading {
		n, cacheKiB = cfg.ReadConnections, readerCache
	}
	// SQLite makes its files readable to all; what is in them is not for all.
	f, err := os.OpenFile(cfg.Path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %s can't be opened: %w", cfg.Path, plain(err))
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("store: %s can't be opened: %w", cfg.Path, plain(err))
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(5000)",
		"journal_mode(WAL)",
		"synchronous(" + string(cfg.Sync) + ")",
		fmt.Sprintf("cache_size(-%d)", cacheKiB), // negative: KiB rather than pages
		"temp_store(MEMORY)",
		"wal_autocheckpoint(16000)", // pages of 4 KiB: the larger the log, the more changes of one page are written back once
	}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: cfg.Path}).EscapedPath(), RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("store: %s can't be opened: %w", cfg.Path, err)
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("store: %s can't be opened: %w", cfg.Path, openReason(cfg.Path, err)), db.Close())
	}
	return db, nil
}

// openReason prefers the system's own word for why a file can't be opened.
func openReason(path string, err error) error {
	f, sysErr := os.OpenFile(path, os.O_RDWR, 0)
	if sysErr != nil && !errors.Is(sysErr, os.ErrNotExist) {
		return plain(sysErr)
	}
	if sysErr == nil {
		_ = f.Close() // only opened to see whether it can be
	}
	var e *sqlite.Error
	if errors.As(err, &e) && (e.Code()&0xff == 26 || e.Code()&0xff == 11) {
		return fmt.Errorf("it is no SQLite database, or damaged; restore a backup, or move it away to start empty (%w)", err)
	}
	return err
}

// Primary result codes after which neither the connection's cache nor ours may
// be believed (sqlite.org/rescode.html).
var sqliteBroken = map[int]bool{
	7:  true, // NOMEM
	8:  true, // READONLY
	10: true, // IOERR
	11: true, // CORRUPT
	13: true, // FULL
	14: true, // CANTOPEN
	26: true, // NOTADB
}

// brokenSQLite reports whether err is of the file or disk.
func brokenSQLite(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && sqliteBroken[e.Code()&0xff]
}
