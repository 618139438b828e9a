package residue

import (
	"math/big"
	"math/bits"
)

// invert sets z, below m, to x⁻¹ mod m, and says whether there is one; x is below
// 2^L, and may be z.
//
// It is Euclid's algorithm by Lehmer's leaps: the quotients of the numbers' upper
// words, while these decide them (Collins' condition), make one step of half a
// word on the whole numbers. Where they decide nothing, which takes a quotient
// of half a word, all is left to math/big, whose steps are the same.
func invert(z, x []word, m *Modulus) bool {
	var buf [4 * maxLimbs]word
	n := len(x)
	e := euclid{a: buf[:n], b: buf[n : 2*n], ua: buf[2*n : 3*n], ub: buf[3*n : 4*n], used: 1}
	subFrom(e.a, m.c) // 2^L − c
	copy(e.b, x)
	m.canonical(e.b)
	e.ub[0] = 1
	for e.trim(); len(e.a) > 1; e.trim() {
		if !e.leap() {
			return invertSlowly(z, x, m)
		}
	}
	if !e.finish(z) {
		return false
	}
	if !e.odd { // from m
		for i := range z {
			z[i] = ^z[i]
		}
		raise(z, 1)
		subFrom(z, m.c)
	}
	return true
}

func invertSlowly(z, x []word, m *Modulus) bool {
	w := new(big.Int).ModInverse(new(big.Int).SetBits(append([]word(nil), x...)), m.Int())
	if w == nil {
		return false
	}
	clear(z)
	copy(z, w.Bits())
	return true
}

// euclid is two neighbours a > b of the sequence of remainders that begins with m
// and x, and what they are multiples of: modulo m, a is ∓ua·x and b is ±ub·x.
type euclid struct {
	a, b   []word // as long as a
	ua, ub []word
	used   int  // how many limbs of ua and ub may not be zero
	odd    bool // so many steps were made; ua counts from 0 then
}

// trim leaves out the upper limbs that a has no more.
func (e *euclid) trim() {
	n := len(e.a)
	for n > 1 && e.a[n-1] == 0 {
		n--
	}
	e.a, e.b = e.a[:n], e.b[:n]
}

// leap goes on by as many steps as the upper words decide, and says whether
// those were any.
func (e *euclid) leap() bool {
	n := len(e.a)
	shift := uint(bits.LeadingZeros(uint(e.a[n-1])))
	x := e.a[n-1]<<shift | e.a[n-2]>>(wordBits-shift)
	y := e.b[n-1]<<shift | e.b[n-2]>>(wordBits-shift)
	// Remainders are ±(u·a − v·b): that before x's, x's and y's.
	u0, u1, u2 := word(0), word(1), word(0)
	v0, v1, v2 := word(0), word(0), word(1)
	odd := false
	for y >= v2 && x-y >= v1+v2 {
		q := x / y
		x, y = y, x-q*y
		u0, u1, u2 = u1, u2, u1+q*u2
		v0, v1, v2 = v1, v2, v1+q*v2
		odd = !odd
	}
	if v0 == 0 {
		return false
	}
	if odd { // u0 and v0 are after an even number of steps, as y's are not sure
		cross(e.a, e.b, u0, v0, v1, u1)
	} else {
		cross(e.b, e.a, v0, u0, u1, v1)
		e.a, e.b = e.b, e.a
		e.odd = !e.odd
	}
	e.count(u0, v0, u1, v1)
	return true
}

// cross sets x to p·x − q·y and y to r·y − s·x, neither of which is negative.
func cross(x, y []word, p, q, r, s word) {
	var cp, cq, cr, cs, bx, by, k word
	y = y[:len(x)]
	for i, v := range x {
		w := y[i]
		h, lp := mul(p, v)
		lp, k = add(lp, cp, 0)
		cp = h + k
		h, lq := mul(q, w)
		lq, k = add(lq, cq, 0)
		cq = h + k
		h, lr := mul(r, w)
		lr, k = add(lr, cr, 0)
		cr = h + k
		h, ls := mul(s, v)
		ls, k = add(ls, cs, 0)
		cs = h + k
		x[i], bx = sub(lp, lq, bx)
		y[i], by = sub(lr, ls, by)
	}
}

// count sets ua to u0·ua + v0·ub and ub to u1·ua + v1·ub. All four have half a
// word, so that carries fit one.
func (e *euclid) count(u0, v0, u1, v1 word) {
	var c0, c1, k word
	ua, ub := e.ua[:e.used], e.ub[:e.used]
	for i, v := range ua {
		w := ub[i]
		h, l := mul(u0, v)
		l, k = add(l, c0, 0)
		c0 = h + k
		h, l2 := mul(v0, w)
		ua[i], k = add(l, l2, 0)
		c0 += h + k
		h, l = mul(u1, v)
		l, k = add(l, c1, 0)
		c1 = h + k
		h, l2 = mul(v1, w)
		ub[i], k = add(l, l2, 0)
		c1 += h + k
	}
	if c0|c1 != 0 {
		e.ua[e.used], e.ub[e.used] = c0, c1
		e.used++
	}
}

// finish makes the last steps, where both are words, and sets z to ua. It says
// whether a was 1 in the end.
func (e *euclid) finish(z []word) bool {
	a, b := e.a[0], e.b[0]
	u, u1 := word(1), word(0)
	v, v1 := word(0), word(1)
	for b != 0 {
		q := a / b
		a, b = b, a-q*b
		u, u1 = u1, u+q*u1
		v, v1 = v1, v+q*v1
		e.odd = !e.odd
	}
	clear(z)
	addMulWord(z, e.ua, u)
	addMulWord(z, e.ub, v)
	return a == 1
}
