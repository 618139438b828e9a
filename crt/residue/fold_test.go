package residue

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// drawLimbs draws where carries go furthest.
func drawLimbs(t *rapid.T, name string, n int) []word {
	z := make([]word, n)
	for i := range z {
		z[i] = rapid.SampledFrom([]word{0, 1, ^word(0), ^word(0), ^word(0) - 1, 1 << (wordBits - 1), 0x55}).Draw(t, name)
	}
	return z
}

// drawModulus draws a c of such limbs: nothing here needs a prime.
func drawModulus(t *rapid.T, widths ...int) *Modulus {
	width := rapid.SampledFrom(widths).Draw(t, "width")
	m := &Modulus{width: width, c: drawLimbs(t, "c", width/2/wordBits)}
	m.c[0] |= 1
	m.c[len(m.c)-1] |= 1 << (wordBits - 1)
	return m
}

func intOf(z []word) *big.Int { return new(big.Int).SetBits(append([]word(nil), z...)) }

// carryInto sets the lower half of r, where it can, so that the sum carries out
// and leaves v in its upper half, into which c carries then.
func carryInto(m *Modulus, r, x, v []word) {
	h := len(m.c)
	low := new(big.Int).Mul(intOf(r[h:]), intOf(m.c))
	low.Add(low, intOf(x)).Rsh(low, uint(m.width/2))
	low.Sub(intOf(v), low)
	if low.Add(low, new(big.Int).Lsh(big.NewInt(1), uint(m.width/2))); low.Sign() >= 0 && low.BitLen() <= m.width/2 {
		clear(r[:h])
		copy(r, low.Bits())
	}
}

func TestShiftInIsCongruentAndFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModulus(t, 256, 512, 512, 512, 1024, 2048)
		r, x := drawLimbs(t, "r", m.limbs()), drawLimbs(t, "x", len(m.c))
		carryInto(m, r, x, drawLimbs(t, "sum", len(m.c)))
		want := new(big.Int).Lsh(intOf(r), uint(m.width/2))
		want.Mod(want.Add(want, intOf(x)), m.Int())
		check := func() {
			z := append(append([]word(nil), r...), 0xabc)
			m.shiftIn(z[:len(r)], x)
			if got := intOf(z[:len(r)]); got.Mod(got, m.Int()).Cmp(want) != 0 || z[len(r)] != 0xabc {
				t.Fatalf("%x after %x modulo %v: %x", r, x, m.Int(), z)
			}
		}
		check()
		withoutADX(check)
	})
}

func TestReduceIsTheRemainderInAllKernels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModulus(t, 256, 512, 512, 512, 1024)
		limbs := drawLimbs(t, "x", m.limbs()*rapid.IntRange(1, 20).Draw(t, "count"))
		x, r := make([]byte, len(limbs)*wordBytes), make([]byte, m.width/8)
		storeBytes(x, limbs)
		want := new(big.Int).Mod(intOf(limbs), m.Int())
		check := func() {
			if m.Reduce(r, x); new(big.Int).SetBytes(r).Cmp(want) != 0 {
				t.Fatalf("%x modulo %v is %x, not %v", x, m.Int(), r, want)
			}
		}
		check()
		withoutADX(check)
	})
}
