package residue

import "fmt"

// Replace answers the basis with m in place i: a join (a member's prime for a
// dummy's) or a leave (the reverse). b stays as it is and usable; what is the
// same is shared. Errors are those of [NewBasis], and [ErrNoSuch].
//
// Every other weight is multiplied by old·m⁻¹ modulo its own modulus, so it
// takes one inversion, the products above i, and a few multiplications each:
// about 10 µs for 16 moduli of 512 bits.
func (b *Basis) Replace(i int, m *Modulus) (*Basis, error) {
	if i < 0 || i >= len(b.moduli) {
		return nil, fmt.Errorf("%w: %d of %d", ErrNoSuch, i, len(b.moduli))
	}
	if m.width != b.Width() {
		return nil, fmt.Errorf("%w: %d bits for %d", ErrWidths, m.width, b.Width())
	}
	r := &Basis{moduli: append([]*Modulus(nil), b.moduli...), weights: append([]word(nil), b.weights...)}
	r.moduli[i] = m
	if err := r.reweigh(i, b.moduli[i]); err != nil {
		return nil, err
	}
	var buf [exchangeLimbs * 128]word // 16 moduli of 512 bits need no more
	scratch := buf[:]
	if need := exchangeLimbs * len(b.moduli) * m.limbs(); need > len(scratch) {
		scratch = make([]word, need)
	}
	r.root = b.root.replaced(i, b.moduli[i], m, scratch)
	return r, nil
}

// reweigh makes the weights right for modulus i, which was old: all the
// inverses of m modulo the others come of one inversion modulo m, of the
// product of all others.
//
// Modulo m, m_j is ±d_j with d_j = |c − c_j|, which is half as long. If u·d_j ≡ 1
// mod m, then v = (u·m_j ∓ 1)/m is ∓m⁻¹ mod m_j. Division by m leaves no
// remainder, so the lower L bits are enough: there m_j is −c_j and m is −c, and
// v = (u·c_j ± 1)·c⁻¹ mod 2^L. Signs are counted, not worked into the numbers:
// to take one from m costs as much as half a multiplication.
func (b *Basis) reweigh(i int, old *Modulus) error {
	m := b.moduli[i]
	n := m.limbs()
	var buf [512]word // 16 moduli of 512 bits need no more
	zeros := buf[:]
	k := len(b.moduli) * n
	if need := k + (3*productLimbs+inverseLimbs)*n; need > len(zeros) {
		zeros = make([]word, need)
	}
	before, zeros := zeros[:k], zeros[k:] // before[j]: product of the d before j, mod m
	p := newProduct(m, zeros[:productLimbs*n])
	rest := newProduct(m, zeros[productLimbs*n:2*productLimbs*n]) // the inverse of the product up to j, mod m
	zeros = zeros[2*productLimbs*n:]
	minus := false // the product's sign
	for j, other := range b.moduli {
		copy(before[j*n:], p.r)
		if j == i {
			continue
		}
		negative, differ := p.timesDistance(m, other)
		if !differ {
			return fmt.Errorf("%w: at %d and %d", ErrDuplicate, min(i, j), max(i, j))
		}
		minus = minus != negative
	}
	if !invert(rest.r, p.r, m) {
		return b.commonFactor(i)
	}
	copy(p.r, rest.r)
	if minus {
		p.negate()
	}
	copy(b.weight(i), p.r)

	x := exchange{old: old, cInv: inverseOfC(m, zeros[productLimbs*n:]), u: &p, p: newProduct(m, zeros[:productLimbs*n])}
	for j := len(b.moduli) - 1; j >= 0; j-- {
		if j == i {
			continue
		}
		copy(x.u.r, before[j*n:])
		x.u.times(rest.r)
		negative, _ := rest.timesDistance(m, b.moduli[j])
		x.do(b.moduli[j], b.weight(j), negative)
	}
	return nil
}

// exchange multiplies weights by old·m⁻¹.
type exchange struct {
	old  *Modulus
	cInv []word   // c⁻¹ modulo 2^L, of m
	u    *product // d_j⁻¹ modulo m
	p    product  // the new weight
}

