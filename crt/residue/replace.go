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
	r.root = b.root.replaced(i, m)
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
	before := make([]word, len(b.moduli)*n) // before[j]: product of the d before j, mod m
	p := newProduct(m)
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
	rest := newProduct(m) // the inverse of the product up to j, mod m
	if !invert(rest.r, p.r, m) {
		return b.commonFactor(i)
	}
	copy(p.r, rest.r)
	if minus {
		p.negate()
	}
	copy(b.weight(i), p.r)

	x := exchange{old: old, cInv: inverseOfC(m), u: p, p: newProduct(m)}
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
	p    *product // the new weight
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
// multiple of 2^k, then z·(2 − z·c) is c⁻¹ modulo 2^2k.
func inverseOfC(m *Modulus) []word {
	n := m.limbs()
	buf := make([]word, 5*n)
	z, c, t, p := buf[:n:n], buf[n:2*n], buf[2*n:3*n], buf[3*n:]
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

// inverseOfWord is c⁻¹ modulo 2 to the power of a word's bits; c is odd.
func inverseOfWord(c word) word {
	z := c // right to three bits, as odd squares leave 1 modulo 8
	for k := 3; k < wordBits; k *= 2 {
		z *= 2 - z*c
	}
	return z
}
