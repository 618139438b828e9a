package residue

import (
	"bytes"
	"errors"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// mostModuli is how many are drawn of a width: two blocks and some, where their
// primes are found soon.
var mostModuli = map[int]int{256: 33, 512: 33, 1024: 10, 2048: 5}

func drawModuli(t *rapid.T) []*Modulus {
	width := rapid.SampledFrom([]int{256, 512, 512, 512, 1024, 2048}).Draw(t, "width")
	most := mostModuli[width]
	pool := testPrimes(primeTB, width, most)
	rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 0))
	rnd.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
	return pool[:rapid.IntRange(1, most).Draw(t, "k")]
}

// primeTB lets property tests draw from the shared primes.
var primeTB = testing.TB(new(testing.B))

func TestCombineIsFormulaOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		moduli := drawModuli(t)
		m := ints(moduli)
		residues := drawResidues(t, m)
		x := combine(t, mustBasis(primeTB, moduli), residues)
		if want := naive(m, residues); x.Cmp(want) != 0 {
			t.Fatalf("x = %x, by the formula %x", x, want)
		}
		if want := garner(m, residues); x.Cmp(want) != 0 {
			t.Fatalf("x = %x, by Garner %x", x, want)
		}
		if x.Sign() < 0 || x.Cmp(product1(m)) >= 0 {
			t.Fatalf("x is outside [0, M)")
		}
		for i := range m {
			if r := new(big.Int).Mod(x, m[i]); r.Cmp(residues[i]) != 0 {
				t.Fatalf("x mod m_%d = %x, not %x", i, r, residues[i])
			}
		}
	})
}

func TestOrderOfMembersDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		moduli := drawModuli(t)
		residues := drawResidues(t, ints(moduli))
		x := combine(t, mustBasis(primeTB, moduli), residues)
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "permutation"), 0))
		rnd.Shuffle(len(moduli), func(i, j int) {
			moduli[i], moduli[j] = moduli[j], moduli[i]
			residues[i], residues[j] = residues[j], residues[i]
		})
		if y := combine(t, mustBasis(primeTB, moduli), residues); x.Cmp(y) != 0 {
			t.Fatalf("%x in one order, %x in another", x, y)
		}
	})
}

func TestCombineIsLinear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		moduli := drawModuli(t)
		b, m := mustBasis(primeTB, moduli), ints(moduli)
		r1, r2 := drawResidues(t, m), drawResidues(t, m)
		want := combine(t, b, r1)
		want.Add(want, combine(t, b, r2)).Mod(want, product1(m))
		for i := range r1 {
			r1[i].Add(r1[i], r2[i]).Mod(r1[i], m[i])
		}
		if x := combine(t, b, r1); x.Cmp(want) != 0 {
			t.Fatalf("x(b+b') = %x, x(b)+x(b') = %x", x, want)
		}
	})
}

func TestReplaceIsRebuild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		moduli := drawModuli(t)
		b := mustBasis(primeTB, moduli)
		spare := testPrimes(primeTB, b.Width(), mostModuli[b.Width()]+3)[mostModuli[b.Width()]:]
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			i := rapid.IntRange(0, len(moduli)-1).Draw(t, "place")
			j := rapid.IntRange(0, len(spare)-1).Draw(t, "spare")
			moduli[i], spare[j] = spare[j], moduli[i]
			next, err := b.Replace(i, moduli[i])
			if err != nil {
				t.Fatal(err)
			}
			b = next
		}
		residues := drawResidues(t, ints(moduli))
		x, rebuilt := combine(t, b, residues), mustBasis(primeTB, moduli)
		if y := combine(t, rebuilt, residues); x.Cmp(y) != 0 {
			t.Fatalf("replaced %x, rebuilt %x", x, y)
		}
		for i := range moduli {
			if b.Modulus(i) != moduli[i] {
				t.Fatalf("modulus %d is another one", i)
			}
		}
		for x, y := b.root, rebuilt.root; x != nil; x, y = x.left, y.left {
			if !slices.Equal(x.d, y.d) {
				t.Fatalf("a product of %d is %x, rebuilt %x", x.count, x.d, y.d)
			}
		}
		for i, w := range rebuilt.weights {
			if b.weights[i] != w {
				t.Fatalf("limb %d of the weights differs", i)
			}
		}
	})
}

