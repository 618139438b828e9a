package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// Where servers share the database, entries stand in partitions by the time of
// their sending, and history goes with its partition, not row by row: a DELETE
// of as many rows as come in would cost as much as they did.
//
// A partition is dropped once it holds nothing that is needed: no entry that
// waits, none that ended otherwise than by its ack (these are few, and go one by
// one when their time is over), and no history within its retention. Until then
// history beyond its retention is hidden (status.go). So a partition
// lives for the longest TTL and the retention after it at most, and spans are so
// wide that these are about eight: a look-up in a mailbox looks into each.
//
// Nothing that is needed comes into a partition that is found to hold nothing:
// an entry that was sent so long ago (a schedule or a job that waited for its
// server for weeks, a dead letter that is placed again) is placed under the lock
// of the row of retired, under which a partition is looked at again and dropped.
//
// That a place of a mailbox is taken once is held by its client's counter row,
// which is locked in the transaction that takes it: the key has the time of
// sending in it, as MySQL asks of partitions, and would let two pass.

const (
	restPartition = "rest"
	spansAhead    = 3 // partitions that are made for times to come
	livingSpans   = 8
	day           = 24 * time.Hour
	// settled is the least age of what is dropped, and clocks a difference of
	// the nodes' clocks that does no harm.
	settled = 2 * day
	clocks  = day
	// turnEvery is how often partitions are looked at. It is much less than a
	// span.
	turnEvery = time.Hour
	// turnOverdue is for how long this may not succeed before it is told: the
	// partitions ahead last for much longer.
	turnOverdue = day
	// turnWait bounds, in seconds, how long a change of partitions waits for
	// transactions under way: those that come meanwhile wait behind it.
	turnWait = "1"
)

// span is how much time of sending one partition holds: whole days.
func (c *Config) span() time.Duration {
	return ((push.MaxTTL+c.Limits.HistoryRetention)/(livingSpans*day) + 1) * day
}

// old is the time of sending before which a partition may be dropped.
func (c *Config) old(now time.Time) time.Time {
	return now.Add(-max(c.Limits.HistoryRetention, settled))
}

// joinOld is called before an entry is placed that was sent then.
func (t *tx) joinOld(sent int64) error {
	if !t.cfg.engine.shared || t.old || sent >= unixMS(t.cfg.old(t.now).Add(clocks)) {
		return nil
	}
	var id int
	_, err := t.row(`SELECT id FROM retired WHERE id = 1 FOR UPDATE`, nil, &id)
	t.old = err == nil
	return err
}

// partition is one of offline_message.
type partition struct {
	name  string
	below int64 // holds what was sent before, in ms
}

// turn makes partitions ahead and drops old ones, now and then. What can't be
// done at once is done later: nobody else may wait for it.
func (s *Store) turn(ctx context.Context, now time.Time) error {
	if last := s.turned.Load(); !s.cfg.engine.shared || last != nil && time.Since(*last) < turnEvery {
		return nil
	}
	done, err := s.turnPartitions(ctx, now)
	if err != nil && (slices.Contains(mysqlAgain, saidBy(err)) || lost(err)) {
		s.turnLater(err)
		return nil
	}
	if done {
		began := time.Now()
		s.turned.Store(&began)
		s.unturned.Store(nil)
	}
	return failed(err)
}

// turnLater tells of partitions that could not be turned, loudly once they have
// not been for turnOverdue, and then as seldom.
func (s *Store) turnLater(err error) {
	now := time.Now()
	if s.unturned.CompareAndSwap(nil, &now); now.Sub(*s.unturned.Load()) < turnOverdue {
		s.cfg.Log.Debug("partitions are turned later", "err", err)
		return
	}
	s.unturned.Store(&now)
	s.cfg.Log.Warn("partitions of offline_message could not be turned for a day: old history is not dropped; look for a long transaction or a lock on the table",
		"err", err)
}

// turnPartitions reports whether it, or another node, has done all there was
// to do.
func (s *Store) turnPartitions(ctx context.Context, now time.Time) (done bool, err error) {
	db, err := s.cfg.engine.open(ctx, &s.cfg, forSchema)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close() //nolint:errcheck // the pool is closed next
	var got sql.NullInt64
	// As for the schema, but without waiting: who has it does this, or more.
	if err := conn.QueryRowContext(ctx, `SELECT GET_LOCK(CONCAT('sunzi.', MD5(DATABASE())), 0)`).Scan(&got); err != nil || got.Int64 != 1 {
		return false, err
	}
	defer func() { _ = unlockSchema(ctx, &s.cfg, conn) }() // ends with the connection where this fails
	if _, err := conn.ExecContext(ctx, `SET SESSION lock_wait_timeout = `+turnWait); err != nil {
		return false, err
	}
	// What is far ahead or long ago by one clock alone may be that clock's step.
	var theirs int64
	if err := conn.QueryRowContext(ctx, `SELECT `+databaseNow).Scan(&theirs); err != nil {
		return false, err
	}
	if at := fromMS(theirs); at.Before(now) {
		now = at
	}
	all, err := partitions(ctx, conn)
	if err != nil {
		return false, err
	}
	if err := s.cfg.makeAhead(ctx, conn, all, now); err != nil {
		return false, err
	}
	return true, s.dropOld(ctx, conn, all, now)
}

