package crt

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/mlkem"
	"crypto/sha256"
	"errors"
	"io"
)

// Identity is the server's static key, which clients pin.
type Identity struct {
	key   *ecdh.PrivateKey
	blind [KeySize]byte
}

// NewIdentity makes one of its secret, 32 random bytes.
func NewIdentity(secret []byte) (*Identity, error) {
	k, err := ecdh.X25519().NewPrivateKey(secret)
	if err != nil {
		return nil, errors.New("crt: an identity's secret is 32 bytes")
	}
	return &Identity{k, derive(secret, nil, "CRT-BE/1 blind")}, nil
}

// Blind is a keyed hash of a client's text (section 7): without this key nobody
// can tell of which, or whether two clients' are equal.
func (id *Identity) Blind(who Who, text []byte) (sum [KeySize]byte) {
	m := hmac.New(sha256.New, id.blind[:])
	m.Write(who[:])
	m.Write(text)
	m.Sum(sum[:0])
	return sum
}

// Public is what clients pin, 32 bytes.
func (id *Identity) Public() []byte { return id.key.PublicKey().Bytes() }

// Hello is what a client asks for.
type Hello struct {
	Suite Suite
	Kind  Kind
	Who   Who
	raw   []byte
}

// ParseHello takes SEAL_HELLO. It keeps b. Whether Who is the client on whose
// connection it came is for the caller to check.
func ParseHello(b []byte) (Hello, error) {
	if len(b) < helloSize || b[0] != version || b[3] != 0 {
		return Hello{}, ErrHandshake
	}
	h := Hello{Suite: Suite(b[1]), Kind: Kind(b[2]), Who: Who(b[4:36]), raw: b}
	want := helloSize
	if h.Suite == X25519MLKEM768 {
		want += mlkem.EncapsulationKeySize768
	}
	if h.Suite != X25519 && h.Suite != X25519MLKEM768 || h.Kind != KindCRT && h.Kind != KindAEAD || len(b) != want {
		return Hello{}, ErrHandshake
	}
	return h, nil
}

// Pending is a handshake whose client has not yet confirmed.
type Pending struct {
	chain   Chain
	up      [KeySize]byte
	session [KeySize]byte
	confirm []byte
}

// Agreement is a client's hello with keys that were agreed on for it: all but the
// grant, which may cost the server something to make.
type Agreement struct {
	id      *Identity
	hello   Hello
	welcome []byte // without the sealed grant
	ss      []byte
}

// Agree makes the server's keys for a handshake. The error is [ErrHandshake] where
// the client's are none, or that of random.
func (id *Identity) Agree(h Hello, random io.Reader) (*Agreement, error) {
	key, err := newKey(random)
	if err != nil {
		return nil, err
	}
	welcome := append(make([]byte, 0, welcomeSize+mlkem.CiphertextSize768+512), version, byte(h.Suite), byte(h.Kind), 0)
	welcome = append(welcome, key.PublicKey().Bytes()...)
	ss, err := id.shared(h, key)
	if err != nil {
		return nil, ErrHandshake
	}
	if h.Suite == X25519MLKEM768 {
		ek, err := mlkem.NewEncapsulationKey768(h.raw[helloSize:])
		if err != nil {
			return nil, ErrHandshake
		}
		secret, ciphertext := ek.Encapsulate()
		ss, welcome = append(ss, secret...), append(welcome, ciphertext...)
	}
	return &Agreement{id, h, welcome, ss}, nil
}

// Grant answers the client: SEAL_WELCOME, and what its confirmation is compared
// with. The grant's modulus is nil exactly in kind aead. Call it once.
func (a *Agreement) Grant(g Grant) ([]byte, *Pending, error) {
	if (g.Modulus == nil) != (a.hello.Kind == KindAEAD) {
		return nil, nil, errors.New("crt: a grant of another kind than was asked for")
	}
	th := transcript(a.hello.raw, a.welcome, a.id.Public())
	s := agree(a.ss, th)
	var nonce [12]byte // the key is of this handshake alone
	welcome := aead(s.welcome).Seal(a.welcome, nonce[:], g.append(nil), th)
	return welcome, &Pending{Chain{g.Period, s.chain}, s.up, s.session, s.confirmation(welcome)}, nil
}

func (id *Identity) shared(h Hello, key *ecdh.PrivateKey) ([]byte, error) {
	e, err := ecdh.X25519().NewPublicKey(h.raw[52:84])
	if err != nil {
		return nil, err
	}
	one, err := key.ECDH(e)
	if err != nil {
		return nil, err
	}
	two, err := id.key.ECDH(e)
	if err != nil {
		return nil, err
	}
	return append(one, two...), nil
}

// Up is what a [Receiver] opens with, once the client has confirmed.
func (p *Pending) Up() [KeySize]byte { return p.up }

// Session is what a [Sender] of the client's sessions seals with, once it has
// confirmed.
func (p *Pending) Session() [KeySize]byte { return p.session }

// Confirm takes SEAL_CONFIRM, and answers the client's chain.
func (p *Pending) Confirm(b []byte) (Chain, error) {
	if !equal(b, p.confirm) {
		return Chain{}, ErrHandshake
	}
	return p.chain, nil
}
