package store

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// pushRow is a row of table push.
type pushRow struct {
	realm    string
	accepted int64
	state    int
	placed   int64 // entries that it had
}

const pushQuery = `SELECT realm, accepted, state, placed FROM push WHERE id = ?`

// retained leaves out history beyond its retention, which is still there until it is
// swept, or dropped with its partition.
const retained = ` AND NOT (status = 1 AND due <= ?)`

func errNoPush(id int64) error {
	return push.Errorf(push.CodeNoPush, "push %d is not known, or its retention ended", id)
}

// Status implements [push.Pushes]. Clients come in the order of their IDs.
func (s *Store) Status(ctx context.Context, realm *string, id int64, page push.PageQuery) (push.PushStatus, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	from, err := decodePage(page.Token)
	if err != nil {
		return push.PushStatus{}, err
	}
	var p pushRow
	// Index: push's primary key.
	recorded, err := s.row(ctx, pushQuery, []any{id}, &p.realm, &p.accepted, &p.state, &p.placed)
	if err != nil {
		return push.PushStatus{}, failed(err)
	}
	found := recorded
	if !recorded { // Index: offline_message_id.
		if found, err = s.row(ctx, `SELECT realm FROM offline_message WHERE id = ?`+retained+` LIMIT 1`, []any{id, unixMS(s.cfg.Clock())}, &p.realm); err != nil {
			return push.PushStatus{}, failed(err)
		}
	}
	if !found || realm != nil && *realm != p.realm {
		return push.PushStatus{}, errNoPush(id)
	}
	status := push.PushStatus{ID: id, Counts: make(map[push.State]int)}
	earliest, err := s.countStates(ctx, p.realm, id, status.Counts)
	if err != nil {
		return push.PushStatus{}, failed(err)
	}
	if len(status.Counts) == 0 && p.placed > 0 && p.state != pushScheduled && p.state != pushExpanding {
		return push.PushStatus{}, errNoPush(id) // only its row is left
	}
	status.Accepted = fromMS(earliest)
	if recorded {
		status.Accepted = fromMS(p.accepted)
	}
	status.State = overall(recorded, p.state, status.Counts)
	status.Clients, status.Next, err = s.clientStates(ctx, p.realm, id, from, pageLimit(page.Limit))
	return status, failed(err)
}

// ofPush finds a push's entries that count, with their clients. Indexes:
// offline_message_id (which ends in the primary key, so that it is in order),
// client's primary key.
const ofPush = ` FROM offline_message m JOIN client c ON c.realm = m.realm AND c.client_id = m.client_id
	WHERE m.id = ? AND m.realm = ? AND m.status <> 7 AND NOT (m.status = 1 AND m.due <= ?)`

// countStates counts the push's entries by state, and answers when the first
// was sent.
func (s *Store) countStates(ctx context.Context, realm string, id int64, counts map[push.State]int) (int64, error) {
	type group struct {
		f       fate
		n       int
		earlier int64
	}
	now := unixMS(s.cfg.Clock())
	rows, err := s.query(ctx, `SELECT m.status, m.reason, m.code, m.seq <= c.cursor, m.seq <= c.read_cursor, m.expires <= ?, COUNT(*), MIN(m.send_time)`+
		ofPush+` GROUP BY 1, 2, 3, 4, 5, 6`, now, id, realm, now)
	groups, err := collect(rows, err, func(r *sql.Rows, g *group) error {
		return r.Scan(&g.f.status, &g.f.reason, &g.f.code, &g.f.acked, &g.f.read, &g.f.late, &g.n, &g.earlier)
	})
	var earliest int64
	for i, g := range groups {
		state, _ := g.f.state()
		counts[state] += g.n
		if i == 0 || g.earlier < earliest {
			earliest = g.earlier
		}
	}
	return earliest, err
}

// clientStates is one page of the push's entries. Index of the ack's time:
// ack_log's primary key.
func (s *Store) clientStates(ctx context.Context, realm string, id int64, from place, limit int) ([]push.ClientState, string, error) {
	now := unixMS(s.cfg.Clock())
	rows, err := s.query(ctx, `SELECT m.realm, m.client_id, m.seq, m.status, m.reason, m.code, m.seq <= c.cursor, m.seq <= c.read_cursor, m.expires <= ?,
		(SELECT a.at FROM ack_log a WHERE a.realm = m.realm AND a.client_id = m.client_id AND a.to_seq >= m.seq AND a.from_seq < m.seq ORDER BY a.to_seq LIMIT 1)`+
		ofPush+` AND m.client_id >= ? AND (m.client_id > ? OR m.seq > ?) ORDER BY m.client_id, m.seq LIMIT ?`,
		now, id, realm, now, from.client, from.client, int64(from.seq), limit+1)
	all, err := collect(rows, err, func(r *sql.Rows, v *push.ClientState) error {
		var f fate
		var at sql.NullInt64
		if err := r.Scan(&v.Client.Realm, &v.Client.ID, &v.Seq, &f.status, &f.reason, &f.code, &f.acked, &f.read, &f.late, &at); err != nil {
			return err
		}
		v.State, v.Reason = f.state()
		if at.Valid {
			v.At = fromMS(at.Int64)
		}
		return nil
	})
	if err != nil || len(all) <= limit {
		return all, "", err
	}
	last := all[limit-1]
	return all[:limit], place{seq: last.Seq, client: last.Client.ID}.encode(), nil
}

