package residue

import "math/big"

// invert sets z, below m, to x⁻¹ mod m, and says whether there is one; x is below
// 2^L, and may be z.
func invert(z, x []word, m *Modulus) bool {
	w := new(big.Int).ModInverse(new(big.Int).SetBits(append([]word(nil), x...)), m.Int())
	if w == nil {
		return false
	}
	clear(z)
	copy(z, w.Bits())
	return true
}
