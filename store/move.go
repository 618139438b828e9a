package store

// How a store goes from its file to a database that servers share. Whoever is
// cut off on the way finds either store as a whole:
//
//  1. The file is locked, so that no server changes it, and brought to what a
//     server would serve (mark.go).
//  2. The target, which must hold nothing, gets a row in its table of schema
//     versions, moveVersion. With it no server opens the target: its schema is
//     "newer". What stands there from then on is the move's own, and a move that
//     finds the row empties the tables and begins again.
//  3. Tables are copied and counted. One transaction then removes the row and
//     gives the target the file's name (store.id, store.commits), by which a move
//     that was cut off right after it knows that it was through.
//  4. The file is put aside, and a note stands in its place.

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// moveVersion stands among the target's schema versions while a move is under
// way, or was cut off.
const moveVersion = 9_000_000_000_000

// Bounds of one INSERT, which is one transaction.
const (
	moveRows  = 2000 // by 19 columns, below the 65,535 places of a statement
	moveBytes = 2 << 20
)

// movedTable is a table with its columns, those of its primary key first.
type movedTable struct {
	name    string
	key     int // how many columns are the primary key
	columns []string
}

// movedTables are all that a store consists of, but for table store itself and
// what belongs to running servers (commit_token, node).
var movedTables = []movedTable{
	{"client", 2, []string{"realm", "client_id", "incarnation", "born", "head", "`cursor`", "read_cursor", "total_bytes", "acked_bytes", "offline_head", "created",
		"seal", "seal_generation", "seal_last", "seal_shard", "seal_slot"}},
	{"grp", 2, []string{"realm", "name", "epoch", "members", "events"}},
	{"member", 4, []string{"realm", "grp", "client_id", "joined_epoch", "left_epoch"}},
	{"offline_message", 3, []string{"realm", "client_id", "seq", "id", "send_time", "status", "size", "total", "priority", "expires", "due",
		"collapse_key", "mode", "shared", "reason", "code", "msg", "frame", "generation"}},
	{"body", 1, []string{"id", "msg"}},
	{"push", 1, []string{"id", "realm", "accepted", "state", "placed"}},
	{"idempotency", 1, []string{"idem_key", "body_hash", "id", "at"}},
	{"envelope", 1, []string{"id", "not_before", "content"}},
	{"job", 1, []string{"id", "realm", "grp", "epoch", "last_client", "last_born", "content"}},
	{"ack_log", 3, []string{"realm", "client_id", "to_seq", "from_seq", "at"}},
	{"token", 1, []string{"jti", "realm", "client_id", "device", "issued", "expires", "revoked", "family"}},
	{"api_key", 1, []string{"id", "name", "hash", "scopes", "realm", "created", "revoked"}},
	{"seal_shard", 1, []string{"id", "version", "period", "began", "bits", "slots", "members"}},
	{"seal_key", 3, []string{"realm", "client_id", "generation", "state", "kind", "shard", "slot", "period", "began", "secret"}},
	{"seal_frame", 1, []string{"id", "head", "sent"}},
	{"seal_body", 1, []string{"hash", "body", "sent"}},
	{"seal_channel", 3, []string{"realm", "grp", "epoch", "channel", "made", "secret"}},
	{"seal_wrap", 1, []string{"number", "proof"}},
	{"revocation", 2, []string{"realm", "client_id", "issued_before"}},
}

// MovedPath is where [Move] puts a file that was moved.
func MovedPath(path string) string { return path + ".moved" }

// movedNote begins what stands in the file's place.
const movedNote = "This store was moved"

