package store

import (
	"context"
	"database/sql"

	"github.com/sunzi-push/sunzi/push"
)

// cancelStep bounds what one commit group cancels.
const cancelStep = 500

// Cancel implements [push.Pushes]. A push to many is cancelled in steps: its
// schedule or job ends with the first, so that nothing is added meanwhile.
func (s *Store) Cancel(ctx context.Context, realm *string, id int64) ([]push.Placement, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var ended []push.Placement
	var stopped bool
	for first, from := true, (push.ClientKey{}); ; first = false {
		var step cancelled
		err := s.do(ctx, 100*cancelStep, func(t *tx) (err error) {
			step = cancelled{}
			if first {
				if step.stopped, err = t.stop(realm, id); err != nil {
					return err
				}
			}
			return t.cancel(realm, id, from, &step)
		})
		if err != nil {
			return ended, err
		}
		stopped = stopped || step.stopped
		ended = append(ended, step.ended...)
		if from = step.last; step.seen < cancelStep {
			break
		}
	}
	if len(ended) == 0 && !stopped {
		return nil, push.Errorf(push.CodeNotCancellable, "push %d was acked, or has ended otherwise, at every client", id)
	}
	return ended, nil
}

type cancelled struct {
	ended   []push.Placement
	stopped bool // a schedule or a job was ended
	seen    int
	last    push.ClientKey
}

// stop ends the push's schedule or job. CodeNoPush where there is nothing of
// this push at all. Indexes: primary keys, offline_message_id.
func (t *tx) stop(realm *string, id int64) (bool, error) {
	if err := t.flush(); err != nil {
		return false, err
	}
	var p pushRow
	recorded, err := t.row(pushQuery, []any{id}, &p.realm, &p.accepted, &p.state)
	if err != nil {
		return false, err
	}
	if !recorded {
		found, err := t.row(`SELECT realm FROM offline_message WHERE id = ? LIMIT 1`, []any{id}, &p.realm)
		if err != nil {
			return false, err
		}
		if !found {
			return false, errNoPush(id)
		}
	}
	if realm != nil && *realm != p.realm {
		return false, errNoPush(id)
	}
	if !recorded || p.state != pushScheduled && p.state != pushExpanding {
		return false, nil
	}
	return true, firstError(
		t.exec(`DELETE FROM envelope WHERE id = ?`, id),
		t.exec(`DELETE FROM job WHERE id = ?`, id),
		t.exec(`UPDATE push SET state = ? WHERE id = ?`, pushCancelled, id),
		t.forgetBody(id),
	)
}

// cancel ends the push's entries that still wait, of clients after from.
// Index: offline_message_id, which goes on with the primary key.
func (t *tx) cancel(realm *string, id int64, from push.ClientKey, step *cancelled) error {
	if err := t.flush(); err != nil {
		return err
	}
	rows, err := t.query(`SELECT realm, client_id, seq, status, expires FROM offline_message
		WHERE id = ? AND client_id > ? AND (? IS NULL OR realm = ?) ORDER BY realm, client_id, seq LIMIT ?`,
		id, from.ID, realm, realm, cancelStep)
	type row struct {
		at      push.Placement
		status  int
		expires int64
	}
	found, err := collect(rows, err, func(r *sql.Rows, v *row) error {
		return r.Scan(&v.at.Client.Realm, &v.at.Client.ID, &v.at.Seq, &v.status, &v.expires)
	})
	if err != nil {
		return err
	}
	for _, v := range found {
		step.seen++
		step.last = v.at.Client
		if v.status != statusWaiting || v.expires <= unixMS(t.now) {
			continue
		}
		c, err := t.client(v.at.Client)
		if err != nil {
			return err
		}
		if c == nil || v.at.Seq <= c.cursor {
			continue
		}
		if _, err := t.end(v.at.Client, v.at.Seq, statusCancelled, "", 0); err != nil {
			return err
		}
		c.touch()
		step.ended = append(step.ended, v.at)
	}
	return nil
}
