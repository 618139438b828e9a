package store

import (
	"context"
	"database/sql"

	"github.com/sunzi-push/sunzi/push"
)

// cancelStep bounds what one commit group cancels.
const cancelStep = 500

// Cancel implements [push.Pushes]. A push to many is cancelled in steps: its
// schedule or job ends with the first, so that nothing is added meanwhile. Each
// step has the configured time; ctx bounds them together, and what was
// cancelled until then stays so.
func (s *Store) Cancel(ctx context.Context, realm *string, id int64) ([]push.Placement, error) {
	var ended []push.Placement
	var stopped bool
	var from *push.Placement // nil: the first step
	for n := cancelStep; n == cancelStep; {
		var step cancelled
		err := s.do(ctx, 100*cancelStep, func(t *tx) (err error) {
			step = cancelled{}
			if from != nil {
				step.last = *from
			} else if err = t.stop(realm, id, &step); err != nil {
				return err
			}
			return t.cancel(id, &step)
		})
		if err != nil {
			return ended, err
		}
		stopped = stopped || step.stopped
		ended = append(ended, step.ended...)
		from, n = &step.last, step.seen
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
	last    push.Placement // where the next step goes on; at first its realm alone
}

// stop ends the push's schedule or job. CodeNoPush where there is nothing of
// this push at all. Indexes: primary keys, offline_message_id.
func (t *tx) stop(realm *string, id int64, step *cancelled) error {
	if err := t.flush(); err != nil {
		return err
	}
	var p pushRow
	recorded, err := t.row(pushQuery+t.cfg.engine.forUpdate, []any{id}, &p.realm, &p.accepted, &p.state, &p.placed)
	if err != nil {
		return err
	}
	if !recorded {
		found, err := t.row(`SELECT realm FROM offline_message WHERE id = ?`+retained+` LIMIT 1`, []any{id, unixMS(t.now)}, &p.realm)
		if err != nil {
			return err
		}
		if !found {
			return errNoPush(id)
		}
	}
	if realm != nil && *realm != p.realm {
		return errNoPush(id)
	}
	step.last.Client.Realm = p.realm
	if !recorded || p.state != pushScheduled && p.state != pushExpanding {
		return nil
	}
	step.stopped = true
	return firstError(
		t.exec(`DELETE FROM envelope WHERE id = ?`, id),
		t.exec(`DELETE FROM job WHERE id = ?`, id),
		t.exec(`UPDATE push SET state = ? WHERE id = ?`, pushCancelled, id),
		t.forgetWrapped(id),
		t.forgetBody(id),
	)
}

// cancel ends the push's entries after step.last that still wait, and its dead
// letters: they must not be placed again. Index: offline_message_id, which goes
// on with the primary key.
func (t *tx) cancel(id int64, step *cancelled) error {
	if err := t.flush(); err != nil {
		return err
	}
	rows, err := t.query(`SELECT realm, client_id, seq, status, expires FROM offline_message
		WHERE id = ? AND realm = ? AND client_id >= ? AND (client_id > ? OR seq > ?) ORDER BY client_id, seq LIMIT ?`,
		id, step.last.Client.Realm, step.last.Client.ID, step.last.Client.ID, int64(step.last.Seq), cancelStep)
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
		step.last = v.at
		if v.status != statusFailed && (v.status != statusWaiting || v.expires <= unixMS(t.now)) {
			continue
		}
		c, err := t.client(v.at.Client)
		if err != nil {
			return err
		}
		if c == nil || v.status == statusWaiting && v.at.Seq <= c.cursor {
			continue
		}
		ended, err := t.end(v.at, v.status, statusCancelled, "")
		if err != nil {
			return err
		}
		if !ended { // it ended otherwise before its client's row was ours
			continue
		}
		c.touch()
		step.ended = append(step.ended, v.at)
	}
	return nil
}
