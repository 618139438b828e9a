package residue

// shiftIn sets r, below 2^L, to a number below 2^L that is congruent to
// r·2^(L/2) + x; x has L/2 bits. The upper half of r weighs 2^L ≡ c then, so it
// costs one product of two half widths, the fewest that a remainder by m can be
// had for. What carries out can't carry again: it leaves less than c·(2^(L/2)
// − 1) behind, to which c is added. No branch and no index depends on any of
// them.
func (m *Modulus) shiftIn(r, x []word) {
	if len(r) == 8 && haveADX {
		shiftIn8ADX((*[8]word)(r), (*[4]word)(x), (*[4]word)(m.c))
		return
	}
	if len(r) == 8 {
		shiftIn8((*[8]word)(r), (*[4]word)(x), (*[4]word)(m.c))
		return
	}
	var buf [maxLimbs]word
	t, h := buf[:len(r)], len(x)
	copy(t, x)
	copy(t[h:], r[:h])
	carry := addMul(t, r[h:], m.c)
	copy(r, t)
	addMasked(r, m.c, -carry)
}

// shiftIn8 is shiftIn where all fits the registers: by columns as in addMul4,
// whose row of sums the limbs of x and of r's lower half enter.
func shiftIn8(r *[8]word, x, c *[4]word) {
	c0, c1, c2, c3 := c[0], c[1], c[2], c[3]
	r0, r1, r2, r3 := r[0], r[1], r[2], r[3]
	var s0, s1, s2, s3, k word
	for i, low := range x {
		v := r[4+i]
		h0, l0 := mul(v, c0)
		h1, l1 := mul(v, c1)
		h2, l2 := mul(v, c2)
		h3, l3 := mul(v, c3)
		l0, k = add(l0, s0, 0)
		l1, k = add(l1, s1, k)
		l2, k = add(l2, s2, k)
		l3, k = add(l3, s3, k)
		h3 += k
		r[i], k = add(low, l0, 0)
		s0, k = add(l1, h0, k)
		s1, k = add(l2, h1, k)
		s2, k = add(l3, h2, k)
		s3 = h3 + k
	}
	r0, k = add(r0, s0, 0)
	r1, k = add(r1, s1, k)
	r2, k = add(r2, s2, k)
	r3, k = add(r3, s3, k)
	mask := -k
	r[0], k = add(r[0], c0&mask, 0)
	r[1], k = add(r[1], c1&mask, k)
	r[2], k = add(r[2], c2&mask, k)
	r[3], k = add(r[3], c3&mask, k)
	r[4], k = add(r0, 0, k)
	r[5], k = add(r1, 0, k)
	r[6], k = add(r2, 0, k)
	r[7], _ = add(r3, 0, k)
}

// foldHalf sets r, below 2^L, to a number congruent to t, of L + L/2 bits.
func (m *Modulus) foldHalf(r, t []word) {
	h := len(m.c)
	copy(r, t[h:])
	m.shiftIn(r, t[:h])
}

// fold does it with z, of 2L bits.
func (m *Modulus) fold(r, z []word) {
	h := len(m.c)
	copy(r, z[2*h:])
	m.shiftIn(r, z[h:2*h])
	m.shiftIn(r, z[:h])
}
