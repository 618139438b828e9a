package residue

import "math/big"

// flatBits is how long the product of a block is at most. A block goes by
// formula (1) as it stands, Σ b_i·e_i mod P with e_i = (P/m_i)·w_i: a square of
// multiplications, but in rows so long that they outrun the tree's short ones
// up to here.
const flatBits = 8192

// flatAfter is how many batches a basis combines by the tree before it makes
// its blocks, which cost about as much as four combinations save: a shard that
// has a join between any two batches never makes them.
const flatAfter = 4

// kernel says what forms the sums of a block.
type kernel bool

const (
	words   kernel = false // math/big's rows
	vectors kernel = true  // fmaGroup
)

// flat is the blocks of a basis, by their first modulus.
type flat struct{ blocks []*block }

// block is neighbouring moduli with the multiples e_i that their residues are
// multiplied by.
type block struct {
	span  *span
	n     int       // limbs of a residue
	e     []big.Int // of each modulus
	lanes *lanes    // for the vector kernel, instead of e; nil without
	// What a sum is divided by P with: ⌊2^(P's width + shift)/P⌋ − 2^shift.
	reciprocal big.Int
	shift      uint
}

// newFlat makes the blocks of b, for the vector kernel or for math/big.
func newFlat(b *Basis, by kernel) *flat {
	f := &flat{blocks: make([]*block, len(b.moduli))}
	f.cover(b, b.root, 0, by)
	return f
}

func (f *flat) cover(b *Basis, s *span, first int, by kernel) {
	if s.count*b.Width() > flatBits {
		f.cover(b, s.left, first, by)
		f.cover(b, s.right, first+s.left.count, by)
		return
	}
	n := b.moduli[0].limbs()
	blk := &block{span: s, n: n, e: make([]big.Int, s.count), shift: uint((n + 1) * wordBits)}
	blk.multiples(s, big.NewInt(1), 0, b.weights[first*n:])
	all := uint(s.count*b.Width()) + blk.shift
	one := big.NewInt(1)
	blk.reciprocal.Quo(new(big.Int).Lsh(one, all), s.product(n))
	blk.reciprocal.Sub(&blk.reciprocal, new(big.Int).Lsh(one, blk.shift))
	if by == vectors {
		blk.lanes, blk.e = newLanes(blk), nil
	}
	f.blocks[first] = blk
}

// multiples goes down with the product of all that is not below.
func (b *block) multiples(s *span, others *big.Int, first int, weights []word) {
	if s.count == 1 {
		w := new(big.Int).SetBits(append([]word(nil), weights[first*b.n:(first+1)*b.n]...))
		b.e[first].Mul(others, w)
		return
	}
	b.multiples(s.left, new(big.Int).Mul(others, s.right.product(b.n)), first, weights)
	b.multiples(s.right, new(big.Int).Mul(others, s.left.product(b.n)), first+s.left.count, weights)
}

// combine sets out, as long as P, to Σ b_i·e_i mod P, below 2^… but not always
// below P; residues are the block's own. It answers the place of a residue that
// is too large, or −1.
func (b *block) combine(out []word, moduli []*Modulus, residues []byte, s *Scratch) int {
	if b.lanes != nil {
		return b.lanes.combine(b, out, moduli, residues, s)
	}
	size := b.n * wordBytes
	sum, one := &s.p[0], &s.p[1]
	sum.SetUint64(0)
	r := s.z[:b.n]
	for i := range b.e {
		loadBytes(r, residues[i*size:(i+1)*size])
		if !moduli[i].below(r) {
			return i
		}
		sum.Add(sum, one.Mul(&b.e[i], s.x.SetBits(r)))
	}
	b.reduce(out, sum.Bits(), s)
	return -1
}

// reduce sets out to sum modulo P: the sum less q·P, where q is the
// quotient less at most 2. With P = 2^… − D that is its lower part and q·D.
func (b *block) reduce(out, sum []word, s *Scratch) {
	q := &s.p[1]
	clear(out)
	copy(out, sum)
	if len(sum) <= len(out) {
		return
	}
	high := s.x.SetBits(sum[len(out):])
	q.Mul(high, &b.reciprocal)
	q.Rsh(q, b.shift)
	top := -lowWord(q) // the sum's upper part less q
	q.Add(q, high)
	qd := s.p[0].Mul(b.span.int(&s.y), q).Bits() // whose limbs sum may be: it is done with
	if len(qd) > len(out) {
		top += qd[len(out)]
		qd = qd[:len(out)]
	}
	top += addTo(out, qd)
	b.span.takeOff(out, top)
}

func lowWord(x *big.Int) word {
	if len(x.Bits()) == 0 {
		return 0
	}
	return x.Bits()[0]
}
