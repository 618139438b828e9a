package store

// What is sealed, in the transaction that takes its sequences: entries that a
// commit group makes for sealing clients are gathered until it writes its
// entries, and sealed together, a shard at a time. No plaintext of theirs is
// written. The sealing itself is behind [push.Sealer].
//
// A shard's row is locked, so that nobody joins, leaves or steps meanwhile:
// locks are taken in the order clients, shards.

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// Values of client.seal and seal_key.kind.
const (
	sealNone = 0
	sealCRT  = 1
	sealAEAD = 2
)

var sealKinds = map[push.SealMode]int{push.SealCRT: sealCRT, push.SealAEAD: sealAEAD}

func sealMode(kind int) push.SealMode {
	switch kind {
	case sealCRT:
		return push.SealCRT
	case sealAEAD:
		return push.SealAEAD
	}
	return ""
}

// errNoSealer is no answer: the group is rolled back, and nothing of it happened.
// So are all errors of sealing, which comes after others were written.
var errNoSealer = errors.New("store: a client is pushed to sealed, and this server has no sealing keys: start it with those of the others (seal.key_file)")

// reasonNoKey is why a promised push was dropped for a client that has no keys
// of the kind it requires.
const reasonNoKey = "no_key"

// keyPeriod is how long a key period lasts where something is sealed
// (crt/SPEC.md, section 4).
const keyPeriod = 15 * time.Minute

// sealKind is how the client's entry is to be sealed, where the push says so;
// false where the client lacks the keys that it requires.
func (c *counter) sealKind(mode push.SealMode) (kind int, ok bool) {
	switch mode {
	case push.SealNone:
		return sealNone, true
	case push.SealRequired:
		return c.seal, c.seal != sealNone
	case push.SealCRT, push.SealAEAD:
		return c.seal, c.seal == sealKinds[mode]
	default: // auto
		return c.seal, true
	}
}

// sealEntries seals what the group's entries hold for sealing clients.
func (t *tx) sealEntries() error {
	shards := make(map[int64][]int)
	broadcasts := make(map[broadcast][]int)
	var alone []int
	for i := range t.entries {
		switch r := &t.entries[i]; {
		case r.sealFor == nil:
		case r.channel != nil:
			b := broadcast{*r.channel, r.id}
			broadcasts[b] = append(broadcasts[b], i)
		case r.sealFor.seal == sealCRT:
			shards[r.sealFor.shard] = append(shards[r.sealFor.shard], i)
		default:
			alone = append(alone, i)
		}
	}
	if len(shards) == 0 && len(alone) == 0 && len(broadcasts) == 0 {
		return nil
	}
	if t.sealing == nil {
		t.sealing = t.cfg.Sealer.Group()
	}
	for _, id := range slices.Sorted(maps.Keys(shards)) {
		if err := t.sealShard(id, shards[id]); err != nil {
			return err
		}
	}
	if err := t.sealBroadcasts(broadcasts); err != nil {
		return err
	}
	for _, i := range alone {
		if err := t.sealAlone(&t.entries[i]); err != nil {
			return err
		}
	}
	return t.flushFrames()
}

func (t *tx) sealShard(id int64, entries []int) error {
	sh, err := t.shard(id)
	if err != nil {
		return err
	}
	items := make([]push.SealItem, len(entries))
	for i, n := range entries {
		r := &t.entries[n]
		items[i] = push.SealItem{Client: r.key, Slot: r.sealFor.slot, Seq: r.seq, Message: r.message}
	}
	frames, err := t.sealing.Shard(sh, items)
	if err != nil {
		return err
	}
	for i := range frames {
		f := &frames[i]
		for _, n := range f.Items {
			t.framed(&t.entries[entries[n]], f)
		}
		t.keepFrame(f)
		if t.cfg.Covers.Covers(f.Sealed) {
			t.cover(sh, f, items)
		}
	}
	return nil
}

