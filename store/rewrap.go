package store

// Secrets are wrapped anew after the wrapping key was rotated, in small steps:
// servers may run meanwhile.

import (
	"context"
	"database/sql"

	"github.com/sunzi-push/sunzi/push"
)

// rewrapStep bounds what one commit group wraps anew.
const rewrapStep = 200

// Rewrapped counts what was wrapped anew.
type Rewrapped struct{ Clients, Channels, Waiting int }

// Rewrap has every secret in the store looked at, and changes those for which w
// answers another form. It blocks until all were seen, or ctx ends. What was
// done before an error stays, and is counted.
func (s *Store) Rewrap(ctx context.Context, w push.Rewrapper) (Rewrapped, error) {
	var r Rewrapped
	var err error
	if r.Clients, err = s.rewrapMembers(ctx, w); err == nil {
		r.Channels, err = s.rewrapChannels(ctx, w)
	}
	if err == nil {
		r.Waiting, err = s.rewrapWaiting(ctx, w)
	}
	return r, err
}

// rewrapMembers goes through clients' keys. Index: seal_key's primary key, a range
// in order: SQLite sees it in the comparison of rows, MySQL in the other, and
// neither takes seal_key_state, where each step would sort all that are left.
func (s *Store) rewrapMembers(ctx context.Context, w push.Rewrapper) (int, error) {
	return rewrapRows(ctx, s, rewrapStep, func(t *tx, last *push.SealMember) ([]push.SealMember, error) {
		rows, err := t.query(`SELECT realm, client_id, generation, shard, slot, period, secret FROM seal_key WHERE +state = 1
			AND (realm, client_id, generation) > (?, ?, ?) AND (realm > ? OR realm = ? AND (client_id > ? OR client_id = ? AND generation > ?))
			ORDER BY realm, client_id, generation LIMIT ?`+t.cfg.engine.forUpdate,
			last.Client.Realm, last.Client.ID, int64(last.Generation),
			last.Client.Realm, last.Client.Realm, last.Client.ID, last.Client.ID, int64(last.Generation), rewrapStep)
		return collect(rows, err, scanMember)
	}, func(t *tx, m *push.SealMember) (bool, error) {
		secret, err := w.Member(m)
		if err != nil || secret == nil {
			return false, err
		}
		return true, t.exec(`UPDATE seal_key SET secret = ? WHERE realm = ? AND client_id = ? AND generation = ?`,
			secret, m.Client.Realm, m.Client.ID, int64(m.Generation))
	})
}

// rewrapChannels goes through the secrets of groups. They are few: a group has
// one an epoch that was broadcast to, for as long as frames are kept. Index:
// seal_channel's primary key.
func (s *Store) rewrapChannels(ctx context.Context, w push.Rewrapper) (int, error) {
	return rewrapRows(ctx, s, rewrapStep, func(t *tx, last *push.SealChannel) ([]push.SealChannel, error) {
		rows, err := t.query(`SELECT realm, grp, epoch, channel, secret FROM seal_channel
			WHERE realm > ? OR realm = ? AND (grp > ? OR grp = ? AND epoch > ?)
			ORDER BY realm, grp, epoch LIMIT ?`+t.cfg.engine.forUpdate, last.Realm, last.Realm, last.Group, last.Group, int64(last.Epoch), rewrapStep)
		return collect(rows, err, func(r *sql.Rows, k *push.SealChannel) error {
			return r.Scan(&k.Realm, &k.Group, &k.Epoch, &k.ID, &k.Secret)
		})
	}, func(t *tx, k *push.SealChannel) (bool, error) {
		secret, err := w.Channel(k)
		if err != nil || secret == nil {
			return false, err
		}
		return true, t.exec(`UPDATE seal_channel SET secret = ? WHERE realm = ? AND grp = ? AND epoch = ?`, secret, k.Realm, k.Group, int64(k.Epoch))
	})
}

// waitingStep bounds how many pushes that wait are wrapped anew by one commit
// group: each may be as long as push.max_payload.
const waitingStep = 8

// waitingRow is a row that may hold a wrapped push.
type waitingRow struct {
	id   int64
	text []byte
}

func scanWaiting(r *sql.Rows, v *waitingRow) error { return r.Scan(&v.id, &v.text) }

// rewrapWaiting goes through pushes that wait for their time, or for a job.
// Indexes: primary keys.
func (s *Store) rewrapWaiting(ctx context.Context, w push.Rewrapper) (int, error) {
	scheduled, err := rewrapRows(ctx, s, waitingStep, func(t *tx, last *waitingRow) ([]waitingRow, error) {
		rows, err := t.query(`SELECT id, content FROM envelope WHERE id > ? ORDER BY id LIMIT ?`+t.cfg.engine.forUpdate, last.id, waitingStep)
		return collect(rows, err, scanWaiting)
	}, func(t *tx, r *waitingRow) (bool, error) {
		e, wrapped, err := decodeEnvelope(r.text)
		if err != nil || wrapped == nil {
			return false, err
		}
		if wrapped, err = w.Waiting(r.id, wrapped); err != nil || wrapped == nil {
			return false, err
		}
		content, err := encodeEnvelope(e, wrapped)
		return true, firstError(err, t.exec(`UPDATE envelope SET content = ? WHERE id = ?`, content, r.id))
	})
	if err != nil {
		return scheduled, err
	}
	jobs, err := rewrapRows(ctx, s, waitingStep, func(t *tx, last *waitingRow) ([]waitingRow, error) {
		rows, err := t.query(`SELECT job.id, body.msg FROM job JOIN body ON body.id = job.id WHERE job.id > ? ORDER BY job.id LIMIT ?`+t.cfg.engine.forUpdate, last.id, waitingStep)
		return collect(rows, err, scanWaiting)
	}, func(t *tx, r *waitingRow) (bool, error) {
		wrapped, err := unmark(r.text)
		if err != nil || wrapped == nil {
			return false, err
		}
		if wrapped, err = w.Waiting(r.id, wrapped); err != nil || wrapped == nil {
			return false, err
		}
		return true, t.exec(`UPDATE body SET msg = ? WHERE id = ?`, markWrapped(wrapped), r.id)
	})
	return scheduled + jobs, err
}

// rewrapRows reads rows after the last one, so many a commit group, until there
// are no more, and answers how many were changed.
func rewrapRows[R any](ctx context.Context, s *Store, step int, read func(t *tx, last *R) ([]R, error), change func(t *tx, r *R) (bool, error)) (done int, err error) {
	var last R
	for {
		var rows []R
		changed := 0
		err := s.do(ctx, 100*step, func(t *tx) (err error) {
			changed = 0
			if err = t.flush(); err != nil {
				return err
			}
			if rows, err = read(t, &last); err != nil {
				return err
			}
			for i := range rows {
				did, err := change(t, &rows[i])
				if err != nil {
					return err
				}
				if did {
					changed++
				}
			}
			return nil
		})
		if err != nil {
			return done, err
		}
		if done += changed; len(rows) < step {
			return done, nil
		}
		last = rows[len(rows)-1]
	}
}
