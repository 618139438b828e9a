package crt

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/sunzi-push/sunzi/crt/residue"
)

// Sealer takes batch numbers for one run of one process (section 4): make one at
// start, never keep it. Safe for concurrent use.
type Sealer struct {
	id   [8]byte
	next atomic.Uint64
}

// NewSealer makes a sealer of a random name.
func NewSealer() *Sealer {
	s := new(Sealer)
	rand.Read(s.id[:])
	return s
}

// ID is the sealer's name.
func (s *Sealer) ID() [8]byte { return s.id }

// take answers a batch number that nobody else has under this sealer.
func (s *Sealer) take() uint64 { return s.next.Add(1) - 1 }

// Member is one client in a slot.
type Member struct {
	Who     Who
	Modulus *residue.Modulus
	Chain   Chain // at the shard's period
}

// place is a slot: its key, for somebody or nobody. It is immutable, and shared
// by the shards that come of one another.
type place struct {
	who   Who
	taken bool // somebody's
	aead  cipher.AEAD
}

// Shard is the snapshot of a shard that a sealer seals with. It is immutable:
// joins, leaves and steps answer another one, and share what did not change. It
// has slot keys, which open nothing of other key periods or sealers, and no chain
// key. Safe for concurrent use.
type Shard struct {
	sealer *Sealer
	id     uint64
	period uint32
	basis  *residue.Basis
	places []*place
}

// NewShard makes a snapshot for the sealer. members has a slot an element, nil
// where it is nobody's; spare makes moduli for those (see [residue.Pool]).
// Of a member the shard keeps the modulus: wipe the chain when it is made.
func (s *Sealer) NewShard(id uint64, period uint32, members []*Member, spare func() *residue.Modulus) (*Shard, error) {
	if len(members) == 0 || len(members) > MaxSlots {
		return nil, fmt.Errorf("crt: a shard of %d slots", len(members))
	}
	sh := &Shard{sealer: s, id: id, period: period, places: make([]*place, len(members))}
	moduli := make([]*residue.Modulus, len(members))
	for i, m := range members {
		var err error
		if sh.places[i], moduli[i], err = sh.place(m, spare); err != nil {
			return nil, err
		}
	}
	if !isWidth(moduli[0].Width()) || len(members)*moduli[0].Width()/8 > MaxX {
		return nil, fmt.Errorf("crt: %d moduli of %d bits are more than an x may be", len(members), moduli[0].Width())
	}
	var err error
	sh.basis, err = residue.NewBasis(moduli)
	return sh, err
}

// place makes a slot's. That of nobody is sealed under a key that nobody has,
// so that it costs, and looks, like any other.
func (sh *Shard) place(m *Member, spare func() *residue.Modulus) (*place, *residue.Modulus, error) {
	if m == nil {
		var key [KeySize]byte
		rand.Read(key[:])
		return &place{aead: aead(key)}, spare(), nil
	}
	if m.Chain.Period != sh.period {
		return nil, nil, errors.New("crt: a member's chain is at another key period than its shard")
	}
	return &place{m.Who, true, aead(m.Chain.slotKey(sh.sealer.id, m.Who, m.Modulus))}, m.Modulus, nil
}

// ID is what frames of the shard name it.
func (sh *Shard) ID() uint64 { return sh.id }

// Period is the shard's key period.
func (sh *Shard) Period() uint32 { return sh.period }

// Slots is how many slots the shard has.
func (sh *Shard) Slots() int { return len(sh.places) }

// SlotBytes is the width of a slot in bytes.
func (sh *Shard) SlotBytes() int { return sh.basis.Width() / 8 }

// Taken reports whether the slot is somebody's.
func (sh *Shard) Taken(slot int) bool { return sh.places[slot].taken }

// FrameSize is the length of a frame with a body of so many bytes.
func (sh *Shard) FrameSize(body int) int { return HeaderSize + sh.basis.Size() + body }

// Scratch is what one goroutine needs to seal without allocating. The zero
// value is ready.
type Scratch struct {
	header   Header
	aad      [HeaderSize + len(Who{})]byte
	nonce    [12]byte
	text     []byte
	residues []byte
	combine  residue.Scratch
}

// Seal seals one lane of a batch (section 5.1) and appends the frame to dst, up
// to its body: the body's bytes come next, and may be kept once for many frames.
// slots has an element for each slot of the shard; those of nobody have to be
// covers. body is nil in mode Direct.
//
// A batch number is taken with every call, so that a frame which is thrown away
// costs nothing but the number. It does not block; nothing is allocated once dst
// and the scratch have grown.
func (sh *Shard) Seal(dst []byte, mode Mode, lane uint16, slots []Slot, body *Body, sc *Scratch) ([]byte, error) {
	if err := sh.check(mode, slots, body); err != nil {
		return dst, err
	}
	sc.grow(sh)
	sc.header = Header{
		Mode: mode, Shard: sh.id, Period: sh.period, Sealer: sh.sealer.id, Lane: lane,
		Slots: uint16(len(sh.places)), SlotBytes: uint16(sh.SlotBytes()),
	}
	sc.header.body(body)
	for {
		err := sh.attempt(slots, sc)
		if err == nil {
			break
		}
		var large *residue.TooLarge
		if !errors.As(err, &large) { // once in 2^256: the next number
			return dst, err
		}
	}
	dst = append(dst, sc.aad[:HeaderSize]...)
	return append(dst, sc.residues[sh.basis.Size():]...), nil
}

func (sh *Shard) check(mode Mode, slots []Slot, body *Body) error {
	if !mode.slotted() || len(slots) != len(sh.places) {
		return fmt.Errorf("crt: %d slots of mode %v for a shard of %d", len(slots), mode, len(sh.places))
	}
	if (mode == Direct) != (body == nil) {
		return fmt.Errorf("crt: mode %v is the one without a body", Direct)
	}
	for i := range slots {
		if !slots[i].fits(mode, sh.SlotBytes()) || !sh.places[i].taken && slots[i].Type != SlotCover {
			return fmt.Errorf("crt: slot %d can't hold type %d, %d bytes, in mode %v", i, slots[i].Type, len(slots[i].Data), mode)
		}
	}
	return nil
}

// attempt seals all slots under a new batch number and combines them. x comes
// after the residues.
func (sh *Shard) attempt(slots []Slot, sc *Scratch) error {
	width := sh.SlotBytes()
	sc.header.Batch = sh.sealer.take()
	sc.header.put((*[HeaderSize]byte)(sc.aad[:HeaderSize]))
	putNonce(&sc.nonce, sc.header.Batch, sc.header.Lane, domainSlot)
	for i := range slots {
		p := sh.places[i]
		copy(sc.aad[HeaderSize:], p.who[:])
		slots[i].put(sc.text)
		p.aead.Seal(sc.residues[i*width:i*width], sc.nonce[:], sc.text, sc.aad[:])
	}
	n := len(slots) * width
	return sh.basis.Combine(sc.residues[n:], sc.residues[:n], &sc.combine)
}

// grow makes room for the shard's residues and x.
func (sc *Scratch) grow(sh *Shard) {
	if n := 2 * sh.basis.Size(); cap(sc.residues) < n {
		sc.residues = make([]byte, n)
	} else {
		sc.residues = sc.residues[:n]
	}
	if n := sh.SlotBytes() - tagSize; cap(sc.text) < n {
		sc.text = make([]byte, n)
	} else {
		sc.text = sc.text[:n]
	}
}
