package residue

import "fmt"

// Replace answers the basis with m in place i: a join (a member's prime for a
// dummy's) or a leave (the reverse). b stays as it is and usable; what is the
// same is shared. Errors are those of [NewBasis], and [ErrNoSuch].
//
// Every other weight is multiplied by old·m⁻¹ modulo its own modulus, so it
// takes one inversion, the products above i, and five multiplications each:
// about 8 µs for 16 moduli of 512 bits.
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
// Modulo m, m_j is ±d with d = |c − c_j|, which is half as long, and old is ±e
// with e = |c − c_old|. Each weight is to be multiplied by old·m⁻¹, which modulo
// m_j is 1 ± e·m⁻¹. If u·d ≡ e mod m, then u·d = e + q·m, and as m_j is m ± d,
// v = u ± q is ∓e·m⁻¹ modulo m_j: so that it takes a product by half a width to go
// from one modulus to the other. Signs are counted, not worked into the numbers:
// to take one from m costs as much as half a multiplication.
func (b *Basis) reweigh(i int, old *Modulus) error {
	m := b.moduli[i]
	n, h := m.limbs(), len(m.c)
	var buf [376]word // 16 moduli of 512 bits need no more
	zeros := buf[:]
	k := len(b.moduli)
	if need := k*(n+h+1) + 2*productLimbs*n; need > len(zeros) {
		zeros = make([]word, need)
	}
	before, zeros := zeros[:k*n], zeros[k*n:] // before[j]: product of the d before j, mod m
	ds, zeros := zeros[:k*(h+1)], zeros[k*(h+1):]
	p := newProduct(m, zeros[:productLimbs*n])
	minus := word(0) // the product's sign
	for j, other := range b.moduli {
		copy(before[j*n:], p.r)
		if j == i {
			continue
		}
		d := ds[j*(h+1) : (j+1)*(h+1)]
		negative, zero := difference(d[:h], m.c, other.c)
		if zero {
			return fmt.Errorf("%w: at %d and %d", ErrDuplicate, min(i, j), max(i, j))
		}
		d[h] = negative
		minus ^= negative
		p.times(d[:h])
	}
	rest := newProduct(m, zeros[productLimbs*n:]) // e by the product up to j, mod m
	if !invert(rest.r, p.r, m) {
		return b.commonFactor(i)
	}
	copy(p.r, rest.r)
	if minus != 0 {
		p.negate()
	}
	copy(b.weight(i), p.r)

	less := rest.timesDistance(m, old) // modulo m, old is m and c less its c
	for j := k - 1; j >= 0; j-- {
		if j == i {
			continue
		}
		d := ds[j*(h+1) : (j+1)*(h+1)]
		p.modulo(m, before[j*n:(j+1)*n])
		p.times(rest.r)
		rest.times(d[:h])
		p.crossOver(b.moduli[j], d[:h], d[h], less)
		p.times(b.weight(j))
		p.settle()
		copy(b.weight(j), p.r)
	}
	return nil
}

// crossOver makes u, which is e·d⁻¹ modulo m, 1 ± e·m⁻¹ modulo m_j, which is m + d,
// or m − d where it is negative; less: old is m − e.
//
// As e is below c, q·c − e is between 0 and 2^L if q is not 0. So q is what u·d is
// of 2^L, and one more.
func (p *product) crossOver(mj *Modulus, d []word, negative, less word) {
	n, h := len(p.r), len(d)
	p.settle()
	clear(p.t)
	addMul(p.t, p.r, d)
	q := p.t[n:]
	var any word
	for _, v := range p.t[h:] {
		any |= v
	}
	if any != 0 { // else u·d is e
		raise(q, 1)
	}
	if negative != 0 { // v is e·m⁻¹
		subFrom(p.r, q)
	} else {
		addTo(p.r, q)
	}
	if negative != less {
		raise(p.r, 1)
	} else { // 2^L − c_j + 1 − v
		for i := range p.r {
			p.r[i] = ^p.r[i]
		}
		raise(p.r, 2)
		subFrom(p.r, mj.c)
	}
	p.m = mj
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
	return &span{left: left, right: right, count: s.count, d: s.exchanged(old, m, scratch)}
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
	clear(rest[copy(rest, s.d):])
	clear(p)
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
