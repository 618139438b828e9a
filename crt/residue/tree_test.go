package residue

import (
	"errors"
	"math/big"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// drawCoprime draws moduli of mixed widths, even ones and tiny ones among
// them: powers of different primes.
func drawCoprime(t *rapid.T) []*big.Int {
	small := []int64{2, 3, 5, 7, 11, 13, 257, 65537, 1<<31 - 1}
	var m []*big.Int
	for _, p := range small {
		if e := rapid.IntRange(0, 40).Draw(t, "exponent"); e > 0 {
			m = append(m, new(big.Int).Exp(big.NewInt(p), big.NewInt(int64(e)), nil))
		}
	}
	for _, width := range []int{256, 512, 1024} {
		k := rapid.IntRange(0, 9).Draw(t, "primes")
		m = append(m, ints(testPrimes(primeTB, width, 9)[:k])...)
	}
	if len(m) == 0 {
		m = append(m, big.NewInt(2))
	}
	rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 0))
	rnd.Shuffle(len(m), func(i, j int) { m[i], m[j] = m[j], m[i] })
	return m
}

func mustTree(t testing.TB, moduli []*big.Int) *Tree {
	t.Helper()
	tree, err := NewTree(moduli)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func combineTree(t rapid.TB, tree *Tree, residues []*big.Int) *big.Int {
	t.Helper()
	x := new(big.Int)
	if err := tree.Combine(x, residues, new(Arena)); err != nil {
		t.Fatal(err)
	}
	return x
}

func TestTreeIsFormulaOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawCoprime(t)
		residues := drawResidues(t, m)
		x := combineTree(t, mustTree(primeTB, m), residues)
		if want := naive(m, residues); x.Cmp(want) != 0 {
			t.Fatalf("x = %x, by the formula %x", x, want)
		}
		if want := garner(m, residues); x.Cmp(want) != 0 {
			t.Fatalf("x = %x, by Garner %x", x, want)
		}
	})
}

func TestTreeIsBasis(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		moduli := drawModuli(t)
		m := ints(moduli)
		residues := drawResidues(t, m)
		x, y := combine(t, mustBasis(primeTB, moduli), residues), combineTree(t, mustTree(primeTB, m), residues)
		if x.Cmp(y) != 0 {
			t.Fatalf("basis %x, tree %x", x, y)
		}
	})
}

// TestShardIsRemainderOfAll: the x of a shard is the x over everybody modulo
// the shard's product.
func TestShardIsRemainderOfAll(t *testing.T) {
	moduli := testPrimes(t, 512, 33)
	all := mustTree(t, ints(moduli))
	rapid.Check(t, func(t *rapid.T) {
		residues := drawResidues(t, ints(moduli))
		x := combineTree(t, all, residues)
		from := rapid.IntRange(0, 32).Draw(t, "from")
		to := rapid.IntRange(from+1, min(33, from+16)).Draw(t, "to")
		shard := combine(t, mustBasis(primeTB, moduli[from:to]), residues[from:to])
		if rest := x.Mod(x, product1(ints(moduli[from:to]))); rest.Cmp(shard) != 0 {
			t.Fatalf("x mod P = %x, the shard's %x", rest, shard)
		}
	})
}

func TestTreeReplaceIsRebuild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawCoprime(t)
		tree := mustTree(primeTB, m)
		spare := ints(testPrimes(primeTB, 512, 14)[9:])
		for range rapid.IntRange(1, 5).Draw(t, "steps") {
			i, j := rapid.IntRange(0, len(m)-1).Draw(t, "place"), rapid.IntRange(0, len(spare)-1).Draw(t, "spare")
			m[i], spare[j] = spare[j], m[i]
			next, err := tree.Replace(i, m[i])
			if err != nil {
				t.Fatal(err)
			}
			tree = next
		}
		residues := drawResidues(t, m)
		x, y := combineTree(t, tree, residues), combineTree(t, mustTree(primeTB, m), residues)
		if x.Cmp(y) != 0 {
			t.Fatalf("replaced %x, rebuilt %x", x, y)
		}
	})
}

