package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// Reserve implements [push.SealKeys].
func (s *Store) Reserve(ctx context.Context, key push.ClientKey, kind push.SealMode, bits, slots int) (at push.SealPlace, err error) {
	err = s.doFor(ctx, 500, named{clients: []push.ClientKey{key}}, func(t *tx) error {
		c, err := t.client(key)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoClient(key)
		}
		if err := t.giveUp(c, func(_ uint32, state int) bool { return state == keyReserved }); err != nil {
			return err
		}
		at = push.SealPlace{Kind: kind, Generation: c.sealLast + 1}
		if kind == push.SealCRT {
			if err := t.findSlot(&at, bits, slots); err != nil {
				return err
			}
		}
		c.sealLast = at.Generation
		t.change(c)
		return t.exec(`INSERT INTO seal_key (realm, client_id, generation, state, kind, shard, slot, period, began, secret) VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?)`,
			key.Realm, key.ID, int64(at.Generation), sealKinds[kind], at.Shard, at.Slot, int64(at.Period), unixMS(t.now), []byte{})
	})
	return at, err
}

// findSlot takes the lowest free slot of a shard that has one, or of a new one.
// Indexes: seal_shard_free, seal_key_shard.
func (t *tx) findSlot(at *push.SealPlace, bits, slots int) error {
	at.Bits, at.Slots = bits, slots
	found, err := t.row(`SELECT id, period FROM seal_shard WHERE bits = ? AND slots = ? AND members < ? ORDER BY members DESC LIMIT 1`+t.cfg.engine.forUpdate,
		[]any{bits, slots, slots}, &at.Shard, &at.Period)
	if err != nil {
		return err
	}
	if !found {
		at.Shard, at.Slot = rand.Int64()|1, 0 //nolint:gosec // G404: a name
		return t.exec(`INSERT INTO seal_shard (id, version, period, began, bits, slots, members) VALUES (?, ?, 0, ?, ?, ?, 1)`,
			at.Shard, rand.Int64(), unixMS(t.now), bits, slots) //nolint:gosec // G404: a name
	}
	rows, err := t.query(`SELECT slot FROM seal_key WHERE shard = ? ORDER BY slot`, at.Shard)
	taken, err := collect(rows, err, func(r *sql.Rows, slot *int) error { return r.Scan(slot) })
	if err != nil {
		return err
	}
	for at.Slot < len(taken) && taken[at.Slot] == at.Slot {
		at.Slot++
	}
	if at.Slot >= slots {
		return errors.New("store: a sealing shard counts fewer members than it has")
	}
	return t.exec(`UPDATE seal_shard SET members = members + 1 WHERE id = ?`, at.Shard)
}

// giveUp deletes those of the client's keys that match, and frees their slots.
// Index: seal_key's primary key.
func (t *tx) giveUp(c *counter, match func(generation uint32, state int) bool) error {
	type row struct {
		generation uint32
		state      int
		shard      int64
	}
	rows, err := t.query(`SELECT generation, state, shard FROM seal_key WHERE realm = ? AND client_id = ?`+t.cfg.engine.forUpdate,
		c.key.Realm, c.key.ID)
	found, err := collect(rows, err, func(r *sql.Rows, v *row) error { return r.Scan(&v.generation, &v.state, &v.shard) })
	if err != nil {
		return err
	}
	for _, v := range found {
		if !match(v.generation, v.state) {
			continue
		}
		if err := t.dropKey(c.key, v.generation, v.state, v.shard); err != nil {
			return err
		}
	}
	return nil
}

// Values of seal_key.state.
const (
	keyReserved = 0
	keyInUse    = 1
)

// dropKey deletes one generation in that state, and frees its slot. Nothing
// happens where it is gone, or in another state: others have been there first.
//
// The neighbours' keys stay as they are: who left never had them, and a period
// that every departure ended would let one client run its neighbours out of
// steps.
func (t *tx) dropKey(key push.ClientKey, generation uint32, state int, shard int64) error {
	n, err := t.execCount(`DELETE FROM seal_key WHERE realm = ? AND client_id = ? AND generation = ? AND state = ?`, key.Realm, key.ID, int64(generation), state)
	if err != nil || n == 0 || shard == 0 {
		return err
	}
	if err := t.exec(`UPDATE seal_shard SET members = members - 1 WHERE id = ?`, shard); err != nil || state == keyReserved {
		return err
	}
	sh, err := t.freshShard(shard)
	if err != nil {
		return err
	}
	return t.changeShard(sh)
}

