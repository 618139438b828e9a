package residue

import (
	"errors"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawNeighbours draws k different moduli, which are no primes, with distances of
// so few bits that numbers which are long elsewhere are short, or none.
func drawNeighbours(t *rapid.T, k int) []*Modulus {
	width := rapid.SampledFrom([]int{256, 512, 512, 512, 1024}).Draw(t, "width")
	c := new(big.Int).Lsh(big.NewInt(1), uint(width/2))
	if rapid.Bool().Draw(t, "least") {
		c.Rsh(c, 1).Add(c, big.NewInt(1))
	} else {
		c.Sub(c, big.NewInt(1<<20-1))
	}
	moduli := make([]*Modulus, k)
	for i, d := range rapid.SliceOfNDistinct(rapid.Int64Range(0, 1<<rapid.IntRange(8, 18).Draw(t, "bits")), k, k, rapid.ID).Draw(t, "c") {
		moduli[i] = modulusOf(t, width, new(big.Int).Add(c, big.NewInt(2*d)))
	}
	return moduli
}

func modulusOf(t rapid.TB, width int, c *big.Int) *Modulus {
	m, err := NewModulus(width, c.FillBytes(make([]byte, width/16)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestReplaceOfNeighboursIsRebuild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		moduli := drawNeighbours(t, rapid.IntRange(3, 7).Draw(t, "k"))
		replaceIsRebuild(t, moduli, rapid.IntRange(0, len(moduli)-2).Draw(t, "place"))
	})
	// Those may all have factors in common. These have none.
	var moduli []*Modulus
	c := new(big.Int).Lsh(big.NewInt(1), 255)
	for _, more := range []int64{1, 3, 7, 9, 15} {
		moduli = append(moduli, modulusOf(t, 512, new(big.Int).Add(c, big.NewInt(more))))
	}
	for i := range len(moduli) - 1 {
		if !replaceIsRebuild(t, moduli, i) {
			t.Errorf("place %d: no basis", i)
		}
	}
}

// replaceIsRebuild puts the last modulus in place i of a basis of the others, and
// reports whether there are both bases.
func replaceIsRebuild(t rapid.TB, moduli []*Modulus, i int) (both bool) {
	k := len(moduli) - 1
	b, err := NewBasis(moduli[:k])
	if err != nil {
		return false // a factor in common
	}
	others := slices.Clone(moduli[:k])
	others[i] = moduli[k]
	rebuilt, err2 := NewBasis(others)
	check := func() {
		next, err := b.Replace(i, moduli[k])
		if err2 != nil {
			if !errors.Is(err, ErrNotCoprime) {
				t.Fatalf("%v, rebuilt %v", err, err2)
			}
			return
		}
		if err != nil || !slices.Equal(next.weights, rebuilt.weights) || !slices.Equal(next.root.d, rebuilt.root.d) {
			t.Fatalf("%v, weights %x, rebuilt %x", err, next.weights, rebuilt.weights)
		}
	}
	check()
	withoutADX(check)
	return err2 == nil
}

func TestCrossOverIsTheFactorOfAWeight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m, mj, old *Modulus
		if rapid.Bool().Draw(t, "near") {
			near := drawNeighbours(t, 3)
			m, mj, old = near[0], near[1], near[2]
		} else {
			m = drawModulus(t, 512)
			mj, old = drawModulus(t, 512), drawModulus(t, 512)
		}
		crossesOver(t, m, mj, old, rapid.Bool().Draw(t, "above"))
	})
	// Where d divides e, u is their quotient, and u·d is e: from either side, with
	// u as it is and a modulus above.
	c := new(big.Int).Lsh(big.NewInt(1), 255)
	c.Add(c, big.NewInt(1001))
	near := func(by int64) *Modulus { return modulusOf(t, 512, new(big.Int).Add(c, big.NewInt(by))) }
	for _, d := range []int64{2, -2} {
		for _, e := range []int64{2, -2, 6, -6} {
			for _, above := range []bool{false, true} {
				if !crossesOver(t, near(0), near(d), near(e), above) {
					t.Errorf("d %d, e %d: u·d is not e", d, e)
				}
			}
		}
	}
}

// crossesOver compares crossOver with big integers, and reports whether u·d is e
// there: that it is short.
func crossesOver(t rapid.TB, m, mj, old *Modulus, above bool) (short bool) {
	p := newProduct(m, make([]word, productLimbs*m.limbs()))
	d, e := make([]word, len(m.c)), make([]word, len(m.c))
	negative, same := difference(d, m.c, mj.c)
	less, _ := difference(e, m.c, old.c)
	inverse := new(big.Int).ModInverse(intOf(d), m.Int())
	if same || inverse == nil {
		return false
	}
	u := new(big.Int).Mul(intOf(e), inverse)
	u.Mod(u, m.Int())
	short = new(big.Int).Mul(u, intOf(d)).Cmp(intOf(e)) == 0
	if more := new(big.Int).Add(u, m.Int()); above && more.BitLen() <= m.width {
		u = more
	}
	want := new(big.Int).ModInverse(m.Int(), mj.Int())
	want.Mul(want, old.Int()).Mod(want, mj.Int())
	check := func() {
		clear(p.r)
		copy(p.r, u.Bits())
		p.m = m
		if p.crossOver(mj, d, negative, less); p.m != mj || new(big.Int).Mod(intOf(p.r), mj.Int()).Cmp(want) != 0 {
			t.Fatalf("from %v to %v, for %v: %x", m.Int(), mj.Int(), old.Int(), p.r)
		}
	}
	check()
	withoutADX(check)
	return short
}
