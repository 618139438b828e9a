package store

import (
	"database/sql"
	"maps"
	"slices"
)

// Where servers share a database each statement costs a round trip: what the
// operations of a commit group have named is read together, before they run.

// aheadRows is how many rows one statement reads ahead; the last one is filled
// up with its last key.
const aheadRows = 32

// readAhead locks the counter rows that the operations have named, in the order
// in which every writer takes them, and reads their idempotency keys.
func (t *tx) readAhead(group []*op) error {
	if !t.cfg.engine.shared {
		return nil
	}
	clients := make(map[string][]string)
	var claims [][32]byte
	for _, o := range group {
		for _, key := range o.clients {
			clients[key.Realm] = append(clients[key.Realm], key.ID)
		}
		claims = append(claims, o.claims...)
	}
	for _, realm := range slices.Sorted(maps.Keys(clients)) {
		ids := clients[realm]
		slices.Sort(ids)
		if _, err := t.load(realm, slices.Compact(ids)); err != nil {
			return err
		}
	}
	return t.readClaims(claims)
}

// kept is an idempotency key that was claimed earlier.
type kept struct {
	claim
	at int64
}

const claimQuery = `SELECT idem_key, body_hash, id, at FROM idempotency WHERE idem_key IN `

func scanKept(r *sql.Rows, k *kept) error {
	var key, body []byte
	err := r.Scan(&key, &body, &k.id, &k.at)
	copy(k.idem.Key[:], key)
	copy(k.idem.Body[:], body)
	return err
}

// readClaims reads many keys. One that another server claims after that is met
// when this transaction's claim is written, and the group is made again. Index:
// idempotency's primary key.
func (t *tx) readClaims(keys [][32]byte) error {
	t.kept = make(map[[32]byte]*kept, len(keys))
	for chunk := range slices.Chunk(keys, aheadRows) {
		args := make([]any, aheadRows)
		for i := range args {
			key := chunk[min(i, len(chunk)-1)]
			args[i] = key[:]
			t.kept[key] = nil
		}
		if len(chunk) == 1 {
			args = args[:1]
		}
		rows, err := t.query(t.w.insertSQL(insertShape{claimQuery, "", 1}, len(args)), args...)
		found, err := collect(rows, err, scanKept)
		if err != nil {
			return err
		}
		for i := range found {
			t.kept[found[i].idem.Key] = &found[i]
		}
	}
	return nil
}

// keptClaim is nil where the key was not claimed in an earlier group. Index:
// idempotency's primary key.
func (t *tx) keptClaim(key [32]byte) (*kept, error) {
	if k, read := t.kept[key]; read {
		return k, nil
	}
	rows, err := t.query(t.w.insertSQL(insertShape{claimQuery, "", 1}, 1), key[:])
	found, err := collect(rows, err, scanKept)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}
