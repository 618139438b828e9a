//go:build !race

package residue

import (
	"math/big"
	"testing"
)

// The race detector drops what math/big keeps in a pool, so that nothing can be
// said of allocations under it.

func TestCombineDoesNotAllocate(t *testing.T) {
	for _, k := range []int{1, 5, 16, 64} {
		b := mustBasis(t, testPrimes(t, 512, k))
		for name, path := range paths(b) {
			x, in, s := make([]byte, b.Size()), randomResidues(b, 3), new(Scratch)
			if n := testing.AllocsPerRun(20, func() {
				if err := path(x, in, s); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%s of %d: %v allocations", name, k, n)
			}
		}
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
