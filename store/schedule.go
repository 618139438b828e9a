package store

import (
	"context"
	"database/sql"
	"fmt"
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

// Release implements [push.Chores].
func (s *Store) Release(ctx context.Context, now time.Time, limit int) (int, error) {
	done := 0
	for done < limit {
		// Index: envelope_due.
		due, err := s.any(ctx, `SELECT 1 FROM envelope WHERE not_before <= ? LIMIT 1`, unixMS(now))
		if err != nil || !due {
			return done, failed(err)
		}
		n := 0
		err = s.do(ctx, 64<<10, func(t *tx) (err error) {
			n, err = t.release(now, min(limit-done, releaseStep))
			return err
		})
		if err != nil {
			return done, err
		}
		if n == 0 {
			break
		}
		done += n
	}
	return done, nil
}

// release places due envelopes in the order of their times. Index:
// envelope_due.
func (t *tx) release(now time.Time, limit int) (int, error) {
	type scheduled struct {
		id      int64
		content []byte
	}
	rows, err := t.query(`SELECT id, content FROM envelope WHERE not_before <= ? ORDER BY not_before, id LIMIT ?`+t.cfg.engine.forUpdate, unixMS(now), limit)
	due, err := collect(rows, err, func(r *sql.Rows, v *scheduled) error { return r.Scan(&v.id, &v.content) })
	if err != nil {
		return 0, err
	}
	places := 0
	for i, v := range due {
		e, wrapped, err := decodeEnvelope(v.content)
		if err != nil {
			return 0, fmt.Errorf("scheduled push %d: %w", v.id, err)
		}
		if wrapped != nil {
			if err := t.unwrap(e, wrapped); err != nil {
				return 0, err
			}
		}
		if err := t.exec(`DELETE FROM envelope WHERE id = ?`, v.id); err != nil {
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
	return len(due), nil
}
