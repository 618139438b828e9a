package crt

import (
	"errors"
	"fmt"

	"github.com/sunzi-push/sunzi/crt/residue"
)

// Change is what becomes of a slot.
type Change struct {
	Slot   int
	Member *Member // nil: nobody
}

// Change answers the shard with other members in some slots, at the same or at
// another key period. At another one each member that stays has to be among the
// changes, with its chain at that period: a slot key is of one period. Slots that
// are not named stay as they are, and so does a slot's modulus where the member
// is of the same; spare makes those of slots that become nobody's.
//
// A modulus that is another costs as much as 80 slots that are sealed, a key
// alone as 10. Of a member the shard keeps the modulus: wipe the chain when it is
// made. A slot that is not there panics: it is the caller's index.
func (sh *Shard) Change(period uint32, changes []Change, spare func() *residue.Modulus) (*Shard, error) {
	if period != sh.period && !sh.names(changes) {
		return nil, errors.New("crt: a member has no key at the shard's new key period")
	}
	next := &Shard{sealer: sh.sealer, id: sh.id, period: period, basis: sh.basis, places: append([]*place(nil), sh.places...)}
	var buf [4]other
	others := buf[:0]
	for _, c := range changes {
		if c.Member == nil && !sh.places[c.Slot].taken { // nobody's, and stays so
			continue
		}
		p, m, err := next.place(c.Member, spare)
		if err != nil {
			return nil, err
		}
		if next.places[c.Slot] = p; !m.Equal(sh.basis.Modulus(c.Slot)) {
			others = append(others, other{c.Slot, m})
		}
	}
	var err error
	next.basis, err = exchange(sh.basis, others)
	return next, err
}

// names reports whether all who have a slot are among the changes.
func (sh *Shard) names(changes []Change) bool {
	named := make([]bool, len(sh.places))
	for _, c := range changes {
		named[c.Slot] = true
	}
	for i, p := range sh.places {
		if p.taken && !named[i] {
			return false
		}
	}
	return true
}

// other is a modulus that a slot had not before.
type other struct {
	slot    int
	modulus *residue.Modulus
}

// exchange puts others into a basis, one after another, or makes it anew: where
// they are so many that this is faster, and where one may be that of a place
// whose turn comes later.
func exchange(b *residue.Basis, others []other) (*residue.Basis, error) {
	if 2*len(others) > b.Len() {
		return rebuild(b, others)
	}
	next := b
	for _, o := range others {
		var err error
		if next, err = next.Replace(o.slot, o.modulus); err != nil {
			return rebuild(b, others)
		}
	}
	return next, nil
}

func rebuild(b *residue.Basis, others []other) (*residue.Basis, error) {
	moduli := make([]*residue.Modulus, b.Len())
	for i := range moduli {
		moduli[i] = b.Modulus(i)
	}
	for _, o := range others {
		moduli[o.slot] = o.modulus
	}
	return residue.NewBasis(moduli)
}

// Join puts a member into a slot that is nobody's.
func (sh *Shard) Join(slot int, m *Member) (*Shard, error) {
	if sh.places[slot].taken {
		return nil, fmt.Errorf("crt: slot %d is taken", slot)
	}
	return sh.Change(sh.period, []Change{{slot, m}}, nil)
}

// Leave gives a slot back to nobody.
func (sh *Shard) Leave(slot int, spare func() *residue.Modulus) (*Shard, error) {
	return sh.Change(sh.period, []Change{{Slot: slot}}, spare)
}
