package attack_test

import (
	"bytes"
	"math/big"
	"testing"
)

// A5. Nobody attacks; a text is longer than its prime.
//
// x modulo m_i = b_i modulo m_i, which is another text, and nothing tells the
// client. In the hardened form a text that doesn't fit its slot is refused
// before it is sealed, and a residue that isn't below its modulus when combined.
func TestTooLongTextBecomesAnother(t *testing.T) {
	const clients = 3
	duel(t, clients, func(t *testing.T, v victim) (wins, tries int) {
		for i, m := range v.moduli() {
			for longer := 1; longer <= 8; longer++ {
				texts := randomTexts(randomness("texts"), clients, 24)
				// 0x80 ends a text in the hardened form: were the text cut, what
				// is left would pass for one.
				texts[i] = bytes.Repeat([]byte{0x80}, m.BitLen()/8+longer)
				tries++
				f, err := v.seal(texts)
				if err != nil {
					continue
				}
				if got, ok := v.open(i, f); ok && !bytes.Equal(got.text, texts[i]) {
					wins++
				}
			}
		}
		return wins, tries
	})
}

func TestTooLargeResidueBecomesAnother(t *testing.T) {
	const clients = 3
	duel(t, clients, func(t *testing.T, v victim) (wins, tries int) {
		for i, m := range v.moduli() {
			top := new(big.Int).Lsh(big.NewInt(1), uint(m.BitLen()))
			for _, b := range []*big.Int{m, new(big.Int).Add(m, big.NewInt(1)), top.Sub(top, big.NewInt(1))} {
				residues := []*big.Int{big.NewInt(1), big.NewInt(2), big.NewInt(3)}
				residues[i] = b
				tries++
				x, err := v.combine(residues)
				if err == nil && new(big.Int).Mod(x, m).Cmp(b) != 0 {
					wins++
				}
			}
			residues := []*big.Int{big.NewInt(1), big.NewInt(2), big.NewInt(3)}
			residues[i] = minus(m, big.NewInt(1))
			if _, err := v.combine(residues); err != nil {
				t.Errorf("the largest residue that fits: %v", err)
			}
		}
		return wins, tries
	})
}

// Every length that the hardened form takes arrives as it was sent, and the
// next one up to a whole slot is refused.
func TestTextsThatFitArriveAndOthersAreRefused(t *testing.T) {
	v := newHardened(t.Name(), 2)
	for size := range slotBytes + 1 {
		texts := randomTexts(randomness(t.Name()), 2, size)
		f, err := v.seal(texts)
		if fits := size <= blockSize-overhead; fits != (err == nil) {
			t.Errorf("a text of %d bytes: %v", size, err)
		}
		if err != nil {
			continue
		}
		for i, text := range texts {
			if got, ok := v.open(i, f); !ok || !bytes.Equal(got.text, text) {
				t.Errorf("a text of %d bytes for client %d: got %x, %v", size, i, got.text, ok)
			}
		}
	}
}
