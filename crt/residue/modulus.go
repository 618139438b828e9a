package residue

import (
	"errors"
	"fmt"
	"math/big"
)

// Widths of a modulus in bits. SPEC.md's are 512, 1024 and 2048; 256 is too
// narrow for a sealed slot and serves the tests of the paper's raw scheme.
const (
	MinWidth = 256
	MaxWidth = 2048
)

// ErrModulus says what a modulus was refused for; it is wrapped with the
// particulars.
var ErrModulus = errors.New("residue: not a modulus")

// Modulus is a number m = 2^L − c just below 2^L: c is odd and has exactly L/2
// bits. (Crt calls for a prime; [Prime] makes one, [NewModulus] believes.) So
// nearly every string of L/8 bytes is below it, and a remainder by it is
// multiplications by c instead of a division. Immutable.
type Modulus struct {
	width int
	c     []word // L/2 bits, little-endian limbs
}

// NewModulus makes 2^width − c of c, width/16 bytes, big-endian, which is what
// goes over the wire. It refuses, with an error that wraps [ErrModulus],
// another length, an even c, one whose top bit is not set, and an unknown
// width. It doesn't ask whether m is prime: that is its maker's business. c
// is copied.
func NewModulus(width int, c []byte) (*Modulus, error) {
	if !validWidth(width) {
		return nil, fmt.Errorf("%w: width %d is not 256, 512, 1024 or 2048", ErrModulus, width)
	}
	switch {
	case len(c) != width/16:
		return nil, fmt.Errorf("%w: c has %d bytes, not %d", ErrModulus, len(c), width/16)
	case c[len(c)-1]&1 == 0:
		return nil, fmt.Errorf("%w: even", ErrModulus)
	case c[0]&0x80 == 0:
		return nil, fmt.Errorf("%w: c's top bit is not set", ErrModulus)
	}
	m := &Modulus{width: width, c: make([]word, len(c)/wordBytes)}
	loadBytes(m.c, c)
	return m, nil
}

func validWidth(width int) bool {
	return width >= MinWidth && width <= MaxWidth && width&(width-1) == 0
}

// Width is L, in bits.
func (m *Modulus) Width() int { return m.width }

// limbs is how many a residue has.
func (m *Modulus) limbs() int { return m.width / wordBits }

// AppendC appends c, L/16 bytes big-endian: the modulus as [NewModulus] reads
// it.
func (m *Modulus) AppendC(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, m.width/16)...)
	storeBytes(dst[at:], m.c)
	return dst
}

// AppendBytes appends m itself, L/8 bytes big-endian.
func (m *Modulus) AppendBytes(dst []byte) []byte {
	var buf [maxLimbs]word
	z := buf[:m.limbs()]
	subFrom(z, m.c)
	at := len(dst)
	dst = append(dst, make([]byte, m.width/8)...)
	storeBytes(dst[at:], z)
	return dst
}

// Equal says that both are the same number.
func (m *Modulus) Equal(other *Modulus) bool {
	if m.width != other.width {
		return false
	}
	var differ word
	for i, v := range m.c {
		differ |= v ^ other.c[i]
	}
	return differ == 0
}

// Int is m as a new [big.Int].
func (m *Modulus) Int() *big.Int {
	x := new(big.Int).Lsh(big.NewInt(1), uint(m.width))
	return x.Sub(x, new(big.Int).SetBits(append([]word(nil), m.c...)))
}

// Contains says whether r, L/8 bytes big-endian, is below m; r of another
// length is not. Which of these bytes decided it doesn't show in its time.
func (m *Modulus) Contains(r []byte) bool {
	if len(r) != m.width/8 {
		return false
	}
	var buf [maxLimbs]word
	z := buf[:m.limbs()]
	loadBytes(z, r)
	return m.below(z)
}

// below: r < 2^L − c unless r + c leaves L bits.
func (m *Modulus) below(r []word) bool {
	var carry word
	for i, v := range r {
		var c word
		if i < len(m.c) {
			c = m.c[i]
		}
		_, carry = add(v, c, carry)
	}
	return carry == 0
}

// Reduce sets dst, L/8 bytes, to x mod m, both big-endian; x is any positive
// number of times L/8 bytes. Lengths that don't fit panic: they are the
// caller's constants. It has no branch and no index that depends on x or m
// (SPEC.md, opening: a hostile relay chooses x), doesn't allocate, and keeps
// neither argument. dst may be a part of x.
func (m *Modulus) Reduce(dst, x []byte) {
	size := m.width / 8
	if len(dst) != size || len(x) == 0 || len(x)%size != 0 {
		panic(fmt.Sprintf("residue: Reduce of %d bytes into %d, with a modulus of %d", len(x), len(dst), size))
	}
	var rBuf, hBuf [maxLimbs]word
	r, h := rBuf[:m.limbs()], hBuf[:len(m.c)]
	loadBytes(r, x[:size])
	x = x[size:]
	if haveADX && len(r) == 8 && len(x) > 0 {
		reduce8ADX((*[8]word)(r), &x[0], len(x)/(size/2), (*[4]word)(m.c))
		x = nil
	}
	for ; len(x) > 0; x = x[size/2:] {
		loadBytes(h, x[:size/2])
		m.shiftIn(r, h)
	}
	m.canonical(r)
	storeBytes(dst, r)
}

// canonical takes m off r, below 2^L, where it is not below m: r − m is
// r + c − 2^L.
func (m *Modulus) canonical(r []word) {
	var buf [maxLimbs]word
	s := buf[:len(r)]
	copy(s, r)
	mask := -addTo(s, m.c)
	for i := range r {
		r[i] ^= mask & (r[i] ^ s[i])
	}
}

// addMasked adds x to z where mask is all ones, and nothing where it is zero,
// in the same time.
func addMasked(z, x []word, mask word) {
	var carry word
	for i, v := range x {
		z[i], carry = add(z[i], v&mask, carry)
	}
	for i := len(x); i < len(z); i++ {
		z[i], carry = add(z[i], 0, carry)
	}
}
