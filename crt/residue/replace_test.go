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
		raw := new(big.Int).Add(c, big.NewInt(2*d)).FillBytes(make([]byte, width/16))
		m, err := NewModulus(width, raw)
		if err != nil {
			t.Fatal(err)
		}
		moduli[i] = m
	}
	return moduli
}

func TestReplaceOfNeighboursIsRebuild(t *testing.T) {
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		moduli := drawNeighbours(t, rapid.IntRange(3, 7).Draw(t, "k"))
		k := len(moduli) - 1
		i := rapid.IntRange(0, k-1).Draw(t, "place")
		b, err := NewBasis(moduli[:k])
		if err != nil {
			return // a factor in common
		}
		check := func() {
			next, err := b.Replace(i, moduli[k])
			others := slices.Clone(moduli[:k])
			others[i] = moduli[k]
			rebuilt, err2 := NewBasis(others)
			if err2 != nil {
				if !errors.Is(err, ErrNotCoprime) {
					t.Fatalf("%v, rebuilt %v", err, err2)
				}
				return
			}
			if err != nil || !slices.Equal(next.weights, rebuilt.weights) || !slices.Equal(next.root.d, rebuilt.root.d) {
				t.Fatalf("%v, weights %x, rebuilt %x", err, next.weights, rebuilt.weights)
			}
			found++
		}
		check()
		withoutADX(check)
	})
	if found == 0 {
		t.Error("no moduli without a factor in common")
	}
}

func TestCrossOverIsTheFactorOfAWeight(t *testing.T) {
	short := 0
	rapid.Check(t, func(t *rapid.T) {
		var m, mj, old *Modulus
		if rapid.Bool().Draw(t, "near") {
			near := drawNeighbours(t, 3)
			m, mj, old = near[0], near[1], near[2]
		} else {
			m = drawModulus(t, 512)
			mj, old = drawModulus(t, 512), drawModulus(t, 512)
		}
		p := newProduct(m, make([]word, productLimbs*m.limbs()))
		d, e := make([]word, len(m.c)), make([]word, len(m.c))
		negative, same := difference(d, m.c, mj.c)
		less, _ := difference(e, m.c, old.c)
		inverse := new(big.Int).ModInverse(intOf(d), m.Int())
		if same || inverse == nil {
			return
		}
		u := new(big.Int).Mul(intOf(e), inverse)
		u.Mod(u, m.Int())
		if new(big.Int).Mul(u, intOf(d)).Cmp(intOf(e)) == 0 {
			short++
		}
		if above := new(big.Int).Add(u, m.Int()); above.BitLen() <= m.width && rapid.Bool().Draw(t, "above") {
			u = above
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
	})
	if short == 0 {
		t.Error("u·d was never e")
	}
}
