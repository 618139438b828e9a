package attack_test

import "math/big"

// raw is the scheme of the paper, section 3.2, as it stands there: every client
// shares a secret prime with the server, a text is a residue, formula (1) packs
// the residues of a batch into x, and a client takes x modulo its prime. There
// is no header, no check of lengths, and nothing else that is secret.
type raw struct {
	primes []*big.Int
	bits   int
}

// rawOf takes primes as they are.
func rawOf(primes []*big.Int) *raw {
	return &raw{primes: primes, bits: primes[0].BitLen()}
}

// newRaw has primes of that many bits.
func newRaw(seed string, clients, bits int) *raw {
	r := randomness(seed)
	v := &raw{bits: bits}
	for range clients {
		p := randomBits(r, bits, 1)
		p.SetBit(p, 0, 1)
		for !p.ProbablyPrime(0) {
			p.Add(p, big.NewInt(2))
		}
		v.primes = append(v.primes, p)
	}
	return v
}

func (v *raw) seal(texts [][]byte) (frame, error) {
	residues := make([]*big.Int, len(texts))
	for i, text := range texts {
		residues[i] = new(big.Int).SetBytes(text)
	}
	x, err := v.combine(residues)
	return frame{x: x}, err
}

func (v *raw) open(i int, f frame) (opened, bool) {
	return opened{text: new(big.Int).Mod(f.x, v.primes[i]).Bytes()}, true
}

func (v *raw) combine(residues []*big.Int) (*big.Int, error) { return solve(v.primes, residues), nil }
func (v *raw) nextPeriod()                                   {}
func (v *raw) moduli() []*big.Int                            { return v.primes }

// guess is the middle of the numbers that have that many bits.
func (v *raw) guess() *big.Int {
	return new(big.Int).Lsh(big.NewInt(3), uint(v.bits-2))
}

func (v *raw) encodings(text []byte, _ uint64) []*big.Int {
	return []*big.Int{new(big.Int).SetBytes(text)}
}
