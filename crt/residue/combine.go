package residue

import (
	"fmt"
	"math/big"
)

// Scratch is what [Basis.Combine] works in. The zero value is ready, grows to
// the largest basis that it was used with, and belongs to one goroutine at a
// time.
type Scratch struct {
	a, b []word     // values of spans, one level and the one below
	z    []word     // a leaf's product, or a span's P
	x, y big.Int    // views of what is multiplied
	p    [2]big.Int // products

	digits []float64 // of the vector kernel: residues,
	lanes  []int64   // their sum before its carries,
	sum    []word    // and after
}

func (s *Scratch) grow(k, n int) {
	if len(s.a) < k*n {
		s.a, s.b = make([]word, k*n), make([]word, k*n)
	}
	if need := max(k, 2) * n; len(s.z) < need {
		s.z = make([]word, need)
	}
}

func (s *Scratch) growLanes(l *lanes, k int) {
	if len(s.digits) < l.rows*k {
		s.digits = make([]float64, l.rows*k)
	}
	if len(s.lanes) < len(l.offset) {
		s.lanes = make([]int64, len(l.offset))
	}
	if len(s.sum) < l.words {
		s.sum = make([]word, l.words)
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
	return b.combineBy(b.blocks(), dst, residues, s)
}

// blocks answers the flat form once there is one. While one batch makes it,
// others go by the tree: nobody waits.
func (b *Basis) blocks() *flat {
	f := b.flat.Load()
	if f == nil && b.uses.Load() < flatAfter && b.uses.Add(1) == flatAfter {
		f = newFlat(b, kernel(haveFMA))
		b.flat.Store(f)
	}
	return f
}

// combineBy goes by the linear-combination tree: of the leaves b_i·w_i mod
// m_i, every span takes A = A_left·P_right + A_right·P_left, so that the root
// is Σ (b_i·w_i mod m_i)·M_i, less a small multiple of M. Where there are
// blocks, they stand for the lower levels.
func (b *Basis) combineBy(f *flat, dst, residues []byte, s *Scratch) error {
	n := b.moduli[0].limbs()
	s.grow(len(b.moduli), n)
	x := s.a[:len(b.moduli)*n]
	w := walk{basis: b, flat: f, residues: residues, s: s}
	if i := w.combine(b.root, x, s.b, 0); i >= 0 {
		return &TooLarge{Index: i}
	}
	b.root.canonical(x)
	storeBytes(dst, x)
	return nil
}

// walk is one batch on its way through the tree.
type walk struct {
	basis    *Basis
	flat     *flat
	residues []byte
	s        *Scratch
}

// combine sets out to the value of the moduli from first on, below 2^… but not
// always below their product. Out and tmp change places from level to level.
// It answers the place of a residue that is too large, or −1.
func (w *walk) combine(sp *span, out, tmp []word, first int) int {
	b := w.basis
	n, size := b.moduli[0].limbs(), b.Width()/8
	if w.flat != nil && w.flat.blocks[first] != nil && w.flat.blocks[first].span == sp {
		i := w.flat.blocks[first].combine(out[:sp.count*n], b.moduli[first:], w.residues[first*size:], w.s)
		if i >= 0 {
			i += first
		}
		return i
	}
	if sp.count == 1 {
		return b.leaf(out, first, w.residues, w.s)
	}
	l, all := sp.left.count*n, sp.count*n
	if i := w.combine(sp.left, tmp[:l], out[:l], first); i >= 0 {
		return i
	}
	if i := w.combine(sp.right, tmp[l:all], out[l:all], first+sp.left.count); i >= 0 {
		return i
	}
	sp.join(out[:all], tmp[:l], tmp[l:all], w.s)
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
	m.fold(out[:n], z)
	return -1
}

// join sets out to al·P_right + ar·P_left modulo P, below 2^(count·L). The
// products are made of P, not of D, though that is half a width shorter: math/big
// is sooner done where both factors are as long, a power of two times.
func (sp *span) join(out, al, ar []word, s *Scratch) {
	p := s.times(0, al, sp.right, len(ar))
	clear(out[copy(out, p):])
	sp.takeOff(out, addTo(out, s.times(1, ar, sp.left, len(al))))
}

// times is a·P of a span of so many limbs, in s.p[i].
func (s *Scratch) times(i int, a []word, sp *span, limbs int) []word {
	p := s.z[:limbs]
	clear(p)
	subFrom(p, sp.d)
	return s.p[i].Mul(s.x.SetBits(a), s.y.SetBits(p)).Bits()
}

// takeOff takes off x as many P as are in the top that didn't fit it.
func (sp *span) takeOff(x []word, top word) {
	for top != 0 {
		top += addTo(x, sp.d) - 1
	}
}

// canonical takes P off x where x is not below P.
func (sp *span) canonical(x []word) {
	for _, v := range x[len(sp.d):] {
		if v != ^word(0) {
			return // below 2^… − D
		}
	}
	carry := addTo(x, sp.d)
	if carry == 0 {
		subFrom(x, sp.d)
	}
}
