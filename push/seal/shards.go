package seal

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/crt/residue"
	"github.com/sunzi-push/sunzi/push"
)

// shardsKept bounds the cache: some 30 KiB each.
const shardsKept = 1024

// ready is a shard that was made to seal with. Immutable.
type ready struct {
	version int64
	bits    int
	members []*push.SealMember // what the slots were made of; nil: nobody
	shard   *crt.Shard
}

// shard makes a shard to seal with, or finds it made. What is stored is the
// truth, whichever node changed it: a shard that was made of another version is
// changed where its members are others.
func (s *Service) shard(sh *push.SealShard) (*crt.Shard, error) {
	s.mu.Lock()
	old := s.shards[sh.ID]
	s.mu.Unlock()
	if old != nil && sh.Version != 0 && old.version == sh.Version {
		return old.shard, nil
	}
	made, err := s.makeShard(sh, old)
	if err != nil {
		return nil, err
	}
	if sh.Version == 0 { // read beside the writer: it may be of no version
		return made.shard, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.shards {
		if len(s.shards) < shardsKept {
			break
		}
		delete(s.shards, id)
	}
	s.shards[sh.ID] = made
	return made.shard, nil
}

// makeShard makes a shard of old, or anew where there is none that fits.
func (s *Service) makeShard(sh *push.SealShard, old *ready) (*ready, error) {
	if sh.Slots < 1 || sh.Slots > crt.MaxSlots {
		return nil, fmt.Errorf("seal: shard %d has %d slots", sh.ID, sh.Slots)
	}
	spare := func() *residue.Modulus { return s.pool().Take() }
	if sh.Bits != s.cfg.Bits { // made before seal.bits was changed
		if sh.Bits != 512 && sh.Bits != 1024 && sh.Bits != 2048 {
			return nil, fmt.Errorf("seal: shard %d has moduli of %d bits", sh.ID, sh.Bits)
		}
		spare = func() *residue.Modulus { return prime(sh.Bits) }
	}
	made := &ready{version: sh.Version, bits: sh.Bits, members: make([]*push.SealMember, sh.Slots)}
	for i := range sh.Members {
		m := &sh.Members[i]
		if m.Slot < 0 || m.Slot >= sh.Slots || made.members[m.Slot] != nil {
			return nil, errors.New("seal: a shard's members do not fit its slots")
		}
		made.members[m.Slot] = m
	}
	if old != nil && (old.bits != sh.Bits || len(old.members) != sh.Slots) {
		old = nil
	}
	changes, err := s.changes(made.members, old)
	defer func() {
		for _, c := range changes {
			if c.Member != nil {
				c.Member.Chain.Wipe()
			}
		}
	}()
	if err != nil {
		return nil, err
	}
	if old != nil {
		made.shard, err = old.shard.Change(sh.Period, changes, spare)
		return made, err
	}
	members := make([]*crt.Member, sh.Slots)
	for _, c := range changes {
		members[c.Slot] = c.Member
	}
	made.shard, err = s.sealer.NewShard(uint64(sh.ID), sh.Period, members, spare)
	return made, err
}

// changes are the slots whose members are others than in old: all, where that is
// nil. What was unwrapped is in them in any case.
func (s *Service) changes(members []*push.SealMember, old *ready) (changes []crt.Change, err error) {
	for i, m := range members {
		if old != nil && sameKeys(m, old.members[i]) {
			continue
		}
		c := crt.Change{Slot: i}
		if m != nil {
			mem, err := s.unwrap(m)
			if err != nil {
				return changes, err
			}
			if c.Member = &mem.Member; mem.Modulus == nil {
				return append(changes, c), errors.New("seal: a shard's members do not fit its slots")
			}
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// sameKeys reports whether both are the same keys, wrapped once: at another key
// period they are wrapped anew.
func sameKeys(a, b *push.SealMember) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Client == b.Client && a.Generation == b.Generation && a.Period == b.Period && bytes.Equal(a.Secret, b.Secret)
}
