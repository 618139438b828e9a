package residue

import (
	"math/big"
	"math/bits"
)

// word is a limb: the machine's, and math/big's.
type word = big.Word

const (
	wordBits  = bits.UintSize
	wordBytes = wordBits / 8
	// maxLimbs is a modulus of the largest width.
	maxLimbs = MaxWidth / wordBits
)

// loadBytes sets z, whole limbs, from as many big-endian bytes.
func loadBytes(z []word, src []byte) {
	for i := range z {
		end := len(src) - i*wordBytes
		z[i] = loadWord(src[end-wordBytes : end])
	}
}

// storeBytes is the reverse of loadBytes.
func storeBytes(dst []byte, z []word) {
	for i, v := range z {
		end := len(dst) - i*wordBytes
		storeWord(dst[end-wordBytes:end], v)
	}
}

// loadWord compiles to one load and a byte swap where limbs have 64 bits.
func loadWord(b []byte) word {
	if wordBytes == 8 {
		_ = b[7]
		return word(uint64(b[7]) | uint64(b[6])<<8 | uint64(b[5])<<16 | uint64(b[4])<<24 |
			uint64(b[3])<<32 | uint64(b[2])<<40 | uint64(b[1])<<48 | uint64(b[0])<<56)
	}
	_ = b[3]
	return word(uint32(b[3]) | uint32(b[2])<<8 | uint32(b[1])<<16 | uint32(b[0])<<24)
}

func storeWord(b []byte, v word) {
	if wordBytes == 8 {
		_ = b[7]
		u := uint64(v)
		b[0], b[1], b[2], b[3] = byte(u>>56), byte(u>>48), byte(u>>40), byte(u>>32)
		b[4], b[5], b[6], b[7] = byte(u>>24), byte(u>>16), byte(u>>8), byte(u)
		return
	}
	_ = b[3]
	b[0], b[1], b[2], b[3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
}

func add(a, b, carry word) (sum, carryOut word) {
	s, c := bits.Add(uint(a), uint(b), uint(carry))
	return word(s), word(c)
}

func sub(a, b, borrow word) (diff, borrowOut word) {
	d, c := bits.Sub(uint(a), uint(b), uint(borrow))
	return word(d), word(c)
}

func mul(a, b word) (hi, lo word) {
	h, l := bits.Mul(uint(a), uint(b))
	return word(h), word(l)
}

// addTo adds x to z, which is at least as long, through all of z: how long
// that takes doesn't depend on the carries. Four limbs at a time keep the carry
// in the processor's flag.
func addTo(z, x []word) (carry word) {
	for len(x) >= 4 && len(z) >= 4 {
		a, b := (*[4]word)(z), (*[4]word)(x)
		a[0], carry = add(a[0], b[0], carry)
		a[1], carry = add(a[1], b[1], carry)
		a[2], carry = add(a[2], b[2], carry)
		a[3], carry = add(a[3], b[3], carry)
		z, x = z[4:], x[4:]
	}
	for i, v := range x {
		z[i], carry = add(z[i], v, carry)
	}
	for i := len(x); i < len(z); i++ {
		z[i], carry = add(z[i], 0, carry)
	}
	return carry
}

// subFrom takes x away from z, likewise.
func subFrom(z, x []word) (borrow word) {
	for len(x) >= 4 && len(z) >= 4 {
		a, b := (*[4]word)(z), (*[4]word)(x)
		a[0], borrow = sub(a[0], b[0], borrow)
		a[1], borrow = sub(a[1], b[1], borrow)
		a[2], borrow = sub(a[2], b[2], borrow)
		a[3], borrow = sub(a[3], b[3], borrow)
		z, x = z[4:], x[4:]
	}
	for i, v := range x {
		z[i], borrow = sub(z[i], v, borrow)
	}
	for i := len(x); i < len(z); i++ {
		z[i], borrow = sub(z[i], 0, borrow)
	}
	return borrow
}

// addMulWord adds x·y to z, which is at least as long.
func addMulWord(z, x []word, y word) (carry word) {
	for i, v := range x {
		hi, lo := mul(v, y)
		var c word
		lo, c = add(lo, carry, 0)
		hi += c
		z[i], c = add(z[i], lo, 0)
		carry = hi + c
	}
	for i := len(x); i < len(z); i++ {
		z[i], carry = add(z[i], carry, 0)
	}
	return carry
}

// addMul adds x·y to z, whose length is that of both together, and answers
// the carry. Nothing but lengths decides what it does.
func addMul(z, x, y []word) (carry word) {
	adx := haveADX && len(x) >= 4 && len(x)%4 == 0
	for len(y) >= 4 {
		if to := z[:len(x)+4]; adx {
			carry = addMul4ADX(&to[0], &x[0], len(x)/4, (*[4]word)(y), carry)
		} else {
			carry = addMul4(to, x, (*[4]word)(y), carry)
		}
		z, y = z[4:], y[4:]
	}
	for len(y) > 0 {
		top := len(x)
		c := addMulWord(z[:top], x, y[0])
		z[top], c = add(z[top], c, 0)
		z[top], carry = add(z[top], carry, 0)
		carry += c
		z, y = z[1:], y[1:]
	}
	return carry
}

// addMul4 adds x·y to z, four columns abreast: a limb of x is multiplied by
// all four of y while it is in a register, and z is read and written once.
// carry is that of the four columns before, which weighs as z[len(x)].
func addMul4(z, x []word, y *[4]word, carry word) word {
	y0, y1, y2, y3 := y[0], y[1], y[2], y[3]
	var s0, s1, s2, s3, c word
	z = z[:len(x)+4]
	for i, v := range x {
		h0, l0 := mul(v, y0)
		h1, l1 := mul(v, y1)
		h2, l2 := mul(v, y2)
		h3, l3 := mul(v, y3)
		l0, c = add(l0, s0, 0)
		l1, c = add(l1, s1, c)
		l2, c = add(l2, s2, c)
		l3, c = add(l3, s3, c)
		h3 += c
		z[i], c = add(z[i], l0, 0)
		s0, c = add(l1, h0, c)
		s1, c = add(l2, h1, c)
		s2, c = add(l3, h2, c)
		s3 = h3 + c
	}
	top := (*[4]word)(z[len(x):])
	top[0], c = add(top[0], s0, carry)
	top[1], c = add(top[1], s1, c)
	top[2], c = add(top[2], s2, c)
	top[3], c = add(top[3], s3, c)
	return c
}
