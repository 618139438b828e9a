package crt

import (
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"testing"
)

func newIdentity(t *testing.T) *Identity {
	t.Helper()
	secret := make([]byte, 32)
	rand.Read(secret)
	id, err := NewIdentity(secret)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func grantOf(kind Kind) Grant {
	if kind == KindAEAD {
		return Grant{Generation: 3, Period: 9}
	}
	return Grant{Generation: 3, Period: 9, Shard: 77, Slot: 5, Slots: 16, Modulus: primes()[5]}
}

var who = NameHash("bank", "alice")

// answer is the server's part.
func answer(id *Identity, h Hello, g Grant, random io.Reader) ([]byte, *Pending, error) {
	a, err := id.Agree(h, random)
	if err != nil {
		return nil, nil, err
	}
	return a.Grant(g)
}

// shake makes a handshake whose messages may be changed on their way.
func shake(t *testing.T, id *Identity, suite Suite, kind Kind, change func(hello, welcome, confirm []byte)) (*Keys, Chain, error) {
	t.Helper()
	client, hello, err := NewHandshake(suite, kind, who, id.Public(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	change(hello, nil, nil)
	h, err := ParseHello(hello)
	if err != nil {
		return nil, Chain{}, err
	}
	welcome, pending, err := answer(id, h, grantOf(h.Kind), rand.Reader)
	if err != nil {
		return nil, Chain{}, err
	}
	change(nil, welcome, nil)
	keys, confirm, err := client.Finish(welcome)
	if err != nil {
		return nil, Chain{}, err
	}
	change(nil, nil, confirm)
	chain, err := pending.Confirm(confirm)
	if up := keys.Up(); err == nil && (up.Key != pending.Up() || up.Period != chain.Period || up.Key == chain.Key) {
		t.Error("what clients send is sealed with another key than it is opened with")
	}
	return keys, chain, err
}

func TestBothSidesAgree(t *testing.T) {
	id := newIdentity(t)
	for _, suite := range []Suite{X25519, X25519MLKEM768} {
		for _, kind := range []Kind{KindCRT, KindAEAD} {
			keys, chain, err := shake(t, id, suite, kind, func(_, _, _ []byte) {})
			if err != nil {
				t.Fatal(suite, kind, err)
			}
			if keys.Chain() != chain || chain.Period != 9 || chain.Key == [KeySize]byte{} {
				t.Errorf("suite %d, kind %d: the chains differ", suite, kind)
			}
			if g := keys.Grant(); g.Generation != 3 || g.Shard != grantOf(kind).Shard || g.Slot != grantOf(kind).Slot {
				t.Errorf("suite %d, kind %d: granted %+v", suite, kind, g)
			}
		}
	}
}

// A bit that is changed on the way ends the handshake, on either side.
func TestAChangedHandshakeFails(t *testing.T) {
	id := newIdentity(t)
	for _, suite := range []Suite{X25519, X25519MLKEM768} {
		for _, at := range []int{0, 1, 2, 3, 4, 36, 52, 83, 84} {
			for part := range 3 {
				_, _, err := shake(t, id, suite, KindCRT, func(hello, welcome, confirm []byte) {
					b := [][]byte{hello, welcome, confirm}[part]
					if at < len(b) {
						b[at] ^= 1
					} else if b != nil {
						b[len(b)-1] ^= 1
					}
				})
				if !errors.Is(err, ErrHandshake) {
					t.Errorf("suite %d, message %d, byte %d: %v", suite, part, at, err)
				}
			}
		}
	}
}

func TestAHandshakeWithAnotherServerFails(t *testing.T) {
	id, other := newIdentity(t), newIdentity(t)
	client, hello, err := NewHandshake(X25519, KindCRT, who, id.Public(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, _ := ParseHello(hello)
	welcome, _, err := answer(other, h, grantOf(KindCRT), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.Finish(welcome); !errors.Is(err, ErrHandshake) {
		t.Errorf("a server without the pinned key: %v", err)
	}
	if _, _, err := client.Finish(welcome); !errors.Is(err, ErrHandshake) {
		t.Errorf("a handshake used twice: %v", err)
	}
}

func TestALowOrderPointIsRefused(t *testing.T) {
	id := newIdentity(t)
	_, hello, _ := NewHandshake(X25519, KindCRT, who, id.Public(), rand.Reader)
	clear(hello[52:84])
	h, err := ParseHello(hello)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := answer(id, h, grantOf(KindCRT), rand.Reader); !errors.Is(err, ErrHandshake) {
		t.Errorf("got %v", err)
	}
}

func TestShortHandshakeMessages(t *testing.T) {
	id := newIdentity(t)
	client, hello, _ := NewHandshake(X25519MLKEM768, KindAEAD, who, id.Public(), rand.Reader)
	h, _ := ParseHello(hello)
	welcome, pending, err := answer(id, h, grantOf(KindAEAD), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for n := range hello {
		if _, err := ParseHello(hello[:n]); !errors.Is(err, ErrHandshake) {
			t.Fatalf("%d bytes of a hello: %v", n, err)
		}
	}
	for n := range welcome {
		if _, _, err := client.parse(welcome[:n]); err == nil && n < welcomeSize+1088+grantSize+tagSize {
			t.Fatalf("%d bytes of a welcome were taken", n)
		}
	}
	for n := range 17 {
		if _, err := pending.Confirm(make([]byte, n)); !errors.Is(err, ErrHandshake) {
			t.Fatalf("%d bytes of a confirmation: %v", n, err)
		}
	}
	if _, _, err := answer(id, h, grantOf(KindCRT), rand.Reader); err == nil {
		t.Error("a grant of crt for aead")
	}
}

func TestGrantsOutOfRange(t *testing.T) {
	good := (&Grant{Generation: 1, Slot: 3, Slots: 16, Modulus: primes()[0]}).append(nil)
	if _, err := parseGrant(KindCRT, good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(b []byte) []byte{
		"slot":     func(b []byte) []byte { b[17] = 16; return b },
		"slots":    func(b []byte) []byte { b[18] = 0xff; return b },
		"width":    func(b []byte) []byte { b[21] = 63; return b },
		"reserved": func(b []byte) []byte { b[25] = 1; return b },
		"even c":   func(b []byte) []byte { b[len(b)-1] &^= 1; return b },
		"small c":  func(b []byte) []byte { b[grantSize] &^= 0x80; return b },
		"short c":  func(b []byte) []byte { return b[:len(b)-1] },
	} {
		if _, err := parseGrant(KindCRT, spoil(slices.Clone(good))); !errors.Is(err, ErrHandshake) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := parseGrant(KindAEAD, good); !errors.Is(err, ErrHandshake) {
		t.Errorf("a grant of crt as one of aead: %v", err)
	}
}
