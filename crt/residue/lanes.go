package residue

import "math/big"

// The flat form for processors that multiply vectors of floating-point numbers
// and add in one rounding. Numbers are cut into digits of 51 bits, between
// −2^50 and 2^50, so that the sum of a product's upper half (a multiple of
// 2^51, which the rounding of product + 3·2^102 leaves) and its lower half
// (product − upper half, exact by a second fused multiplication) is the product
// to the last bit; both are then added up as integers, whose carries wait till
// the end.
const (
	digitBits = 51
	// groupLanes is how many digits of the multiples are in registers at once,
	// as accumulators of upper and of lower halves.
	groupLanes = 24
)

// lanes is a block for the vector kernel.
type lanes struct {
	rows   int // digits of a residue
	groups int
	// Of each group, of each modulus: groupLanes digits of e_i.
	e []float64
	// What makes a sum of residues that may be negative positive: a multiple
	// of P, in digits.
	offset []int64
	words  int // limbs of the sum
}

// rowsOf is how many digits a residue has: the top one may have 52 bits.
func rowsOf(width int) int { return (width - 1 - 52 + digitBits - 1 + digitBits) / digitBits }

func newLanes(b *block) *lanes {
	width, k := b.n*wordBits, len(b.e)
	l := &lanes{rows: rowsOf(width), groups: (k*width/digitBits + 1 + groupLanes) / groupLanes}
	l.e = make([]float64, l.groups*k*groupLanes)
	for i := range b.e {
		digits := balanced(&b.e[i], l.groups*groupLanes)
		for g := range l.groups {
			copy(l.e[(g*k+i)*groupLanes:][:groupLanes], digits[g*groupLanes:])
		}
	}
	l.offset = make([]int64, l.groups*groupLanes+l.rows+1)
	t := b.span.product(b.n)
	t.Mul(t, big.NewInt(int64(k))).Lsh(t, uint(width-1))
	for i := range l.offset {
		l.offset[i] = digit(t, i)
	}
	l.words = (k+1)*b.n + 1
	return l
}

// digit is number i of x, between 0 and 2^51.
func digit(x *big.Int, i int) int64 {
	d := new(big.Int).Rsh(x, uint(i*digitBits))
	return d.And(d, big.NewInt(1<<digitBits-1)).Int64()
}

// balanced cuts x into count digits.
func balanced(x *big.Int, count int) []float64 {
	z := make([]float64, count)
	var carry int64
	for i := range z {
		d := digit(x, i) + carry
		carry = (d + 1<<(digitBits-1)) >> digitBits
		z[i] = float64(d - carry<<digitBits)
	}
	return z
}

// combine is block.combine.
func (l *lanes) combine(b *block, out []word, moduli []*Modulus, residues []byte, s *Scratch) int {
	k, size := b.span.count, b.n*wordBytes
	s.growLanes(l, k)
	r, digits := s.z[:b.n], s.digits[:l.rows*k]
	for i := range k {
		loadBytes(r, residues[i*size:(i+1)*size])
		if !moduli[i].below(r) {
			return i
		}
		centre(r, moduli[i])
		split(digits[i:], k, r)
	}
	acc := s.lanes[:len(l.offset)]
	copy(acc, l.offset)
	per := k * groupLanes
	for g := range l.groups {
		fmaGroup(&acc[g*groupLanes], &l.e[g*per], &digits[0], k, l.rows)
	}
	sum := s.sum[:l.words]
	carryLanes(sum, acc)
	b.reduce(out, sum, s)
	return -1
}

// centre makes r, below m, the one that is congruent to it between −2^(L−1) and
// 2^(L−1), in two's complement.
func centre(r []word, m *Modulus) {
	addMasked(r, m.c, -(r[len(r)-1] >> (wordBits - 1)))
}

// split writes the balanced digits of r, in two's complement, step apart.
func split(digits []float64, step int, r []word) {
	var carry int64
	top := len(r) - 1
	at := 0
	for bit := 0; ; bit += digitBits {
		w, shift := bit/64, uint(bit%64)
		if w*64+int(shift)+52 >= len(r)*64-1 {
			d := int64(r[top]) >> (shift & 63)
			if w < top {
				d = int64(uint64(r[w])>>(shift&63) | uint64(r[top])<<((64-shift)&63))
			}
			digits[at] = float64(d + carry)
			return
		}
		d := uint64(r[w]) >> (shift & 63)
		if shift > 64-digitBits {
			d |= uint64(r[w+1]) << ((64 - shift) & 63)
		}
		v := int64(d&(1<<digitBits-1)) + carry
		carry = (v + 1<<(digitBits-1)) >> digitBits
		digits[at] = float64(v - carry<<digitBits)
		at += step
	}
}

// carryLanes makes the limbs of a sum, which is positive, of its lanes.
func carryLanes(z []word, acc []int64) {
	var carry int64
	var limb uint64
	have := uint(0) // bits in limb
	for _, v := range acc {
		v += carry
		carry = v >> digitBits
		d := uint64(v) & (1<<digitBits - 1)
		limb |= d << (have & 63)
		have += digitBits
		if have >= 64 {
			if len(z) == 0 {
				return
			}
			z[0] = word(limb)
			z = z[1:]
			have -= 64
			limb = d >> ((digitBits - have) & 63)
		}
	}
	if len(z) > 0 {
		z[0] = word(limb)
		clear(z[1:])
	}
}