// covered is a frame with the members that it has nothing for.
type covered struct {
	message *push.Message
	to      []push.ClientKey
}

func (t *tx) cover(sh *push.SealShard, f *push.SealedFrame, items []push.SealItem) {
	in := make(map[int]bool, len(f.Items))
	for _, n := range f.Items {
		in[items[n].Slot] = true
	}
	var others []push.ClientKey
	for i := range sh.Members {
		if m := &sh.Members[i]; !in[m.Slot] {
			others = append(others, m.Client)
		}
	}
	if len(others) > 0 {
		t.covers = append(t.covers, covered{&push.Message{Sent: t.now, Sealed: f.Sealed}, others})
	}
}

// framed says that the entry's message is in the frame, and lets the client's
// sessions hear so.
func (t *tx) framed(r *entryRow, f *push.SealedFrame) {
	r.frame, r.generation = f.ID[:], int64(r.sealFor.generation)
	t.hearSealed(r, f.Sealed)
}

func (t *tx) hearSealed(r *entryRow, s *push.Sealed) {
	m := &push.Message{ID: r.message.ID, Sent: r.message.Sent, Sealed: s}
	t.hear(m, []push.Placement{{Client: r.key, Seq: r.seq}})
}

// frameRow is one row of seal_frame, and of seal_body where it has a body.
type frameRow struct {
	id     []byte
	sealed *push.Sealed
}

func (t *tx) keepFrame(f *push.SealedFrame) {
	t.frames = append(t.frames, frameRow{f.ID[:], f.Sealed})
}

func (t *tx) flushFrames() error {
	at := unixMS(t.now)
	args := make([]any, 0, 3*len(t.frames))
	var bodies []any
	for _, f := range t.frames {
		args = append(args, f.id, f.sealed.Head, at)
		if f.sealed.Body == nil {
			continue
		}
		hash := f.sealed.BodyHash()
		if _, there := t.sealedBodies[hash]; there {
			continue
		}
		if t.sealedBodies == nil {
			t.sealedBodies = make(map[[32]byte]struct{})
		}
		t.sealedBodies[hash] = struct{}{}
		bodies = append(bodies, hash[:], f.sealed.Body, at)
	}
	t.frames = t.frames[:0]
	if err := t.insert(`INSERT INTO seal_body (hash, body, sent) VALUES `, 3, bodies); err != nil {
		return err
	}
	return t.insert(`INSERT INTO seal_frame (id, head, sent) VALUES `, 3, args)
}

// shard is a shard's row, locked, with its members, at the key period of now.
// Indexes: seal_shard's primary key, seal_key_shard.
func (t *tx) shard(id int64) (*push.SealShard, error) {
	if sh := t.shards[id]; sh != nil {
		return sh, nil
	}
	sh, began, err := t.lockShard(id)
	if err != nil {
		return nil, err
	}
	if unixMS(t.now)-began >= keyPeriod.Milliseconds() {
		if err := t.stepShard(sh); err != nil {
			return nil, err
		}
	}
	if t.shards == nil {
		t.shards = make(map[int64]*push.SealShard)
	}
	t.shards[id] = sh
	return sh, nil
}

func (t *tx) lockShard(id int64) (*push.SealShard, int64, error) {
	sh := &push.SealShard{ID: id}
	var began int64
	found, err := t.row(`SELECT version, period, began, bits, slots FROM seal_shard WHERE id = ?`+t.cfg.engine.forUpdate,
		[]any{id}, &sh.Version, &sh.Period, &began, &sh.Bits, &sh.Slots)
	if err == nil && !found {
		err = fmt.Errorf("store: sealing shard %d is gone", id)
	}
	if err != nil {
		return nil, 0, err
	}
	if known := t.w.shards[id]; known != nil && known.Version == sh.Version {
		return known, began, nil
	}
	rows, err := t.query(`SELECT realm, client_id, generation, shard, slot, period, secret FROM seal_key WHERE shard = ? AND state = 1 ORDER BY slot`, id)
	sh.Members, err = collect(rows, err, scanMember)
	if err == nil {
		t.w.keepShard(sh)
	}
	return sh, began, err
}

