package attack_test

import (
	"math"
	"math/big"
	"math/bits"
	"testing"
)

// collect returns x of so many batches of random texts.
func collect(t *testing.T, v victim, batches, textSize int) []*big.Int {
	t.Helper()
	r, xs := randomness("texts"), make([]*big.Int, batches)
	for i := range xs {
		xs[i] = mustSeal(t, v, randomTexts(r, len(v.moduli()), textSize)).x
	}
	return xs
}

// learnt estimates a bound that numbers stay below, from the largest of them,
// and returns how many bits closer that is than what one would take the bound
// for without having seen any.
func learnt(numbers []*big.Int, bound, guess *big.Int) float64 {
	top := new(big.Int)
	for _, n := range numbers {
		if n.Cmp(top) > 0 {
			top = n
		}
	}
	n := big.NewInt(int64(len(numbers)))
	estimate := new(big.Int).Add(top, new(big.Int).Quo(top, n)) // of n draws the largest is 1/n short
	return distance(guess, bound) - distance(estimate, bound)
}

// distance is log2 |a - b|, to a bit or so.
func distance(a, b *big.Int) float64 {
	d := minus(a, b)
	f, _ := new(big.Float).SetInt(d.Abs(d)).Float64()
	if math.IsInf(f, 0) {
		return float64(d.BitLen())
	}
	return math.Log2(f + 1)
}

// A6, from outside. The attacker has x of many batches, and nothing else.
//
// x is spread over [0, M): the largest of N is within M/N of M, which is log2 N
// bits of M. In the hardened form the moduli lie so close below 2^512 that
// anybody knows the top half of M's bits before he has seen one x, and to learn
// one more takes some 2^256 of them.
func TestLargestNumberTellsTheProductOfPrimes(t *testing.T) {
	const clients, batches = 4, 1500
	duel(t, clients, func(t *testing.T, v victim) (wins, tries int) {
		guess := new(big.Int).Exp(v.guess(), big.NewInt(clients), nil)
		got := learnt(collect(t, v, batches, 16), product(v.moduli()), guess)
		t.Logf("%.1f bits closer to M than without any x", got)
		if got >= float64(bits.Len(batches))-4 {
			wins++
		} else if got > 0 {
			t.Errorf("%.1f bits learnt", got)
		}
		return wins, 1
	})
}

// A6, from within. All clients but one put their primes together.
//
// The quotient of x by the product of their primes is a digit that is spread over
// [0, m_h): the largest of N gives log2 N bits of the last prime.
func TestCoalitionLearnsTheTopOfTheLastPrime(t *testing.T) {
	const clients, batches = 4, 1500
	duel(t, clients, func(t *testing.T, v victim) (wins, tries int) {
		theirs := product(v.moduli()[1:])
		digits := collect(t, v, batches, 16)
		for i, x := range digits {
			digits[i] = new(big.Int).Quo(x, theirs)
		}
		got := learnt(digits, v.moduli()[0], v.guess())
		t.Logf("%.1f bits closer to the prime than without any x", got)
		if got >= float64(bits.Len(batches))-4 {
			wins++
		} else if got > 0 {
			t.Errorf("%.1f bits learnt", got)
		}
		return wins, 1
	})
}

// A6 by the first byte of x. The paper's shows where M ends; the hardened one is
// spread evenly over all 256 values.
func TestFirstByteIsUneven(t *testing.T) {
	duel(t, 4, func(t *testing.T, v victim) (wins, tries int) {
		if uneven(t, byteCounts(t, v, 2000)[0]) {
			wins++
		}
		return wins, 1
	})
}

// All of x looks random, at every place of it: this is the claim from which the
// rest follows.
func TestHardenedNumberLooksRandom(t *testing.T) {
	v := newHardened(t.Name(), 4)
	var all [256]int
	for i, counts := range byteCounts(t, v, 2000) {
		if uneven(t, counts) {
			t.Errorf("byte %d of x is uneven", i)
		}
		for value, n := range counts {
			all[value] += n
		}
	}
	if uneven(t, all) {
		t.Error("the bytes of x are uneven")
	}
}

// byteCounts says for each byte of x how often it had which value.
func byteCounts(t *testing.T, v victim, batches int) [][256]int {
	t.Helper()
	size := (product(v.moduli()).BitLen() + 7) / 8
	counts := make([][256]int, size)
	for _, x := range collect(t, v, batches, 16) {
		for i, b := range x.FillBytes(make([]byte, size)) {
			counts[i][b]++
		}
	}
	return counts
}

// uneven says whether chi-square is beyond eight deviations: it has 255 degrees
// of freedom, so a mean of 255 and a deviation of 22.6; the sealer is another one each time, so that luck must not decide. As far on the other side
// would be too even to be random.
func uneven(t *testing.T, counts [256]int) bool {
	t.Helper()
	chi := chiSquare(counts)
	if chi < 255-8*22.6 {
		t.Errorf("too even to be random: chi-square %.1f", chi)
	}
	return chi > 255+8*22.6
}

func chiSquare(counts [256]int) float64 {
	total := 0
	for _, n := range counts {
		total += n
	}
	expected, sum := float64(total)/256, 0.0
	for _, n := range counts {
		sum += (float64(n) - expected) * (float64(n) - expected) / expected
	}
	return sum
}
