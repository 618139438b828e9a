package store

import (
	"context"
	"errors"
)

// Whether the database takes writes. One that is read-only, or whose disk is
// full, answers all questions and commits nothing: only a write can tell, and a
// probe is no reason for one while all is well. So what the last writes came to
// is remembered, and a probe writes only after one that failed.

// trouble is why the last write came to nothing.
type trouble struct{ err error }

// wrote remembers what a write of this node's came to. What is of the operation
// itself, or of others that write, is no trouble of the database.
func (s *Store) wrote(err error) {
	switch {
	case err == nil:
		s.trouble.Store(nil)
	case s.beyond(err):
		s.trouble.Store(&trouble{err})
	}
}

// beyond reports whether err is of the database, not of what it was asked.
func (s *Store) beyond(err error) bool {
	return errors.Is(err, errCommit) || errors.Is(err, errUnknown) || s.cfg.engine.broken(err)
}

// Ping asks the database whether it answers, and where the last write failed
// whether it takes one now, for /readyz.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if err := s.read.PingContext(ctx); err != nil || s.trouble.Load() == nil {
		return failed(err)
	}
	return s.do(ctx, 0, func(t *tx) error {
		t.changed = true // a commit that is counted, or has a token: it is written
		return nil
	})
}
