package store

import (
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// tx is one commit group being made. Rows that only add are buffered in it and
// written together by flush; whatever reads entries flushes first.
type tx struct {
	w        *writer
	cfg      *Config
	counters *counters
	now      time.Time

	entries  []entryRow
	bodies   []bodyRow
	acks     []ackRow
	claims   map[[32]byte]claim // idempotency keys claimed in this group
	kept     map[[32]byte]*kept // those that were read ahead; nil: not claimed earlier
	unsaved  []claim            // those not flushed yet
	collapse map[collapseID]struct{}
	dirty    []*counter
	heard    []heard // for the listener
	placed   int     // entries made in this group
	changed  bool    // a row was changed
	born     int64   // last registration number given out, where servers share; 0: none yet
	old      bool    // the row of retired is locked
	token    []byte  // names the transaction, where servers share

	sealing      push.SealGroup // nil: nothing was sealed yet
	covers       []covered
	shards       map[int64]*push.SealShard
	frames       []frameRow
	sealedBodies map[[32]byte]struct{}
	channels     map[channelRef]*openChannel
	wrapping     bool // the sealer wraps under the store's newest key
}

type heard struct {
	message *push.Message
	to      []push.Placement
}

// run executes the operations in order. An error that is no answer stops it.
func (t *tx) run(group []*op) error {
	if err := t.readAhead(group); err != nil {
		return err
	}
	for _, o := range group {
		o.err = o.run(t)
		var answer *push.Error
		if o.err != nil && !errors.As(o.err, &answer) {
			return o.err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	return firstError(t.flushMark(), t.putToken())
}

// tell lets the listener hear what the committed group placed, in its order.
func (t *tx) tell(l *push.CommitListener) {
	if l == nil {
		return
	}
	for _, h := range t.heard {
		(*l).Placed(h.message, h.to)
	}
	if c, ok := (*l).(push.CoverListener); ok {
		for _, h := range t.covers {
			c.Covered(h.message, h.to)
		}
	}
}

// entryRow is one new entry.
type entryRow struct {
	key      push.ClientKey
	seq      uint64
	id       int64
	msg      any // string, or nil where the body is shared
	sent     int64
	size     int
	total    int64
	priority int
	expires  int64
	due      int64
	collapse any // string or nil
	mode     int
	shared   int
	status   int
	reason   string

	sealFor    *sealing    // nil: not sealed
	channel    *channelRef // sealed for its members together
	message    *push.Message
	frame      any // []byte or nil
	generation int64
}

type bodyRow struct {
	id  int64
	msg string
}

type ackRow struct {
	key      push.ClientKey
	from, to uint64
	at       int64
}

type claim struct {
	idem push.Idempotency
	id   int64
}

type collapseID struct {
	key      push.ClientKey
	collapse string
}

// flush writes what is buffered, in the order of tables and keys that every
// writer keeps.
func (t *tx) flush() error {
	for _, write := range []func() error{t.flushCounters, t.flushEntries, t.flushBodies, t.flushClaims, t.flushAcks} {
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

// flushEntries writes entries with the bodies that stand apart: whoever ends an
// entry lets go of its body.
func (t *tx) flushEntries() error {
	if len(t.entries) == 0 {
		return nil
	}
	if err := t.sealEntries(); err != nil {
		return err
	}
	const columns = 18
	args := make([]any, 0, columns*len(t.entries))
	for i := range t.entries {
		r := &t.entries[i]
		args = append(args, r.key.Realm, r.key.ID, int64(r.seq), r.id, r.msg, r.sent, r.size, r.total,
			r.priority, r.expires, r.due, r.collapse, r.mode, r.shared, r.status, r.reason, r.frame, r.generation)
	}
	clear(t.entries)
	t.entries = t.entries[:0]
	clear(t.collapse)
	if err := t.insert(`INSERT INTO offline_message (realm, client_id, seq, id, msg, send_time, size, total,
		priority, expires, due, collapse_key, mode, shared, status, reason, frame, generation) VALUES `, columns, args); err != nil {
		return err
	}
	return t.flushBodies()
}

func (t *tx) flushBodies() error {
	args := make([]any, 0, 2*len(t.bodies))
	for _, r := range t.bodies {
		args = append(args, r.id, r.msg)
	}
	t.bodies = t.bodies[:0]
	return t.insert(`INSERT INTO body (id, msg) VALUES `, 2, args)
}

func (t *tx) flushClaims() error {
	args := make([]any, 0, 4*len(t.unsaved))
	for i := range t.unsaved {
		c := &t.unsaved[i]
		args = append(args, c.idem.Key[:], c.idem.Body[:], c.id, unixMS(t.now))
	}
	err := t.insert(`INSERT INTO idempotency (idem_key, body_hash, id, at) VALUES `, 4, args)
	t.unsaved = t.unsaved[:0]
	return err
}

func (t *tx) flushAcks() error {
	args := make([]any, 0, 5*len(t.acks))
	for _, r := range t.acks {
		args = append(args, r.key.Realm, r.key.ID, int64(r.to), int64(r.from), r.at)
	}
	t.acks = t.acks[:0]
	return t.insert(`INSERT INTO ack_log (realm, client_id, to_seq, from_seq, at) VALUES `, 5, args)
}

// insertShape is a multi-row INSERT: its head and tail, and how many rows.
type insertShape struct {
	head, tail string
	rows       int
}

// insert writes rows of the given width, several a statement: a statement a
// row costs three times as much. Sizes are few, so that all stay prepared.
func (t *tx) insert(head string, columns int, args []any) error {
	return t.insertOr(head, "", columns, args)
}

func (t *tx) insertOr(head, tail string, columns int, args []any) error {
	for len(args) > 0 {
		rows := 1
		for _, n := range [...]int{64, 16, 4} {
			if len(args) >= n*columns {
				rows = n
				break
			}
		}
		if err := t.exec(t.w.insertSQL(insertShape{head, tail, rows}, columns), args[:rows*columns]...); err != nil {
			return err
		}
		args = args[rows*columns:]
	}
	return nil
}

// insertKey names a statement whole: the driver passes over arguments that a
// statement has no place for, so that a wrong one would go unseen.
type insertKey struct {
	insertShape
	columns int
}

func (w *writer) insertSQL(s insertShape, columns int) string {
	key := insertKey{s, columns}
	if q, ok := w.inserts[key]; ok {
		return q
	}
	if w.inserts == nil {
		w.inserts = make(map[insertKey]string)
	}
	q := s.head + places(s.rows, columns) + s.tail
	w.inserts[key] = q
	return q
}

// places is "(?,?),(?,?)" for two rows of two columns.
func places(rows, columns int) string {
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	return strings.TrimSuffix(strings.Repeat(row+",", rows), ",")
}

func (t *tx) exec(query string, args ...any) error {
	_, err := t.execCount(query, args...)
	return err
}

func (t *tx) execCount(query string, args ...any) (int, error) {
	n, err := t.w.execCount(query, args...)
	t.changed = t.changed || n > 0
	return n, err
}

func (t *tx) query(query string, args ...any) (*sql.Rows, error) { return t.w.query(query, args...) }

func (t *tx) row(query string, args []any, into ...any) (bool, error) {
	return t.w.row(query, args, into...)
}

// collect scans every row of a result that is closed before it returns.
func collect[T any](rows *sql.Rows, err error, scan func(*sql.Rows, *T) error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []T
	for rows.Next() {
		var v T
		if err := scan(rows, &v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}
