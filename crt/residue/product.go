package residue

// product is a number below 2^L that grows by factors modulo m.
type product struct {
	m *Modulus
	r []word // the product so far; below 2^L, not always below m
	z []word // scratch, 2L bits
	t []word // scratch, L + L/2 bits
	d []word // scratch, L/2 bits
}

func newProduct(m *Modulus) *product {
	n := m.limbs()
	buf := make([]word, 5*n)
	p := &product{m: m, r: buf[:n:n], z: buf[n : 3*n : 3*n], t: buf[3*n : 4*n+n/2 : 4*n+n/2], d: buf[4*n+n/2:]}
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

// negate makes it m minus itself.
func (p *product) negate() {
	p.m.canonical(p.r)
	z := p.z[:len(p.r)]
	clear(z)
	subFrom(z, p.m.c) // 2^L − c
	subFrom(z, p.r)
	copy(p.r, z)
}

// timesDistance multiplies by the distance of a's c and b's, which is a's less
// b's but for its sign, and says whether there is one. Modulo a the difference is
// b, and modulo b it is −a.
func (p *product) timesDistance(a, b *Modulus) (negative, differ bool) {
	negative, zero := difference(p.d, a.c, b.c)
	p.times(p.d)
	return negative, !zero
}

// difference sets d to |x − y|.
func difference(d, x, y []word) (negative, zero bool) {
	copy(d, x)
	if subFrom(d, y) != 0 {
		negative = true
		copy(d, y)
		subFrom(d, x)
	}
	var any word
	for _, v := range d {
		any |= v
	}
	return negative, any == 0
}
