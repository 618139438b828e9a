package store

import (
	"context"
	"database/sql"
	"sort"

	"github.com/sunzi-push/sunzi/push"
)

// Ack implements [push.Mailboxes].
func (s *Store) Ack(ctx context.Context, acks []push.Ack) error {
	acks = append([]push.Ack(nil), acks...)
	sort.SliceStable(acks, func(i, j int) bool { // the order in which every writer takes rows
		a, b := acks[i].Client, acks[j].Client
		return a.Realm < b.Realm || a.Realm == b.Realm && a.ID < b.ID
	})
	keys := make([]push.ClientKey, len(acks))
	for i := range acks {
		keys[i] = acks[i].Client
	}
	return s.doFor(ctx, 200*len(acks), named{clients: keys}, func(t *tx) error {
		for i := range acks {
			if err := t.ack(&acks[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) ack(a *push.Ack) error {
	c, err := t.client(a.Client)
	if err != nil || c == nil { // an unknown client is passed over
		return err
	}
	if to := min(a.Seq, c.head); to > c.cursor {
		if err := t.moveCursor(c, to, a); err != nil {
			return err
		}
	}
	if to := min(a.Read, c.head); to > c.read {
		c.read = to
		t.change(c)
	}
	for _, f := range a.Failed {
		if err := t.fail(c, f); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) moveCursor(c *counter, to uint64, a *push.Ack) error {
	acked := c.total
	if to < c.head {
		if err := t.flushEntries(); err != nil {
			return err
		}
		// Index: offline_message's primary key, one step back from to. Where
		// nothing is left the bound stays as it was: too high is safe.
		var total sql.NullInt64
		if _, err := t.row(`SELECT total FROM offline_message WHERE realm = ? AND client_id = ? AND seq <= ? ORDER BY seq DESC LIMIT 1`,
			[]any{c.key.Realm, c.key.ID, int64(to)}, &total); err != nil {
			return err
		}
		acked = max(c.acked, total.Int64)
	}
	if c.offlineHead > c.cursor {
		if err := t.settleOffline(c, to); err != nil {
			return err
		}
	}
	at := a.At
	if at.IsZero() {
		at = t.now
	}
	t.acks = append(t.acks, ackRow{key: c.key, from: c.cursor, to: to, at: unixMS(at)})
	c.cursor, c.acked = to, acked
	c.gone, c.goneBytes = 0, 0
	c.touch()
	t.change(c)
	return nil
}

// settleOffline marks acked entries that keep no history as to be deleted:
// the one kind of entry that an ack writes to, since nothing else would find
// it soon. Index: offline_message's primary key.
func (t *tx) settleOffline(c *counter, to uint64) error {
	if err := t.flushEntries(); err != nil {
		return err
	}
	return t.exec(`UPDATE offline_message SET status = 1, due = ?
		WHERE realm = ? AND client_id = ? AND seq > ? AND seq <= ? AND status = 0 AND mode = 1`,
		unixMS(t.now.Add(t.cfg.OfflineKeep)), c.key.Realm, c.key.ID, int64(c.cursor), int64(to))
}

// fail marks a dead letter; its content stays, so that it can be placed again.
// Index: offline_message's primary key.
func (t *tx) fail(c *counter, f push.FailedEntry) error {
	if f.Seq > c.head {
		return nil
	}
	if err := t.flushEntries(); err != nil {
		return err
	}
	n, err := t.execCount(`UPDATE offline_message SET status = 6, code = ?, due = ?
		WHERE realm = ? AND client_id = ? AND seq = ? AND status <= 1`,
		f.Code, unixMS(t.now.Add(t.cfg.keepEnded())), c.key.Realm, c.key.ID, int64(f.Seq))
	if n > 0 {
		c.touch()
	}
	return err
}
