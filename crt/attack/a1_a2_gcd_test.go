package attack_test

import (
	"bytes"
	"math/big"
	"testing"
)

// gcd is that of two differences, one of which may be negative.
func gcd(a, b *big.Int) *big.Int {
	return new(big.Int).GCD(nil, nil, new(big.Int).Abs(a), new(big.Int).Abs(b))
}

func minus(a, b *big.Int) *big.Int { return new(big.Int).Sub(a, b) }

// isModulus says whether a gcd gives a modulus away. Random numbers have a few
// bits in common at most; anything longer that is no modulus fails the test.
func isModulus(t *testing.T, g, modulus *big.Int) bool {
	t.Helper()
	if g.BitLen() < 64 {
		return false
	}
	if cofactor, rest := new(big.Int).QuoRem(g, modulus, new(big.Int)); rest.Sign() != 0 || cofactor.BitLen() > 16 {
		t.Errorf("a common divisor of %d bits that is no modulus", g.BitLen())
	}
	return true
}

// A1. The attacker has one x and no key; all clients were sent the same text.
//
// x = b solves x = b modulo every m_i, and there is one solution below M: x is
// the text. In the hardened form each client's residue is the text under another
// key, so nothing is equal.
func TestBroadcastStandsInClear(t *testing.T) {
	duel(t, 4, func(t *testing.T, v victim) (wins, tries int) {
		text := []byte("closed for the holidays")
		f := mustSeal(t, v, [][]byte{text, text, text, text})
		if bytes.Contains(f.x.Bytes(), text) {
			wins++
		}
		return wins, 1
	})
}

// A2. The attacker has two x and knows client i's text in each: what he sent
// himself, a greeting, a price on the news.
//
// x - b_i is a multiple of m_i, so gcd(x1 - b1, x2 - b2) = m_i. In the hardened
// form the residue is a ciphertext, and who knows the text still doesn't know
// that; he may take the text, the padded text, or that with a tag of zeros.
func TestTwoKnownTextsGiveThePrime(t *testing.T) {
	duel(t, 4, func(t *testing.T, v victim) (wins, tries int) {
		first, second := randomTexts(randomness("first"), 4, 24), randomTexts(randomness("second"), 4, 24)
		x1, x2 := mustSeal(t, v, first).x, mustSeal(t, v, second).x
		for i, m := range v.moduli() {
			guesses := v.encodings(second[i], 2)
			for e, guess := range v.encodings(first[i], 1) {
				tries++
				if isModulus(t, gcd(minus(x1, guess), minus(x2, guesses[e])), m) {
					wins++
				}
			}
		}
		return wins, tries
	})
}

// A2b. The attacker has three x and no key; client i got the same text in each,
// and the attacker doesn't know which: a heartbeat, "no news".
//
// The unknown text cancels: x1 - x2 and x1 - x3 are multiples of m_i, so their
// gcd is m_i, and then x1 modulo m_i is the text. In the hardened form the same
// text is another residue in every batch, since the batch number is the nonce.
func TestRepeatedTextGivesThePrimeAndTheText(t *testing.T) {
	const heartbeat = "still here"
	duel(t, 4, func(t *testing.T, v victim) (wins, tries int) {
		r := randomness("others")
		for i, m := range v.moduli() {
			var xs [3]*big.Int
			for j := range xs {
				texts := randomTexts(r, 4, 24)
				texts[i] = []byte(heartbeat)
				xs[j] = mustSeal(t, v, texts).x
			}
			tries++
			g := gcd(minus(xs[0], xs[1]), minus(xs[0], xs[2]))
			if isModulus(t, g, m) && bytes.Contains(new(big.Int).Mod(xs[0], m).Bytes(), []byte(heartbeat)) {
				wins++
			}
		}
		return wins, tries
	})
}

// A2c. The attacker has two x and no key; there was nothing for client i.
//
// Its residue was 0: both x are multiples of m_i, and gcd(x1, x2) = m_i. Any
// other constant filler falls to A2b. In the hardened form an empty slot is
// sealed as any other.
func TestIdleClientGivesThePrime(t *testing.T) {
	duel(t, 4, func(t *testing.T, v victim) (wins, tries int) {
		r := randomness("others")
		for i, m := range v.moduli() {
			var xs [2]*big.Int
			for j := range xs {
				texts := randomTexts(r, 4, 24)
				texts[i] = nil
				xs[j] = mustSeal(t, v, texts).x
			}
			tries++
			if isModulus(t, gcd(xs[0], xs[1]), m) {
				wins++
			}
		}
		return wins, tries
	})
}
