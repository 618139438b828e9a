package residue

import "math/bits"

// Numbers modulo 2^N + 1, where N is a whole number of limbs: multiplication by
// a power of two is a shift, so that a transform over them needs no
// multiplication. An element has one limb more than N, which is 0, or 1 over
// zeros for 2^N itself.

// ringAdd sets z to x + y.
func ringAdd(z, x, y []word) {
	n := len(z) - 1
	var carry word
	i := 0
	for ; i+4 <= n; i += 4 {
		a, b, c := (*[4]word)(x[i:]), (*[4]word)(y[i:]), (*[4]word)(z[i:])
		c[0], carry = add(a[0], b[0], carry)
		c[1], carry = add(a[1], b[1], carry)
		c[2], carry = add(a[2], b[2], carry)
		c[3], carry = add(a[3], b[3], carry)
	}
	for ; i < n; i++ {
		z[i], carry = add(x[i], y[i], carry)
	}
	ringFold(z, int(x[n]+y[n]+carry))
}

// ringSub sets z to x − y.
func ringSub(z, x, y []word) {
	n := len(z) - 1
	var borrow word
	i := 0
	for ; i+4 <= n; i += 4 {
		a, b, c := (*[4]word)(x[i:]), (*[4]word)(y[i:]), (*[4]word)(z[i:])
		c[0], borrow = sub(a[0], b[0], borrow)
		c[1], borrow = sub(a[1], b[1], borrow)
		c[2], borrow = sub(a[2], b[2], borrow)
		c[3], borrow = sub(a[3], b[3], borrow)
	}
	for ; i < n; i++ {
		z[i], borrow = sub(x[i], y[i], borrow)
	}
	ringFold(z, int(x[n])-int(y[n])-int(borrow))
}

// ringFold takes away top, which weighs 2^N ≡ −1, and may be negative.
func ringFold(z []word, top int) {
	n := len(z) - 1
	z[n] = 0
	if top > 0 && lower(z[:n], word(top)) {
		top = -1 // it wrapped round to 2^N less something, and 2^N is one less than none
	} else if top > 0 {
		return
	}
	if top < 0 && raise(z[:n], word(-top)) {
		// 2^N + what is left, which is one less, unless that was nothing.
		if lower(z[:n], 1) {
			clear(z[:n])
			z[n] = 1
		}
	}
}

// lower takes v off z and says whether that wrapped.
func lower(z []word, v word) bool {
	for i := range z {
		if z[i], v = sub(z[i], v, 0); v == 0 {
			return false
		}
	}
	return true
}

// raise adds v to z and says whether that wrapped.
func raise(z []word, v word) bool {
	for i := range z {
		if z[i], v = add(z[i], v, 0); v == 0 {
			return false
		}
	}
	return true
}

// ringShift sets z, which is not x, to x·2^e, 0 <= e < N: what leaves at the
// top comes back at the bottom with the other sign.
func ringShift(z, x []word, e int) {
	n := len(z) - 1
	d, b := e/wordBits, uint(e%wordBits)
	if b == 0 {
		copy(z[d:n], x[:n-d])
	} else {
		shiftUp(z[d:n], x[:n-d], b)
	}
	// The limbs from n−d−1 on hold what leaves.
	var borrow word
	high := x[n-d-1 : n+1]
	for i := range d {
		z[i], borrow = sub(0, word(uint(high[i+1])<<b|uint(high[i])>>(bits.UintSize-b)), borrow)
	}
	last := word(uint(high[d+1])<<b | uint(high[d])>>(bits.UintSize-b))
	z[d], borrow = sub(z[d], last, borrow)
	if borrow != 0 && !lower(z[d+1:n], 1) {
		borrow = 0
	}
	ringFold(z, -int(borrow))
}

// shiftUp sets z to x·2^b without what leaves at the top, 0 < b < a limb.
func shiftUp(z, x []word, b uint) {
	x = x[:len(z)]
	down := (bits.UintSize - b) % bits.UintSize
	b %= bits.UintSize
	var before word
	for len(x) >= 4 && len(z) >= 4 {
		s, t := (*[4]word)(x), (*[4]word)(z)
		x0, x1, x2, x3 := s[0], s[1], s[2], s[3]
		t[0] = x0<<b | before>>down
		t[1] = x1<<b | x0>>down
		t[2] = x2<<b | x1>>down
		t[3] = x3<<b | x2>>down
		before = x3
		x, z = x[4:], z[4:]
	}
	for i, v := range x {
		z[i] = v<<b | before>>down
		before = v
	}
}

// ringReduce sets z to x, of up to 2N bits and one limb.
func ringReduce(z, x []word) {
	n := len(z) - 1
	clear(z)
	copy(z[:n], x)
	if len(x) <= n {
		return
	}
	high := x[n:]
	if len(high) > n {
		ringFold(z, -int(high[n])) // 2^2N weighs 1
		high = high[:n]
	}
	ringFold(z, int(z[n])-int(subFrom(z[:n], high)))
}
