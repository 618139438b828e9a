package residue

import (
	"errors"
	"fmt"
	"math/big"
	"sync/atomic"
)

// Errors of [NewBasis], [Basis.Replace], [NewTree] and [Tree.Replace]; they
// come wrapped with the places of the moduli.
var (
	ErrNoModuli   = errors.New("residue: no moduli")
	ErrWidths     = errors.New("residue: moduli of different widths")
	ErrDuplicate  = errors.New("residue: the same modulus twice")
	ErrNotCoprime = errors.New("residue: moduli with a common factor")
	ErrNoSuch     = errors.New("residue: no modulus in that place")
	ErrCount      = errors.New("residue: not one residue a modulus")
)

// Basis is the moduli of one shard, in the order of their residues, and what
// formula (1) needs of them: the weights w_i = (M/m_i)⁻¹ mod m_i and the
// products of neighbours. It is immutable, and any number of goroutines may
// combine by it; a join or a leave makes another one by [Basis.Replace], which
// shares what didn't change. 16 moduli of 512 bits take 6 KB, and from the
// fourth batch on 20 more.
type Basis struct {
	moduli  []*Modulus
	weights []word // of each modulus, limbs() long
	root    *span

	uses atomic.Int32         // batches before flat was made
	flat atomic.Pointer[flat] // made by the batch that is the flatAfter-th
}

// NewBasis makes the basis of these moduli, whose slice is copied. It refuses
// none at all ([ErrNoModuli]), widths that differ ([ErrWidths]), a modulus
// that is there twice ([ErrDuplicate]) and two with a common factor
// ([ErrNotCoprime]); an even one can't be a Modulus. It takes a square of
// their number: about 0.1 ms for 16 of 512 bits.
func NewBasis(moduli []*Modulus) (*Basis, error) {
	if len(moduli) == 0 {
		return nil, ErrNoModuli
	}
	b := &Basis{moduli: append([]*Modulus(nil), moduli...)}
	n := moduli[0].limbs()
	b.weights = make([]word, len(moduli)*n)
	for i, m := range moduli {
		if m.width != moduli[0].width {
			return nil, fmt.Errorf("%w: %d bits at 0, %d at %d", ErrWidths, moduli[0].width, m.width, i)
		}
	}
	for i := range moduli {
		if err := b.weigh(i); err != nil {
			return nil, err
		}
	}
	b.root = newSpan(b.moduli)
	return b, nil
}

// weigh sets the weight of modulus i. Modulo m_i = 2^L − c_i any other m_j is
// c_i − c_j, which is half as long.
func (b *Basis) weigh(i int) error {
	m := b.moduli[i]
	p := newProduct(m, make([]word, productLimbs*m.limbs()))
	minus := word(0)
	for j, other := range b.moduli {
		if j == i {
			continue
		}
		negative, zero := difference(p.d, m.c, other.c)
		if zero {
			return fmt.Errorf("%w: at %d and %d", ErrDuplicate, min(i, j), max(i, j))
		}
		minus ^= negative
		p.times(p.d)
	}
	if !invert(p.r, p.r, m) {
		return b.commonFactor(i)
	}
	if minus != 0 {
		p.negate()
	}
	copy(b.weight(i), p.r)
	return nil
}

// commonFactor names the modulus that is not coprime to modulus i.
func (b *Basis) commonFactor(i int) error {
	m := b.moduli[i].Int()
	for j, other := range b.moduli {
		if j != i && new(big.Int).GCD(nil, nil, m, other.Int()).BitLen() > 1 {
			return fmt.Errorf("%w: at %d and %d", ErrNotCoprime, min(i, j), max(i, j))
		}
	}
	return fmt.Errorf("%w: at %d", ErrNotCoprime, i)
}

func (b *Basis) weight(i int) []word {
	n := b.moduli[0].limbs()
	return b.weights[i*n : (i+1)*n : (i+1)*n]
}

// Len is how many moduli there are.
func (b *Basis) Len() int { return len(b.moduli) }

// Width is the moduli's, in bits.
func (b *Basis) Width() int { return b.moduli[0].width }

// Size is the length of x, and of all residues together, in bytes.
func (b *Basis) Size() int { return len(b.moduli) * b.Width() / 8 }

// Modulus is the one in place i, which panics outside 0 … Len()−1.
func (b *Basis) Modulus(i int) *Modulus { return b.moduli[i] }

// TooLarge is the error of a residue that is not below its modulus: no x
// leaves it as a remainder. Sealing anew, under the next batch number, gives
// another.
type TooLarge struct{ Index int }

func (e *TooLarge) Error() string {
	return fmt.Sprintf("residue: residue %d is not below its modulus", e.Index)
}

// span is a run of neighbouring moduli with their product P = 2^(count·L) − D.
type span struct {
	left, right *span // none over a single modulus
	count       int
	d           []word // D, which lacks half a width at the top; c of a single modulus
}

func newSpan(moduli []*Modulus) *span {
	if len(moduli) == 1 {
		return &span{count: 1, d: moduli[0].c}
	}
	half := (len(moduli) + 1) / 2
	return joinSpans(newSpan(moduli[:half]), newSpan(moduli[half:]), moduli[0].limbs())
}

// joinSpans: (2^l − D_l)(2^r − D_r) = 2^(l+r) − (D_l·2^r + D_r·2^l − D_l·D_r).
func joinSpans(left, right *span, n int) *span {
	s := &span{left: left, right: right, count: left.count + right.count}
	size := s.count*n - n/2 + 1
	s.d = make([]word, size, (size+3)&^3)
	copy(s.d[right.count*n:], left.d)
	addTo(s.d[left.count*n:], right.d)
	s.takeProduct(left, right)
	return s
}

// rowLimbs is how long factors are at most that rows of limbs multiply sooner
// than math/big.
const rowLimbs = 64

// takeProduct takes D_l·D_r off D. Rows go by four limbs, which D has room for.
func (s *span) takeProduct(left, right *span) {
	l, r := left.d[:cap(left.d)], right.d[:cap(right.d)]
	if len(l)+len(r) > 2*rowLimbs {
		subFrom(s.d, new(big.Int).Mul(left.int(new(big.Int)), right.int(new(big.Int))).Bits())
		return
	}
	var buf [2 * rowLimbs]word
	p := buf[:len(l)+len(r)]
	addMul(p, l, r)
	subFrom(s.d, p[:min(len(p), len(s.d))])
}

// product is P as a new number; n is the limbs of a modulus.
func (s *span) product(n int) *big.Int {
	p := new(big.Int).Lsh(big.NewInt(1), uint(s.count*n*wordBits))
	return p.Sub(p, s.int(new(big.Int)))
}

// int is D in x, which shares its limbs with the span.
func (s *span) int(x *big.Int) *big.Int { return x.SetBits(s.d) }
