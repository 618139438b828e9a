package store

import (
	"database/sql"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// Values of offline_message.status.
const (
	statusWaiting   = 0
	statusAcked     = 1 // settled by periodic work; until then the cursor says it
	statusExpired   = 2
	statusCancelled = 3
	statusCollapsed = 4
	statusDropped   = 5
	statusFailed    = 6
	statusRedriven  = 7
)

// reasonQuota is why a full mailbox dropped an entry.
const reasonQuota = "quota"

// enter makes the client's entry: it takes the next place, after the older
// ones of its collapse key have ended. A full mailbox refuses (told in
// o.Rejected), drops another entry, or, where the push was promised, takes it
// as dropped.
func (t *tx) enter(d *delivery, c *counter, o *push.Outcome) error {
	kind, keyed := c.sealKind(d.seal)
	if keyed && kind != sealNone && t.cfg.Sealer == nil {
		return errNoSealer // before anything is written; what was goes back
	}
	if !keyed && d.standing == fresh {
		o.Rejected = append(o.Rejected, push.Rejection{Client: c.key, Code: push.CodeNoSealKey})
		return nil
	}
	fits, err := t.makeRoom(d, c)
	if err != nil {
		return err
	}
	if !fits && d.standing == fresh {
		o.Rejected = append(o.Rejected, push.Rejection{Client: c.key, Code: push.CodeMailboxFull})
		return nil
	}
	replaced := false
	if d.collapse != "" && d.standing == promised { // it was answered earlier than what may be there
		if replaced, err = t.newer(d, c); err != nil {
			return err
		}
	}
	if d.collapse != "" && !replaced {
		if err := t.endCollapsed(d, c); err != nil {
			return err
		}
	}
	if err := t.joinOld(unixMS(d.message.Sent)); err != nil {
		return err
	}
	t.placed++
	c.head++
	c.total += int64(d.size)
	if d.mode == modeOffline {
		c.offlineHead = c.head
	}
	t.change(c)
	row := t.entry(d, c, fits && keyed)
	if !keyed {
		row.reason = reasonNoKey
		fits = false
	}
	if replaced && fits {
		row.msg, row.status, row.due = nil, statusCollapsed, unixMS(t.now.Add(t.cfg.keepEnded()))
	}
	switch {
	case row.status != statusWaiting:
	case kind == sealNone:
		d.plain++
	default:
		row.seal(c, d)
		if d.collapse != "" {
			row.collapse = t.blind(d, c)
		}
	}
	if row.status != statusWaiting {
		row.collapse = nil // it is never looked for
	}
	t.entries = append(t.entries, row)
	if !fits || replaced {
		c.gone++
		c.goneBytes += int64(d.size)
		return nil
	}
	if n := len(c.victims); n > 0 && d.priority < c.victims[n-1].priority {
		c.victims = nil
	}
	o.Placed = append(o.Placed, push.Placement{Client: c.key, Seq: c.head})
	return nil
}

func (t *tx) entry(d *delivery, c *counter, fits bool) entryRow {
	sent := unixMS(d.message.Sent)
	r := entryRow{
		key: c.key, seq: c.head, id: d.message.ID, sent: sent, size: d.size, total: c.total,
		priority: d.priority, expires: d.expires, mode: d.mode,
		due: min(d.expires, unixMS(t.now.Add(t.retention()))),
	}
	r.shared = d.shared
	if !d.apart() {
		r.msg = string(d.message.Body)
	}
	if d.collapse != "" {
		r.collapse = d.collapse
		if t.collapse == nil {
			t.collapse = make(map[collapseID]struct{})
		}
		t.collapse[collapseID{c.key, d.collapse}] = struct{}{}
	}
	if !fits {
		r.msg, r.status, r.reason = nil, statusDropped, reasonQuota
		r.due = unixMS(t.now.Add(t.cfg.keepEnded()))
	}
	return r
}

// retention is when an entry that waits is looked at for the first time. One
// that keeps no history is looked at rarely: its ack has it deleted.
func (t *tx) retention() time.Duration {
	if r := t.cfg.Limits.HistoryRetention; r > 0 {
		return r
	}
	return push.MaxTTL
}

// blind is the delivery's collapse key as entries that are sealed for the client
// have it: a keyed hash, so that it does not stand in clear. One that never had
// keys has none such.
func (t *tx) blind(d *delivery, c *counter) string {
	if t.cfg.Sealer == nil || c.sealLast == 0 {
		return d.collapse
	}
	return t.cfg.Sealer.Blind(c.key, d.collapse)
}

// newer reports whether a waiting entry of the delivery's collapse key was sent
// after it: a job may come to a client later than that. Index:
// offline_message_collapse.
func (t *tx) newer(d *delivery, c *counter) (bool, error) {
	if _, buffered := t.collapse[collapseID{c.key, d.collapse}]; buffered {
		if err := t.flushEntries(); err != nil {
			return false, err
		}
	}
	var one int
	return t.row(`SELECT 1 FROM offline_message`+t.cfg.engine.byCollapseKey+`WHERE realm = ? AND client_id = ? AND collapse_key IN (?, ?)
		AND status = 0 AND seq > ? AND expires > ? AND send_time > ? LIMIT 1`,
		[]any{c.key.Realm, c.key.ID, d.collapse, t.blind(d, c), int64(c.cursor), unixMS(t.now), unixMS(d.message.Sent)}, &one)
}

// endCollapsed ends the waiting entries of the delivery's collapse key. Index:
// offline_message_collapse.
func (t *tx) endCollapsed(d *delivery, c *counter) error {
	if _, buffered := t.collapse[collapseID{c.key, d.collapse}]; buffered {
		if err := t.flushEntries(); err != nil {
			return err
		}
	}
	rows, err := t.query(`SELECT id FROM offline_message`+t.cfg.engine.byCollapseKey+`WHERE realm = ? AND client_id = ? AND collapse_key IN (?, ?)
		AND status = 0 AND seq > ? AND expires > ? AND shared = 3`,
		c.key.Realm, c.key.ID, d.collapse, t.blind(d, c), int64(c.cursor), unixMS(t.now))
	apart, err := collect(rows, err, func(r *sql.Rows, id *int64) error { return r.Scan(id) })
	if err != nil {
		return err
	}
	for _, id := range apart { // Index: body's primary key.
		if err := t.exec(`DELETE FROM body WHERE id = ?`, id); err != nil {
			return err
		}
	}
	n, err := t.execCount(`UPDATE offline_message`+t.cfg.engine.byCollapseKey+`SET status = 4, msg = NULL, due = ?
		WHERE realm = ? AND client_id = ? AND collapse_key IN (?, ?) AND status = 0 AND seq > ? AND expires > ?`,
		unixMS(t.now.Add(t.cfg.keepEnded())), c.key.Realm, c.key.ID, d.collapse, t.blind(d, c), int64(c.cursor), unixMS(t.now))
	if n > 0 {
		c.touch()
	}
	return err
}

// makeRoom reports whether the mailbox can take the delivery, after dropping
// others where that is the policy. Counters bound the backlog from above; only
// where the bound is passed are entries counted, and not more than once a
// second while nothing but pushes happens.
func (t *tx) makeRoom(d *delivery, c *counter) (bool, error) {
	if t.roomFor(d, c, 0, 0) {
		return true, nil
	}
	if now := unixMS(t.now); c.counted == 0 || now-c.counted >= 1000 || now < c.counted {
		if err := t.count(c); err != nil {
			return false, err
		}
		if t.roomFor(d, c, 0, 0) {
			return true, nil
		}
	}
	var ending, endingBytes int
	if d.collapse != "" {
		if err := t.flushEntries(); err != nil {
			return false, err
		}
		// Index: offline_message_collapse.
		if _, err := t.row(`SELECT COUNT(*), COALESCE(SUM(size), 0) FROM offline_message`+t.cfg.engine.byCollapseKey+`
			WHERE realm = ? AND client_id = ? AND collapse_key IN (?, ?) AND status = 0 AND seq > ? AND expires > ?`,
			[]any{c.key.Realm, c.key.ID, d.collapse, t.blind(d, c), int64(c.cursor), unixMS(t.now)}, &ending, &endingBytes); err != nil {
			return false, err
		}
		if t.roomFor(d, c, ending, endingBytes) {
			return true, nil
		}
	}
	if t.cfg.Limits.Overflow != push.OverflowDrop {
		return false, nil
	}
	return t.dropFor(d, c)
}

// roomFor compares with the quotas, as if some entries had ended.
func (t *tx) roomFor(d *delivery, c *counter, ending, endingBytes int) bool {
	l := &t.cfg.Limits
	entries := int(c.head-c.cursor) - c.gone - ending
	size := c.total - c.acked - c.goneBytes - int64(endingBytes)
	return (l.MailboxEntries <= 0 || entries < l.MailboxEntries) &&
		(l.MailboxBytes <= 0 || size+int64(d.size) <= l.MailboxBytes)
}

// count finds out how much of the mailbox's bound has ended. Index:
// offline_message's primary key.
func (t *tx) count(c *counter) error {
	if err := t.flushEntries(); err != nil {
		return err
	}
	var n int
	var size int64
	_, err := t.row(`SELECT COUNT(*), COALESCE(SUM(size), 0) FROM offline_message
		WHERE realm = ? AND client_id = ? AND seq > ? AND status = 0 AND expires > ?`,
		[]any{c.key.Realm, c.key.ID, int64(c.cursor), unixMS(t.now)}, &n, &size)
	c.gone = int(c.head-c.cursor) - n
	c.goneBytes = c.total - c.acked - size
	c.counted = unixMS(t.now)
	return err
}

// victim is an entry that a full mailbox would drop next.
type victim struct {
	seq      uint64
	priority int
	size     int
}

// dropFor drops waiting entries, those of lowest priority first and of these
// the oldest, until the delivery fits. It never drops one that is worth more
// than the delivery: then the delivery is what does not fit, and none is
// dropped.
func (t *tx) dropFor(d *delivery, c *counter) (bool, error) {
	if l := t.cfg.Limits.MailboxBytes; l > 0 && int64(d.size) > l {
		return false, nil
	}
	if err := t.flushEntries(); err != nil {
		return false, err
	}
	for limit := victimsKept; ; limit *= 8 {
		n, size := 0, 0
		for n < len(c.victims) && c.victims[n].priority <= d.priority && !t.roomFor(d, c, n, size) {
			size += c.victims[n].size
			n++
		}
		if t.roomFor(d, c, n, size) {
			return true, t.drop(c, n)
		}
		if n < len(c.victims) || limit > victimsKept && len(c.victims) < limit/8 {
			return false, nil // what is left is worth more, or nothing is left
		}
		if err := t.findVictims(c, limit); err != nil {
			return false, err
		}
	}
}

const victimsKept = 256

// findVictims reads what would be dropped next; it serves for as many pushes.
// Index: offline_message's primary key, one client's range, sorted.
func (t *tx) findVictims(c *counter, limit int) error {
	rows, err := t.query(`SELECT seq, priority, size FROM offline_message
		WHERE realm = ? AND client_id = ? AND seq > ? AND status = 0 AND expires > ?
		ORDER BY priority, seq LIMIT ?`, c.key.Realm, c.key.ID, int64(c.cursor), unixMS(t.now), limit)
	c.victims, err = collect(rows, err, func(r *sql.Rows, v *victim) error { return r.Scan(&v.seq, &v.priority, &v.size) })
	return err
}

// drop drops the first n victims.
func (t *tx) drop(c *counter, n int) error {
	for _, v := range c.victims[:n] {
		if _, err := t.end(push.Placement{Client: c.key, Seq: v.seq}, statusWaiting, statusDropped, reasonQuota); err != nil {
			return err
		}
		c.gone++
		c.goneBytes += int64(v.size)
	}
	c.victims = c.victims[n:]
	return nil
}

// end moves an entry from one status to its last and lets go of its content;
// false where the entry has another. Index: offline_message's primary
// key.
func (t *tx) end(at push.Placement, from, to int, reason string) (bool, error) {
	n, err := t.execCount(`UPDATE offline_message SET status = ?, reason = ?, code = 0, msg = NULL, due = ?
		WHERE realm = ? AND client_id = ? AND seq = ? AND status = ?`,
		to, reason, unixMS(t.now.Add(t.cfg.keepEnded())), at.Client.Realm, at.Client.ID, int64(at.Seq), from)
	if err != nil || n == 0 {
		return false, err
	}
	// Indexes: primary keys.
	var id int64
	apart, err := t.row(`SELECT id FROM offline_message WHERE realm = ? AND client_id = ? AND seq = ? AND shared = 3`,
		[]any{at.Client.Realm, at.Client.ID, int64(at.Seq)}, &id)
	if err != nil || !apart {
		return true, err
	}
	return true, t.exec(`DELETE FROM body WHERE id = ?`, id)
}

// seal has the entry sealed with the commit group, and leaves the message out of
// it.
func (r *entryRow) seal(c *counter, d *delivery) {
	keys := c.sealing
	r.sealFor, r.message, r.msg = &keys, d.message, nil
	if keys.seal == sealCRT {
		r.channel = d.channel
	}
	if r.shared == bodyShared || r.shared == bodyRecorded {
		r.shared = bodyRecorded
	} else {
		r.shared = bodyOwn
	}
	c.sealedAt = r.seq
}
