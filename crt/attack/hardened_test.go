package attack_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/crt/residue"
)

const (
	slotBits  = 512
	slotBytes = slotBits / 8
	tagBytes  = 16
	blockSize = slotBytes - tagBytes
	overhead  = 1 + 8 + 1 // type, sequence, end of the text
)

// hardened is package crt. Keys and primes are of the seed; the sealer's name is
// not, and so no frame is the same in two runs.
type hardened struct {
	shard  *crt.Shard
	chains []crt.Chain
	primes []*residue.Modulus
	basis  *residue.Basis
	number uint64 // sequence of the next batch
	crt.Scratch
}

const shardID = 7

func newHardened(seed string, clients int) *hardened {
	r := randomness(seed)
	v := &hardened{chains: make([]crt.Chain, clients)}
	members := make([]*crt.Member, clients)
	for i := range members {
		m, err := residue.Prime(slotBits, r)
		if err != nil {
			panic(err)
		}
		v.primes = append(v.primes, m)
		copy(v.chains[i].Key[:], randomTexts(r, 1, crt.KeySize)[0])
		members[i] = &crt.Member{Who: who(i), Modulus: m, Chain: v.chains[i]}
	}
	var err error
	if v.shard, err = crt.NewSealer().NewShard(shardID, 0, members, nil); err != nil {
		panic(err)
	}
	if v.basis, err = residue.NewBasis(v.primes); err != nil {
		panic(err)
	}
	return v
}

func who(i int) crt.Who { return crt.NameHash("", fmt.Sprint("client ", i)) }

func (v *hardened) nextPeriod() {
	changes := make([]crt.Change, len(v.chains))
	for i := range v.chains {
		v.chains[i].Step()
		changes[i] = crt.Change{Slot: i, Member: &crt.Member{Who: who(i), Modulus: v.primes[i], Chain: v.chains[i]}}
	}
	var err error
	if v.shard, err = v.shard.Change(v.shard.Period()+1, changes, nil); err != nil {
		panic(err)
	}
}

func (v *hardened) seal(texts [][]byte) (frame, error) {
	v.number++
	slots := make([]crt.Slot, len(texts))
	for i, text := range texts {
		if len(text) > 0 {
			slots[i] = crt.Slot{Type: crt.SlotInline, Seq: v.number, Data: text}
		}
	}
	b, err := v.shard.Seal(nil, crt.Direct, 0, slots, nil, &v.Scratch)
	if err != nil {
		return frame{}, err
	}
	return frame{header: b[:crt.HeaderSize], x: new(big.Int).SetBytes(b[crt.HeaderSize:])}, nil
}

// open opens with the keys of the present, whatever period the frame names: a
// thief of them would not stop at the number. That a frame of another period
// stays shut must come from its keys.
func (v *hardened) open(i int, f frame) (opened, bool) {
	size := v.basis.Size()
	if len(f.header) != crt.HeaderSize || f.x.Sign() < 0 || f.x.BitLen() > 8*size {
		return opened{}, false
	}
	chain := v.chains[i]
	chain.Period = binary.BigEndian.Uint32(f.header[12:])
	g := crt.Grant{Generation: 1, Period: chain.Period, Shard: shardID, Slot: i, Slots: len(v.chains), Modulus: v.primes[i]}
	var ring crt.Ring
	ring.Add(crt.RestoreKeys(who(i), g, chain))
	o, err := ring.Open(append(append([]byte(nil), f.header...), f.x.FillBytes(make([]byte, size))...))
	if err != nil {
		return opened{}, false
	}
	return opened{text: o.Message, sequence: o.Seq}, true
}

// combine is the package's own, on residues that an attack chose.
func (v *hardened) combine(residues []*big.Int) (*big.Int, error) {
	b := make([]byte, 0, v.basis.Size())
	for _, r := range residues {
		if r.Sign() < 0 || r.BitLen() > slotBits {
			return nil, errors.New("a residue is wider than its slot")
		}
		b = append(b, r.FillBytes(make([]byte, slotBytes))...)
	}
	x := make([]byte, v.basis.Size())
	var s residue.Scratch
	if err := v.basis.Combine(x, b, &s); err != nil {
		return nil, err
	}
	return new(big.Int).SetBytes(x), nil
}

func (v *hardened) moduli() []*big.Int {
	all := make([]*big.Int, len(v.primes))
	for i, m := range v.primes {
		c := new(big.Int).SetBytes(m.AppendC(nil))
		all[i] = c.Sub(new(big.Int).Lsh(big.NewInt(1), slotBits), c)
	}
	return all
}

// guess is 2^512 less the middle of what c may be.
func (v *hardened) guess() *big.Int {
	g := new(big.Int).Lsh(big.NewInt(1), slotBits)
	return g.Sub(g, new(big.Int).Lsh(big.NewInt(3), slotBits/2-2))
}

// encodings are the text alone, the block that it is sealed in, and that block
// with room for a tag.
func (v *hardened) encodings(text []byte, sequence uint64) []*big.Int {
	full := new(big.Int).SetBytes(block(text, sequence))
	return []*big.Int{new(big.Int).SetBytes(text), full, new(big.Int).Lsh(full, 8*tagBytes)}
}

// block pads a text as section 5.1 of crt/SPEC.md says: type, sequence, text,
// 0x80, zeros.
func block(text []byte, sequence uint64) []byte {
	b := make([]byte, 9, blockSize)
	if len(text) > 0 {
		b[0] = 1
		binary.BigEndian.PutUint64(b[1:], sequence)
	}
	b = append(append(b, text...), 0x80)
	return b[:blockSize]
}
