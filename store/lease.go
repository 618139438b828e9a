package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Servers that share a database lease their numbers, which are part of every ID
// that they issue, from table node. Leases run by the database's clock: those of
// the servers may differ. Each new holder of a number raises its fence, so that
// one that was paused for too long finds out that the number is no longer its
// own. The writer has no part in it: a lease must not end because pushes wait.

// nodeNumbers is how many there are: snowflake.MaxNode + 1.
const nodeNumbers = 1024

// Conditions of leases.
var (
	// ErrLeaseLost: somebody else has had the number since.
	ErrLeaseLost = errors.New("store: the node's number is leased to another server")
	// ErrNoNumber: every number is leased.
	ErrNoNumber = errors.New("store: all numbers of nodes are leased")
)

// Lease is a node's right to its number. Times are the database's, in
// milliseconds.
type Lease struct {
	Node  int64 // 0 to 1023
	Fence int64 // how often the number was leased; grows with each holder
	Now   time.Time
	Until time.Time
	// After is when the lease of the number's last holder ended, zero where
	// there was none: IDs must be later.
	After time.Time

	holder string
}

// Without a time zone in it: the session's is UTC.
const databaseNow = `CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)`

// LeaseNode takes a number for ttl that nobody holds: one that was never used
// first, then the one whose lease ended longest ago. holder names this life of
// the server, at most 32 characters, no two alike. It blocks until ctx or
// [Config.Timeout] ends, and answers [ErrNoNumber] where there is none. Where
// its outcome is unknown the number stays taken until ttl is over; asking again
// takes another. A store on Path has no leases.
func (s *Store) LeaseNode(ctx context.Context, holder string, ttl time.Duration) (Lease, error) {
	l := Lease{holder: holder}
	err := s.leasing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var now, after int64
		// Index: node's primary key, whole: there are few.
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*), `+databaseNow+` FROM node`).Scan(&l.Node, &now); err != nil {
			return err
		}
		until := now + ttl.Milliseconds()
		l.Now, l.Until = fromMS(now), fromMS(until)
		if l.Node < nodeNumbers {
			l.Fence = 1
			_, err := tx.ExecContext(ctx, `INSERT INTO node (id, holder, fence, until) VALUES (?, ?, 1, ?)`, l.Node, holder, until)
			return err
		}
		err := tx.QueryRowContext(ctx, `SELECT id, fence + 1, until FROM node WHERE until <= ? ORDER BY until, id LIMIT 1 FOR UPDATE`, now).
			Scan(&l.Node, &l.Fence, &after)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNoNumber
		}
		if err != nil {
			return err
		}
		l.After = fromMS(after)
		_, err = tx.ExecContext(ctx, `UPDATE node SET holder = ?, fence = ?, until = ? WHERE id = ?`, holder, l.Fence, until, l.Node)
		return err
	})
	if err != nil {
		return Lease{}, err
	}
	return l, nil
}

// RenewLease has the lease last for ttl from now on, and never for less than it
// did, also where it had ended and nobody has taken the number since. [ErrLeaseLost] where somebody has; any
// other error leaves open whether it was renewed, and it may be asked again.
func (s *Store) RenewLease(ctx context.Context, l Lease, ttl time.Duration) (Lease, error) {
	err := s.leasing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		now, until, err := held(ctx, tx, l)
		if err != nil {
			return err
		}
		until = max(until, now+ttl.Milliseconds())
		l.Now, l.Until = fromMS(now), fromMS(until)
		_, err = tx.ExecContext(ctx, `UPDATE node SET until = ? WHERE id = ?`, until, l.Node)
		return err
	})
	return l, err
}

// ReleaseLease gives the number back: it may be leased to another from l.Until
// on, which the holder may bring forward to the millisecond after its last ID.
// It must issue none any more when it calls.
func (s *Store) ReleaseLease(ctx context.Context, l Lease) error {
	return s.leasing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		now, until, err := held(ctx, tx, l)
		if err != nil {
			return err
		}
		until = min(until, max(now, unixMS(l.Until)))
		_, err = tx.ExecContext(ctx, `UPDATE node SET until = ? WHERE id = ?`, until, l.Node)
		return err
	})
}

// held locks the number's row while it is the holder's, and reads the clock
// after that. Index: node's primary key.
func held(ctx context.Context, tx *sql.Tx, l Lease) (now, until int64, err error) {
	var fence int64
	var holder string
	err = tx.QueryRowContext(ctx, `SELECT fence, holder, until FROM node WHERE id = ? FOR UPDATE`, l.Node).Scan(&fence, &holder, &until)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, 0, ErrLeaseLost
	case err != nil:
		return 0, 0, err
	case fence != l.Fence || holder != l.holder:
		return 0, 0, ErrLeaseLost
	}
	err = tx.QueryRowContext(ctx, `SELECT `+databaseNow).Scan(&now)
	return now, until, err
}

// leasing runs f in a transaction, again where it lost against another server.
func (s *Store) leasing(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	if !s.cfg.engine.shared {
		return errors.New("store: a database file serves one server, whose number is configured")
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	for {
		err := s.leaseOnce(ctx, f)
		s.wrote(err)
		switch {
		case err == nil, errors.Is(err, ErrLeaseLost), errors.Is(err, ErrNoNumber):
			return err
		case lost(err) || !s.cfg.engine.again(err) || ctx.Err() != nil:
			return failed(err)
		}
	}
}

func (s *Store) leaseOnce(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	if err := f(ctx, tx); err != nil {
		_ = tx.Rollback() // the connection is closed where it can't be told
		return err
	}
	return tx.Commit()
}
