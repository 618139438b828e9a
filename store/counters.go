package store

import (
	"database/sql"
	"slices"
	"sort"

	"github.com/sunzi-push/sunzi/push"
)

// counter is a row of table client as the writer knows it. On SQLite the writer
// is the only one that changes the table, so that its copy is the truth until a
// rollback; on an engine that is shared the row is locked when it is read, and
// the copy is good until the transaction ends.
type counter struct {
	key         push.ClientKey
	incarnation string
	born        int64
	head        uint64
	cursor      uint64
	read        uint64
	total       int64 // bytes of all entries ever
	acked       int64 // of those up to cursor
	offlineHead uint64
	created     int64
	dirty       bool
	sealing
	sealLast uint32 // the highest generation given out
	sealedAt uint64 // the last place that was sealed in this group

	// What the last exact count of the backlog found: entries after cursor
	// that have ended and do not count. Reset when the cursor moves.
	gone      int
	goneBytes int64
	counted   int64 // unix ms of that count; zero: not exact any more
	victims   []victim
}

// sealing are the keys that a client's pushes are sealed for.
type sealing struct {
	seal       int // one of the seal… values
	generation uint32
	shard      int64
	slot       int
}

// touch says that entries of the mailbox were marked behind the counter's back.
func (c *counter) touch() { c.counted, c.victims = 0, nil }

// countersKept bounds the cache: about 300 bytes each.
const countersKept = 1 << 16

type counters struct {
	rows map[push.ClientKey]*counter
}

func newCounters() *counters {
	c := &counters{}
	c.drop()
	return c
}

func (c *counters) drop() {
	c.rows = make(map[push.ClientKey]*counter)
}

// trim forgets some rows where there are too many. Map order serves: a row
// that is needed again is one look-up.
func (c *counters) trim() {
	for key := range c.rows {
		if len(c.rows) <= countersKept {
			return
		}
		delete(c.rows, key)
	}
}

const counterColumns = `client_id, incarnation, born, head, client.cursor, read_cursor, total_bytes, acked_bytes, offline_head, created,
	seal, seal_generation, seal_last, seal_shard, seal_slot`

func (c *counter) scan(rows interface{ Scan(...any) error }) error {
	return rows.Scan(&c.key.ID, &c.incarnation, &c.born, &c.head, &c.cursor, &c.read, &c.total, &c.acked, &c.offlineHead, &c.created,
		&c.seal, &c.generation, &c.sealLast, &c.shard, &c.slot)
}

// client is the mailbox's counter row, nil where there is no such client.
func (t *tx) client(key push.ClientKey) (*counter, error) {
	if c := t.counters.rows[key]; c != nil {
		return c, nil
	}
	found, err := t.load(key.Realm, []string{key.ID})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return t.counters.rows[key], nil
}

// clients are the counter rows of several clients of a realm, nil for those
// that do not exist. Rows are read in the order of their keys.
func (t *tx) clients(realm string, ids []string) ([]*counter, error) {
	var missing []string
	for _, id := range ids {
		if t.counters.rows[push.ClientKey{Realm: realm, ID: id}] == nil {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		sort.Strings(missing)
		if _, err := t.load(realm, slices.Compact(missing)); err != nil {
			return nil, err
		}
	}
	all := make([]*counter, len(ids))
	for i, id := range ids {
		all[i] = t.counters.rows[push.ClientKey{Realm: realm, ID: id}]
	}
	return all, nil
}

// load reads counter rows into the cache, some a statement; the last statement
// is filled up with its last ID. Index: client's primary key.
func (t *tx) load(realm string, ids []string) ([]counter, error) {
	var all []counter
	eng := t.cfg.engine
	for len(ids) > 0 {
		n := 1
		if len(ids) > 1 {
			n = 32
		}
		args := make([]any, 0, n+1)
		args = append(args, realm)
		for i := range n {
			args = append(args, ids[min(i, len(ids)-1)])
		}
		ids = ids[min(n, len(ids)):]
		rows, err := t.query(t.w.insertSQL(insertShape{`SELECT ` + counterColumns + ` FROM client` + eng.byPrimary + `WHERE realm = ? AND client_id IN `, eng.forUpdate, 1}, n), args...)
		found, err := collect(rows, err, func(r *sql.Rows, c *counter) error { return c.scan(r) })
		if err != nil {
			return nil, err
		}
		for i := range found {
			c := found[i]
			c.key.Realm = realm
			t.counters.rows[c.key] = &c
		}
		all = append(all, found...)
	}
	return all, nil
}

// change marks the row as to be written with the group.
func (t *tx) change(c *counter) {
	if !c.dirty {
		c.dirty = true
		t.dirty = append(t.dirty, c)
	}
}

// flushCounters writes changed rows in the order of their keys, the order in
// which every writer takes them. Index: client's primary key.
func (t *tx) flushCounters() error {
	sort.Slice(t.dirty, func(i, j int) bool {
		a, b := t.dirty[i].key, t.dirty[j].key
		return a.Realm < b.Realm || a.Realm == b.Realm && a.ID < b.ID
	})
	const columns = 16
	args := make([]any, 0, columns*len(t.dirty))
	for _, c := range t.dirty {
		c.dirty = false
		args = append(args, c.key.Realm, c.key.ID, c.incarnation, c.born, int64(c.head), int64(c.cursor), int64(c.read),
			c.total, c.acked, int64(c.offlineHead), c.created, c.seal, int64(c.generation), int64(c.sealLast), c.shard, c.slot)
	}
	t.dirty = t.dirty[:0]
	return t.insertOr(t.cfg.engine.saveCounters, t.cfg.engine.saveConflict, columns, args)
}