// Move carries the store in the file from.Path to the database behind to.DSN:
// clients find their mailboxes as they left them, with the next sequence after
// the last. No server may run on either. The file's schema must be this binary's;
// the target's is made. The target must hold nothing, but for what a move that
// was cut off has left there: that is removed, and the move done again. At the
// end the file is at [MovedPath], and a note in its place keeps servers from
// beginning an empty store there.
//
// It blocks for as long as copying takes, or until ctx ends, each call of the
// target bounded by [Config.Timeout] or a minute, whichever is longer. progress,
// which may be nil, hears after each batch how many rows of a table are there.
// Errors are one sentence each, for the person who runs it, without the DSN's
// password.
func Move(ctx context.Context, from, to Config, progress func(table string, rows int64)) (err error) {
	if from, err = from.withDefaults(); err != nil {
		return err
	}
	if to, err = to.withDefaults(); err != nil {
		return err
	}
	if from.engine.shared || !to.engine.shared {
		return errors.New("store: a move goes from a file to a database behind a DSN, and not otherwise")
	}
	if err := movable(from.Path); err != nil {
		return err
	}
	lock, err := lockFolder(from.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := fillTarget(ctx, from, to, progress); err != nil {
		return err
	}
	return putAside(from.Path, to.name())
}

// movable says why the file can't be moved, before anything is made.
func movable(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: there is no store at %s", path)
	}
	if err != nil {
		return fmt.Errorf("store: %s can't be read: %w", path, plain(err))
	}
	head := make([]byte, len(movedNote))
	_, _ = f.Read(head) // what can't be read is said when it is opened
	_ = f.Close()       // nothing was written
	if bytes.Equal(head, []byte(movedNote)) {
		return fmt.Errorf("store: %s was moved already: read it", path)
	}
	if _, err := os.Stat(MovedPath(path)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: %s is there already: remove it, or put it elsewhere", MovedPath(path))
	}
	return nil
}

// fillTarget fills the target, and returns when both are closed.
func fillTarget(ctx context.Context, from, to Config, progress func(string, int64)) error {
	have, known, err := Version(ctx, from)
	if err != nil {
		return err
	}
	if have != known {
		return fmt.Errorf("store: %s is at schema version %d and this binary knows %d: run sunzi migrate with it first", from.Path, have, known)
	}
	s, err := open(ctx, from, nil) // the caller has the lock, and keeps it for longer
	if err != nil {
		return err
	}
	m := &move{from: s, progress: progress}
	if err = s.begin(ctx); err == nil {
		err = m.into(ctx, to)
	}
	return errors.Join(err, s.Close())
}

// move is one under way. It belongs to one goroutine.
type move struct {
	from     *Store
	to       *sql.Conn // the one that holds the lock of the target's schema
	toName   string
	limit    time.Duration // of one call
	progress func(string, int64)
}

func (m *move) into(ctx context.Context, to Config) error {
	m.toName, m.limit = to.name(), max(to.Timeout, time.Minute)
	have, _, err := Version(ctx, to)
	if err != nil {
		return err
	}
	if have == moveVersion {
		if err := m.locked(ctx, to, m.clear); err != nil {
			return err
		}
	}
	if _, _, err := Migrate(ctx, to); err != nil {
		return err
	}
	return m.locked(ctx, to, m.copyAll)
}

// locked runs f with a connection that holds the lock of the target's schema: no
// server opens the target meanwhile. All that f does is done on it, so that one
// that lost the lock changes nothing any more.
func (m *move) locked(ctx context.Context, to Config, f func(context.Context) error) (err error) {
	db, err := to.engine.open(ctx, &to, forSchema)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if m.to, err = db.Conn(ctx); err != nil {
		return fmt.Errorf("store: %s can't be opened: %w", m.toName, err)
	}
	defer func() { _ = m.to.Close() }() // db.Close tells; the lock ends with the connection
	var got sql.NullInt64
	if err := m.row(ctx, `SELECT GET_LOCK(CONCAT('sunzi.', MD5(DATABASE())), 10)`, nil, &got); err != nil {
		return err
	}
	if got.Int64 != 1 {
		return fmt.Errorf("store: another move, or a server that starts, has %s: wait for it", m.toName)
	}
	return f(ctx)
}