func TestReplaceLeavesTheOldBasisAlone(t *testing.T) {
	moduli := testPrimes(t, 512, 18)
	b := mustBasis(t, moduli[:16])
	residues := randomResidues(b, 1)
	before, s := make([]byte, b.Size()), new(Scratch)
	if err := b.Combine(before, residues, s); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			x, s := make([]byte, b.Size()), new(Scratch)
			for {
				if err := b.Combine(x, residues, s); err != nil || !bytes.Equal(x, before) {
					t.Errorf("a reader of the old basis was disturbed: %v", err)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	next := b
	for i := range 64 {
		var err error
		if next, err = next.Replace(i%16, moduli[16+i/16%2]); err != nil {
			if !errors.Is(err, ErrDuplicate) {
				t.Fatal(err)
			}
			next = b
		}
	}
	close(stop)
	readers.Wait()
}

func TestResidueNotBelowItsModulusIsRefused(t *testing.T) {
	b := mustBasis(t, testPrimes(t, 512, 16))
	for _, excess := range []int64{0, 1, 1 << 40} {
		for i := range b.Len() {
			in := randomResidues(b, uint64(i))
			m := b.Modulus(i).Int()
			m.Add(m, big.NewInt(excess)).FillBytes(in[i*64 : (i+1)*64])
			for name, path := range paths(b) {
				dst := bytes.Repeat([]byte{0xa5}, b.Size())
				err := path(dst, in, new(Scratch))
				var large *TooLarge
				if !errors.As(err, &large) || large.Index != i {
					t.Fatalf("%s: m_%d+%d: error %v", name, i, excess, err)
				}
				if !bytes.Equal(dst, bytes.Repeat([]byte{0xa5}, b.Size())) {
					t.Fatalf("%s: dst was written although residue %d was refused", name, i)
				}
			}
		}
	}
}

func TestNewBasisRefuses(t *testing.T) {
	p := testPrimes(t, 256, 3)
	two := testPrimes(t, 512, 2)
	three, other := multiplesOf(t, 12289)
	for _, c := range []struct {
		name   string
		moduli []*Modulus
		want   error
	}{
		{"none", nil, ErrNoModuli},
		{"different widths", []*Modulus{p[0], two[0]}, ErrWidths},
		{"the same one twice", []*Modulus{p[0], p[1], p[2], p[1]}, ErrDuplicate},
		{"a common factor", []*Modulus{p[0], three, p[1], other}, ErrNotCoprime},
	} {
		if _, err := NewBasis(c.moduli); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
	}
	b := mustBasis(t, []*Modulus{p[0], p[1], three})
	for _, c := range []struct {
		name string
		i    int
		m    *Modulus
		want error
	}{
		{"a place below", -1, p[2], ErrNoSuch},
		{"a place beyond", 3, p[2], ErrNoSuch},
		{"another width", 0, two[0], ErrWidths},
		{"one that is there", 0, p[1], ErrDuplicate},
		{"a common factor", 0, other, ErrNotCoprime},
	} {
		if _, err := b.Replace(c.i, c.m); !errors.Is(err, c.want) {
			t.Errorf("replace, %s: error %v, want %v", c.name, err, c.want)
		}
	}
}

// multiplesOf answers two different moduli of 256 bits that factor divides.
func multiplesOf(t testing.TB, factor int64) (a, b *Modulus) {
	t.Helper()
	var found []*Modulus
	for c := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1)); len(found) < 2; c.Sub(c, big.NewInt(2)) {
		m, err := NewModulus(256, c.FillBytes(make([]byte, 16)))
		if err != nil {
			t.Fatal(err)
		}
		if new(big.Int).Mod(m.Int(), big.NewInt(factor)).Sign() == 0 {
			found = append(found, m)
		}
	}
	return found[0], found[1]
}

