package attack_test

import (
	"math"
	"math/big"
)

// The constants of LLL: how short a vector must be to be let before the one it
// follows, and how far a coefficient may be from zero. 0.51 and not 0.5, or a
// coefficient of one half would be rounded to and fro for ever.
const (
	lllScale = 300 // bits
	lllDelta = 0.99
	lllEta   = 0.51
)

// reducer is LLL in the form of Nguyen and Stehlé ("Floating-point LLL
// revisited", 2005): the basis is exact, its Gram-Schmidt coefficients are
// float64, all divided by 2^300 so that the squares of numbers up to 2^800 fit.
// Who has longer ones hands them over a piece at a time ([orthogonal]).
type reducer struct {
	rows  [][]*big.Int
	float [][]float64 // rows, rounded
	norm  []float64   // of the rounded rows
	r, mu [][]float64 // r[i][j] = <b_i, b*_j>, mu = r[i][j]/r[j][j]
	s     []float64   // s[j] = |b_k|^2 less its share along b*_0 … b*_(j-1)
	tmp   big.Int
	sum   big.Int
}

// lll reduces the basis in rows, in place.
func lll(rows [][]*big.Int) {
	n := len(rows)
	l := &reducer{rows: rows, norm: make([]float64, n), s: make([]float64, n+1)}
	for i := range rows {
		l.float = append(l.float, make([]float64, len(rows[i])))
		l.r = append(l.r, make([]float64, n))
		l.mu = append(l.mu, make([]float64, n))
		l.round(i)
	}
	l.r[0][0] = l.norm[0] * l.norm[0]
	for k := 1; k < n; {
		l.shorten(k)
		to := k
		for to > 0 && lllDelta*l.r[to-1][to-1] > l.s[to-1] {
			to--
		}
		l.insert(k, to)
		l.r[to][to] = l.s[to]
		if to == 0 { // the next is measured against it
			l.r[0][0] = l.norm[0] * l.norm[0]
		}
		k = to + 1
	}
}

// round refreshes the floating-point image of a row.
func (l *reducer) round(i int) {
	sum := 0.0
	for c, v := range l.rows[i] {
		f := l.scaled(v, lllScale)
		l.float[i][c] = f
		sum += f * f
	}
	l.norm[i] = math.Sqrt(sum)
}

// shorten takes from row k as much of the rows before it as it can, until the
// floating-point coefficients agree that nothing is left to take.
func (l *reducer) shorten(k int) {
	for {
		l.project(k)
		if !l.subtract(k) {
			return
		}
		l.round(k)
	}
}

// project computes row k of r, mu and s.
func (l *reducer) project(k int) {
	l.s[0] = l.norm[k] * l.norm[k]
	for j := range k {
		sum := l.dot(k, j)
		for i := range j {
			sum -= l.mu[j][i] * l.r[k][i]
		}
		l.r[k][j] = sum
		l.mu[k][j] = sum / l.r[j][j]
		l.s[j+1] = l.s[j] - l.mu[k][j]*sum
	}
}

// subtract takes the rounded coefficients of row k off, and says whether there
// were any.
func (l *reducer) subtract(k int) bool {
	changed := false
	for j := k - 1; j >= 0; j-- {
		if math.Abs(l.mu[k][j]) <= lllEta {
			continue
		}
		changed = true
		q := math.Round(l.mu[k][j])
		for i := range j {
			l.mu[k][i] -= q * l.mu[j][i]
		}
		quotient, _ := big.NewFloat(q).Int(nil)
		for c, v := range l.rows[k] {
			v.Sub(v, l.tmp.Mul(quotient, l.rows[j][c]))
		}
	}
	return changed
}

// dot is <b_k, b_j>, exactly where the rounded rows would leave the coefficient
// uncertain: a long row against a short one.
func (l *reducer) dot(k, j int) float64 {
	if l.norm[k]*l.norm[j] > 0x1p38*l.r[j][j] {
		return l.exact(k, j)
	}
	sum := 0.0
	for c, v := range l.float[k] {
		sum += v * l.float[j][c]
	}
	return sum
}

func (l *reducer) exact(k, j int) float64 {
	l.sum.SetInt64(0)
	for c, v := range l.rows[k] {
		l.sum.Add(&l.sum, l.tmp.Mul(v, l.rows[j][c]))
	}
	return l.scaled(&l.sum, 2*lllScale)
}

// scaled is v / 2^shift.
func (l *reducer) scaled(v *big.Int, shift uint) float64 {
	if v.BitLen() > 1000 {
		f, _ := l.tmp.Rsh(v, shift).Float64()
		return f
	}
	f, _ := v.Float64()
	return math.Ldexp(f, -int(shift))
}

// insert moves row k to place to, and the rows between up by one.
func (l *reducer) insert(k, to int) {
	row, float, norm, r, mu := l.rows[k], l.float[k], l.norm[k], l.r[k], l.mu[k]
	for i := k; i > to; i-- {
		l.rows[i], l.float[i], l.norm[i], l.r[i], l.mu[i] = l.rows[i-1], l.float[i-1], l.norm[i-1], l.r[i-1], l.mu[i-1]
	}
	l.rows[to], l.float[to], l.norm[to], l.r[to], l.mu[to] = row, float, norm, r, mu
}