func scanMember(r *sql.Rows, m *push.SealMember) error {
	return r.Scan(&m.Client.Realm, &m.Client.ID, &m.Generation, &m.Shard, &m.Slot, &m.Period, &m.Secret)
}

// shardsKept bounds the writer's cache: about 4 KiB each.
const shardsKept = 1 << 12

// keepShard keeps a shard as it is committed: versions are random, so that one
// of a transaction that was rolled back is never taken for another.
func (w *writer) keepShard(sh *push.SealShard) {
	if w.shards == nil {
		w.shards = make(map[int64]*push.SealShard)
	}
	for id := range w.shards {
		if len(w.shards) < shardsKept {
			break
		}
		delete(w.shards, id)
	}
	w.shards[sh.ID] = sh
}

// stepShard goes to the next key period with all members: sh becomes another
// shard. Index: seal_key's primary key.
func (t *tx) stepShard(sh *push.SealShard) error {
	if err := t.useWrapKey(); err != nil {
		return err
	}
	next := *sh
	next.Period++
	next.Members = make([]push.SealMember, len(sh.Members))
	for i, m := range sh.Members {
		secret, err := t.cfg.Sealer.Step(&m)
		if err != nil {
			return err
		}
		m.Secret, m.Period = secret, next.Period
		next.Members[i] = m
		if err := t.exec(`UPDATE seal_key SET secret = ?, period = ? WHERE realm = ? AND client_id = ? AND generation = ?`,
			secret, int64(m.Period), m.Client.Realm, m.Client.ID, int64(m.Generation)); err != nil {
			return err
		}
	}
	*sh = next
	if err := t.exec(`UPDATE seal_shard SET period = ?, began = ? WHERE id = ?`, int64(sh.Period), unixMS(t.now), sh.ID); err != nil {
		return err
	}
	return t.changeShard(sh)
}

// changeShard gives the shard another version. Members are read again.
func (t *tx) changeShard(sh *push.SealShard) error {
	sh.Version = rand.Int64() //nolint:gosec // G404: a name
	delete(t.shards, sh.ID)
	return t.exec(`UPDATE seal_shard SET version = ? WHERE id = ?`, sh.Version, sh.ID)
}

// sealAlone seals for a client of kind aead. Index: seal_key's primary key.
func (t *tx) sealAlone(r *entryRow) error {
	m := push.SealMember{Client: r.key, Generation: r.sealFor.generation}
	var began int64
	found, err := t.row(`SELECT period, began, secret FROM seal_key WHERE realm = ? AND client_id = ? AND generation = ? AND state = 1`+t.cfg.engine.forUpdate,
		[]any{r.key.Realm, r.key.ID, int64(m.Generation)}, &m.Period, &began, &m.Secret)
	if err == nil && !found {
		err = fmt.Errorf("store: the sealing keys of client %q are gone", r.key)
	}
	if err != nil {
		return err
	}
	if unixMS(t.now)-began >= keyPeriod.Milliseconds() {
		if err := t.useWrapKey(); err != nil {
			return err
		}
		if m.Secret, err = t.cfg.Sealer.Step(&m); err != nil {
			return err
		}
		m.Period++
		if err := t.exec(`UPDATE seal_key SET secret = ?, period = ?, began = ? WHERE realm = ? AND client_id = ? AND generation = ?`,
			m.Secret, int64(m.Period), unixMS(t.now), r.key.Realm, r.key.ID, int64(m.Generation)); err != nil {
			return err
		}
	}
	f, err := t.sealing.Client(&m, push.SealItem{Client: r.key, Seq: r.seq, Message: r.message})
	if err != nil {
		return err
	}
	t.framed(r, &f)
	t.keepFrame(&f)
	return nil
}
