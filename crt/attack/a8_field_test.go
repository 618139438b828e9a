package attack_test

import "math/big"

// The linear algebra of A8 is done modulo a prime, so that there are no
// fractions: one far above the entries of a reduced basis, and one far above x.
var (
	latticePrime = below(255, 19)
	longPrime    = below(4423, 1)
)

// below is 2^bits - c.
func below(bits uint, c int64) *big.Int {
	p := new(big.Int).Lsh(big.NewInt(1), bits)
	return p.Sub(p, big.NewInt(c))
}

// eliminate brings rows into reduced echelon form modulo p, and returns the
// columns of its leading ones.
func eliminate(rows [][]*big.Int, p *big.Int) (pivots []int) {
	t := new(big.Int)
	for c := 0; c < len(rows[0]) && len(pivots) < len(rows); c++ {
		at := len(pivots)
		pivot := at
		for pivot < len(rows) && t.Mod(rows[pivot][c], p).Sign() == 0 {
			pivot++
		}
		if pivot == len(rows) {
			continue
		}
		rows[at], rows[pivot] = rows[pivot], rows[at]
		scale := new(big.Int).ModInverse(rows[at][c], p)
		for _, v := range rows[at] {
			v.Mod(v.Mul(v, scale), p)
		}
		for i, row := range rows {
			if i == at {
				continue
			}
			factor := new(big.Int).Set(row[c])
			for j, v := range row {
				v.Mod(v.Sub(v, t.Mul(factor, rows[at][j])), p)
			}
		}
		pivots = append(pivots, c)
	}
	return pivots
}

// coordinates returns v as a combination of basis.
func coordinates(basis [][]*big.Int, v []*big.Int) []*big.Int {
	k := len(basis)
	equations := make([][]*big.Int, len(v))
	for c := range equations {
		equations[c] = zeros(k + 1)
		for i, row := range basis {
			equations[c][i].Set(row[c])
		}
		equations[c][k].Set(v[c])
	}
	eliminate(equations, longPrime)
	half := new(big.Int).Rsh(longPrime, 1)
	out := make([]*big.Int, k)
	for i := range out {
		out[i] = equations[i][k]
		if out[i].Cmp(half) > 0 {
			out[i].Sub(out[i], longPrime)
		}
	}
	return out
}

// eigenvectors takes the square map A that makes columns n … of basis out of its
// first ones, and returns the combinations of basis that A only stretches, with
// -1 in the last column.
func eigenvectors(basis [][]*big.Int) [][]*big.Int {
	k := len(basis)
	equations := make([][]*big.Int, k) // first · A = second, transposed
	for c := range equations {
		equations[c] = zeros(2 * k)
		for i, row := range basis {
			equations[c][i].Set(row[c])
			equations[c][k+i].Set(row[k+c])
		}
	}
	if pivots := eliminate(equations, latticePrime); len(pivots) < k || pivots[k-1] != k-1 {
		return nil
	}
	a := make([][]*big.Int, k)
	for i := range a {
		a[i] = equations[i][k:]
	}
	r := randomness("eigenvectors")
	values := roots(characteristic(a), r)
	vectors := make([][]*big.Int, 0, len(values))
	for i := range values {
		// Every factor (A - value) takes one eigenvector away; one is left.
		v := make([]*big.Int, k)
		for c := range v {
			v[c] = randomBits(r, 248, 0)
		}
		for j, value := range values {
			if j != i {
				v = stretch(a, v, value)
			}
		}
		if b := normalised(basis, v); b != nil {
			vectors = append(vectors, b)
		}
	}
	return vectors
}

// stretch is (a - value) v.
func stretch(a [][]*big.Int, v []*big.Int, value *big.Int) []*big.Int {
	out, t := zeros(len(v)), new(big.Int)
	for i := range out {
		for c, e := range a[i] {
			out[i].Add(out[i], t.Mul(e, v[c]))
		}
		out[i].Sub(out[i], t.Mul(value, v[i]))
		out[i].Mod(out[i], latticePrime)
	}
	return out
}

// normalised is v · basis, scaled so that its last entry is -1, with entries
// around zero; nil if the last entry is zero.
func normalised(basis [][]*big.Int, v []*big.Int) []*big.Int {
	out, t := zeros(len(basis[0])), new(big.Int)
	for i, row := range basis {
		for c := range out {
			out[c].Add(out[c], t.Mul(v[i], row[c]))
		}
	}
	scale := new(big.Int).ModInverse(t.Neg(out[len(out)-1]), latticePrime)
	if scale == nil {
		return nil
	}
	half := new(big.Int).Rsh(latticePrime, 1)
	for _, e := range out {
		if e.Mod(e.Mul(e, scale), latticePrime).Cmp(half) > 0 {
			e.Sub(e, latticePrime)
		}
	}
	return out
}

// characteristic returns the coefficients of det(X - a), constant first, as
// Faddeev and LeVerrier compute them.
func characteristic(a [][]*big.Int) polynomial {
	n := len(a)
	p := polynomial(zeros(n + 1))
	p[n].SetInt64(1)
	m := make([][]*big.Int, n) // by columns
	for c := range m {
		m[c] = zeros(n)
		m[c][c].SetInt64(1)
	}
	for step := 1; step <= n; step++ {
		trace := new(big.Int)
		for c := range m {
			m[c] = stretch(a, m[c], new(big.Int))
			trace.Add(trace, m[c][c])
		}
		scale := new(big.Int).ModInverse(big.NewInt(int64(-step)), latticePrime)
		p[n-step].Mod(trace.Mul(trace, scale), latticePrime)
		for c := range m {
			m[c][c].Add(m[c][c], p[n-step])
		}
	}
	return p
}
