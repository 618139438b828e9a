package residue

import (
	"math/big"
	"math/bits"
)

// plan is how large products are formed: as Schönhage and Strassen do, cut into
// pieces that are the coefficients of a polynomial, whose values modulo 2^N + 1
// at powers of two are multiplied. A sum of products of the same plan takes one transform
// a factor and one for the result, and the transforms of products of moduli are
// made once.
type plan struct {
	points int // a power of two
	piece  int // limbs of a coefficient
	n      int // limbs of N, which 2·points divides in bits
}

// size is the limbs of an element, and elements are how a number lies after its
// transform.
func (p *plan) size() int     { return p.n + 1 }
func (p *plan) elements() int { return p.points * p.size() }

// newPlan chooses for a sum of two products that has limbs limbs, by the
// estimate of what it costs; nil where plain multiplication costs less.
func newPlan(limbs int) *plan {
	var best *plan
	cost := 2 * mulCost(limbs/2)
	for k := 4; k < 20; k++ {
		p := planOf(limbs, k)
		if c := p.cost(); c < cost {
			best, cost = p, c
		}
	}
	return best
}

// planOf is the plan with 2^k points.
func planOf(limbs, k int) *plan {
	points := 1 << k
	piece := (limbs + points - 1) / points
	// A coefficient of the sum has as many terms as a factor has pieces, twice.
	needed := 2*piece*wordBits + k + 1
	unit := max(wordBits, points/2)
	n := (needed + unit - 1) / unit * unit / wordBits
	// What the rounding left is used for larger, so fewer, pieces.
	piece = (n*wordBits - k - 1) / (2 * wordBits)
	return &plan{points: points, piece: piece, n: n}
}

// mulCost is about the nanoseconds of math/big's product of two numbers of n
// limbs, and cost of a sum of two products by the plan; only their ratio counts.
func mulCost(n int) float64 {
	if n < 40 {
		return 0.62*float64(n*n) + 20
	}
	return 3*mulCost((n+1)/2) + 3.2*float64(n)
}

func (p *plan) cost() float64 {
	layers := float64(bits.Len(uint(p.points)) - 1)
	words := float64(p.elements())
	return 2*float64(p.points)*mulCost(p.n) + 3*layers/2*words*butterflyCost + 8*words
}

const butterflyCost = 3.0

// transform cuts x into pieces and evaluates; dst has elements() limbs, tmp
// size() of them. The order of the points is the bits of their numbers
// reversed, which inverse undoes.
func (p *plan) transform(dst, x, tmp []word) {
	size := p.size()
	clear(dst)
	used := 0
	for len(x) > 0 {
		c := min(p.piece, len(x))
		copy(dst[used*size:], x[:c])
		x = x[c:]
		used++
	}
	p.forward(dst, tmp, p.points, used)
}

// forward transforms a, count elements of which the first used aren't zero.
func (p *plan) forward(a, tmp []word, count, used int) {
	if count == 1 || used == 0 {
		return
	}
	size, half := p.size(), count/2
	step := 2 * p.n * wordBits / count
	low, high := a[:half*size], a[half*size:]
	for j := range min(half, used) {
		u, v := low[j*size:(j+1)*size], high[j*size:(j+1)*size]
		if j+half >= used {
			ringShift(v, u, j*step)
			continue
		}
		ringSub(tmp, u, v)
		ringAdd(u, u, v)
		ringShift(v, tmp, j*step)
	}
	p.forward(low, tmp, half, min(half, used))
	p.forward(high, tmp, half, min(half, used))
}

// backward is its reverse, but for a factor of count.
func (p *plan) backward(a, tmp []word, count int) {
	if count == 1 {
		return
	}
	size, half := p.size(), count/2
	step := 2 * p.n * wordBits / count
	low, high := a[:half*size], a[half*size:]
	p.backward(low, tmp, half)
	p.backward(high, tmp, half)
	for j := range half {
		u, v := low[j*size:(j+1)*size], high[j*size:(j+1)*size]
		if j == 0 {
			copy(tmp, v)
			ringSub(v, u, tmp)
			ringAdd(u, u, tmp)
			continue
		}
		// 2^−e is −2^(N−e).
		ringShift(tmp, v, p.n*wordBits-j*step)
		ringAdd(v, u, tmp)
		ringSub(u, u, tmp)
	}
}

// pointwise sets each element of a to itself times its like in x, plus that of
// b times that in y.
func (p *plan) pointwise(a, x, b, y []word, m *multiplier) {
	size := p.size()
	for at := 0; at < p.elements(); at += size {
		sum := m.mul(0, a[at:at+size], x[at:at+size])
		sum.Add(sum, m.mul(1, b[at:at+size], y[at:at+size]))
		ringReduce(a[at:at+size], sum.Bits())
	}
}

// inverse sets out to the number whose transform is a, which is overwritten.
func (p *plan) inverse(out, a, tmp []word) {
	size := p.size()
	p.backward(a, tmp, p.points)
	k := bits.Len(uint(p.points)) - 1
	clear(out)
	for j := 0; j < p.points && j*p.piece < len(out); j++ {
		// Divided by points: −2^(N−k).
		ringShift(tmp, a[j*size:(j+1)*size], p.n*wordBits-k)
		c := a[:size]
		clear(c)
		ringSub(c, c, tmp)
		z := out[j*p.piece:]
		if len(z) < len(c) { // the rest are zeros
			c = c[:len(z)]
		}
		carry := addTo(z[:len(c)], c)
		raise(z[len(c):], carry)
	}
}

// multiplier is math/big's multiplication of limbs.
type multiplier struct {
	x, y big.Int // views of the factors
	p    [2]big.Int
}

// mul answers the product in number which, until its next use.
func (m *multiplier) mul(which int, x, y []word) *big.Int {
	return m.p[which].Mul(m.x.SetBits(x), m.y.SetBits(y))
}
