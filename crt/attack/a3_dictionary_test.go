package attack_test

import (
	"fmt"
	"math/big"
	"testing"
)

// A3. The attacker has two x and no key; client i was sent a code in each, and
// he knows what codes look like, not which they are.
//
// One of the numbers x1 - g1 and one of the x2 - g2, over all codes g1 and g2,
// are multiples of m_i. He need not take each pair's gcd: the product of all
// x2 - g2, modulo x1 - g1, has m_i in common with it as soon as g1 is right. In
// the hardened form the number of residues for one code is that of the keys.
func TestDictionaryGivesThePrimeAndTheCodes(t *testing.T) {
	codes := 300
	if testing.Short() {
		codes = 60
	}
	duel(t, 3, func(t *testing.T, v victim) (wins, tries int) {
		const client = 1
		truth := [2]string{code(codes * 2 / 3), code(codes / 7)}
		var xs [2]*big.Int
		for j := range xs {
			texts := randomTexts(randomness(truth[j]), 3, 24)
			texts[client] = []byte(truth[j])
			xs[j] = mustSeal(t, v, texts).x
		}
		var differences [2][][]*big.Int // by batch, by code, by encoding
		for j, x := range xs {
			for c := range codes {
				var ds []*big.Int
				for _, e := range v.encodings([]byte(code(c)), uint64(j+1)) {
					ds = append(ds, minus(x, e))
				}
				differences[j] = append(differences[j], ds)
			}
		}
		for e := range differences[0][0] {
			tries++
			first, second, prime := searchCodes(differences, e)
			if prime != nil && isModulus(t, prime, v.moduli()[client]) && code(first) == truth[0] && code(second) == truth[1] {
				wins++
			}
		}
		return wins, tries
	})
}

func code(n int) string { return fmt.Sprintf("your code is %04d", n) }

// searchCodes returns the two codes whose differences have a long divisor in
// common, and that divisor.
func searchCodes(differences [2][][]*big.Int, encoding int) (first, second int, divisor *big.Int) {
	for first, ds := range differences[0] {
		d := ds[encoding]
		all := big.NewInt(1)
		for _, others := range differences[1] {
			all.Mod(all.Mul(all, others[encoding]), d)
		}
		// Of so many random numbers each has some small primes in common with d.
		if gcd(all, d).BitLen() < 200 {
			continue
		}
		for second, others := range differences[1] {
			if g := gcd(others[encoding], d); g.BitLen() > 64 {
				return first, second, g
			}
		}
	}
	return 0, 0, nil
}
