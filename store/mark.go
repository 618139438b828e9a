package store

// How an older copy of the database is found out. The database counts its
// commits, and a small file beside it, the mark, says how far the count was. The
// mark is written after the commit was flushed, so that a database behind its
// mark has lost commits: it was restored from a copy (or, without
// synchronous=FULL, cut off by a power failure). What is placed in it next takes
// sequences that clients may know already, with other messages. So every mailbox
// gets a new incarnation before anybody is served.
//
// All of it is SQLite's alone: a server of its own keeps its own copies, and a
// row that every commit changes would make all nodes wait for each other.

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// markEvery is how often the mark is written at most: the commits of the last
// second before a crash are not in it.
const markEvery = time.Second

// marker is what the writer knows of the row in table store and of its mark.
type marker struct {
	path    string
	id      string
	commits int64
	born    int64 // highest registration number; never goes back

	on  bool             // the mark is written; false until Open has compared it
	due <-chan time.Time // when it is to be written next; nil: nothing is new
}

// loadMark reads the row after connecting. Index: none, there is one row.
func (w *writer) loadMark() error {
	if w.store.cfg.engine.shared {
		return nil
	}
	var commits, born int64
	found, err := w.row(`SELECT id, commits, born FROM store`, nil, &w.mark.id, &commits, &born)
	if err == nil && !found {
		err = errors.New("store: table store is empty")
	}
	w.mark.commits, w.mark.born = max(w.mark.commits, commits), max(w.mark.born, born)
	return err
}

// nextBorn numbers a registration, in the order of commits: on a shared engine
// the row stays locked until then. The number is written with the group; one
// that a rollback leaves out is no harm. Index: none, there is one row.
func (t *tx) nextBorn() (int64, error) {
	if !t.cfg.engine.shared {
		t.w.mark.born++
		return t.w.mark.born, nil
	}
	if t.born == 0 {
		if _, err := t.row(`SELECT born FROM store`+t.cfg.engine.forUpdate, nil, &t.born); err != nil {
			return 0, err
		}
	}
	t.born++
	return t.born, t.exec(`UPDATE store SET born = ?`, t.born)
}

// flushMark counts the group as one commit, where it changed anything. Index:
// store's primary key.
func (t *tx) flushMark() error {
	if !t.changed || t.cfg.engine.shared {
		return nil
	}
	m := &t.w.mark
	return t.w.exec(`UPDATE store SET commits = ?, born = ? WHERE id = ?`, m.commits+1, m.born, m.id)
}

// committed hears of a group that is durable.
func (m *marker) committed(t *tx) {
	if !t.changed {
		return
	}
	m.commits++
	if m.on && m.due == nil {
		m.due = time.After(markEvery)
	}
}

// keep writes the mark, where there is anything new. A failure costs only that
// the mark is older: it is tried again after the next commit.
func (m *marker) keep(log *slog.Logger) {
	if m.due == nil {
		return
	}
	m.due = nil
	if err := m.write(); err != nil {
		log.Warn("the mark beside the database can't be written: a restored copy may go unnoticed", "err", err)
	}
}

// write replaces the file whole. It is not flushed: after a power cut an older
// mark, or none, only means that less is known.
func (m *marker) write() error {
	next := m.path + ".new"
	if err := os.WriteFile(next, fmt.Appendf(nil, "%s %d\n", m.id, m.commits), 0o600); err != nil {
		return err
	}
	return os.Rename(next, m.path)
}

// markPath is the file beside the database that holds its mark.
func markPath(cfg *Config) string { return cfg.Path + ".mark" }

// restoredPath is the file by which an operator says that the whole folder was
// restored from a copy, the mark with it.
func restoredPath(cfg *Config) string { return filepath.Join(filepath.Dir(cfg.Path), "restored") }

// begin compares the database with its mark, renews every mailbox where it is
// an older copy, and has the mark kept from then on. Open calls it before
// anybody else uses the store. Interrupted, it does it all again the next time:
// the database has another id than its mark until it is through.
func (s *Store) begin(ctx context.Context) error {
	told := true
	if _, err := os.Stat(restoredPath(&s.cfg)); errors.Is(err, fs.ErrNotExist) {
		told = false
	} else if err != nil {
		return fmt.Errorf("store: %s can't be read: %w", restoredPath(&s.cfg), plain(err))
	}
	older, err := s.behindMark(ctx)
	if err != nil {
		return err
	}
	if told || older {
		if err := s.renewAll(ctx); err != nil {
			return err
		}
	}
	if err := s.do(ctx, 0, func(t *tx) error {
		t.w.mark.on = true
		t.w.mark.due = time.After(0) // at once
		return nil
	}); err != nil || !told {
		return err
	}
	if err := os.Remove(restoredPath(&s.cfg)); err != nil {
		return fmt.Errorf("store: %s can't be removed: %w", restoredPath(&s.cfg), plain(err))
	}
	return nil
}

// behindMark reports whether the mark knows of more commits than the database,
// or of another database. No mark is no restore.
func (s *Store) behindMark(ctx context.Context) (bool, error) {
	content, err := os.ReadFile(markPath(&s.cfg))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("store: the mark %s can't be read: %w", markPath(&s.cfg), plain(err))
	}
	var id string
	var commits int64
	if _, err := fmt.Fscanf(bytes.NewReader(content), "%s %d\n", &id, &commits); err != nil {
		s.cfg.Log.Warn("the mark beside the database is not readable: whether this is an older copy can't be told", "file", markPath(&s.cfg), "err", err)
		return false, nil // a server must start without its mark too
	}
	behind := false
	err = s.do(ctx, 0, func(t *tx) error {
		behind = t.w.mark.id != id || t.w.mark.commits < commits
		return nil
	})
	return behind, err
}

// renewStep bounds the mailboxes renewed in one commit group.
const renewStep = 1000

// renewAll gives the database a new id, and then every mailbox a new
// incarnation. It is not cut short: it would begin again the next time. Each
// step has the configured time.
func (s *Store) renewAll(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if err := s.do(ctx, 0, func(t *tx) error {
		id := newIncarnation()
		if err := t.exec(`UPDATE store SET id = ? WHERE id = ?`, id, t.w.mark.id); err != nil {
			return err
		}
		t.w.mark.id = id
		return nil
	}); err != nil {
		return err
	}
	var last push.ClientKey
	renewed := 0
	for n := renewStep; n == renewStep; renewed += n {
		if err := s.do(ctx, 100*renewStep, func(t *tx) (err error) {
			n, last, err = t.renewAfter(last, renewStep)
			return err
		}); err != nil {
			return err
		}
	}
	s.cfg.Log.Warn("the database is an older copy: every mailbox has a new incarnation, clients forget their cursors", "clients", renewed)
	return nil
}

// renewAfter renews the next mailboxes in the order of their keys. Index:
// client's primary key.
func (t *tx) renewAfter(after push.ClientKey, limit int) (int, push.ClientKey, error) {
	rows, err := t.query(`SELECT realm, client_id FROM client WHERE (realm, client_id) > (?, ?) ORDER BY realm, client_id LIMIT ?`,
		after.Realm, after.ID, limit)
	keys, err := collect(rows, err, func(r *sql.Rows, k *push.ClientKey) error { return r.Scan(&k.Realm, &k.ID) })
	if err != nil {
		return 0, after, err
	}
	for _, key := range keys {
		c, err := t.client(key)
		if err != nil {
			return 0, after, err
		}
		c.incarnation = newIncarnation()
		t.change(c)
		after = key
	}
	return len(keys), after, nil
}
