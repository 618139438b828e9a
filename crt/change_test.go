package crt

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sunzi-push/sunzi/crt/residue"
)

// TestChangedIsRebuilt: whatever became of its slots, a shard seals what one of
// the same members made at once seals, bit by bit but for the slots of nobody.
func TestChangedIsRebuilt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sealer, period := NewSealer(), uint32(7)
		members := make([]*Member, 8)
		modulus := 0
		fresh := func() *residue.Modulus { modulus++; return primes()[modulus%len(primes())] }
		join := func(i int) *Member {
			return &Member{Who: Who{byte(i)}, Modulus: fresh(), Chain: Chain{Period: period, Key: [KeySize]byte(bytes.Repeat([]byte{byte(modulus)}, KeySize))}}
		}
		sh, err := sealer.NewShard(1, period, members, fresh)
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 4).Draw(t, "steps") {
			var changes []Change
			if next := period + uint32(rapid.IntRange(0, 2).Draw(t, "periods")); next != period {
				for i, m := range members {
					if m == nil {
						continue
					}
					later := *m
					for later.Chain.Period < next {
						later.Chain.Step()
					}
					members[i] = &later
					changes = append(changes, Change{i, &later})
				}
				period = next
			}
			for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, 7), 0, 6, rapid.ID).Draw(t, "slots") {
				members[i] = nil
				if rapid.Bool().Draw(t, "joins") {
					members[i] = join(i)
				}
				changes = append(slices.DeleteFunc(changes, func(c Change) bool { return c.Slot == i }), Change{i, members[i]})
			}
			if sh, err = sh.Change(period, changes, fresh); err != nil {
				t.Fatal(err)
			}
		}
		moduli := make([]*residue.Modulus, len(members))
		for i := range moduli {
			moduli[i] = sh.basis.Modulus(i)
			if sh.Taken(i) != (members[i] != nil) {
				t.Fatalf("slot %d is taken: %v", i, sh.Taken(i))
			}
		}
		next := 0
		rebuilt, err := sealer.NewShard(1, period, members, func() *residue.Modulus {
			for members[next] != nil {
				next++
			}
			next++
			return moduli[next-1]
		})
		if err != nil {
			t.Fatal(err)
		}
		slots := make([]Slot, len(members))
		for i, m := range members {
			if m != nil {
				slots[i] = inline(uint64(i+1), "a text")
			}
		}
		batch := sealer.next.Load()
		var frames [2][]byte
		for i, s := range []*Shard{sh, rebuilt} {
			sealer.next.Store(batch)
			if frames[i], err = s.Seal(nil, Direct, 0, slots, nil, new(Scratch)); err != nil {
				t.Fatal(err)
			}
		}
		for i, m := range moduli {
			var r [2][64]byte
			for j, f := range frames {
				m.Reduce(r[j][:], f[HeaderSize:])
			}
			if members[i] != nil && r[0] != r[1] {
				t.Fatalf("slot %d: %x, rebuilt %x", i, r[0], r[1])
			}
		}
	})
}

func TestAShardChangesToNoPeriodWithoutItsMembers(t *testing.T) {
	c := newCrew(t, 3)
	if _, err := c.shard.Change(8, nil, c.spare); err == nil {
		t.Error("members were left at another key period than their shard")
	}
	if _, err := c.shard.Change(8, []Change{{Slot: 0}, {Slot: 1}, {Slot: 2}}, c.spare); err != nil {
		t.Error(err)
	}
	if _, err := c.shard.Change(7, []Change{{4, c.member(4, 8)}}, c.spare); err == nil {
		t.Error("a member came with the key of another period")
	}
	taken := &Member{Modulus: primes()[1], Chain: Chain{Period: 7}}
	if _, err := c.shard.Change(7, []Change{{5, taken}}, c.spare); err == nil {
		t.Error("a modulus stands in two slots")
	}
	if _, err := c.shard.Change(7, []Change{{5, taken}, {Slot: 1}}, c.spare); err != nil {
		t.Error("a modulus that moves to another slot:", err)
	}
}