// fate is what is stored of an entry's end, and how its client's cursors stand
// to it.
type fate struct {
	status int
	reason string
	code   int
	acked  bool
	read   bool
	late   bool // its TTL has ended
}

// state derives the entry's state from the row and the cursors.
func (f fate) state() (push.State, string) {
	switch f.status {
	case statusExpired:
		return push.StateExpired, ""
	case statusCancelled:
		return push.StateCancelled, ""
	case statusCollapsed:
		return push.StateDropped, string(push.GapCollapsed)
	case statusDropped:
		return push.StateDropped, f.reason
	case statusFailed:
		return push.StateFailed, strconv.Itoa(f.code)
	case statusRedriven:
		return push.StateFailed, "redriven"
	}
	switch {
	case f.status == statusAcked && f.read, f.acked && f.read:
		return push.StateRead, ""
	case f.status == statusAcked, f.acked:
		return push.StateAcked, ""
	case f.late:
		return push.StateExpired, ""
	}
	return push.StateStored, ""
}

// overall is the push's state as a whole: the least advanced of its clients,
// where ending otherwise counts as less than being acked.
func overall(recorded bool, state int, counts map[push.State]int) push.State {
	if recorded {
		switch state {
		case pushScheduled, pushExpanding:
			return push.StateAccepted
		case pushFailed: // whatever became of what was placed before
			return push.StateFailed
		case pushCancelled:
			if counts[push.StateAcked]+counts[push.StateRead] == 0 {
				return push.StateCancelled
			}
		}
	}
	for _, st := range []push.State{
		push.StateStored, push.StateFailed, push.StateDropped, push.StateExpired,
		push.StateCancelled, push.StateAcked, push.StateRead,
	} {
		if counts[st] > 0 {
			return st
		}
	}
	return push.StateDropped // nobody could be served
}

// historyScan bounds how many entries one page looks at where a filter passes
// over most: such a page may be short, and still has a next one.
const historyScan = 10_000

// History implements [push.Pushes]. Index: offline_message's primary key, a
// range in order.
func (s *Store) History(ctx context.Context, key push.ClientKey, q push.HistoryQuery) (push.HistoryPage, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	from, err := decodePage(q.Token)
	if err != nil {
		return push.HistoryPage{}, err
	}
	var cursor, read uint64
	known, err := s.row(ctx, `SELECT client.cursor, read_cursor FROM client WHERE realm = ? AND client_id = ?`, []any{key.Realm, key.ID}, &cursor, &read)
	if err != nil {
		return push.HistoryPage{}, failed(err)
	}
	if !known {
		return push.HistoryPage{}, errNoClient(key)
	}
	before := uint64(never)
	if q.Before > 0 {
		before = min(before, q.Before)
	}
	rows, err := s.query(ctx, `SELECT seq, id, send_time, status, reason, code, mode, expires,
			CASE WHEN status IN (2, 3, 4, 5, 7) THEN NULL WHEN shared IN (1, 3) THEN (SELECT msg FROM body WHERE body.id = offline_message.id) ELSE msg END
		FROM offline_message WHERE realm = ? AND client_id = ? AND seq > ? AND seq < ?`+retained+` ORDER BY seq LIMIT ?`,
		key.Realm, key.ID, int64(min(max(q.After, from.seq), uint64(never))), int64(before), unixMS(s.cfg.Clock()), historyScan)
	if err != nil {
		return push.HistoryPage{}, failed(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	page, err := s.historyPage(rows, q, cursor, read)
	return page, failed(err)
}

// historyPage takes what the query asks for until the page is full or the
// rows have ended.
func (s *Store) historyPage(rows *sql.Rows, q push.HistoryQuery, cursor, read uint64) (push.HistoryPage, error) {
	var page push.HistoryPage
	limit, now := pageLimit(q.Limit), unixMS(s.cfg.Clock())
	seen, last := 0, uint64(0)
	for rows.Next() {
		if len(page.Entries) == limit { // there is one more
			page.Next = place{seq: last}.encode()
			return page, nil
		}
		var h push.HistoryEntry
		var f fate
		var mode int
		var sent, expires int64
		if err := rows.Scan(&h.Seq, &h.ID, &sent, &f.status, &f.reason, &f.code, &mode, &expires, &h.Body); err != nil {
			return page, err
		}
		seen, last = seen+1, h.Seq
		f.acked, f.read, f.late = h.Seq <= cursor, h.Seq <= read, expires <= now
		h.State, h.Reason = f.state()
		h.Sent = fromMS(sent)
		hidden := mode == modeOffline && (h.State == push.StateAcked || h.State == push.StateRead)
		if hidden || !wants(&q, h.State, h.Sent) {
			continue
		}
		if h.State == push.StateExpired {
			h.Body = nil
		}
		page.Entries = append(page.Entries, h)
	}
	if seen == historyScan {
		page.Next = place{seq: last}.encode()
	}
	return page, rows.Err()
}

// wants reports whether the query's filters let the entry pass.
func wants(q *push.HistoryQuery, state push.State, sent time.Time) bool {
	return (q.Status == "" || q.Status == state) &&
		(q.From.IsZero() || !sent.Before(q.From)) && (q.To.IsZero() || sent.Before(q.To))
}
