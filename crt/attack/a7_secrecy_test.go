package attack_test

import (
	"bytes"
	"math/big"
	"testing"
)

// A7. The attacker kept every x, and much later steals client i's prime.
//
// x modulo m_i is the text, of every batch there ever was. In the hardened form
// it is a ciphertext: the prime is a part of what its key is derived from, and
// without the rest of no use.
func TestStolenPrimeOpensTheWholePast(t *testing.T) {
	const clients, batches, victimClient = 4, 20, 2
	duel(t, clients, func(t *testing.T, v victim) (wins, tries int) {
		r := randomness("texts")
		var kept []frame
		var texts [][]byte
		for range batches {
			batch := randomTexts(r, clients, 24)
			kept, texts = append(kept, mustSeal(t, v, batch)), append(texts, batch[victimClient])
		}
		stolen := v.moduli()[victimClient]
		for i, f := range kept {
			tries++
			if bytes.Contains(new(big.Int).Mod(f.x, stolen).Bytes(), texts[i]) {
				wins++
			}
		}
		return wins, tries
	})
}

// The prime doesn't even tell whether two texts were the same.
func TestStolenPrimeTellsEqualTexts(t *testing.T) {
	duel(t, 2, func(t *testing.T, v victim) (wins, tries int) {
		texts := [][]byte{[]byte("yes"), []byte("no")}
		first, second := mustSeal(t, v, texts).x, mustSeal(t, v, texts).x
		for _, m := range v.moduli() {
			tries++
			if new(big.Int).Mod(first, m).Cmp(new(big.Int).Mod(second, m)) == 0 {
				wins++
			}
		}
		return wins, tries
	})
}

// Nor does it, with one text that is known, open another: under one keystream the
// residues would differ as the texts do. In the hardened form no nonce comes
// twice under a key.
func TestStolenPrimeAndOneTextOpenTheNext(t *testing.T) {
	duel(t, 2, func(t *testing.T, v victim) (wins, tries int) {
		r := randomness("texts")
		known, secret := randomTexts(r, 2, 24), randomTexts(r, 2, 24)
		x1, x2 := mustSeal(t, v, known).x, mustSeal(t, v, secret).x
		for i, m := range v.moduli() {
			for _, e := range v.encodings(known[i], 1) {
				tries++
				keystream := new(big.Int).Xor(new(big.Int).Mod(x1, m), e)
				if bytes.Contains(keystream.Xor(keystream, new(big.Int).Mod(x2, m)).Bytes(), secret[i]) {
					wins++
				}
			}
		}
		return wins, tries
	})
}

// And who steals all that a client holds, keys included, after a key period has
// ended, can't open what was sealed in it: the keys of a period are not derived
// from those after it.
func TestStolenClientOpensThePeriodsBefore(t *testing.T) {
	const clients = 3
	duel(t, clients, func(t *testing.T, v victim) (wins, tries int) {
		old := mustSeal(t, v, randomTexts(randomness("texts"), clients, 24))
		v.nextPeriod()
		now := mustSeal(t, v, randomTexts(randomness("more texts"), clients, 24))
		if accepted(v, now, nobody) != clients {
			t.Fatal("a frame of the present must open")
		}
		return accepted(v, old, nobody), clients
	})
}
