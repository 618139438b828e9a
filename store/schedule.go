package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// schedule keeps the envelope until it is due. Whom it is for is found out
// then: those who are members when it goes out. A target that can't be served
// is refused now.
func (t *tx) schedule(e *push.Envelope) (push.Outcome, error) {
	a, refusal, err := t.resolve(e.Target)
	if err != nil || refusal != nil {
		return push.Outcome{Err: refusal}, err
	}
	kept := *e
	if len(a.rejected) > 0 {
		kept.Target.Clients = make([]string, len(a.clients))
		for i, c := range a.clients {
			kept.Target.Clients[i] = c.key.ID
		}
	}
	wrapped, err := t.wrap(e)
	if err != nil {
		return push.Outcome{}, err
	}
	content, err := encodeEnvelope(&kept, wrapped)
	if err != nil {
		return push.Outcome{}, err
	}
	if err := t.exec(`INSERT INTO envelope (id, not_before, content) VALUES (?, ?, ?)`, e.ID, unixMS(e.NotBefore), content); err != nil {
		return push.Outcome{}, err
	}
	o := push.Outcome{ID: e.ID, Scheduled: true, Members: a.members, Rejected: a.rejected}
	return o, t.recordPush(e, pushScheduled, 0)
}

// Bounds of one step of Release: what joins one commit group.
const (
	releaseStep   = 64
	releasePlaces = 2000
)

// Release implements [push.Chores]. A push that can't be placed is passed over,
// and told as an error when the others were placed.
func (s *Store) Release(ctx context.Context, now time.Time, limit int) (int, error) {
	due, err := s.due(ctx, `SELECT id FROM envelope WHERE not_before <= ? ORDER BY not_before, id LIMIT ?`, unixMS(now), limit+passedMost) // Index: envelope_due.
	if err != nil {
		return 0, failed(err)
	}
	due = s.passed.wanted(due, s.cfg.Clock())
	due = due[:min(len(due), limit)]
	done, step, failures := 0, releaseStep, 0
	var passed error
	for len(due) > 0 {
		ids, n := due[:min(len(due), step)], 0
		err := s.do(ctx, 64<<10, func(t *tx) (err error) {
			n, err = t.release(ids)
			return err
		})
		switch {
		case err == nil:
			done += n
		case !s.ofThePush(err):
			return done, err
		case step > 1: // one of them: each alone
			step = 1
			continue
		default:
			if n, failures, passed = 1, failures+1, err; failures > passedAtOnce || !s.passed.add(ids[0], s.cfg.Clock()) {
				return done, err
			}
		}
		due = due[n:]
	}
	return done, passed
}

// due are the IDs that a query finds.
func (s *Store) due(ctx context.Context, query string, args ...any) ([]int64, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.query(ctx, query, args...)
	return collect(rows, err, scanID)
}

func scanID(r *sql.Rows, id *int64) error { return r.Scan(id) }

// release places those of the envelopes that are still there, in their order, and
// answers how many it went through. Index: envelope's primary key.
func (t *tx) release(ids []int64) (int, error) {
	kept, err := t.envelopes(ids)
	if err != nil {
		return 0, err
	}
	places := 0
	for i, id := range ids {
		content, there := kept[id]
		if !there { // it was cancelled, or another server was first
			continue
		}
		e, err := t.unwrapped(content)
		if errors.Is(err, push.ErrUnreadable) {
			if err := t.unreadable(id, err); err != nil {
				return 0, err
			}
			continue
		}
		if err != nil {
			return 0, err
		}
		if err := t.exec(`DELETE FROM envelope WHERE id = ?`, id); err != nil {
			return 0, err
		}
		o, err := t.place(e, promised)
		if err != nil {
			return 0, err
		}
		if o.Err != nil { // client or group are gone since
			if err := t.recordPush(e, pushRefused, 0); err != nil {
				return 0, err
			}
		}
		if places += len(o.Placed); places >= releasePlaces {
			return i + 1, nil
		}
	}
	return len(ids), nil
}

// envelopes are the contents of those that are there, locked.
func (t *tx) envelopes(ids []int64) (map[int64][]byte, error) {
	type row struct {
		id      int64
		content []byte
	}
	n := 1
	if len(ids) > 1 {
		n = releaseStep // statements are few: filled up with the last
	}
	args := make([]any, n)
	for i := range args {
		args[i] = ids[min(i, len(ids)-1)]
	}
	rows, err := t.query(`SELECT id, content FROM envelope WHERE id IN `+inList(len(args))+t.cfg.engine.forUpdate, args...)
	found, err := collect(rows, err, func(r *sql.Rows, v *row) error { return r.Scan(&v.id, &v.content) })
	kept := make(map[int64][]byte, len(found))
	for _, v := range found {
		kept[v.id] = v.content
	}
	return kept, err
}

// unwrapped is an envelope of its content.
func (t *tx) unwrapped(content []byte) (*push.Envelope, error) {
	e, wrapped, err := decodeEnvelope(content)
	if err == nil && wrapped != nil {
		err = t.unwrap(e, wrapped)
	}
	return e, err
}
