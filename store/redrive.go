package store

import (
	"context"
	"database/sql"

	"github.com/sunzi-push/sunzi/push"
)

// redriveStep bounds what one commit group places again.
const redriveStep = 500

// Redrive implements [push.Pushes]. A dead letter that is placed again keeps
// its push's ID and content and gets its TTL anew; the old entry stays behind
// as failed, without content, and no longer counts in the push's status. Seqs
// that are no dead letters are passed over, and so are sealed ones: nobody here can
// read them (CodeInvalidField where there were no others). What does not fit into the mailbox
// stays a dead letter; CodeMailboxFull where nothing did. Where every push has to
// be sealed all stay whose client has no keys: CodeNoSealKey.
func (s *Store) Redrive(ctx context.Context, key push.ClientKey, seqs []uint64) (int, error) {
	find := func(t *tx, after, head uint64) ([]deadLetter, error) { return t.deadAfter(key, after, head) }
	if len(seqs) > 0 {
		find = func(t *tx, _, _ uint64) ([]deadLetter, error) {
			step := seqs[:min(len(seqs), redriveStep)]
			return t.deadAt(key, step)
		}
	}
	done, full, sealed := 0, false, false
	for step := (redriven{}); ; {
		err := s.redrive(ctx, key, &step, find)
		if err != nil {
			return done, err
		}
		done, full, sealed = done+step.placed, full || step.full, sealed || step.sealed
		seqs = seqs[min(len(seqs), redriveStep):]
		if len(seqs) > 0 || step.seen == redriveStep {
			continue
		}
		if sealed && done == 0 && !full {
			return 0, push.Errorf(push.CodeInvalidField, "the dead letters of client %q are sealed, with their places inside the seal, and can't be placed again: push their content anew (POST /v1/push)", key.ID)
		}
		if full && done == 0 {
			return 0, push.Errorf(push.CodeMailboxFull, "the mailbox of client %q is full: its dead letters stay as they are", key.ID)
		}
		return done, nil
	}
}

// redriven is what one commit group did.
type redriven struct {
	placed, seen int
	last         uint64 // the last dead letter looked at
	full         bool   // one did not fit
	sealed       bool   // one was sealed
}

// redrive places what find finds, in one commit group. What it places is
// beyond the head that find is told, so that going through all ends.
func (s *Store) redrive(ctx context.Context, key push.ClientKey, step *redriven,
	find func(t *tx, after, head uint64) ([]deadLetter, error)) error {
	after := step.last
	return s.do(ctx, 100<<10, func(t *tx) error {
		*step = redriven{last: after}
		c, err := t.client(key)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoClient(key)
		}
		if _, keyed := c.sealKind(t.redriveSeal()); !keyed {
			return push.Errorf(push.CodeNoSealKey, "client %q has no sealing keys, and this server requires them: its dead letters stay as they are until it has connected with sealing", key.ID)
		}
		if err := t.flush(); err != nil {
			return err
		}
		letters, err := find(t, after, c.head)
		if err != nil {
			return err
		}
		for i := range letters {
			step.seen++
			step.last = letters[i].seq
			n, err := t.placeAgain(c, &letters[i])
			if err != nil {
				return err
			}
			step.placed += max(n, 0)
			step.full = step.full || n < 0
			step.sealed = step.sealed || letters[i].sealed
		}
		return nil
	})
}

// redriveSeal is how dead letters are sealed that are placed again.
func (t *tx) redriveSeal() push.SealMode {
	if t.cfg.Limits.RequireSeal {
		return push.SealRequired
	}
	return push.SealAuto
}

type deadLetter struct {
	seq      uint64
	id       int64
	sent     int64
	size     int
	priority int
	expires  int64
	mode     int
	shared   int
	body     []byte
	sealed   bool
}

const deadLetters = `SELECT seq, id, send_time, size, priority, expires, mode, shared,
	CASE WHEN shared IN (1, 3) THEN (SELECT msg FROM body WHERE body.id = offline_message.id) ELSE msg END, frame IS NOT NULL FROM offline_message `

func scanDead(r *sql.Rows, l *deadLetter) error {
	return r.Scan(&l.seq, &l.id, &l.sent, &l.size, &l.priority, &l.expires, &l.mode, &l.shared, &l.body, &l.sealed)
}

// deadAfter finds the next dead letters. Index: offline_message's primary key.
func (t *tx) deadAfter(key push.ClientKey, after, head uint64) ([]deadLetter, error) {
	rows, err := t.query(deadLetters+`WHERE realm = ? AND client_id = ? AND seq > ? AND seq <= ? AND status = 6 ORDER BY seq LIMIT ?`,
		key.Realm, key.ID, int64(after), int64(head), redriveStep)
	return collect(rows, err, scanDead)
}

// deadAt finds the dead letters among some places. Index: offline_message's
// primary key.
func (t *tx) deadAt(key push.ClientKey, seqs []uint64) ([]deadLetter, error) {
	var all []deadLetter
	for _, seq := range seqs {
		rows, err := t.query(deadLetters+`WHERE realm = ? AND client_id = ? AND seq = ? AND status = 6`, key.Realm, key.ID, int64(seq))
		found, err := collect(rows, err, scanDead)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// placeAgain gives the dead letter a new place. It answers how many it placed,
// -1 where the mailbox is full. Collapse keys are not kept: each letter was
// meant to be handled. Index: offline_message's primary key.
func (t *tx) placeAgain(c *counter, l *deadLetter) (int, error) {
	if l.sealed { // its place is inside the seal
		return 0, nil
	}
	d := &delivery{
		message: &push.Message{ID: l.id, Sent: fromMS(l.sent), Body: l.body},
		size:    l.size, priority: l.priority, expires: never, mode: l.mode, shared: l.shared, standing: fresh, seal: t.redriveSeal(),
	}
	if l.expires != never {
		d.expires = unixMS(t.now) + l.expires - l.sent
	}
	if d.apart() && t.cfg.engine.shared { // whoever lets go of it looks for entries under this lock
		var one int
		kept, err := t.row(`SELECT 1 FROM body WHERE id = ?`+t.cfg.engine.forUpdate, []any{l.id}, &one)
		if err != nil || !kept {
			return 0, err
		}
	}
	// A full mailbox must not cost the dead letter: it stays one.
	if fits, err := t.makeRoom(d, c); err != nil || !fits {
		return -1, err
	}
	n, err := t.execCount(`UPDATE offline_message SET status = 7, msg = NULL, due = ? WHERE realm = ? AND client_id = ? AND seq = ? AND status = 6`,
		unixMS(t.now.Add(t.cfg.keepEnded())), c.key.Realm, c.key.ID, int64(l.seq))
	if err != nil || n == 0 { // named twice
		return 0, err
	}
	var o push.Outcome
	if err := t.enter(d, c, &o); err != nil {
		return 0, err
	}
	t.hear(d.message, t.inClear(d, o.Placed))
	return 1, nil
}