// largeModuli are coprime, of bits each, and quickly made: 2^bits − c for
// differences of c that are powers of 2, of odd numbers.
func largeModuli(t testing.TB, k, bits int) []*big.Int {
	t.Helper()
	m := make([]*big.Int, 0, k)
	one := big.NewInt(1)
	p := new(big.Int).Lsh(one, uint(bits))
	p.Sub(p, big.NewInt(1))
	all := big.NewInt(1)
	for len(m) < k {
		if new(big.Int).GCD(nil, nil, all, p).Cmp(one) == 0 {
			m = append(m, new(big.Int).Set(p))
			all.Mul(all, p)
		}
		p.Sub(p, big.NewInt(2))
	}
	return m
}

// TestLargeTreeGoesByTransforms and is right, with residues that fill every
// coefficient, before and after a Replace.
func TestLargeTreeGoesByTransforms(t *testing.T) {
	m := largeModuli(t, 61, 20000)
	tree := mustTree(t, m[:60])
	if tree.root.plan == nil {
		t.Fatal("by plain products: it tests nothing")
	}
	residues := make([]*big.Int, 60)
	for round := range 3 {
		for i := range residues {
			raw := make([]byte, 2500)
			_, _ = (&stream{seed: uint64(i + 100*round)}).Read(raw)
			residues[i] = new(big.Int).SetBytes(raw)
			if round == 1 {
				residues[i].Set(tree.moduli[i])
			}
			residues[i].Sub(residues[i], big.NewInt(1)).Mod(residues[i], tree.moduli[i])
		}
		x := combineTree(t, tree, residues)
		for i, r := range residues {
			if new(big.Int).Mod(x, tree.moduli[i]).Cmp(r) != 0 {
				t.Fatalf("round %d: residue %d is another", round, i)
			}
		}
		if x.Cmp(product1(tree.moduli)) >= 0 {
			t.Fatal("x is not below M")
		}
		next, err := tree.Replace(7, m[60-53*(round%2)])
		if err != nil {
			t.Fatal(err)
		}
		tree = next
	}
}

func TestNewTreeRefuses(t *testing.T) {
	p := ints(testPrimes(t, 256, 3))
	six, four := big.NewInt(6), big.NewInt(4)
	for _, c := range []struct {
		name   string
		moduli []*big.Int
		want   error
	}{
		{"none", nil, ErrNoModuli},
		{"one", []*big.Int{p[0], big.NewInt(1)}, ErrModulus},
		{"zero", []*big.Int{new(big.Int)}, ErrModulus},
		{"a negative one", []*big.Int{big.NewInt(-7), p[0]}, ErrModulus},
		{"the same one twice", []*big.Int{p[0], p[1], p[2], p[1]}, ErrDuplicate},
		{"two even ones", []*big.Int{p[0], six, p[1], four}, ErrNotCoprime},
	} {
		if _, err := NewTree(c.moduli); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
	}
	tree := mustTree(t, []*big.Int{p[0], p[1], six})
	for _, c := range []struct {
		name string
		i    int
		m    *big.Int
		want error
	}{
		{"a place below", -1, p[2], ErrNoSuch}, {"a place beyond", 3, p[2], ErrNoSuch},
		{"one that is there", 0, p[1], ErrDuplicate}, {"a common factor", 0, four, ErrNotCoprime},
		{"one", 0, big.NewInt(1), ErrModulus},
	} {
		if _, err := tree.Replace(c.i, c.m); !errors.Is(err, c.want) {
			t.Errorf("replace, %s: error %v, want %v", c.name, err, c.want)
		}
	}
}

func TestTreeCombineRefuses(t *testing.T) {
	m := ints(testPrimes(t, 256, 3))
	tree, zero := mustTree(t, m), new(big.Int)
	x := big.NewInt(42)
	for _, bad := range []*big.Int{m[1], big.NewInt(-1), new(big.Int).Lsh(m[1], 300)} {
		var large *TooLarge
		if err := tree.Combine(x, []*big.Int{zero, bad, zero}, new(Arena)); !errors.As(err, &large) || large.Index != 1 {
			t.Errorf("%v: %v", bad, err)
		}
	}
	for _, n := range []int{0, 2, 4} {
		if err := tree.Combine(x, make([]*big.Int, n), new(Arena)); !errors.Is(err, ErrCount) {
			t.Errorf("%d residues: %v", n, err)
		}
	}
	if x.Int64() != 42 {
		t.Error("x was written although residues were refused")
	}
}

