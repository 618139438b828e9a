package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// choreStep bounds what periodic work does in one commit group.
const choreStep = 1000

// Expire implements [push.Chores]. Beside the entries whose TTL ended it meets
// acked ones, whose time as history it notes, so that each waiting entry is
// looked at when something is to be done with it and not before.
func (s *Store) Expire(ctx context.Context, now time.Time, limit int) (int, error) {
	return s.steps(ctx, limit, chore{
		// Index: offline_message_waiting.
		`SELECT 1 FROM offline_message WHERE status = 0 AND due <= ? LIMIT 1`, unixMS(now),
		func(t *tx, limit int) (int, error) { return t.settle(now, limit) },
	})
}

// Sweep implements [push.Chores].
func (s *Store) Sweep(ctx context.Context, now time.Time, limit int) (int, error) {
	done, err := s.Expire(ctx, now, limit)
	for _, c := range s.sweeps(now) {
		if err != nil || done >= limit {
			return done, err
		}
		var n int
		n, err = s.steps(ctx, limit-done, c)
		done += n
	}
	if err == nil && done < limit {
		err = s.turn(ctx, now)
	}
	return done, err
}

// chore is one kind of periodic work: a query that finds out whether there is
// any up to a time, and what does up to limit of it.
type chore struct {
	any  string
	upTo int64
	step func(t *tx, limit int) (int, error)
}

func (s *Store) steps(ctx context.Context, limit int, c chore) (int, error) {
	done := 0
	for done < limit {
		any, err := s.any(ctx, c.any, c.upTo)
		if err != nil || !any {
			return done, failed(err)
		}
		n, step := 0, min(limit-done, choreStep)
		err = s.do(ctx, 100*step, func(t *tx) (err error) {
			n, err = c.step(t, step)
			return err
		})
		if err != nil {
			return done, err
		}
		done += n
		if n < step {
			break
		}
	}
	return done, nil
}

// sweeps is everything that retention ends.
func (s *Store) sweeps(now time.Time) []chore {
	before := func(age time.Duration) int64 { return unixMS(now.Add(-age)) }
	eng := s.cfg.engine
	// table's rows that match where, which has one placeholder; key is its
	// primary key.
	sweep := func(table, key, where, order string, upTo int64) chore {
		query := eng.remove(table, key, where, order)
		return chore{`SELECT 1 FROM ` + table + ` WHERE ` + where + ` LIMIT 1`, upTo,
			func(t *tx, limit int) (int, error) { return t.execCount(query, upTo, limit) }}
	}
	ended, keys := unixMS(now), before(s.cfg.Limits.IdempotencyWindow)
	log, pushes := before(max(s.cfg.keepEnded(), push.MaxTTL)), before(s.cfg.keepEnded())
	chores := []chore{
		// Index: offline_message_ended.
		{`SELECT 1 FROM offline_message WHERE ` + eng.ended + ` LIMIT 1`, ended,
			func(t *tx, limit int) (int, error) { return t.sweepEntries(ended, limit) }},
		// Index: idempotency_at.
		sweep(`idempotency`, `idem_key`, `at < ?`, ` ORDER BY at`, keys),
		// Index: token_expires.
		sweep(`token`, `jti`, `expires < ?`, ` ORDER BY expires`, before(time.Hour)),
		// Index: revocation_age. No token lives that long.
		sweep(`revocation`, `realm, client_id`, `issued_before < ?`, ` ORDER BY issued_before`, before(keepRevocations)),
		// Index: ack_log_at.
		sweep(`ack_log`, `realm, client_id, to_seq`, `at < ?`, ` ORDER BY at`, log),
		// Index: push_empty.
		sweep(`push`, `id`, `placed = 0 AND state NOT IN (1, 2) AND accepted < ?`, ` ORDER BY accepted`, pushes),
		// Index: member_left. An interval that ended is needed by jobs that
		// were accepted before.
		sweep(`member`, `realm, grp, client_id, joined_epoch`, `left_epoch IS NOT NULL AND left_epoch > ? AND `+notNeeded, ``, 0),
	}
	// Indexes: seal_key_state, seal_frame_sent, seal_body_sent. A frame outlives
	// every entry that may name it.
	frames := before(push.MaxTTL + max(s.cfg.keepEnded(), settled))
	chores = append(chores,
		chore{`SELECT 1 FROM seal_key WHERE state = 0 AND began <= ? LIMIT 1`, before(reservedFor),
			func(t *tx, limit int) (int, error) { return t.sweepReserved(now, limit) }},
		sweep(`seal_frame`, `id`, `sent < ?`, ` ORDER BY sent`, frames),
		sweep(`seal_body`, `hash`, `sent < ?`, ` ORDER BY sent`, frames),
		// Index: seal_channel_made. The secret of a group's last epoch is kept: it
		// may still be in use.
		sweep(`seal_channel`, `realm, grp, epoch`, `made < ? AND EXISTS (SELECT 1 FROM grp WHERE grp.realm = seal_channel.realm
			AND grp.name = seal_channel.grp AND grp.epoch > seal_channel.epoch)`, ` ORDER BY made`, frames))
	if eng.shared {
		// Index: retired's primary key.
		chores = append(chores, chore{`SELECT 1 FROM retired WHERE id = 1 AND after_id < upto_id AND upto_id > ?`, 0,
			func(t *tx, limit int) (int, error) { return t.retire(limit) }})
		// Index: commit_token_at.
		chores = append(chores, sweep(`commit_token`, `token`, `at < ?`, ` ORDER BY at`, before(keepTokens)))
	}
	return chores
}