// firstPartitions makes those of a table that has none yet, as part of its
// migration, which may take its time: the table may be one of before there were
// partitions, and is copied.
func (c *Config) firstPartitions(ctx context.Context, db *sql.DB) error {
	if !c.engine.shared {
		return nil
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // back to the pool
	all, err := partitions(ctx, conn)
	if err != nil || len(all) > 0 {
		return err
	}
	return c.makeAhead(ctx, conn, nil, c.Clock())
}

// partitions are those with a bound, ascending.
func partitions(ctx context.Context, conn *sql.Conn) ([]partition, error) {
	rows, err := conn.QueryContext(ctx, `SELECT partition_name, partition_description FROM information_schema.partitions
		WHERE table_schema = DATABASE() AND table_name = 'offline_message' AND partition_name <> 'rest' ORDER BY partition_ordinal_position`)
	return collect(rows, err, func(r *sql.Rows, p *partition) error { return r.Scan(&p.name, &p.below) })
}

// makeAhead cuts off rest what comes next. Rest is empty, or as good as, but
// where no server has run for the spans ahead, or a clock was far ahead.
func (c *Config) makeAhead(ctx context.Context, conn *sql.Conn, all []partition, now time.Time) error {
	span := c.span().Milliseconds()
	top := int64(math.MinInt64)
	if len(all) > 0 {
		top = all[len(all)-1].below
	}
	var parts strings.Builder
	for i := range int64(spansAhead + 1) {
		if below := (unixMS(now)/span + 1 + i) * span; below > top {
			fmt.Fprintf(&parts, "PARTITION p%d VALUES LESS THAN (%d), ", below, below)
		}
	}
	if parts.Len() == 0 {
		return nil
	}
	//nolint:gosec // G202: names and numbers of this package
	_, err := conn.ExecContext(ctx, `ALTER TABLE offline_message REORGANIZE PARTITION rest INTO (`+parts.String()+
		`PARTITION rest VALUES LESS THAN MAXVALUE)`)
	return err
}

// dropOld drops what is old and not needed.
func (s *Store) dropOld(ctx context.Context, conn *sql.Conn, all []partition, now time.Time) error {
	for _, p := range all {
		if p.below > unixMS(s.cfg.old(now)) {
			return nil
		}
		needed, err := isNeeded(ctx, conn, p, now)
		if err == nil && !needed {
			err = s.drop(ctx, conn, p, now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isNeeded looks for what keeps the partition. Indexes: offline_message_due;
// push's primary key, for the jobs, which are few.
func isNeeded(ctx context.Context, conn *sql.Conn, p partition, now time.Time) (bool, error) {
	from := `SELECT 1 FROM offline_message PARTITION (` + p.name + `) WHERE `
	for query, at := range map[string]int64{
		from + `status IN (0, 2, 3, 4, 5, 6, 7) AND due > ? LIMIT 1`:                      math.MinInt64,
		from + `status = 1 AND due > ? LIMIT 1`:                                           unixMS(now),
		`SELECT 1 FROM job JOIN push ON push.id = job.id WHERE push.accepted < ? LIMIT 1`: p.below,
	} {
		var one int
		err := conn.QueryRowContext(ctx, query, at).Scan(&one)
		if err == nil || !errors.Is(err, sql.ErrNoRows) {
			return err == nil, err
		}
	}
	return false, nil
}

// drop notes whose bodies are to be looked at, and drops the partition if
// nothing has come into it meanwhile.
func (s *Store) drop(ctx context.Context, conn *sql.Conn, p partition, now time.Time) error {
	var from, to sql.NullInt64
	// Index: offline_message_id, its ends.
	if err := conn.QueryRowContext(ctx, `SELECT MIN(id), MAX(id) FROM offline_message PARTITION (`+p.name+`)`).Scan(&from, &to); err != nil {
		return err
	}
	if to.Valid { // also where it is not dropped after all: they are only looked at
		_, err := conn.ExecContext(ctx, `UPDATE retired SET after_id = CASE WHEN after_id < upto_id THEN LEAST(after_id, ?) ELSE ? END,
			upto_id = GREATEST(upto_id, ?) WHERE id = 1`, from.Int64-1, from.Int64-1, to.Int64)
		if err != nil {
			return err
		}
	}
	return s.leasing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var id int
		if err := tx.QueryRowContext(ctx, `SELECT id FROM retired WHERE id = 1 FOR UPDATE`).Scan(&id); err != nil {
			return err
		}
		needed, err := isNeeded(ctx, conn, p, now)
		if err != nil || needed {
			return err
		}
		// On the other connection: it would end this transaction.
		if _, err := conn.ExecContext(ctx, `ALTER TABLE offline_message DROP PARTITION `+p.name); err != nil {
			return err
		}
		s.cfg.Log.Info("a partition of old history was dropped", "sent_before", fromMS(p.below))
		return nil
	})
}

// retire looks at pushes whose entries were dropped: a body that no entry and no
// job needs goes, and so does the push's row. Indexes: primary keys.
func (t *tx) retire(limit int) (int, error) {
	var after, upTo int64
	if _, err := t.row(`SELECT after_id, upto_id FROM retired WHERE id = 1 FOR UPDATE`, nil, &after, &upTo); err != nil || after >= upTo {
		return 0, err
	}
	var ids []int64
	for _, query := range []string{
		`SELECT id FROM body WHERE id > ? AND id <= ? ORDER BY id LIMIT ?`,
		`SELECT id FROM push WHERE id > ? AND id <= ? AND placed > 0 AND state NOT IN (1, 2) ORDER BY id LIMIT ?`,
	} {
		rows, err := t.query(query, after, upTo, limit)
		found, err := collect(rows, err, func(r *sql.Rows, id *int64) error { return r.Scan(id) })
		if err != nil {
			return 0, err
		}
		ids = append(ids, found...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	ids = ids[:min(len(ids), limit)]
	for _, id := range ids {
		if err := t.forgetBody(id); err != nil {
			return 0, err
		}
	}
	if len(ids) == limit {
		upTo = ids[limit-1]
	}
	return len(ids), t.exec(`UPDATE retired SET after_id = ? WHERE id = 1`, upTo)
}
