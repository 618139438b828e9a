package attack_test

import (
	"math/big"
	"slices"
	"testing"
)

// latticeAttack is A8. The attacker has x of some batches, and nothing else: not
// one text, and the texts are random. He is told how many clients there are and
// how long a text is.
//
// Let X be the vector of all x, and b_i that of client i's texts, which is X
// modulo m_i. A vector u that is short and makes w = <u, X> short makes <u, b_i>
// short as well; that equals w modulo m_i, and where both are shorter than m_i
// it equals w. So (u, w) is orthogonal to (b_i, -1), for every client at once.
// LLL finds n-k such u out of n batches and k clients, as long as they fit:
//
//	(|x| - bits(text)) / n < bits(m_i) - bits(text)
//
// What is orthogonal to them has k+1 dimensions: the b_i, and q, how often M was
// taken off. A basis C of it gives X = a C with a whole, and a is X again, only
// smaller: b_i = beta_i C, a = beta_i modulo m_i, and beta_i has bits(text)/k
// bits. From a, and its products with two of its own combinations, y and y',
// the same step finds the span of the k vectors (beta_i | y_i beta_i | y'_i beta_i)
// alone, since the q of products is not short. The map from its first k columns
// to the next k has the eigenvalues y_i, and as eigenvectors the beta_i. Then
// m_i = gcd over j of (a_j - beta_ij), and x modulo m_i are the texts.
//
// The hardened form fills its residues: the right side of the inequality is 0,
// and no number of batches makes a short u say anything about a client.
//
// (The first step is that of Cheon, Cho, Hhan, Kim and Lee, "Algorithms for
// CRT-variant of approximate greatest common divisor problem", J. Math. Cryptol.
// 14, 2020; the products and eigenvalues are what broke the multilinear map of
// Coron, Lepoint and Tibouchi: Cheon and others, Eurocrypt 2015.)
func latticeAttack(xs []*big.Int, clients, textBits int) []*big.Int {
	n := len(xs)
	middle := new(big.Int).Lsh(big.NewInt(1), uint(textBits-1)) // texts around zero are a bit shorter
	samples := make([]*big.Int, n+1)
	for j, x := range xs {
		samples[j] = new(big.Int).Sub(x, middle)
	}
	samples[n] = big.NewInt(-1)
	short := orthogonal(samples[:n], slices.Repeat([]int{textBits}, n))
	basis := orthogonalTo(short[:n-clients])[:clients+1]
	a := coordinates(basis, samples)[:clients] // the one left out is 1 or -1 for everybody

	products, bits := withProducts(a, textBits/clients+2)
	short = orthogonal(products, bits)
	rows := orthogonalTo(short[:len(products)-clients])[:clients]

	var found []*big.Int
	for _, beta := range eigenvectors(rows) {
		g := new(big.Int)
		for j := range a {
			g.GCD(nil, nil, g, new(big.Int).Sub(a[j], beta[j]))
		}
		if g.BitLen() > 2*textBits {
			found = append(found, g)
		}
	}
	return found
}

// withProducts returns a, y a and y' a, and how long their residues are, if those
// of a have that many bits. The combinations y and y' have small coefficients,
// so that their residues stay short.
func withProducts(a []*big.Int, bits int) (products []*big.Int, lengths []int) {
	products, lengths = slices.Clone(a), slices.Repeat([]int{bits}, len(a))
	for i := range 2 {
		y := new(big.Int)
		for j, v := range a {
			y.Add(y, new(big.Int).Lsh(v, uint((j*(i+1)+i)%4)))
		}
		for _, v := range a {
			products = append(products, new(big.Int).Mul(v, y))
			lengths = append(lengths, 2*bits+4)
		}
	}
	return products, lengths
}

// orthogonal returns vectors (u, w) with <u, samples> = w, the short ones first.
// bits is how long a sample's residues are: where they are longer, u counts for
// more. The samples are looked at from their top bits down, a piece at a time:
// a basis that is reduced for the bits so far is nearly reduced for some more,
// and numbers stay short.
func orthogonal(samples []*big.Int, bits []int) [][]*big.Int {
	const piece = 128
	n, long, low := len(samples), 0, slices.Min(bits)
	for _, x := range samples {
		long = max(long, x.BitLen())
	}
	rows, weight := make([][]*big.Int, n), make([]uint, n)
	for i := range rows {
		rows[i] = zeros(n + 1)
		weight[i] = uint(bits[i] - low)
		rows[i][i].Lsh(big.NewInt(1), weight[i])
	}
	cut := make([]*big.Int, n)
	for shift := long; shift > low; {
		shift = max(low, shift-piece)
		for i, x := range samples {
			cut[i] = new(big.Int).Rsh(x, uint(shift))
		}
		for _, row := range rows {
			row[n] = inner(row[:n], cut, weight)
		}
		lll(rows)
	}
	for _, row := range rows {
		row[n] = inner(row[:n], samples, weight)
		for i, v := range row[:n] {
			v.Rsh(v, weight[i])
		}
	}
	return rows
}

// inner is <row, b>, where row has every entry times 2^weight.
func inner(row, b []*big.Int, weight []uint) *big.Int {
	sum, t := new(big.Int), new(big.Int)
	for i := range row {
		sum.Add(sum, t.Mul(t.Rsh(row[i], weight[i]), b[i]))
	}
	return sum
}

// orthogonalTo returns a reduced basis of what is orthogonal to vs modulo
// latticePrime. What is orthogonal without a modulus is much shorter than the
// rest, and so comes first.
func orthogonalTo(vs [][]*big.Int) [][]*big.Int {
	n := len(vs[0])
	rows := make([][]*big.Int, n)
	for c := range rows {
		rows[c] = zeros(n)
		rows[c][c].SetInt64(1)
	}
	for i, pivot := range eliminate(vs, latticePrime) {
		for c := range rows {
			rows[c][pivot].Neg(vs[i][c])
		}
		rows[pivot][pivot].Set(latticePrime)
	}
	lll(rows)
	return rows
}

func zeros(n int) []*big.Int {
	z := make([]*big.Int, n)
	for i := range z {
		z[i] = new(big.Int)
	}
	return z
}

func TestLatticeFindsAllPrimesFromCiphertextsAlone(t *testing.T) {
	clients, batches := 8, 24
	if testing.Short() {
		clients, batches = 4, 12
	}
	attack := func(t *testing.T, v victim) (wins, tries int) {
		r, xs := randomness(t.Name()), make([]*big.Int, batches)
		for i := range xs {
			xs[i] = mustSeal(t, v, randomTexts(r, clients, 8)).x
		}
		found := latticeAttack(xs, clients, 64)
		for _, m := range v.moduli() {
			if slices.ContainsFunc(found, func(f *big.Int) bool { return f.Cmp(m) == 0 }) {
				wins++
			}
		}
		return wins, clients
	}
	duel(t, clients, attack)
	// Neither the longer modulus nor its form is what helps: the paper's scheme
	// falls as well with the moduli of the hardened one. The full residue does.
	t.Run("raw with the hardened moduli", func(t *testing.T) {
		v := rawOf(newHardened(t.Name(), clients).moduli())
		if wins, tries := attack(t, v); wins != tries {
			t.Errorf("found %d of %d primes", wins, tries)
		}
	})
}
