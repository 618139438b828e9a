//go:build amd64 && !purego

package residue

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// withoutADX runs f as a processor without those instructions would.
func withoutADX(f func()) {
	had := haveADX
	haveADX = false
	f()
	haveADX = had
}

// TestKernelsAgree: the assembly and what it stands for, where carries go
// furthest.
func TestKernelsAgree(t *testing.T) {
	if !haveADX {
		t.Skip("this processor has no ADX")
	}
	rapid.Check(t, func(t *rapid.T) {
		n := 4 * rapid.IntRange(1, 9).Draw(t, "fours")
		draw := func(name string, n int) []word {
			z := make([]word, n)
			for i := range z {
				z[i] = rapid.SampledFrom([]word{0, 1, ^word(0), ^word(0), 1 << 63, 0x55}).Draw(t, name)
			}
			return z
		}
		z, x, y := draw("z", n+4), draw("x", n), (*[4]word)(draw("y", 4))
		carry := word(rapid.IntRange(0, 1).Draw(t, "carry"))
		z2 := append(slices.Clone(z), 0xabc)
		c := addMul4(z, x, y, carry)
		c2 := addMul4ADX(&z2[0], &x[0], n/4, y, carry)
		if c != c2 || !slices.Equal(append(z, 0xabc), z2) {
			t.Fatalf("%x carry %x, with ADX %x carry %x", z, c, z2, c2)
		}
	})
}