// freshShard is the shard as the transaction has left it, for a change.
func (t *tx) freshShard(id int64) (*push.SealShard, error) {
	delete(t.w.shards, id)
	delete(t.shards, id)
	sh, _, err := t.lockShard(id)
	delete(t.w.shards, id) // it is not committed
	return sh, err
}

// Activate implements [push.SealKeys].
func (s *Store) Activate(ctx context.Context, key push.ClientKey, at push.SealPlace, secret func(period uint32) ([]byte, error)) error {
	return s.doFor(ctx, 1000, named{clients: []push.ClientKey{key}}, func(t *tx) error {
		c, err := t.client(key)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoClient(key)
		}
		// Before anything is changed: what is refused is not rolled back.
		var one int
		reserved, err := t.row(`SELECT 1 FROM seal_key WHERE realm = ? AND client_id = ? AND generation = ? AND state = 0`+t.cfg.engine.forUpdate,
			[]any{key.Realm, key.ID, int64(at.Generation)}, &one)
		if err != nil {
			return err
		}
		if !reserved {
			return push.Errorf(push.CodeInvalidField, "the handshake took too long: begin another one")
		}
		// What the group has already made is sealed for the keys of before.
		if err := t.flush(); err != nil {
			return err
		}
		if err := t.unseal(c, at.Generation); err != nil {
			return err
		}
		period := at.Period
		var sh *push.SealShard
		if at.Kind == push.SealCRT {
			if sh, err = t.freshShard(at.Shard); err != nil {
				return err
			}
			period = sh.Period
		}
		if err := t.useWrapKey(); err != nil {
			return err
		}
		wrapped, err := secret(period)
		if err != nil {
			return err
		}
		if err := t.exec(`UPDATE seal_key SET state = 1, period = ?, began = ?, secret = ? WHERE realm = ? AND client_id = ? AND generation = ? AND state = 0`,
			int64(period), unixMS(t.now), wrapped, key.Realm, key.ID, int64(at.Generation)); err != nil {
			return err
		}
		c.seal, c.generation, c.shard, c.slot = sealKinds[at.Kind], at.Generation, at.Shard, at.Slot
		t.change(c)
		if sh != nil {
			return t.changeShard(sh)
		}
		return nil
	})
}

// unseal destroys the client's keys, but those of one generation; 0: all.
func (t *tx) unseal(c *counter, but uint32) error {
	c.seal, c.generation, c.shard, c.slot = sealNone, 0, 0, 0
	t.change(c)
	return t.giveUp(c, func(generation uint32, _ int) bool { return generation != but })
}

// Hold implements [push.SealKeys]. Nothing is written where the client holds
// what there is.
//
// A client keeps keys before it confirms them. So one that holds some, and none
// so new as those in use, has most likely said so before it made these: its
// word was held up, on a node that stood still or had no database, while it went
// elsewhere. Then nothing newer than what it holds is touched. If it has lost
// its newest keys after all it makes a handshake, which destroys them.
func (s *Store) Hold(ctx context.Context, key push.ClientKey, want push.SealMode, held []uint32, cursor uint64) (changed bool, err error) {
	needed, err := s.unheld(ctx, key, want, held, cursor)
	if err != nil || !needed {
		return false, err
	}
	return true, s.doFor(ctx, 1000, named{clients: []push.ClientKey{key}}, func(t *tx) error {
		c, err := t.client(key)
		if err != nil || c == nil {
			return err
		}
		if err := t.flush(); err != nil {
			return err
		}
		if isStale(c.seal, c.generation, want, held) {
			err = t.unseal(c, 0)
		} else {
			// The welcome that follows says which keys are the newest; the client
			// forgets later ones, which must not come into use after that.
			err = t.giveUp(c, func(_ uint32, state int) bool { return state == keyReserved })
		}
		if err != nil {
			return err
		}
		return t.dropUnheld(c, held, cursor)
	})
}

// Member implements [push.SealKeys]. Index: primary keys.
func (s *Store) Member(ctx context.Context, key push.ClientKey) (*push.SealMember, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	m := &push.SealMember{Client: key}
	found, err := s.row(ctx, `SELECT seal_key.generation, seal_key.shard, seal_key.slot, seal_key.period, seal_key.secret FROM client JOIN seal_key
		ON seal_key.realm = client.realm AND seal_key.client_id = client.client_id AND seal_key.generation = client.seal_generation
		WHERE client.realm = ? AND client.client_id = ? AND seal_key.state = 1`, []any{key.Realm, key.ID}, &m.Generation, &m.Shard, &m.Slot, &m.Period, &m.Secret)
	if err != nil || !found {
		return nil, failed(err)
	}
	return m, nil
}

