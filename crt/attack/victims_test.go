package attack_test

import (
	"crypto/sha256"
	"math/big"
	"math/rand/v2"
	"testing"
)

// victim is a sealing scheme between one server and some clients, with the
// powers that the attacks need. An attack uses only those that its attacker
// has; which, is said at its test.
type victim interface {
	// seal makes the next batch, with one text for each client.
	seal(texts [][]byte) (frame, error)
	// open is what client i makes of a frame; false if it refuses it.
	open(i int, f frame) (opened, bool)
	// combine is the server's last step, from residues to x.
	combine(residues []*big.Int) (*big.Int, error)
	// nextPeriod ends the key period: what clients and server hold of the old
	// one is gone. Nothing happens in a scheme without periods.
	nextPeriod()
	// moduli are the clients' secret primes: an insider knows one of them,
	// and the tests compare what was found with them.
	moduli() []*big.Int
	// guess is what anybody would take a modulus for, who only knows how they
	// are drawn.
	guess() *big.Int
	// encodings are the residues that a text might be, to somebody who knows
	// the format and no key. The sequence is 1 in the first batch, then 2, …
	encodings(text []byte, sequence uint64) []*big.Int
}

// frame is what goes over the wire: a header, if the scheme has one, and x.
type frame struct {
	header []byte
	x      *big.Int
}

// opened is what a client takes out of a frame.
type opened struct {
	text     []byte
	sequence uint64 // 0 in a scheme that has none
}

// duel runs an attack against both schemes. The attack says how many wins it
// had in how many tries: against raw it must win every time, or it is no attack;
// against the hardened construction never.
func duel(t *testing.T, clients int, attack func(t *testing.T, v victim) (wins, tries int)) {
	t.Helper()
	t.Run("raw", func(t *testing.T) {
		if wins, tries := attack(t, newRaw(t.Name(), clients, 256)); wins != tries || tries == 0 {
			t.Errorf("won %d of %d against the paper's scheme: this is not the attack it claims to be", wins, tries)
		}
	})
	t.Run("hardened", func(t *testing.T) {
		if wins, tries := attack(t, newHardened(t.Name(), clients)); wins != 0 || tries == 0 {
			t.Errorf("won %d of %d against the hardened construction", wins, tries)
		}
	})
}

// mustSeal seals texts that fit.
func mustSeal(t *testing.T, v victim, texts [][]byte) frame {
	t.Helper()
	f, err := v.seal(texts)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// randomness is the same in every run: what a test says must not depend on luck.
func randomness(seed string) *rand.ChaCha8 {
	return rand.NewChaCha8(sha256.Sum256([]byte(seed)))
}

// randomBits is a number below 2^bits, with the top bit set if top is 1.
func randomBits(r *rand.ChaCha8, bits int, top uint) *big.Int {
	b := make([]byte, bits/8)
	_, _ = r.Read(b)
	n := new(big.Int).SetBytes(b)
	if top == 1 {
		n.SetBit(n, bits-1, 1)
	}
	return n
}

// randomTexts are n texts of size bytes.
func randomTexts(r *rand.ChaCha8, n, size int) [][]byte {
	texts := make([][]byte, n)
	for i := range texts {
		texts[i] = make([]byte, size)
		_, _ = r.Read(texts[i])
	}
	return texts
}

// solve is formula (1) of the paper: x = sum of M_i^-1 M_i b_i, modulo M.
func solve(moduli, residues []*big.Int) *big.Int {
	m := product(moduli)
	x := new(big.Int)
	for i, mi := range moduli {
		rest := new(big.Int).Quo(m, mi)
		inverse := new(big.Int).ModInverse(rest, mi)
		x.Add(x, rest.Mul(rest, inverse.Mul(inverse, residues[i])))
	}
	return x.Mod(x, m)
}

func product(numbers []*big.Int) *big.Int {
	p := big.NewInt(1)
	for _, n := range numbers {
		p.Mul(p, n)
	}
	return p
}
