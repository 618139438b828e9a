package residue

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
)

// sieveBelow bounds the primes that candidates are divided by before the
// tests: beyond it a division by another prime costs more than the tests that
// it spares.
const sieveBelow = 4096

// sieve holds the odd primes below sieveBelow in groups whose product fits 32
// bits, so that c is reduced once a group, limb by limb.
var sieve = makeSieve()

type sieveGroup struct {
	product uint64
	primes  []uint64
}

func makeSieve() (groups []sieveGroup) {
	var composite [sieveBelow]bool
	g := sieveGroup{product: 1}
	for p := uint64(3); p < sieveBelow; p += 2 {
		if composite[p] {
			continue
		}
		for q := p * p; q < sieveBelow; q += 2 * p {
			composite[q] = true
		}
		if g.product*p >= 1<<32 {
			groups = append(groups, g)
			g = sieveGroup{product: 1}
		}
		g.product *= p
		g.primes = append(g.primes, p)
	}
	return append(groups, g)
}

// Prime makes a random prime of a width in bits that [NewModulus] knows. rand
// is read for each candidate anew: primes that are neighbours would be found
// ten times faster, and whoever had one would have the others'.
//
// It tests with Baillie-PSW, which no composite is known to pass, after a
// sieve. That the moduli of a [Basis] are coprime is all that the formula
// needs, and NewBasis sees to that itself. It takes about 2 ms of a core for
// 512 bits, 200 for 2048, with a long tail. The error is rand's, or an unknown
// width's.
func Prime(width int, rand io.Reader) (*Modulus, error) {
	return prime(width, rand, nil)
}

// prime gives up, with neither, once stop is closed.
func prime(width int, rand io.Reader, stop <-chan struct{}) (*Modulus, error) {
	if !validWidth(width) {
		return nil, fmt.Errorf("%w: width %d is not 256, 512, 1024 or 2048", ErrModulus, width)
	}
	c := make([]byte, width/16)
	for {
		select {
		case <-stop:
			return nil, nil
		default:
		}
		if _, err := io.ReadFull(rand, c); err != nil {
			return nil, fmt.Errorf("residue: random bytes for a prime: %w", err)
		}
		c[0] |= 0x80
		c[len(c)-1] |= 1
		if hasSmallFactor(width, c) {
			continue
		}
		m, err := NewModulus(width, c)
		if err != nil || m.Int().ProbablyPrime(0) { // 0: Baillie-PSW alone
			return m, err
		}
	}
}

// hasSmallFactor says whether a prime below sieveBelow divides 2^width − c.
func hasSmallFactor(width int, c []byte) bool {
	for _, g := range sieve {
		power := uint64(1) << 32 % g.product // 2^width mod product, by squaring
		for e := 32; e < width; e *= 2 {
			power = power * power % g.product
		}
		var rest uint64
		for i := 0; i < len(c); i += 4 {
			rest = (rest<<32 | uint64(binary.BigEndian.Uint32(c[i:]))) % g.product
		}
		m := power + g.product - rest
		for _, p := range g.primes {
			if m%p == 0 {
				return true
			}
		}
	}
	return false
}

// inverse is x⁻¹ mod m, and nil where there is none.
func inverse(x, m *big.Int) *big.Int { return new(big.Int).ModInverse(x, m) }