// isStale reports whether keys in use are of another kind than the client
// wants, or such as it had and does not hold any more.
func isStale(kind int, generation uint32, want push.SealMode, held []uint32) bool {
	return kind != sealNone && (sealMode(kind) != want || !slices.Contains(held, generation) && generation <= newestKnown(held))
}

// newestKnown is the newest generation that a client which holds these can have
// known of.
func newestKnown(held []uint32) uint32 {
	if len(held) == 0 {
		return math.MaxUint32 // it holds none: all there is was lost to it
	}
	return slices.Max(held)
}

// unheld reports whether there is something to do for Hold: keys in use that
// are stale, keys that were never confirmed, or something that waits under keys
// that the client does not hold. Indexes: primary keys.
func (s *Store) unheld(ctx context.Context, key push.ClientKey, want push.SealMode, held []uint32, cursor uint64) (bool, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var kind, reserved int
	var generation, last uint32
	var kept int64
	known, err := s.row(ctx, `SELECT seal, seal_generation, seal_last, client.cursor,
			(SELECT COUNT(*) FROM seal_key k WHERE k.realm = client.realm AND k.client_id = client.client_id AND k.state = 0)
		FROM client WHERE realm = ? AND client_id = ?`,
		[]any{key.Realm, key.ID}, &kind, &generation, &last, &kept, &reserved)
	if err != nil || !known || last == 0 {
		return false, failed(err)
	}
	if reserved > 0 || isStale(kind, generation, want, held) {
		return true, nil
	}
	query, args := unheldQuery(`SELECT 1 FROM offline_message `, held, sealMode(kind) == push.SealCRT && !isStale(kind, generation, want, held))
	var one int
	lost, err := s.row(ctx, query+` LIMIT 1`, append([]any{key.Realm, key.ID, max(kept, int64(cursor))}, args...), &one)
	return lost, failed(err)
}

// unheldQuery selects waiting entries that are sealed under none of the
// generations, and no newer one than the client can have known of; and such as
// are under a channel's secret where the client can't be brought that. Eight
// generations at most are named, so that statements are few.
func unheldQuery(head string, held []uint32, channels bool) (string, []any) {
	const most = 8
	args := []any{int64(newestKnown(held))}
	for i := range most {
		name := int64(0)
		if i < len(held) {
			name = int64(held[len(held)-1-i])
		}
		args = append(args, name)
	}
	if channels {
		args = append(args, int64(generationChannel))
	} else {
		args = append(args, int64(0))
	}
	return head + `WHERE realm = ? AND client_id = ? AND seq > ? AND status = 0 AND generation <> 0 AND generation <= ? AND generation NOT IN ` + inList(most+1), args
}

// dropUnheld drops what waits under keys that the client does not hold, after its
// cursor, kept or said. Index: offline_message's primary key, that range.
func (t *tx) dropUnheld(c *counter, held []uint32, cursor uint64) error {
	query, args := unheldQuery(`UPDATE offline_message SET status = 5, reason = ?, due = ? `, held, c.seal == sealCRT)
	args = append([]any{string(push.GapKeyLost), unixMS(t.now.Add(t.cfg.keepEnded())), c.key.Realm, c.key.ID, int64(max(c.cursor, cursor))}, args...)
	n, err := t.execCount(query, args...)
	if n > 0 {
		c.touch()
		t.cfg.Log.Warn("messages were sealed under keys that their client does not hold any more: dropped as key_lost", "client", c.key, "messages", n)
	}
	return err
}

// reservedFor is how long keys may wait for their client's confirmation.
const reservedFor = 10 * time.Minute

// sweepReserved gives up keys that were not confirmed. Index: seal_key_state.
func (t *tx) sweepReserved(now time.Time, limit int) (int, error) {
	type row struct {
		key        push.ClientKey
		generation uint32
		shard      int64
	}
	rows, err := t.query(`SELECT realm, client_id, generation, shard FROM seal_key WHERE state = 0 AND began <= ? ORDER BY began LIMIT ?`,
		unixMS(now.Add(-reservedFor)), limit)
	found, err := collect(rows, err, func(r *sql.Rows, v *row) error { return r.Scan(&v.key.Realm, &v.key.ID, &v.generation, &v.shard) })
	if err != nil {
		return 0, err
	}
	slices.SortFunc(found, func(a, b row) int { // the order of locks
		return cmp.Or(cmp.Compare(a.key.Realm, b.key.Realm), cmp.Compare(a.key.ID, b.key.ID))
	})
	for _, v := range found {
		if _, err := t.client(v.key); err != nil {
			return 0, err
		}
		if err := t.dropKey(v.key, v.generation, keyReserved, v.shard); err != nil {
			return 0, err
		}
	}
	return len(found), nil
}
