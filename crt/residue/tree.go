package residue

import (
	"fmt"
	"math/big"
)

// Tree combines by formula (1) for any moduli above 1 that are coprime in
// pairs, whatever their widths and number: for the paper's one x over
// everybody, for audits, and as a second opinion on [Basis].
//
// It is the linear-combination tree: of b_i·w_i mod m_i, w_i = (M/m_i)⁻¹ mod
// m_i, every branch takes A_left·P_right + A_right·P_left, and the root A mod M.
// Large products are formed by Schönhage and Strassen's transform, in which
// those of the moduli are kept: 16384 moduli of 2048 bits keep 300 MB. A Tree
// is immutable, and any number of goroutines may combine by it.
type Tree struct {
	moduli  []*big.Int
	weights []*big.Int
	root    *branch
}

// branch is the product of some of the moduli.
type branch struct {
	left, right *branch // none at a leaf
	count       int
	p           *big.Int

	plan   *plan  // of large products; nil for plain ones
	pl, pr []word // transforms of the children's products
	need   int    // limbs of arena below and at this branch
}

// limbs of the branch's value, which is below count·P.
func (b *branch) limbs() int { return len(b.p.Bits()) + 1 }

// Arena is what [Tree.Combine] works in. The zero value is ready, grows to the
// largest tree that it was used with (about three times x), and belongs to one
// goroutine at a time.
type Arena struct {
	words []word
	m     multiplier
	q, r  big.Int
	x     big.Int // a view
}

// take cuts n limbs off the arena; what they hold is whatever was there.
func (a *Arena) take(n int) []word {
	z := a.words[:n:n]
	a.words = a.words[n:]
	return z
}

// NewTree precomputes for these moduli, which it copies. It refuses none at
// all ([ErrNoModuli]), one below 2 ([ErrModulus]), the same one twice
// ([ErrDuplicate]) and two with a common factor ([ErrNotCoprime]). Its time
// grows faster than their length together: 40 ms for 1024 moduli of 512 bits.
func NewTree(moduli []*big.Int) (*Tree, error) {
	if len(moduli) == 0 {
		return nil, ErrNoModuli
	}
	t := &Tree{moduli: make([]*big.Int, len(moduli)), weights: make([]*big.Int, len(moduli))}
	for i, m := range moduli {
		if m.Cmp(big.NewInt(1)) <= 0 {
			return nil, fmt.Errorf("%w: %d at %d", ErrModulus, m, i)
		}
		t.moduli[i] = new(big.Int).Set(m)
	}
	t.root = newBranch(t.moduli)
	// Σ M/m_i leaves M/m_i modulo m_i: all others are multiples of it.
	a := &Arena{words: make([]word, t.root.need)}
	sum := make([]word, t.root.limbs())
	t.root.combine(sum, a, func(leaf []word) { clear(leaf); leaf[0] = 1 })
	if i := t.weigh(t.root, new(big.Int).SetBits(sum), 0); i >= 0 {
		return nil, t.conflict(i)
	}
	return t, nil
}

// weigh sets the weights below b of a number that leaves M/m_i modulo each
// modulus, and answers the place of one that has no inverse, or −1.
func (t *Tree) weigh(b *branch, sum *big.Int, first int) int {
	rest := new(big.Int).Rem(sum, b.p)
	if b.left != nil {
		if i := t.weigh(b.left, rest, first); i >= 0 {
			return i
		}
		return t.weigh(b.right, rest, first+b.left.count)
	}
	if t.weights[first] = inverse(rest, b.p); t.weights[first] == nil {
		return first
	}
	return -1
}

// conflict says which modulus has a factor in common with modulus i.
func (t *Tree) conflict(i int) error {
	for j, m := range t.moduli {
		switch {
		case j == i:
		case m.Cmp(t.moduli[i]) == 0:
			return fmt.Errorf("%w: at %d and %d", ErrDuplicate, min(i, j), max(i, j))
		case new(big.Int).GCD(nil, nil, m, t.moduli[i]).BitLen() > 1:
			return fmt.Errorf("%w: at %d and %d", ErrNotCoprime, min(i, j), max(i, j))
		}
	}
	return fmt.Errorf("%w: at %d", ErrNotCoprime, i)
}

func newBranch(moduli []*big.Int) *branch {
	if len(moduli) == 1 {
		return &branch{count: 1, p: moduli[0]}
	}
	half := (len(moduli) + 1) / 2
	return joinBranches(newBranch(moduli[:half]), newBranch(moduli[half:]), nil)
}

// joinBranches makes the branch above two; what it has in common with was,
// which may be nil, it takes from there.
func joinBranches(left, right, was *branch) *branch {
	b := &branch{left: left, right: right, count: left.count + right.count, p: new(big.Int)}
	b.plan = newPlan(len(left.p.Bits()) + len(right.p.Bits()) + 1)
	b.need = left.limbs() + right.limbs() + max(left.need, right.need)
	if b.plan == nil {
		b.p.Mul(left.p, right.p)
		return b
	}
	b.need = max(b.need, left.limbs()+right.limbs()+2*b.plan.elements()+b.plan.size())
	tmp := make([]word, b.plan.size())
	b.pl, b.pr = b.transformOf(left, was, tmp), b.transformOf(right, was, tmp)
	product := make([]word, len(left.p.Bits())+len(right.p.Bits()))
	x, zero := append([]word(nil), b.pl...), make([]word, len(b.pl))
	b.plan.pointwise(x, b.pr, zero, zero, new(multiplier))
	b.plan.inverse(product, x, tmp)
	b.p.SetBits(product)
	return b
}

