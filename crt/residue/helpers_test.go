package residue

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// stream is an endless reproducible source of bytes for primes.
type stream struct {
	seed  uint64
	block uint64
	left  []byte
}

func (s *stream) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		if len(s.left) == 0 {
			h := sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s.seed), s.block))
			s.block++
			s.left = h[:]
		}
		c := copy(p[n:], s.left)
		s.left, n = s.left[c:], n+c
	}
	return len(p), nil
}

var primes = struct {
	sync.Mutex
	byWidth map[int][]*Modulus
	from    map[int]*stream
}{byWidth: map[int][]*Modulus{}, from: map[int]*stream{}}

// testPrimes answers the first k of a fixed sequence of primes.
func testPrimes(t testing.TB, width, k int) []*Modulus {
	t.Helper()
	primes.Lock()
	defer primes.Unlock()
	if primes.from[width] == nil {
		primes.from[width] = &stream{seed: uint64(width)}
	}
	for len(primes.byWidth[width]) < k {
		m, err := Prime(width, primes.from[width])
		if err != nil {
			t.Fatal(err)
		}
		primes.byWidth[width] = append(primes.byWidth[width], m)
	}
	return append([]*Modulus(nil), primes.byWidth[width][:k]...)
}

func mustBasis(t testing.TB, moduli []*Modulus) *Basis {
	t.Helper()
	b, err := NewBasis(moduli)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ints(moduli []*Modulus) []*big.Int {
	z := make([]*big.Int, len(moduli))
	for i, m := range moduli {
		z[i] = m.Int()
	}
	return z
}

func product1(moduli []*big.Int) *big.Int {
	all := big.NewInt(1)
	for _, m := range moduli {
		all.Mul(all, m)
	}
	return all
}

// naive is formula (1) as it is printed.
func naive(moduli, residues []*big.Int) *big.Int {
	all, x := product1(moduli), new(big.Int)
	for i, m := range moduli {
		mi := new(big.Int).Quo(all, m)
		inv := new(big.Int).ModInverse(mi, m)
		x.Add(x, new(big.Int).Mul(residues[i], new(big.Int).Mul(mi, inv)))
	}
	return x.Mod(x, all)
}

// garner is the mixed-radix way to the same number, which shares nothing with
// formula (1).
func garner(moduli, residues []*big.Int) *big.Int {
	x, all := new(big.Int), big.NewInt(1)
	for i, m := range moduli {
		d := new(big.Int).Sub(residues[i], x)
		d.Mul(d, new(big.Int).ModInverse(new(big.Int).Mod(all, m), m))
		d.Mod(d, m)
		x.Add(x, d.Mul(d, all))
		all = new(big.Int).Mul(all, m)
	}
	return x
}

// drawResidue draws from all of [0, m), and often from its ends.
func drawResidue(t *rapid.T, m *big.Int) *big.Int {
	small := big.NewInt(int64(rapid.IntRange(0, 3).Draw(t, "small")))
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		return small.Mod(small, m)
	case 1:
		small.Sub(m, small.Add(small, big.NewInt(1)))
		return small.Mod(small, m)
	}
	raw := rapid.SliceOfN(rapid.Byte(), m.BitLen()/8+1, m.BitLen()/8+1).Draw(t, "residue")
	x := new(big.Int).SetBytes(raw)
	return x.Mod(x, m)
}

func drawResidues(t *rapid.T, moduli []*big.Int) []*big.Int {
	z := make([]*big.Int, len(moduli))
	for i, m := range moduli {
		z[i] = drawResidue(t, m)
	}
	return z
}

// pack writes numbers of size bytes one after another.
func pack(numbers []*big.Int, size int) []byte {
	b := make([]byte, len(numbers)*size)
	for i, x := range numbers {
		x.FillBytes(b[i*size : (i+1)*size])
	}
	return b
}

// combine is every path of the basis at once, which must agree.
func combine(t rapid.TB, b *Basis, residues []*big.Int) *big.Int {
	t.Helper()
	in := pack(residues, b.Width()/8)
	x := make([]byte, b.Size())
	if err := b.Combine(x, in, new(Scratch)); err != nil {
		t.Fatal(err)
	}
	check := func() {
		for name, path := range paths(b) {
			y := make([]byte, b.Size())
			if err := path(y, in, new(Scratch)); err != nil {
				t.Fatal(name, err)
			}
			if !bytes.Equal(x, y) {
				t.Fatalf("%s: %x, Combine: %x", name, y, x)
			}
		}
	}
	check()
	withoutADX(check)
	return new(big.Int).SetBytes(x)
}

func paths(b *Basis) map[string]func(dst, residues []byte, s *Scratch) error {
	forms := map[string]*flat{"tree": nil, "words": newFlat(b, words)}
	if haveFMA {
		forms["vectors"] = newFlat(b, vectors)
	}
	all := map[string]func(dst, residues []byte, s *Scratch) error{}
	for name, f := range forms {
		all[name] = func(dst, residues []byte, s *Scratch) error { return b.combineBy(f, dst, residues, s) }
	}
	return all
}