func TestReplaceByItselfIsTheSame(t *testing.T) {
	b := mustBasis(t, testPrimes(t, 512, 5))
	same, err := b.Replace(2, b.Modulus(2))
	if err != nil {
		t.Fatal(err)
	}
	in := randomResidues(b, 9)
	x, y := make([]byte, b.Size()), make([]byte, b.Size())
	if b.Combine(x, in, new(Scratch)) != nil || same.Combine(y, in, new(Scratch)) != nil || !bytes.Equal(x, y) {
		t.Errorf("%x, then %x", x, y)
	}
}

// TestScratchServesBasesOfAllSizes: what a larger batch left in it is no part
// of a smaller one.
func TestScratchServesBasesOfAllSizes(t *testing.T) {
	s := new(Scratch)
	for _, size := range []struct{ width, k int }{{512, 33}, {256, 3}, {2048, 5}, {512, 1}, {1024, 8}, {512, 16}} {
		b := mustBasis(t, testPrimes(t, size.width, size.k))
		in := randomResidues(b, 5)
		for name, path := range paths(b) {
			x, y := make([]byte, b.Size()), make([]byte, b.Size())
			if err := errors.Join(path(x, in, s), path(y, in, new(Scratch))); err != nil || !bytes.Equal(x, y) {
				t.Fatalf("%s, %d×%d: differs in used scratch (%v)", name, size.k, size.width, err)
			}
		}
	}
}

func randomResidues(b *Basis, seed uint64) []byte {
	in := make([]byte, b.Size())
	_, _ = (&stream{seed: seed + 1<<32}).Read(in)
	return in // below their moduli but for one chance in 2^128
}

func FuzzCombineVsNaive(f *testing.F) {
	f.Add(byte(16), []byte("residues"))
	f.Add(byte(1), []byte{})
	f.Add(byte(7), bytes.Repeat([]byte{0xff}, 7*32))
	f.Fuzz(func(t *testing.T, k byte, raw []byte) {
		moduli := testPrimes(t, 256, 33)[:1+int(k)%33]
		b, m := mustBasis(t, moduli), ints(moduli)
		in := make([]byte, b.Size())
		copy(in, raw)
		residues := make([]*big.Int, len(m))
		for i := range residues {
			residues[i] = new(big.Int).SetBytes(in[i*32 : (i+1)*32])
			residues[i].Mod(residues[i], m[i])
		}
		if x, want := combine(t, b, residues), naive(m, residues); x.Cmp(want) != 0 {
			t.Fatalf("x = %x, by the formula %x", x, want)
		}
	})
}

func FuzzReplace(f *testing.F) {
	f.Add(byte(16), []byte{0, 0, 5, 1, 0, 2})
	f.Fuzz(func(t *testing.T, k byte, steps []byte) {
		primes := testPrimes(t, 256, 24)
		moduli, spare := primes[:1+int(k)%16], primes[16:]
		b := mustBasis(t, moduli)
		for ; len(steps) >= 2 && len(steps) < 40; steps = steps[2:] {
			i, j := int(steps[0])%len(moduli), int(steps[1])%len(spare)
			moduli[i], spare[j] = spare[j], moduli[i]
			next, err := b.Replace(i, moduli[i])
			if err != nil {
				t.Fatal(err)
			}
			b = next
		}
		m := ints(moduli)
		residues := make([]*big.Int, len(m))
		for i := range m {
			residues[i] = new(big.Int).Sub(m[i], big.NewInt(int64(i+1)))
		}
		if x, want := combine(t, b, residues), naive(m, residues); x.Cmp(want) != 0 {
			t.Fatalf("after replacing x = %x, by the formula %x", x, want)
		}
	})
}
