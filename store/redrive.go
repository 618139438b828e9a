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
// that are no dead letters are passed over.
func (s *Store) Redrive(ctx context.Context, key push.ClientKey, seqs []uint64) (int, error) {
	if len(seqs) > 0 {
		done := 0
		for len(seqs) > 0 {
			step := seqs[:min(len(seqs), redriveStep)]
			seqs = seqs[len(step):]
			n, _, err := s.redrive(ctx, key, func(t *tx, _ uint64) ([]deadLetter, error) { return t.deadAt(key, step) })
			if err != nil {
				return done, err
			}
			done += n
		}
		return done, nil
	}
	return s.redriveAll(ctx, key)
}

// redriveAll goes through the mailbox once, up to where its head was: what it
// places again is beyond.
func (s *Store) redriveAll(ctx context.Context, key push.ClientKey) (int, error) {
	done, after := 0, uint64(0)
	for {
		n, last, err := s.redrive(ctx, key, func(t *tx, head uint64) ([]deadLetter, error) { return t.deadAfter(key, after, head) })
		if err != nil {
			return done, err
		}
		done += n
		if n < redriveStep {
			return done, nil
		}
		after = last
	}
}

// redrive places what find finds, in one commit group.
func (s *Store) redrive(ctx context.Context, key push.ClientKey, find func(t *tx, head uint64) ([]deadLetter, error)) (n int, last uint64, err error) {
	err = s.do(ctx, 100<<10, func(t *tx) error {
		n, last = 0, 0
		c, err := t.client(key)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoClient(key)
		}
		if err := t.flush(); err != nil {
			return err
		}
		letters, err := find(t, c.head)
		if err != nil {
			return err
		}
		for i := range letters {
			placed, err := t.placeAgain(c, &letters[i])
			if err != nil {
				return err
			}
			n += placed
			last = letters[i].seq
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	return n, last, nil
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
}

const deadLetters = `SELECT seq, id, send_time, size, priority, expires, mode, shared,
	CASE WHEN shared = 1 THEN (SELECT msg FROM body WHERE body.id = offline_message.id) ELSE msg END FROM offline_message `

func scanDead(r *sql.Rows, l *deadLetter) error {
	return r.Scan(&l.seq, &l.id, &l.sent, &l.size, &l.priority, &l.expires, &l.mode, &l.shared, &l.body)
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

// placeAgain gives the dead letter a new place, and answers 1 where it did. The order of letters is kept,
// their collapse keys are not: each was meant to be handled. Index:
// offline_message's primary key.
func (t *tx) placeAgain(c *counter, l *deadLetter) (int, error) {
	d := &delivery{
		message: &push.Message{ID: l.id, Sent: fromMS(l.sent), Body: l.body},
		size:    l.size, priority: l.priority, expires: never, mode: l.mode, shared: l.shared, standing: fresh,
	}
	if l.expires != never {
		d.expires = unixMS(t.now) + l.expires - l.sent
	}
	// A full mailbox must not cost the dead letter: it stays one.
	if fits, err := t.makeRoom(d, c); err != nil || !fits {
		return 0, err
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
	t.hear(d.message, o.Placed)
	return 1, nil
}