func (b *branch) transformOf(child, was *branch, tmp []word) []word {
	if was != nil && was.plan != nil && *was.plan == *b.plan {
		switch child {
		case was.left:
			return was.pl
		case was.right:
			return was.pr
		}
	}
	z := make([]word, b.plan.elements())
	b.plan.transform(z, child.p.Bits(), tmp)
	return z
}

// Combine sets x to the number of formula (1): 0 <= x < M, and x mod m_i is
// residues[i]. One that is negative or not below its modulus is refused with
// [*TooLarge], and another number of them with [ErrCount]; then x is left
// alone. It keeps nothing of residues, doesn't block, and once a and x have
// been used for a tree of that size allocates next to nothing.
func (t *Tree) Combine(x *big.Int, residues []*big.Int, a *Arena) error {
	if len(residues) != len(t.moduli) {
		return fmt.Errorf("%w: %d for %d", ErrCount, len(residues), len(t.moduli))
	}
	for i, r := range residues {
		if r.Sign() < 0 || r.Cmp(t.moduli[i]) >= 0 {
			return &TooLarge{Index: i}
		}
	}
	need := t.root.need + t.root.limbs()
	if len(a.words) < need {
		a.words = make([]word, need)
	}
	all := a.words
	out, i := a.take(t.root.limbs()), 0
	t.root.combine(out, a, func(leaf []word) {
		a.q.QuoRem(a.m.p[0].Mul(residues[i], t.weights[i]), t.moduli[i], &a.r)
		clear(leaf)
		copy(leaf, a.r.Bits())
		i++
	})
	a.words = all
	a.q.QuoRem(a.x.SetBits(out), t.root.p, &a.r) // a quotient below the number of moduli
	x.Set(&a.r)
	return nil
}

// combine sets out to the branch's value; leaf sets those of the moduli, in
// their order.
func (b *branch) combine(out []word, a *Arena, leaf func([]word)) {
	if b.left == nil {
		leaf(out)
		return
	}
	all := a.words
	al, ar := a.take(b.left.limbs()), a.take(b.right.limbs())
	b.left.combine(al, a, leaf)
	b.right.combine(ar, a, leaf)
	if b.plan != nil {
		x, y, tmp := a.take(b.plan.elements()), a.take(b.plan.elements()), a.take(b.plan.size())
		b.plan.transform(x, al, tmp)
		b.plan.transform(y, ar, tmp)
		b.plan.pointwise(x, b.pr, y, b.pl, &a.m)
		b.plan.inverse(out, x, tmp)
	} else {
		sum := a.m.mul(0, al, b.right.p.Bits())
		sum.Add(sum, a.m.mul(1, ar, b.left.p.Bits()))
		clear(out)
		copy(out, sum.Bits())
	}
	a.words = all
}

// Replace answers the tree with m, which it copies, in place i; t stays as it
// is, and what is the same is shared. Errors are those of [NewTree], and
// [ErrNoSuch]. It makes the products above i anew, and multiplies the other
// weights by old·m⁻¹, for which it takes one inversion and three
// multiplications each.
func (t *Tree) Replace(i int, m *big.Int) (*Tree, error) {
	if i < 0 || i >= len(t.moduli) {
		return nil, fmt.Errorf("%w: %d of %d", ErrNoSuch, i, len(t.moduli))
	}
	if m.Cmp(big.NewInt(1)) <= 0 {
		return nil, fmt.Errorf("%w: %d at %d", ErrModulus, m, i)
	}
	r := &Tree{moduli: append([]*big.Int(nil), t.moduli...), weights: make([]*big.Int, len(t.moduli))}
	r.moduli[i] = new(big.Int).Set(m)
	if !r.reweigh(i, t) {
		return nil, r.conflict(i)
	}
	r.root = t.root.replaced(i, r.moduli[i])
	return r, nil
}

// reweigh makes the weights of those in old, as [Basis.Replace] does, and says
// whether modulus i is coprime to all others.
func (t *Tree) reweigh(i int, old *Tree) bool {
	m := t.moduli[i]
	before := make([]*big.Int, len(t.moduli)) // before[j]: product of the moduli before j, mod m
	p, q := big.NewInt(1), new(big.Int)
	for j, other := range t.moduli {
		before[j] = p
		if j != i {
			p = new(big.Int).Mul(p, other)
			q.QuoRem(p, m, p)
		}
	}
	if t.weights[i] = inverse(p, m); t.weights[i] == nil {
		return false
	}
	rest := new(big.Int).Set(t.weights[i]) // inverse of the product up to j, mod m
	u, r := new(big.Int), new(big.Int)
	for j := len(t.moduli) - 1; j >= 0; j-- {
		other := t.moduli[j]
		if j == i {
			continue
		}
		q.QuoRem(u.Mul(rest, before[j]), m, r) // other⁻¹ mod m
		u.Mul(r, other)
		r.Quo(u, m) // (other⁻¹·other − 1)/m, rounded the same way: −m⁻¹ mod other
		u.Mul(r, old.weights[j])
		q.QuoRem(u, other, r)
		u.Mul(r, old.moduli[i])
		r.Neg(u)
		t.weights[j] = new(big.Int).Mod(r, other)
		q.QuoRem(u.Mul(rest, other), m, rest)
	}
	return true
}

func (b *branch) replaced(i int, m *big.Int) *branch {
	switch {
	case b.left == nil:
		return &branch{count: 1, p: m}
	case i < b.left.count:
		return joinBranches(b.left.replaced(i, m), b.right, b)
	default:
		return joinBranches(b.left, b.right.replaced(i-b.left.count, m), b)
	}
}
