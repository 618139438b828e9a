package attack_test

import (
	"bytes"
	"math/big"
	"testing"
)

// accepted counts the clients, except one, that take a forged frame for real.
func accepted(v victim, f frame, except int) (clients int) {
	for i := range v.moduli() {
		if i == except {
			continue
		}
		if _, ok := v.open(i, f); ok {
			clients++
		}
	}
	return clients
}

const nobody = -1

// A4, first part. The attacker sits on the line, knows nothing, and changes x.
//
// (x + 1) modulo m_i = b_i + 1: every text grows by one, every flipped bit makes
// some other text, and a multiple of M changes none at all. In the hardened form
// the residue ends in a tag, and every bit of x is a part of every residue.
func TestChangedNumberIsTakenForReal(t *testing.T) {
	const clients = 4
	duel(t, clients, func(t *testing.T, v victim) (wins, tries int) {
		f := mustSeal(t, v, randomTexts(randomness("texts"), clients, 24))
		forge := func(x *big.Int) {
			tries += clients
			wins += accepted(v, frame{header: f.header, x: x}, nobody)
		}
		forge(new(big.Int).Add(f.x, big.NewInt(1)))
		forge(new(big.Int).Add(f.x, product(v.moduli())))
		for bit := range product(v.moduli()).BitLen() {
			forge(new(big.Int).SetBit(new(big.Int).Set(f.x), bit, 1-f.x.Bit(bit)))
		}
		return wins, tries
	})
}

// In the paper's scheme an attacker on the line who knows a text can choose
// the one that takes its place: he adds the difference.
func TestKnownTextIsReplacedByAnother(t *testing.T) {
	duel(t, 4, func(t *testing.T, v victim) (wins, tries int) {
		texts := randomTexts(randomness("texts"), 4, 24)
		texts[2] = []byte("pay 10 to Mallory")
		instead := []byte("pay 99 to Mallory")
		f := mustSeal(t, v, texts)
		olds := v.encodings(texts[2], 1)
		for e, want := range v.encodings(instead, 1) {
			tries++
			forged := new(big.Int).Add(f.x, minus(want, olds[e]))
			if got, ok := v.open(2, frame{header: f.header, x: forged}); ok && bytes.Equal(got.text, instead) {
				wins++
			}
		}
		return wins, tries
	})
}

// A4, second part. The attacker is client 0: he knows his own prime, and sits on
// the line.
//
// x + t m_0 leaves his own text as it is, so nothing looks wrong to him, and
// changes all others. In the hardened form it does the same to the residues,
// and the others refuse them.
func TestInsiderChangesTheOthersTexts(t *testing.T) {
	const clients = 4
	duel(t, clients, func(t *testing.T, v victim) (wins, tries int) {
		texts := randomTexts(randomness("texts"), clients, 24)
		f := mustSeal(t, v, texts)
		for factor := int64(1); factor <= 64; factor++ {
			shift := new(big.Int).Mul(v.moduli()[0], big.NewInt(factor))
			forged := frame{header: f.header, x: shift.Add(shift, f.x)}
			if got, ok := v.open(0, forged); !ok || !bytes.Equal(got.text, texts[0]) {
				t.Fatal("the insider's own text must stand")
			}
			tries += clients - 1
			wins += accepted(v, forged, 0)
		}
		return wins, tries
	})
}

// A4, third part. The attacker sits on the line and has an x of yesterday.
//
// Nothing in x says when it was made: today it opens to yesterday's text. In the
// hardened form the batch number in the header is the nonce, so an x opens under
// its own header alone; and that whole frame again has the same sequence within,
// which a client's mailbox has had.
func TestOldNumberPassesForANewOne(t *testing.T) {
	const clients = 4
	duel(t, clients, func(t *testing.T, v victim) (wins, tries int) {
		r := randomness("texts")
		old := mustSeal(t, v, randomTexts(r, clients, 24))
		now := mustSeal(t, v, randomTexts(r, clients, 24))
		wins = accepted(v, frame{header: now.header, x: old.x}, nobody)
		tries = clients
		for i := range clients {
			first, _ := v.open(i, old)
			latest, ok := v.open(i, now)
			again, ok2 := v.open(i, old)
			if !ok || !ok2 {
				t.Fatal("a frame as it was made must open")
			}
			tries++
			if seen := again.sequence != 0 && again.sequence == first.sequence && again.sequence < latest.sequence; !seen {
				wins++
			}
		}
		return wins, tries
	})
}