// do does it with the weight of mj, when u is set; negative: m_j is −d_j.
func (x *exchange) do(mj *Modulus, weight []word, negative bool) {
	n := len(weight)
	u, low := x.u.r, x.u.z
	x.u.m.canonical(u)
	clear(low[:n+n/2])
	addMul(low[:n+n/2], u, mj.c)
	if negative {
		subFrom(low[:n], unit[:])
	} else {
		raise(low[:n], 1)
	}
	v := x.p.z // in its lower half
	mulLow(v, low[:n], x.cInv)
	copy(low, v[:n])
	x.p.modulo(mj, weight)
	x.p.times(low[:n])
	less, _ := x.p.timesDistance(mj, x.old) // modulo m_j, old is c_j less its c
	if less == negative {                   // v is −m⁻¹ where m_j is d_j
		x.p.negate()
	}
	x.p.m.canonical(x.p.r)
	copy(weight, x.p.r)
}

var unit = [1]word{1}

// mulLow sets the lower len(x) limbs of z, which has twice as many, to those of
// x·y, as long as x; the others are scratch.
func mulLow(z, x, y []word) {
	clear(z)
	for len(y) >= 4 {
		addMul(z[:len(x)+4], x, y[:4])
		z, x, y = z[4:], x[:len(x)-4], y[4:]
	}
}

// inverseOfC is c⁻¹ modulo 2^L, by Newton's iteration: if z·c is 1 but for a
// multiple of 2^k, then z·(2 − z·c) is c⁻¹ modulo 2^2k. It works in zeros,
// inverseLimbs widths, and so does the answer.
func inverseOfC(m *Modulus, zeros []word) []word {
	n := m.limbs()
	z, c, t, p := zeros[:n:n], zeros[n:2*n], zeros[2*n:3*n], zeros[3*n:inverseLimbs*n]
	copy(c, m.c)
	z[0] = inverseOfWord(c[0])
	for k := wordBits; k < m.width; k *= 2 {
		size := min((2*k/wordBits+3)&^3, n) // rows go by four limbs
		mulLow(p[:2*size], z[:size], c[:size])
		clear(t[:size])
		t[0] = 2
		subFrom(t[:size], p[:size])
		mulLow(p[:2*size], z[:size], t[:size])
		copy(z[:size], p[:size])
	}
	return z
}

// inverseLimbs is how many widths inverseOfC works in.
const inverseLimbs = 5

// inverseOfWord is c⁻¹ modulo 2 to the power of a word's bits; c is odd.
func inverseOfWord(c word) word {
	z := c // right to three bits, as odd squares leave 1 modulo 8
	for k := 3; k < wordBits; k *= 2 {
		z *= 2 - z*c
	}
	return z
}

// replaced is s with m, for old, in place i; the products beside the way down are
// shared. It works in scratch, exchangeLimbs times as long as the product.
func (s *span) replaced(i int, old, m *Modulus, scratch []word) *span {
	if s.count == 1 {
		return newSpan([]*Modulus{m})
	}
	left, right := s.left, s.right
	if i < left.count {
		left = left.replaced(i, old, m, scratch)
	} else {
		right = right.replaced(i-left.count, old, m, scratch)
	}
	if s.count < divideFrom {
		return joinSpans(left, right, m.limbs())
	}
	next := &span{left: left, right: right, count: s.count, d: s.exchanged(old, m, scratch)}
	next.dInt.SetBits(next.d)
	return next
}

// divideFrom is of how many moduli a product is sooner divided by one and
// multiplied by another than made of its halves.
const divideFrom = 4

// exchangeLimbs is how many times a product's limbs exchanged works in.
const exchangeLimbs = 3

// exchanged is D of the span's product with m for old.
//
// Without old it is 2^l − E, and D = E·(2^L − c) + c·2^l. So E is what D − c·2^l
// is of old, and the new D is E·2^L + c'·2^l − E·c'. The division goes by half
// widths from above, as Reduce does: what shiftIn folds, and carries, is the
// quotient.
func (s *span) exchanged(old, m *Modulus, scratch []word) []word {
	n, h, all := m.limbs(), len(m.c), s.count*m.limbs()
	l := all - n
	rest, e, p := scratch[:all], scratch[all:all+l], scratch[2*all:2*all+l+h]
	clear(scratch[:exchangeLimbs*all])
	copy(rest, s.d)
	subFrom(rest[l:], old.c)
	r := rest[l:]
	for at := l - h; at >= 0; at -= h {
		copy(e[at:], r[h:])
		if old.shiftIn(r, rest[at:at+h]) != 0 {
			raise(e[at:], 1)
		}
	}
	if r[0] != 0 { // it is old: its limbs are not 0, as old is odd
		raise(e, 1)
	}
	addMul(p, e, m.c)
	d := make([]word, all-h+1, (all-h+4)&^3)
	copy(d[n:], e)
	addTo(d[l:], m.c)
	subFrom(d, p)
	return d
}
