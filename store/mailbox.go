package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// Open implements [push.Mailboxes].
func (s *Store) Open(ctx context.Context, key push.ClientKey) (push.Mailbox, error) {
	all, err := s.Mailboxes(ctx, []push.ClientKey{key})
	if err != nil {
		return push.Mailbox{}, err
	}
	if all[0] == nil {
		return push.Mailbox{}, errNoClient(key)
	}
	return *all[0], nil
}

func errNoClient(key push.ClientKey) error {
	return push.Errorf(push.CodeNoClient, "client %q is not registered", key.ID)
}

// Mailboxes implements [push.Clients].
func (s *Store) Mailboxes(ctx context.Context, keys []push.ClientKey) ([]*push.Mailbox, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	byRealm := make(map[string][]string, 1)
	for _, key := range keys {
		byRealm[key.Realm] = append(byRealm[key.Realm], key.ID)
	}
	rows := make(map[push.ClientKey]*counter, len(keys))
	for realm, ids := range byRealm {
		if err := s.loadCounters(ctx, realm, ids, rows); err != nil {
			return nil, failed(err)
		}
	}
	all := make([]*push.Mailbox, len(keys))
	for i, key := range keys {
		c := rows[key]
		if c == nil {
			continue
		}
		m, err := s.mailbox(ctx, c)
		if err != nil {
			return nil, failed(err)
		}
		all[i] = &m
	}
	return all, nil
}

// loadCounters reads counter rows as they are committed. Index: client's
// primary key.
func (s *Store) loadCounters(ctx context.Context, realm string, ids []string, into map[push.ClientKey]*counter) error {
	const step = 32
	for len(ids) > 0 {
		n := 1
		if len(ids) > 1 {
			n = step
		}
		args := make([]any, 0, n+1)
		args = append(args, realm)
		for i := range n {
			args = append(args, ids[min(i, len(ids)-1)])
		}
		ids = ids[min(n, len(ids)):]
		rows, err := s.query(ctx, `SELECT `+counterColumns+` FROM client WHERE realm = ? AND client_id IN `+inList(n), args...)
		found, err := collect(rows, err, func(r *sql.Rows, c *counter) error { return c.scan(r) })
		if err != nil {
			return err
		}
		for i := range found {
			found[i].key.Realm = realm
			into[found[i].key] = &found[i]
		}
	}
	return nil
}

// mailbox adds the exact backlog to a counter row. Index: offline_message's
// primary key, the range after the cursor.
func (s *Store) mailbox(ctx context.Context, c *counter) (push.Mailbox, error) {
	m := push.Mailbox{Incarnation: c.incarnation, Head: c.head, Cursor: c.cursor, ReadCursor: c.read, Seal: sealMode(c.seal), SealGeneration: c.generation, SealLast: c.sealLast}
	if c.head == c.cursor {
		return m, nil
	}
	var oldest sql.NullInt64
	_, err := s.row(ctx, `SELECT COUNT(*), COALESCE(SUM(size), 0), MIN(send_time), COUNT(CASE WHEN generation <> 0 THEN 1 END) FROM offline_message
		WHERE realm = ? AND client_id = ? AND seq > ? AND status = 0 AND expires > ?`,
		[]any{c.key.Realm, c.key.ID, int64(c.cursor), unixMS(s.cfg.Clock())}, &m.Count, &m.Bytes, &oldest, &m.Sealed)
	if oldest.Valid {
		m.Oldest = fromMS(oldest.Int64)
	}
	return m, err
}

// readBeyond is how many places without a message a read passes over, beside
// those with one: a mailbox of nothing but gaps is told in few pages.
const readBeyond = 4096