// keepTokens is how long a transaction may be asked for whether it was
// committed. No writer asks longer than [Config.Timeout].
const keepTokens = time.Hour

// keepRevocations is beyond the longest life that a token may be minted with
// (tokens.max_ttl has a year as its default).
const keepRevocations = 2 * 366 * 24 * time.Hour

const notNeeded = `NOT EXISTS (SELECT 1 FROM job WHERE job.realm = member.realm AND job.grp = member.grp AND job.epoch < member.left_epoch)`

// dueEntry is an entry that periodic work looks at.
type dueEntry struct {
	key     push.ClientKey
	seq     uint64
	id      int64
	sent    int64
	expires int64
	mode    int
	shared  int
}

func scanDue(r *sql.Rows, e *dueEntry) error {
	return r.Scan(&e.key.Realm, &e.key.ID, &e.seq, &e.id, &e.sent, &e.expires, &e.mode, &e.shared)
}

const dueColumns = `realm, client_id, seq, id, send_time, expires, mode, shared`

// settle decides what becomes of waiting entries that are due: expired where
// nobody acked them in time, settled as acked where their TTL or their time as
// history ended, otherwise a later look. Index: offline_message_waiting, then
// offline_message's primary key.
func (t *tx) settle(now time.Time, limit int) (int, error) {
	if err := t.flushEntries(); err != nil {
		return 0, err
	}
	rows, err := t.query(`SELECT `+dueColumns+` FROM offline_message WHERE status = 0 AND due <= ? ORDER BY due LIMIT ?`, unixMS(now), limit)
	due, err := collect(rows, err, scanDue)
	if err != nil {
		return 0, err
	}
	// Counter rows first, in their order: the entries come by their times.
	named := make(map[string][]string)
	for i := range due {
		named[due[i].key.Realm] = append(named[due[i].key.Realm], due[i].key.ID)
	}
	for _, realm := range slices.Sorted(maps.Keys(named)) {
		if _, err := t.clients(realm, named[realm]); err != nil {
			return 0, err
		}
	}
	for i := range due {
		e := &due[i]
		c, err := t.client(e.key)
		if err != nil {
			return 0, err
		}
		if err := t.settleEntry(e, c, now); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

func (t *tx) settleEntry(e *dueEntry, c *counter, now time.Time) error {
	const settled = `UPDATE offline_message SET status = ?, due = ? WHERE realm = ? AND client_id = ? AND seq = ? AND status = 0`
	at := unixMS(now)
	keep := e.sent + t.cfg.Limits.HistoryRetention.Milliseconds()
	acked := c == nil || e.seq <= c.cursor
	switch {
	case acked && (e.mode == modeOffline || e.expires <= at || keep <= at):
		if e.mode == modeOffline {
			keep = at
		}
		return t.exec(settled, statusAcked, max(keep, at), e.key.Realm, e.key.ID, int64(e.seq))
	case acked:
		return t.exec(settled, statusWaiting, min(e.expires, keep), e.key.Realm, e.key.ID, int64(e.seq))
	case e.expires <= at:
		c.touch()
		_, err := t.end(push.Placement{Client: e.key, Seq: e.seq}, statusWaiting, statusExpired, "")
		return err
	}
	again := max(t.cfg.Limits.HistoryRetention, time.Minute)
	return t.exec(settled, statusWaiting, min(e.expires, unixMS(now.Add(again))), e.key.Realm, e.key.ID, int64(e.seq))
}

// sweepEntries deletes entries that ended long enough ago, and bodies that
// nobody shares any more. Index: offline_message_ended, then primary keys.
func (t *tx) sweepEntries(upTo int64, limit int) (int, error) {
	if err := t.flush(); err != nil {
		return 0, err
	}
	rows, err := t.query(`SELECT `+dueColumns+` FROM offline_message WHERE `+t.cfg.engine.ended+t.cfg.engine.endedOrder+` LIMIT ?`+t.cfg.engine.forUpdate, upTo, limit)
	due, err := collect(rows, err, scanDue)
	if err != nil {
		return 0, err
	}
	bodies := make(map[int64]struct{})
	for _, e := range due {
		if err := t.exec(`DELETE FROM offline_message WHERE realm = ? AND client_id = ? AND seq = ?`, e.key.Realm, e.key.ID, int64(e.seq)); err != nil {
			return 0, err
		}
		if e.shared != bodyOwn {
			bodies[e.id] = struct{}{}
		}
	}
	for id := range bodies {
		if err := t.forgetBody(id); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}
