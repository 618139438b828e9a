package residue

import (
	"fmt"
	"math/big"
)

// Scratch is what [Basis.Combine] works in. The zero value is ready, grows to
// the largest basis that it was used with, and belongs to one goroutine at a
// time.
type Scratch struct {
	a, b   []word     // values of spans, one level and the one below
	z, t   []word     // a leaf's product, and its folding
	x      big.Int    // a view of what is multiplied
	p      [2]big.Int // products
	lanes  []float64  // of the flat form
	digits []float64
}

func (s *Scratch) grow(k, n int) {
	if len(s.a) < k*n {
		s.a, s.b = make([]word, k*n), make([]word, k*n)
	}
	if len(s.z) < 2*n {
		s.z, s.t = make([]word, 2*n), make([]word, 2*n)
	}
}

// Combine sets dst to the x of formula (1): 0 <= x < M, and x mod m_i is
// residue i. residues are Len() numbers of L/8 bytes one after another, dst is
// x in [Basis.Size] bytes, all big-endian. A residue that is not below its
// modulus is refused with [*TooLarge], and dst left alone. Lengths that don't
// fit panic: they are the caller's constants.
//
// It neither blocks nor allocates once s has been used with a basis of that
// size, keeps none of its arguments, and its time depends on the residues, all
// of which are ciphertexts. dst may be residues.
func (b *Basis) Combine(dst, residues []byte, s *Scratch) error {
	if len(dst) != b.Size() || len(residues) != b.Size() {
		panic(fmt.Sprintf("residue: Combine of %d bytes into %d, by a basis of %d", len(residues), len(dst), b.Size()))
	}
	if b.flat != nil {
		return b.flat.combine(dst, residues, s)
	}
	return b.combineTree(dst, residues, s)
}

// combineTree goes by the linear-combination tree: of the leaves b_i·w_i mod
// m_i, every span takes A = A_left·P_right + A_right·P_left, so that the root
// is Σ (b_i·w_i mod m_i)·M_i, less a small multiple of M.
func (b *Basis) combineTree(dst, residues []byte, s *Scratch) error {
	n := b.moduli[0].limbs()
	s.grow(len(b.moduli), n)
	x := s.a[:len(b.moduli)*n]
	if i := b.combineSpan(b.root, x, s.b, 0, residues, s); i >= 0 {
		return &TooLarge{Index: i}
	}
	b.root.canonical(x)
	storeBytes(dst, x)
	return nil
}

// combineSpan sets out to the value of the moduli from first on. Out and tmp
// change places from level to level. It answers the place of a residue that is
// too large, or −1.
func (b *Basis) combineSpan(sp *span, out, tmp []word, first int, residues []byte, s *Scratch) int {
	if sp.count == 1 {
		return b.leaf(out, first, residues, s)
	}
	n := b.moduli[0].limbs()
	l, all := sp.left.count*n, sp.count*n
	if i := b.combineSpan(sp.left, tmp[:l], out[:l], first, residues, s); i >= 0 {
		return i
	}
	if i := b.combineSpan(sp.right, tmp[l:all], out[l:all], first+sp.left.count, residues, s); i >= 0 {
		return i
	}
	sp.join(out[:all], tmp[:l], tmp[l:all], s)
	return -1
}

// leaf sets out to residue i times its weight, modulo m_i: below 2^L, which is
// enough here.
func (b *Basis) leaf(out []word, i int, residues []byte, s *Scratch) int {
	m, size := b.moduli[i], b.Width()/8
	n := m.limbs()
	loadBytes(out[:n], residues[i*size:(i+1)*size])
	if !m.below(out[:n]) {
		return i
	}
	z := s.z[:2*n]
	clear(z)
	addMul(z, out[:n], b.weight(i))
	m.fold(out[:n], z, s.t[:n+n/2])
	return -1
}

// join sets out to al·P_right + ar·P_left modulo P, below 2^(count·L). With P =
// 2^… − D that is shifts, less two products by the D, which are half a width
// shorter.
func (sp *span) join(out, al, ar []word, s *Scratch) {
	clear(out[:len(ar)])
	copy(out[len(ar):], al)
	top := addTo(out[len(al):], ar, 0)
	for i, side := range [2]struct {
		a []word
		d *big.Int
	}{{al, &sp.right.dInt}, {ar, &sp.left.dInt}} {
		s.x.SetBits(side.a)
		top -= subFrom(out, s.p[i].Mul(&s.x, side.d).Bits(), 0)
	}
	for top != 0 {
		top = addTo(out, sp.d, 0) + top - 1
	}
}

// canonical takes P off x where x is not below P.
func (sp *span) canonical(x []word) {
	for _, v := range x[len(sp.d):] {
		if v != ^word(0) {
			return // below 2^… − D
		}
	}
	carry := addTo(x, sp.d, 0)
	if carry == 0 {
		subFrom(x, sp.d, 0)
	}
}