func TestTreeCombineDoesNotAllocate(t *testing.T) {
	m := ints(testPrimes(t, 256, 33))
	tree, x, a := mustTree(t, m), new(big.Int), new(Arena)
	residues := make([]*big.Int, len(m))
	for i := range m {
		residues[i] = new(big.Int).Sub(m[i], big.NewInt(1))
	}
	if n := testing.AllocsPerRun(20, func() {
		if err := tree.Combine(x, residues, a); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestTransformMultiplies: sums of two products by every plan, full of ones and
// zeros, where carries go furthest.
func TestTransformMultiplies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limbs := rapid.IntRange(2, 300).Draw(t, "limbs")
		p := planOf(2*limbs+1, rapid.IntRange(1, 8).Draw(t, "k"))
		draw := func(name string) []word {
			z := make([]word, limbs)
			for i := range z {
				z[i] = rapid.SampledFrom([]word{0, 1, ^word(0), ^word(0), 1 << (wordBits - 1), 0x55}).Draw(t, name)
			}
			return z
		}
		a, x, b, y := draw("a"), draw("x"), draw("b"), draw("y")
		ta, tx, tb, ty, tmp := make([]word, p.elements()), make([]word, p.elements()), make([]word, p.elements()), make([]word, p.elements()), make([]word, p.size())
		p.transform(ta, a, tmp)
		p.transform(tx, x, tmp)
		p.transform(tb, b, tmp)
		p.transform(ty, y, tmp)
		p.pointwise(ta, tx, tb, ty, new(multiplier))
		out := make([]word, 2*limbs+1)
		p.inverse(out, ta, tmp)
		n := func(z []word) *big.Int { return new(big.Int).SetBits(append([]word(nil), z...)) }
		want := new(big.Int).Mul(n(a), n(x))
		want.Add(want, new(big.Int).Mul(n(b), n(y)))
		if n(out).Cmp(want) != 0 {
			t.Fatalf("%+v: %x·%x + %x·%x = %x, not %x", *p, a, x, b, y, n(out), want)
		}
	})
}

// TestRing compares every operation with big.Int's, at 2^N itself and about it.
func TestRing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(t, "limbs")
		modulus := new(big.Int).Lsh(big.NewInt(1), uint(n*wordBits))
		modulus.Add(modulus, big.NewInt(1))
		draw := func(name string) ([]word, *big.Int) {
			z := make([]word, n+1)
			if rapid.IntRange(0, 3).Draw(t, name) == 0 {
				z[n] = 1
			} else {
				for i := range n {
					z[i] = rapid.SampledFrom([]word{0, 0, 1, ^word(0), ^word(0), 1 << (wordBits - 1), 0x55}).Draw(t, name)
				}
			}
			return z, new(big.Int).SetBits(append([]word(nil), z...))
		}
		x, xi := draw("x")
		y, yi := draw("y")
		check := func(what string, z []word, want *big.Int) {
			want.Mod(want, modulus)
			if got := new(big.Int).SetBits(append([]word(nil), z...)); got.Cmp(want) != 0 {
				t.Fatalf("%s: %x, not %x", what, got, want)
			}
		}
		z := make([]word, n+1)
		ringAdd(z, x, y)
		check("sum", z, new(big.Int).Add(xi, yi))
		ringSub(z, x, y)
		check("difference", z, new(big.Int).Sub(xi, yi))
		e := rapid.IntRange(0, n*wordBits-1).Draw(t, "e")
		ringShift(z, x, e)
		check("shift", z, new(big.Int).Lsh(xi, uint(e)))
		product := new(big.Int).Mul(xi, yi)
		product.Add(product, new(big.Int).Mul(xi, xi))
		ringReduce(z, product.Bits())
		check("sum of products", z, new(big.Int).Set(product))
	})
}