// Read implements [push.Mailboxes]. It reads the head first: whatever is
// committed meanwhile is above it, and belongs to the next read.
func (s *Store) Read(ctx context.Context, key push.ClientKey, after uint64, maxEntries, maxBytes int) (push.Page, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var head, cursor uint64
	// Index: client's primary key.
	known, err := s.row(ctx, `SELECT head, client.cursor FROM client WHERE realm = ? AND client_id = ?`, []any{key.Realm, key.ID}, &head, &cursor)
	if err != nil {
		return push.Page{}, failed(err)
	}
	if !known {
		return push.Page{}, errNoClient(key)
	}
	p := pageBuilder{Page: push.Page{Through: after, Head: head}, maxEntries: max(maxEntries, 1), maxBytes: maxBytes}
	if after >= head {
		return p.Page, nil
	}
	// Index: offline_message's primary key, a range in order.
	limit := p.maxEntries + readBeyond
	rows, err := s.query(ctx, `SELECT seq, id, send_time, status, mode, expires,
			CASE WHEN status > 1 THEN NULL WHEN shared IN (1, 3) THEN (SELECT msg FROM body WHERE body.id = offline_message.id) ELSE msg END,
			reason, frame, size
		FROM offline_message WHERE realm = ? AND client_id = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?`,
		key.Realm, key.ID, int64(after), int64(head), limit)
	if err != nil {
		return push.Page{}, failed(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	now := unixMS(s.cfg.Clock())
	for rows.Next() {
		var e storedEntry
		if err := rows.Scan(&e.seq, &e.id, &e.sent, &e.status, &e.mode, &e.expires, &e.body, &e.reason, &e.frame, &e.size); err != nil {
			return push.Page{}, failed(err)
		}
		limit--
		if !p.add(&e, cursor, now) {
			return s.unsealed(ctx, key, &p)
		}
	}
	if err := rows.Err(); err != nil {
		return push.Page{}, failed(err)
	}
	if limit > 0 { // nothing is left up to head
		p.gap(p.Through+1, head, push.GapExpired)
	}
	return s.unsealed(ctx, key, &p)
}

type storedEntry struct {
	seq     uint64
	id      int64
	sent    int64
	status  int
	mode    int
	expires int64
	body    []byte
	reason  string
	frame   []byte
	size    int
}

// pageBuilder makes a page of entries that come in order.
type pageBuilder struct {
	push.Page
	maxEntries, maxBytes int
	messages, bytes      int
	sealed               []sealedItem
}

// add appends the entry, and the hole before it; false when the page is full.
func (p *pageBuilder) add(e *storedEntry, cursor uint64, now int64) bool {
	p.gap(p.Through+1, e.seq-1, push.GapExpired)
	if reason := e.gone(cursor, now); reason != "" {
		p.gap(e.seq, e.seq, reason)
		return true
	}
	m := &push.Message{ID: e.id, Sent: fromMS(e.sent), Body: e.body}
	if e.frame != nil {
		p.sealed = append(p.sealed, sealedItem{len(p.Items), [16]byte(e.frame)})
		p.bytes += sealedGuess + e.size
	}
	p.Items = append(p.Items, push.Item{Seq: e.seq, Message: m})
	p.Through = e.seq
	p.messages++
	p.bytes += len(e.body)
	return p.messages < p.maxEntries && p.bytes <= p.maxBytes
}

// gap appends places that hold nothing to the gap before them, where that has
// the same reason.
func (p *pageBuilder) gap(from, to uint64, reason push.GapReason) {
	if from > to {
		return
	}
	p.Through = to
	if n := len(p.Items); n > 0 && p.Items[n-1].Message == nil && p.Items[n-1].Reason == reason {
		p.Items[n-1].To = to
		return
	}
	p.Items = append(p.Items, push.Item{Seq: from, To: to, Reason: reason})
}

// gone is why the entry can't be sent, empty where it can. An entry whose TTL
// has ended is not sent, acked or not.
func (e *storedEntry) gone(cursor uint64, now int64) push.GapReason {
	switch e.status {
	case statusWaiting, statusAcked:
		if e.mode == modeOffline && (e.status == statusAcked || e.seq <= cursor) {
			return push.GapAcked
		}
		if e.status == statusAcked || e.expires <= now || e.body == nil && len(e.frame) != 16 {
			return push.GapExpired
		}
		return ""
	case statusCancelled:
		return push.GapCancelled
	case statusCollapsed:
		return push.GapCollapsed
	case statusDropped:
		if e.reason == string(push.GapKeyLost) {
			return push.GapKeyLost
		}
		return push.GapDropped
	case statusFailed, statusRedriven:
		return push.GapAcked
	}
	return push.GapExpired
}

// Renew implements [push.Mailboxes].
func (s *Store) Renew(ctx context.Context, key push.ClientKey) (push.Mailbox, error) {
	err := s.do(ctx, 100, func(t *tx) error {
		c, err := t.client(key)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoClient(key)
		}
		c.incarnation = newIncarnation()
		t.change(c)
		return nil
	})
	if err != nil {
		return push.Mailbox{}, err
	}
	return s.Open(ctx, key)
}

func newIncarnation() string {
	var b [8]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// Register implements [push.Clients].
func (s *Store) Register(ctx context.Context, key push.ClientKey, at time.Time) error {
	return s.do(ctx, 200, func(t *tx) error {
		c, err := t.client(key)
		if err != nil {
			return err
		}
		if c != nil {
			return push.Errorf(push.CodeClientExists, "client %q is registered already", key.ID)
		}
		born, err := t.nextBorn()
		if err != nil {
			return err
		}
		c = &counter{key: key, incarnation: newIncarnation(), born: born, created: unixMS(at)}
		t.counters.rows[key] = c
		return t.exec(`INSERT INTO client (realm, client_id, incarnation, born, created) VALUES (?, ?, ?, ?, ?)`,
			key.Realm, key.ID, c.incarnation, c.born, c.created)
	})
}
