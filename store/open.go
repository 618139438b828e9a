package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// Store implements the storage ports. Make one with [Open].
type Store struct {
	// static after Open
	cfg     Config
	lock    *os.File // nil where servers share the database
	read    *sql.DB
	queue   chan *op      // never closed
	closing chan struct{} // closed by Close
	ended   chan struct{} // closed by the writer when it returns

	listener     atomic.Pointer[push.CommitListener]
	trouble      atomic.Pointer[trouble] // nil: the last write was committed
	preludesSent preludeCache
	passed       passedOver
	turned       atomic.Pointer[time.Time] // when partitions were last looked at
	unturned     atomic.Pointer[time.Time] // since when that does not succeed, or was told not to
	stmts        sync.Map                  // of the read pool: SQL text to *sql.Stmt
	close        sync.Once
	closeErr     error // by the writer until it ended, then by Close
}

var (
	_ push.Mailboxes       = (*Store)(nil)
	_ push.Pushes          = (*Store)(nil)
	_ push.Clients         = (*Store)(nil)
	_ push.Groups          = (*Store)(nil)
	_ push.Chores          = (*Store)(nil)
	_ token.Records        = (*Store)(nil)
	_ token.OutsideRecords = (*Store)(nil)
	_ token.Keys           = (*Store)(nil)
)

// Open opens the database, brings its schema up to date and starts the
// writer. Where the database is an older copy than the one that was served here
// last (mark.go), it renews every mailbox first, which ctx does not cut short.
// A database behind DSN is asked for its durability settings; what may lose
// pushes is logged as a warning. Its errors are one sentence each, for the person who started the server. ctx
// bounds opening alone.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.engine.shared {
		s, err := open(ctx, cfg, nil)
		if err == nil {
			s.warnOfLoss(ctx)
		}
		return s, err
	}
	lock, err := lockFolder(cfg.Path)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, cfg, lock)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func open(ctx context.Context, cfg Config, lock *os.File) (*Store, error) {
	if _, _, err := Migrate(ctx, cfg); err != nil {
		return nil, err
	}
	write, err := cfg.engine.open(ctx, &cfg, forWriting)
	if err != nil {
		return nil, err
	}
	read, err := cfg.engine.open(ctx, &cfg, forReading)
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	s := &Store{
		cfg: cfg, lock: lock, read: read,
		queue:   make(chan *op, cfg.QueueLength),
		closing: make(chan struct{}),
		ended:   make(chan struct{}),
	}
	s.SetListener(cfg.Listener)
	w := &writer{store: s, db: write, counters: newCounters(), mark: marker{path: markPath(&s.cfg)}}
	go w.run() // ends when closing is closed; Close waits for it
	return s, nil
}

// SetListener says who hears of commits from the next one on. Call it before
// the first push is accepted: what was committed earlier is not told again.
func (s *Store) SetListener(l push.CommitListener) {
	if l == nil {
		s.listener.Store(nil)
		return
	}
	s.listener.Store(&l)
}

// Close refuses new calls, commits what already waits, and closes the
// database. It blocks until that is done; only the first call counts.
func (s *Store) Close() error {
	s.close.Do(func() {
		close(s.closing)
		<-s.ended
		s.stmts.Range(func(_, stmt any) bool {
			s.closeErr = errors.Join(s.closeErr, stmt.(*sql.Stmt).Close())
			return true
		})
		s.closeErr = errors.Join(s.closeErr, s.read.Close())
		if s.lock != nil {
			s.closeErr = errors.Join(s.closeErr, s.lock.Close())
		}
	})
	return s.closeErr
}

// lockFolder takes the folder's lock, so that one server at a time has the
// file. The lock ends with the process, whichever way that ends.
func lockFolder(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: the folder %s can't be made: %w", dir, plain(err))
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: the folder %s can't be written: %w", dir, plain(err))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		by := ""
		if pid := make([]byte, 20); err == syscall.EWOULDBLOCK {
			if n, _ := f.ReadAt(pid, 0); n > 0 { // only to say it: the lock is the flock
				by = " (process " + string(pid[:n]) + ")"
			}
		}
		return nil, errors.Join(fmt.Errorf("store: another server%s has %s open: stop it, or choose another folder", by, dir), f.Close())
	}
	if err = f.Truncate(0); err == nil {
		_, err = fmt.Fprintf(f, "%d", os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: the folder %s can't be written: %w", dir, plain(err)), f.Close())
	}
	return f, nil
}

// plain is the reason without the path, which the sentence has already.
func plain(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// failed is an error of the database as callers are told of it.
func failed(err error) error {
	if err == nil {
		return nil
	}
	var e *push.Error
	if errors.As(err, &e) {
		return e
	}
	return &push.Error{Code: push.CodeNoStore, Message: "the store does not answer", RetryAfter: time.Second, Cause: err}
}

func unixMS(t time.Time) int64 { return t.UnixMilli() }

func fromMS(ms int64) time.Time { return time.UnixMilli(ms) }
