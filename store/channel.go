package store

// Broadcasts to a group: sealed once for all its members, under a secret of the
// group's epoch (crt/SPEC.md, sections 5.3 and 5.4). The secret is made at the
// first broadcast after a join or a leave, and brought to the members of each
// shard by one batch. Who was not there gets it from a read of its mailbox, in a
// batch of its own, with the first message that needs it.

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/sunzi-push/sunzi/push"
)

// channelRef is a group at an epoch.
type channelRef struct {
	realm, group string
	epoch        int64
}

func channelOf(target push.Target, epoch int64) *channelRef {
	if target.Group == "" {
		return nil
	}
	return &channelRef{target.Realm, target.Group, epoch}
}

// broadcast is one push to a channel.
type broadcast struct {
	channelRef
	id int64
}

// openChannel is a channel as the transaction has it.
type openChannel struct {
	push.SealChannel
	fresh bool // its secret was made in this transaction
}

// generationChannel stands in an entry whose frame opens under a channel's
// secret, not the client's own.
const generationChannel = -1

// sealBroadcasts seals the group's broadcasts, in the order of their pushes.
func (t *tx) sealBroadcasts(all map[broadcast][]int) error {
	order := slices.SortedFunc(maps.Keys(all), func(a, b broadcast) int { return cmp.Compare(a.id, b.id) })
	for _, b := range order {
		if err := t.sealBroadcast(b, all[b]); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) sealBroadcast(b broadcast, entries []int) error {
	k, err := t.channel(b.channelRef)
	if err != nil {
		return err
	}
	sealed, err := t.broadcastFrame(k, t.entries[entries[0]].message)
	if err != nil {
		return err
	}
	id := push.ChannelFrameID(k.ID, b.id)
	shards := make(map[int64][]int)
	for _, n := range entries {
		r := &t.entries[n]
		r.frame, r.generation = id[:], generationChannel
		if !k.fresh {
			t.hearSealed(r, sealed)
			continue
		}
		shards[r.sealFor.shard] = append(shards[r.sealFor.shard], n)
	}
	for _, shard := range slices.Sorted(maps.Keys(shards)) {
		if err := t.rekey(k, shard, shards[shard], sealed); err != nil {
			return err
		}
	}
	return nil
}

// rekey brings the secret to members of a shard, before the message.
func (t *tx) rekey(k *openChannel, shard int64, entries []int, sealed *push.Sealed) error {
	sh, err := t.shard(shard)
	if err != nil {
		return err
	}
	slots := make([]int, len(entries))
	for i, n := range entries {
		slots[i] = t.entries[n].sealFor.slot
	}
	with := *sealed
	if with.Prelude, err = t.sealing.Rekey(sh, &k.SealChannel, slots); err != nil {
		return err
	}
	for _, n := range entries {
		t.hearSealed(&t.entries[n], &with)
	}
	return nil
}

// broadcastFrame is the push's frame: of this transaction, of an earlier one that
// placed others of it, or sealed now. Indexes: primary keys.
func (t *tx) broadcastFrame(k *openChannel, m *push.Message) (*push.Sealed, error) {
	id := push.ChannelFrameID(k.ID, m.ID)
	var head []byte
	found, err := t.row(`SELECT head FROM seal_frame WHERE id = ?`, []any{id[:]}, &head)
	if err != nil {
		return nil, err
	}
	if found {
		sealed, err := push.RestoreSealed(head)
		if err != nil {
			return nil, err
		}
		hash := sealed.BodyHash()
		_, err = t.row(`SELECT body FROM seal_body WHERE hash = ?`, []any{hash[:]}, &sealed.Body)
		return sealed, err
	}
	f, err := t.sealing.Channel(&k.SealChannel, m)
	if err != nil {
		return nil, err
	}
	t.keepFrame(&f)
	return f.Sealed, t.flushFrames()
}

// channel is the group's channel at that epoch, with its secret. Index:
// seal_channel's primary key.
func (t *tx) channel(ref channelRef) (*openChannel, error) {
	if k := t.channels[ref]; k != nil {
		return k, nil
	}
	if ref.epoch < 0 || ref.epoch > math.MaxUint32 {
		return nil, fmt.Errorf("store: epoch %d of group %q is more than a frame can name", ref.epoch, ref.group)
	}
	k := &openChannel{SealChannel: push.SealChannel{Realm: ref.realm, Group: ref.group, Epoch: uint32(ref.epoch)}}
	found, err := t.row(`SELECT channel, secret FROM seal_channel WHERE realm = ? AND grp = ? AND epoch = ?`,
		[]any{ref.realm, ref.group, ref.epoch}, &k.ID, &k.Secret)
	if err != nil {
		return nil, err
	}
	if !found {
		if err := t.newChannel(k); err != nil {
			return nil, err
		}
	}
	if t.channels == nil {
		t.channels = make(map[channelRef]*openChannel)
	}
	t.channels[ref] = k
	return k, nil
}

func (t *tx) newChannel(k *openChannel) error {
	k.fresh = true
	known, err := t.row(`SELECT channel FROM seal_channel WHERE realm = ? AND grp = ? ORDER BY epoch DESC LIMIT 1`, []any{k.Realm, k.Group}, &k.ID)
	if err != nil {
		return err
	}
	if !known {
		k.ID = rand.Int64() | 1 //nolint:gosec // G404: a name
	}
	if err := t.useWrapKey(); err != nil {
		return err
	}
	t.cfg.Sealer.NewChannel(&k.SealChannel)
	return t.exec(`INSERT INTO seal_channel (realm, grp, epoch, channel, made, secret) VALUES (?, ?, ?, ?, ?, ?)`,
		k.Realm, k.Group, int64(k.Epoch), k.ID, unixMS(t.now), k.Secret)
}

// epochKey names a channel's secret inside frames.
type epochKey struct {
	channel uint64
	epoch   uint32
}

// preludes gives the first message of a page under each secret its prelude. A
// client that has no place in a shard gets none: it has left sealing, or its
// kind. Indexes: primary keys, seal_key_shard, seal_channel_id.
func (s *Store) preludes(ctx context.Context, key push.ClientKey, p *push.Page) error {
	seen := make(map[epochKey]bool)
	var at preludeKey
	for i := range p.Items {
		m := p.Items[i].Message
		if m == nil || m.Sealed == nil || !m.Sealed.Channel || s.cfg.Sealer == nil {
			continue
		}
		e := epochKey{m.Sealed.ChannelID, m.Sealed.Epoch}
		if seen[e] {
			continue
		}
		if len(seen) == 0 {
			var err error
			if at, err = s.placeOf(ctx, key); err != nil || at.shard == 0 {
				return err
			}
		}
		seen[e] = true
		at.epochKey = e
		with := *m.Sealed
		var err error
		if with.Prelude, err = s.prelude(ctx, at); err != nil {
			return err
		}
		p.Items[i].Message = &push.Message{ID: m.ID, Sent: m.Sent, Sealed: &with}
	}
	return nil
}

// preludeKey is for whom, and under which keys, a prelude was sealed.
type preludeKey struct {
	client     push.ClientKey
	generation uint32
	shard      int64
	period     int64
	epochKey
}

// placeOf says where the client is in a shard; its shard is zero where it is in
// none.
func (s *Store) placeOf(ctx context.Context, key push.ClientKey) (preludeKey, error) {
	at := preludeKey{client: key}
	_, err := s.row(ctx, `SELECT seal_generation, seal_shard, period FROM client JOIN seal_shard ON seal_shard.id = seal_shard
		WHERE realm = ? AND client_id = ? AND seal = 1`, []any{key.Realm, key.ID}, &at.generation, &at.shard, &at.period)
	return at, err
}

// preludesKept bounds the cache: 1.2 KiB each.
const preludesKept = 1 << 12

// preludeCache keeps preludes that were sealed: what was sent once may be sent
// again under the same keys, and a page is read for every message that came over
// another node.
type preludeCache struct {
	mu   sync.Mutex
	kept map[preludeKey]*push.Sealed // guarded by mu
}

func (c *preludeCache) get(at preludeKey) *push.Sealed {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept[at]
}

func (c *preludeCache) put(at preludeKey, p *push.Sealed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.kept {
		if len(c.kept) < preludesKept {
			break
		}
		delete(c.kept, k)
	}
	if c.kept == nil {
		c.kept = make(map[preludeKey]*push.Sealed)
	}
	c.kept[at] = p
}

func (s *Store) prelude(ctx context.Context, at preludeKey) (*push.Sealed, error) {
	if p := s.preludesSent.get(at); p != nil {
		return p, nil
	}
	k := push.SealChannel{ID: int64(at.channel), Epoch: at.epoch}
	found, err := s.row(ctx, `SELECT realm, grp, secret FROM seal_channel WHERE channel = ? AND epoch = ?`, []any{k.ID, int64(k.Epoch)}, &k.Realm, &k.Group, &k.Secret)
	if err != nil || !found || k.Realm != at.client.Realm {
		return nil, err
	}
	sh, slot, err := s.shardOf(ctx, at.client)
	if err != nil || sh == nil {
		return nil, err
	}
	p, err := s.cfg.Sealer.Group().Rekey(sh, &k, []int{slot})
	if err == nil && sh.ID == at.shard && int64(sh.Period) == at.period {
		s.preludesSent.put(at, p)
	}
	return p, err
}

// shardOf reads the client's shard as it is committed, all of it at one moment;
// nil where the client has no place in one.
func (s *Store) shardOf(ctx context.Context, key push.ClientKey) (*push.SealShard, int, error) {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: s.cfg.engine.shared, Isolation: s.cfg.engine.snapshot})
	if err != nil {
		return nil, 0, err
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	sh := &push.SealShard{}
	var kind, slot int
	err = tx.QueryRowContext(ctx, `SELECT seal, seal_shard, seal_slot FROM client WHERE realm = ? AND client_id = ?`, key.Realm, key.ID).Scan(&kind, &sh.ID, &slot)
	if err != nil || kind != sealCRT { // nothing to be brought it in
		return nil, 0, ignoreNoRows(err)
	}
	err = tx.QueryRowContext(ctx, `SELECT period, bits, slots FROM seal_shard WHERE id = ?`, sh.ID).Scan(&sh.Period, &sh.Bits, &sh.Slots)
	if err != nil {
		return nil, 0, ignoreNoRows(err)
	}
	rows, err := tx.QueryContext(ctx, `SELECT realm, client_id, generation, shard, slot, period, secret FROM seal_key WHERE shard = ? AND state = 1 ORDER BY slot`, sh.ID)
	sh.Members, err = collect(rows, err, scanMember)
	return sh, slot, err
}

func ignoreNoRows(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}
