package attack_test

import (
	"math/big"
	"math/rand/v2"
)

// polynomial holds coefficients modulo latticePrime, the constant one first and
// the last one not zero; nothing is the polynomial 0.
type polynomial []*big.Int

// roots returns the zeros of f modulo latticePrime, as Cantor and Zassenhaus
// find them: (X + a)^((p-1)/2) is 1 at one half of all numbers, another half
// for each a.
func roots(f polynomial, r *rand.ChaCha8) []*big.Int {
	x := polynomial{new(big.Int), big.NewInt(1)}
	linear := x.power(latticePrime, f).minus(x).gcd(f) // only what splits
	return split(linear, r)
}

func split(f polynomial, r *rand.ChaCha8) []*big.Int {
	switch len(f) {
	case 0, 1:
		return nil
	case 2:
		root := new(big.Int).ModInverse(f[1], latticePrime)
		root.Mul(root, f[0])
		return []*big.Int{root.Mod(root.Neg(root), latticePrime)}
	}
	exponent := new(big.Int).Rsh(latticePrime, 1)
	for {
		shifted := polynomial{randomBits(r, 248, 0), big.NewInt(1)}
		g := shifted.power(exponent, f).minus(polynomial{big.NewInt(1)}).gcd(f)
		if len(g) > 1 && len(g) < len(f) {
			quotient, _ := f.divide(g)
			return append(split(g, r), split(quotient, r)...)
		}
	}
}

func (f polynomial) trim() polynomial {
	for len(f) > 0 && f[len(f)-1].Sign() == 0 {
		f = f[:len(f)-1]
	}
	return f
}

func (f polynomial) minus(g polynomial) polynomial {
	out := polynomial(zeros(max(len(f), len(g))))
	for i := range out {
		if i < len(f) {
			out[i].Set(f[i])
		}
		if i < len(g) {
			out[i].Sub(out[i], g[i])
		}
		out[i].Mod(out[i], latticePrime)
	}
	return out.trim()
}

func (f polynomial) times(g polynomial) polynomial {
	if len(f) == 0 || len(g) == 0 {
		return nil
	}
	out, t := polynomial(zeros(len(f)+len(g)-1)), new(big.Int)
	for i := range f {
		for j := range g {
			out[i+j].Add(out[i+j], t.Mul(f[i], g[j]))
		}
	}
	for _, c := range out {
		c.Mod(c, latticePrime)
	}
	return out.trim()
}

func (f polynomial) divide(g polynomial) (quotient, rest polynomial) {
	rest = f.minus(nil)
	if len(rest) < len(g) {
		return nil, rest
	}
	quotient, t := polynomial(zeros(len(rest)-len(g)+1)), new(big.Int)
	scale := new(big.Int).ModInverse(g[len(g)-1], latticePrime)
	for i := len(quotient) - 1; i >= 0; i-- {
		q := quotient[i]
		q.Mod(q.Mul(rest[i+len(g)-1], scale), latticePrime)
		for j, c := range g {
			rest[i+j].Mod(rest[i+j].Sub(rest[i+j], t.Mul(q, c)), latticePrime)
		}
	}
	return quotient.trim(), rest.trim()
}

func (f polynomial) gcd(g polynomial) polynomial {
	for len(g) > 0 {
		_, rest := f.divide(g)
		f, g = g, rest
	}
	return f
}

// power is f^e modulo m.
func (f polynomial) power(e *big.Int, m polynomial) polynomial {
	out := polynomial{big.NewInt(1)}
	for i := e.BitLen() - 1; i >= 0; i-- {
		_, out = out.times(out).divide(m)
		if e.Bit(i) == 1 {
			_, out = out.times(f).divide(m)
		}
	}
	return out
}
