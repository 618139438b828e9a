package crt

import (
	"crypto/cipher"

	"github.com/sunzi-push/sunzi/crt/residue"
)

// Keys are a client's keys of one generation.
type Keys struct {
	who     Who
	grant   Grant
	chain   Chain // of the lowest period that may still have to be opened
	last    Chain // the one used last; of no later period than chain: none
	stepped uint64
	up      [KeySize]byte
	session [KeySize]byte
	slots   map[keyID]*slotOpener
	scratch openScratch
}

type keyID struct {
	period uint32
	sealer [8]byte
}

// slotOpener is a slot key, ready.
type slotOpener struct{ aead cipher.AEAD }

type openScratch struct {
	aad     [HeaderSize + len(Who{})]byte
	nonce   [12]byte
	residue []byte
	text    []byte
}

// maxOpeners bounds how many slot keys are kept ready: a frame's header, which
// anybody can write, names them.
const maxOpeners = 64

func newKeys(who Who, g Grant, chain [KeySize]byte) *Keys {
	return &Keys{who: who, grant: g, chain: Chain{g.Period, chain}}
}

// RestoreKeys makes keys of what a client kept: the grant, and the chain as
// [Keys.Chain] answered it.
func RestoreKeys(who Who, g Grant, chain Chain) *Keys {
	return &Keys{who: who, grant: g, chain: chain}
}

// Grant is what the handshake gave.
func (k *Keys) Grant() Grant { return k.grant }

// Chain is the chain key of the lowest period that can be opened: what a client
// keeps, in a safe place.
func (k *Keys) Chain() Chain { return k.chain }

// Up is what a [Sender] seals with: cu of section 3. Keys that were restored have
// none unless [Keys.RestoreUp] was called.
func (k *Keys) Up() Chain { return Chain{k.grant.Period, k.up} }

// Session is what a [Receiver] of the client's sessions opens with, to be kept
// with the rest.
func (k *Keys) Session() [KeySize]byte { return k.session }

// RestoreSession puts it back into keys that were kept.
func (k *Keys) RestoreSession(key [KeySize]byte) { k.session = key }

// RestoreUp gives back what Up answered.
func (k *Keys) RestoreUp(up [KeySize]byte) { k.up = up }

// Forget steps to the period, and makes what was sealed in earlier ones
// unreadable: everything in them is acked. A period that is not later changes
// nothing.
func (k *Keys) Forget(before uint32) {
	if before <= k.chain.Period {
		return
	}
	for k.chain.Period < before {
		k.chain.Step()
	}
	if k.last.Period <= before {
		k.last = Chain{}
	}
	for id := range k.slots {
		if id.period < before {
			delete(k.slots, id)
		}
	}
}

// Wipe overwrites the chain key. The keys open nothing from then on.
func (k *Keys) Wipe() {
	k.chain.Wipe()
	k.last = Chain{}
	clear(k.up[:])
	clear(k.session[:])
	clear(k.slots)
	k.grant.Modulus = nil
}

// modulus is the client's; nil in kind aead.
func (k *Keys) modulus() *residue.Modulus { return k.grant.Modulus }

// mine reports whether the frame may have a slot of these keys.
func (k *Keys) mine(f *Frame) bool {
	return k.modulus() != nil && f.Shard == k.grant.Shard && int(f.Slots) == k.grant.Slots &&
		int(f.SlotBytes) == k.modulus().Width()/8
}

// openSlot takes the client's slot out of x (section 5.1). The slot's data is
// valid until the next call.
func (k *Keys) openSlot(f *Frame) (Slot, error) {
	if !k.mine(f) {
		return Slot{}, ErrOpen
	}
	o, err := k.opener(f)
	if err != nil {
		return Slot{}, err
	}
	s := &k.scratch
	if s.residue == nil {
		s.residue = make([]byte, f.SlotBytes)
		s.text = make([]byte, 0, f.SlotBytes)
	}
	k.modulus().Reduce(s.residue, f.X)
	copy(s.aad[:], f.Head)
	copy(s.aad[HeaderSize:], k.who[:])
	putNonce(&s.nonce, f.Batch, f.Lane, domainSlot)
	text, err := o.aead.Open(s.text[:0], s.nonce[:], s.residue, s.aad[:])
	if err != nil {
		return Slot{}, ErrOpen
	}
	k.keep(f, o)
	return parseSlot(text, f.Mode)
}

// at is the chain at a period. The one used last is kept, so that neither a
// replay over many periods nor frames of a lost generation, which do not open,
// make the same steps again for each: periods only grow.
func (k *Keys) at(period uint32) (Chain, error) {
	if period < k.chain.Period || period-k.chain.Period > MaxSteps {
		return Chain{}, ErrOpen
	}
	from := &k.chain
	if k.last.Period > from.Period && k.last.Period <= period {
		from = &k.last
	}
	k.stepped += uint64(period - from.Period)
	c, err := from.at(period)
	k.last = c
	return c, err
}

// opener is the slot key of a frame, made or ready.
func (k *Keys) opener(f *Frame) (*slotOpener, error) {
	if o := k.slots[keyID{f.Period, f.Sealer}]; o != nil {
		return o, nil
	}
	c, err := k.at(f.Period)
	if err != nil {
		return nil, err
	}
	defer c.Wipe()
	return &slotOpener{aead(c.slotKey(f.Sealer, k.who, k.modulus()))}, nil
}

// keep keeps a slot key ready once it has opened something.
func (k *Keys) keep(f *Frame, o *slotOpener) {
	id := keyID{f.Period, f.Sealer}
	if _, there := k.slots[id]; there {
		return
	}
	if k.slots == nil || len(k.slots) >= maxOpeners {
		k.slots = make(map[keyID]*slotOpener)
	}
	k.slots[id] = o
}