// clear empties what a move that was cut off has filled, and lets go of it
// after that.
func (m *move) clear(ctx context.Context) error {
	var marks int
	if err := m.row(ctx, `SELECT COUNT(*) FROM goose_db_version WHERE version_id = ?`, []any{int64(moveVersion)}, &marks); err != nil || marks == 0 {
		return err // none: it was going on, and is through
	}
	for _, t := range movedTables {
		if err := m.exec(ctx, `TRUNCATE TABLE `+t.name); err != nil {
			return err
		}
	}
	return m.exec(ctx, `DELETE FROM goose_db_version WHERE version_id = ?`, int64(moveVersion))
}

// copyAll fills a target that is empty, or finds out that an earlier move did.
func (m *move) copyAll(ctx context.Context) error {
	var id string
	var commits, born int64
	if _, err := m.from.row(ctx, `SELECT id, commits, born FROM store`, nil, &id, &commits, &born); err != nil {
		return failed(err)
	}
	through, err := m.empty(ctx, id, commits)
	if err != nil || through {
		return err
	}
	if err := m.exec(ctx, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, 1)`, int64(moveVersion)); err != nil {
		return err
	}
	for _, t := range movedTables {
		if err := m.copy(ctx, t); err != nil {
			return err
		}
	}
	for _, t := range movedTables {
		if err := m.compare(ctx, t); err != nil {
			return err
		}
	}
	return m.finish(ctx, id, commits, born)
}

// empty refuses a target in which there is anything, or on which a server runs.
// It reports whether what is there is this very file, as an earlier move left it.
func (m *move) empty(ctx context.Context, id string, commits int64) (through bool, err error) {
	var theirs string
	var count, leases int64
	if err := m.row(ctx, `SELECT id, commits FROM store`, nil, &theirs, &count); err != nil {
		return false, err
	}
	if theirs == id {
		if count == commits {
			return true, nil
		}
		return false, fmt.Errorf("store: %s was moved to %s earlier and has been served since: what came in the meantime is only in the file", m.from.cfg.Path, m.toName)
	}
	if err := m.row(ctx, `SELECT COUNT(*) FROM node WHERE until > `+databaseNow, nil, &leases); err != nil {
		return false, err
	}
	if leases > 0 {
		return false, fmt.Errorf("store: %d servers run on %s: stop them, or wait until their leases end", leases, m.toName)
	}
	for _, t := range movedTables {
		var some bool
		if err := m.row(ctx, `SELECT EXISTS (SELECT 1 FROM `+t.name+`)`, nil, &some); err != nil {
			return false, err
		}
		if some {
			return false, fmt.Errorf("store: %s is not empty (table %s): a store is moved only to a database that holds nothing", m.toName, t.name)
		}
	}
	return false, nil
}

// copy carries a table over in the order of its primary key. Nothing changes the
// file meanwhile, so that one query reads it all, a row at a time.
func (m *move) copy(ctx context.Context, t movedTable) (err error) {
	//nolint:gosec // G202: names of this package
	rows, err := m.from.read.QueryContext(ctx, `SELECT `+strings.Join(t.columns, ", ")+` FROM `+t.name+
		` ORDER BY `+strings.Join(t.columns[:t.key], ", "))
	if err != nil {
		return m.unread(t, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	b := moveBatch{table: t}
	for rows.Next() {
		if err := b.add(rows); err != nil {
			return m.unread(t, err)
		}
		if b.rows == moveRows || b.bytes >= moveBytes {
			if err := m.insert(ctx, &b); err != nil {
				return err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return m.unread(t, err)
	}
	return m.insert(ctx, &b)
}

func (m *move) unread(t movedTable, err error) error {
	return fmt.Errorf("store: table %s of %s can't be read: %w", t.name, m.from.cfg.Path, err)
}

// moveBatch is the rows of one INSERT.
type moveBatch struct {
	table movedTable
	args  []any
	rows  int
	bytes int
	done  int64 // rows of earlier batches
}

func (b *moveBatch) add(rows *sql.Rows) error {
	at := len(b.args)
	b.args = append(b.args, make([]any, len(b.table.columns))...)
	into := make([]any, len(b.table.columns))
	for i := range into {
		into[i] = &b.args[at+i]
	}
	if err := rows.Scan(into...); err != nil {
		return err
	}
	for _, v := range b.args[at:] {
		switch v := v.(type) {
		case string:
			b.bytes += len(v)
		case []byte:
			b.bytes += len(v)
		default:
			b.bytes += 8
		}
	}
	b.rows++
	return nil
}

// insert writes the batch and empties it.
func (m *move) insert(ctx context.Context, b *moveBatch) error {
	if b.rows > 0 {
		if err := m.exec(ctx, `INSERT INTO `+b.table.name+` (`+strings.Join(b.table.columns, ", ")+`) VALUES `+
			places(b.rows, len(b.table.columns)), b.args...); err != nil {
			return err
		}
	}
	b.done += int64(b.rows)
	clear(b.args)
	b.args, b.rows, b.bytes = b.args[:0], 0, 0
	if m.progress != nil {
		m.progress(b.table.name, b.done)
	}
	return nil
}

// compare counts a table on both sides.
func (m *move) compare(ctx context.Context, t movedTable) error {
	var here, there int64
	if err := m.from.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+t.name).Scan(&here); err != nil {
		return m.unread(t, err)
	}
	if err := m.row(ctx, `SELECT COUNT(*) FROM `+t.name, nil, &there); err != nil {
		return err
	}
	if here != there {
		return fmt.Errorf("store: table %s has %d rows in %s and %d in %s: something else writes there", t.name, here, m.from.cfg.Path, there, m.toName)
	}
	return nil
}

// finish lets servers open the target.
func (m *move) finish(ctx context.Context, id string, commits, born int64) error {
	ctx, cancel := context.WithTimeout(ctx, m.limit)
	defer cancel()
	tx, err := m.to.BeginTx(ctx, nil)
	if err != nil {
		return m.unanswered(err)
	}
	_, err = tx.ExecContext(ctx, `UPDATE store SET id = ?, commits = ?, born = ?`, id, commits, born)
	if err == nil {
		_, err = tx.ExecContext(ctx, `DELETE FROM goose_db_version WHERE version_id = ?`, int64(moveVersion))
	}
	if err != nil {
		_ = tx.Rollback() // the connection is closed where it can't be told
		return m.unanswered(err)
	}
	if err := tx.Commit(); err != nil {
		return m.unanswered(err)
	}
	return nil
}

func (m *move) row(ctx context.Context, query string, args []any, into ...any) error {
	ctx, cancel := context.WithTimeout(ctx, m.limit)
	defer cancel()
	if err := m.to.QueryRowContext(ctx, query, args...).Scan(into...); err != nil {
		return m.unanswered(err)
	}
	return nil
}

func (m *move) exec(ctx context.Context, query string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, m.limit)
	defer cancel()
	if _, err := m.to.ExecContext(ctx, query, args...); err != nil {
		return m.unanswered(err)
	}
	return nil
}

// unanswered is an error of the target. The move may always be run again.
func (m *move) unanswered(err error) error {
	return fmt.Errorf("store: the move to %s was cut off and may be run again: %w", m.toName, err)
}

// putAside keeps servers from the file. What a crash in between leaves, a file
// without a note, is the same to all but the operator.
func putAside(path, target string) error {
	if err := os.Rename(path, MovedPath(path)); err != nil {
		return fmt.Errorf("store: everything is in %s, but %s can't be renamed, and must not be served again: %w", target, path, plain(err))
	}
	for _, log := range []string{"-wal", "-shm"} { // only where closing could not do away with them
		if err := os.Rename(path+log, MovedPath(path)+log); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("store: everything is in %s, but %s can't be renamed: %w", target, path+log, plain(err))
		}
	}
	note := fmt.Sprintf("%s to %s on %s.\nThe file as it was then is %s.\nRemove this note to begin an empty store here.\n",
		movedNote, target, time.Now().UTC().Format(time.RFC3339), MovedPath(path))
	if err := os.WriteFile(path, []byte(note), 0o600); err != nil {
		return fmt.Errorf("store: everything is in %s, but no note can be left at %s: %w", target, path, plain(err))
	}
	return nil
}
