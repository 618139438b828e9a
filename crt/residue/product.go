package residue

// product is a number below 2^L that grows by factors modulo m.
type product struct {
	m *Modulus
	r []word // the product so far; below 2^L, not always below m
	z []word // scratch, 2L bits
	t []word // scratch, L + L/2 bits
	d []word // scratch, L/2 bits
}

// productLimbs is how many widths newProduct takes of what it is given.
const productLimbs = 5

// newProduct is 1 in zeros that are the product's from then on.
func newProduct(m *Modulus, zeros []word) product {
	n := m.limbs()
	cut := func(n int) []word {
		z := zeros[:n:n]
		zeros = zeros[n:]
		return z
	}
	p := product{m: m, r: cut(n), z: cut(2 * n), t: cut(n + n/2), d: cut(n / 2)}
	p.r[0] = 1
	return p
}

// modulo makes p the product of one factor r, modulo m of the same width.
func (p *product) modulo(m *Modulus, r []word) {
	p.m = m
	copy(p.r, r)
}

// times multiplies by x of L or of L/2 bits.
func (p *product) times(x []word) {
	if haveADX && len(p.r) == 8 {
		p.times8(x)
		return
	}
	if len(x) == len(p.m.c) {
		clear(p.t)
		addMul(p.t, p.r, x)
		p.m.foldHalf(p.r, p.t)
		return
	}
	clear(p.z)
	addMul(p.z, p.r, x)
	p.m.fold(p.r, p.z)
}

// times8 is times where one call makes a product and its remainder.
func (p *product) times8(x []word) {
	r, c := (*[8]word)(p.r), (*[4]word)(p.m.c)
	if len(x) == 4 {
		mulHalf8ADX(r, (*[4]word)(x), c)
		return
	}
	mul8ADX(r, (*[8]word)(x), c)
}

// negate makes it m minus itself.
func (p *product) negate() {
	p.m.canonical(p.r)
	z := p.z[:len(p.r)]
	clear(z)
	subFrom(z, p.m.c) // 2^L − c
	subFrom(z, p.r)
	copy(p.r, z)
}

// settle makes it below m. How long that takes depends on it.
func (p *product) settle() {
	if p.r[len(p.r)-1] == ^word(0) { // m has as many ones at the top
		p.m.canonical(p.r)
	}
}

// timesDistance multiplies by the distance of a's c and b's, which is a's less
// b's but for its sign: 1 where it is negative, or 0. Modulo a the difference is
// b, and modulo b it is −a.
func (p *product) timesDistance(a, b *Modulus) (negative word) {
	negative, _ = difference(p.d, a.c, b.c)
	p.times(p.d)
	return negative
}

// difference sets d to |x − y|; negative is 1 or 0.
func difference(d, x, y []word) (negative word, zero bool) {
	copy(d, x)
	if negative = subFrom(d, y); negative != 0 {
		copy(d, y)
		subFrom(d, x)
	}
	var any word
	for _, v := range d {
		any |= v
	}
	return negative, any == 0
}
