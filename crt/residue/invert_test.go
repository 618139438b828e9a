package residue

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// checkInverse holds invert to math/big.
func checkInverse(t rapid.TB, m *Modulus, x []word) {
	t.Helper()
	want := new(big.Int).ModInverse(intOf(x), m.Int())
	z := append(append([]word(nil), x...), 0xabc)
	ok := invert(z[:len(x)], x, m)
	if ok != (want != nil) {
		t.Fatalf("%x has an inverse modulo %v: %v", x, m.Int(), ok)
	}
	if ok && intOf(z[:len(x)]).Cmp(want) != 0 || z[len(x)] != 0xabc {
		t.Fatalf("%x modulo %v: %x, not %v", x, m.Int(), z, want)
	}
}

func TestInvertIsModInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModulus(t, 256, 512, 1024, 2048) // no prime: some have no inverse
		n := m.limbs()
		x := drawLimbs(t, "x", n)
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			clear(x[rapid.IntRange(1, n).Draw(t, "limbs"):])
		case 1: // a large quotient on the way
			q := new(big.Int).Quo(m.Int(), new(big.Int).Add(intOf(x[:rapid.IntRange(1, n).Draw(t, "limbs")]), big.NewInt(1)))
			clear(x)
			copy(x, q.Mod(q, m.Int()).Bits())
		case 2:
			rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
			for i := range x {
				x[i] = word(rnd.Uint64())
			}
		}
		checkInverse(t, m, x)
	})
}

// TestCrossCarries: with whole words, which invert doesn't use, as carries would
// come once in 2^32 steps otherwise.
func TestCrossCarries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "limbs")
		x, y, f := drawLimbs(t, "x", n), drawLimbs(t, "y", n), drawLimbs(t, "factors", 4)
		minus := func(a, x, b, y []word) *big.Int {
			z := new(big.Int).Mul(intOf(a), intOf(x))
			z.Sub(z, new(big.Int).Mul(intOf(b), intOf(y)))
			return z.Mod(z, new(big.Int).Lsh(big.NewInt(1), uint(n*wordBits)))
		}
		wantX, wantY := minus(f[:1], x, f[1:2], y), minus(f[2:3], y, f[3:], x)
		cross(x, y, f[0], f[1], f[2], f[3])
		if intOf(x).Cmp(wantX) != 0 || intOf(y).Cmp(wantY) != 0 {
			t.Fatalf("%x and %x, not %x and %x", x, y, wantX, wantY)
		}
	})
}

func TestInvertAtTheEnds(t *testing.T) {
	for _, width := range []int{256, 512, 1024, 2048} {
		m := testPrimes(t, width, 1)[0]
		n := m.limbs()
		for d := range int64(5) {
			for _, v := range []*big.Int{big.NewInt(d), new(big.Int).Sub(m.Int(), big.NewInt(d+1)), new(big.Int).Add(m.Int(), big.NewInt(d)),
				new(big.Int).Add(new(big.Int).Rsh(m.Int(), 1), big.NewInt(d))} {
				x := make([]word, n)
				copy(x, v.Bits())
				checkInverse(t, m, x)
			}
		}
	}
}

func FuzzInvert(f *testing.F) {
	f.Add(make([]byte, 32), []byte{1})
	f.Add([]byte{0xff, 31: 1}, []byte{0xff, 63: 3})
	f.Fuzz(func(t *testing.T, c, raw []byte) {
		if len(c) != 32 || len(raw) > 64 {
			return
		}
		m := &Modulus{width: 512, c: make([]word, 32/wordBytes)}
		loadBytes(m.c, c)
		m.c[0] |= 1
		m.c[len(m.c)-1] |= 1 << (wordBits - 1)
		x := make([]word, m.limbs())
		loadBytes(x, append(make([]byte, 64-len(raw)), raw...))
		checkInverse(t, m, x)
	})
}

func BenchmarkInvert(b *testing.B) {
	m := testPrimes(b, 512, 1)
	x, z := make([]word, m[0].limbs()), make([]word, m[0].limbs())
	raw := make([]byte, 64)
	_, _ = (&stream{}).Read(raw)
	loadBytes(x, raw)
	b.Run("leaps", func(b *testing.B) {
		for b.Loop() {
			invert(z, x, m[0])
		}
	})
	b.Run("slowly", func(b *testing.B) {
		for b.Loop() {
			invertSlowly(z, x, m[0])
		}
	})
}
