package crt

// The handshake (section 3): what both sides do with its three messages. The
// client's side ends this file, the server's is in identity.go.

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/mlkem"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"github.com/sunzi-push/sunzi/crt/residue"
)

// Suite is the kind of key agreement (section 1.1).
type Suite uint8

// The suites.
const (
	X25519         Suite = 1
	X25519MLKEM768 Suite = 2
)

// Kind is what the keys of a handshake are for.
type Kind uint8

// The kinds, as the handshake's mode has them.
const (
	KindCRT  Kind = 1
	KindAEAD Kind = 2
)

// ErrHandshake is the one error of a handshake that does not come about, for
// all causes.
var ErrHandshake = errors.New("crt: the handshake failed")

const (
	helloSize   = 84
	welcomeSize = 36
	grantSize   = 32
)

// Grant is what a handshake gives to a client (section 3).
type Grant struct {
	Generation uint32 // numbers the client's keys
	Period     uint32 // at which they begin
	Shard      uint64 // zero in aead, as are the rest
	Slot       int
	Slots      int
	Modulus    *residue.Modulus // nil in aead
}

func (g *Grant) append(dst []byte) []byte {
	var b [grantSize]byte
	binary.BigEndian.PutUint32(b[0:], g.Generation)
	binary.BigEndian.PutUint32(b[4:], g.Period)
	if g.Modulus == nil {
		return append(dst, b[:]...)
	}
	binary.BigEndian.PutUint64(b[8:], g.Shard)
	binary.BigEndian.PutUint16(b[16:], uint16(g.Slot))
	binary.BigEndian.PutUint16(b[18:], uint16(g.Slots))
	binary.BigEndian.PutUint16(b[20:], uint16(g.Modulus.Width()/8))
	return g.Modulus.AppendC(append(dst, b[:]...))
}

func parseGrant(kind Kind, b []byte) (g Grant, err error) {
	if len(b) < grantSize || !allZero(b[22:grantSize]) {
		return g, ErrHandshake
	}
	g.Generation, g.Period = binary.BigEndian.Uint32(b[0:]), binary.BigEndian.Uint32(b[4:])
	if kind == KindAEAD {
		if len(b) != grantSize || !allZero(b[8:]) {
			return g, ErrHandshake
		}
		return g, nil
	}
	g.Shard = binary.BigEndian.Uint64(b[8:])
	g.Slot, g.Slots = int(binary.BigEndian.Uint16(b[16:])), int(binary.BigEndian.Uint16(b[18:]))
	width := 8 * int(binary.BigEndian.Uint16(b[20:]))
	if g.Slot >= g.Slots || g.Slots > MaxSlots || !isWidth(width) || g.Slots*width/8 > MaxX {
		return g, ErrHandshake
	}
	if g.Modulus, err = residue.NewModulus(width, b[grantSize:]); err != nil {
		return g, ErrHandshake
	}
	return g, nil
}

// secrets are what both sides derive from a handshake.
type secrets struct{ welcome, confirm, chain, up, session [KeySize]byte }

// transcript is th of section 3; welcome is without the sealed grant.
func transcript(hello, welcome, static []byte) []byte {
	h := sha256.New()
	for _, part := range [...][]byte{[]byte("CRT-BE/1 handshake"), hello, welcome, static} {
		h.Write(part)
	}
	return h.Sum(nil)
}

func agree(ss, th []byte) secrets {
	return secrets{
		derive(ss, th, "CRT-BE/1 welcome"),
		derive(ss, th, "CRT-BE/1 confirm"),
		derive(ss, th, "CRT-BE/1 chain"),
		derive(ss, th, "CRT-BE/1 up chain"),
		derive(ss, th, "CRT-BE/1 session chain"),
	}
}

// confirmation is SEAL_CONFIRM for the whole SEAL_WELCOME.
func (s *secrets) confirmation(welcome []byte) []byte {
	sum := sha256.Sum256(welcome)
	m := hmac.New(sha256.New, s.confirm[:])
	m.Write(sum[:])
	return append([]byte{version}, m.Sum(nil)[:confirms]...)
}

// newKey makes an X25519 key from random.
func newKey(random io.Reader) (*ecdh.PrivateKey, error) {
	var b [32]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, err
	}
	return ecdh.X25519().NewPrivateKey(b[:])
}

// ClientHandshake is a client's side of one handshake. Make one for each.
type ClientHandshake struct {
	suite  Suite
	kind   Kind
	who    Who
	server *ecdh.PublicKey
	key    *ecdh.PrivateKey
	kem    *mlkem.DecapsulationKey768 // suite 2 only
	hello  []byte
}

// NewHandshake begins a handshake of the client with a server whose identity
// key is pinned. It answers SEAL_HELLO.
func NewHandshake(suite Suite, kind Kind, who Who, server []byte, random io.Reader) (*ClientHandshake, []byte, error) {
	if suite != X25519 && suite != X25519MLKEM768 || kind != KindCRT && kind != KindAEAD {
		return nil, nil, errors.New("crt: there is no such suite or kind")
	}
	pub, err := ecdh.X25519().NewPublicKey(server)
	if err != nil {
		return nil, nil, errors.New("crt: the server's identity key is 32 bytes")
	}
	h := &ClientHandshake{suite: suite, kind: kind, who: who, server: pub}
	var nonce [16]byte
	if _, err := io.ReadFull(random, nonce[:]); err != nil {
		return nil, nil, err
	}
	if h.key, err = newKey(random); err != nil {
		return nil, nil, err
	}
	b := append(make([]byte, 0, helloSize+mlkem.EncapsulationKeySize768), version, byte(suite), byte(kind), 0)
	b = append(b, who[:]...)
	b = append(b, nonce[:]...)
	b = append(b, h.key.PublicKey().Bytes()...)
	if suite == X25519MLKEM768 {
		var seed [mlkem.SeedSize]byte
		if _, err := io.ReadFull(random, seed[:]); err != nil {
			return nil, nil, err
		}
		if h.kem, err = mlkem.NewDecapsulationKey768(seed[:]); err != nil {
			return nil, nil, err
		}
		b = append(b, h.kem.EncapsulationKey().Bytes()...)
	}
	h.hello = slices.Clone(b)
	return h, b, nil
}

// Finish takes SEAL_WELCOME. It answers the client's keys and SEAL_CONFIRM. The
// handshake is used up.
func (h *ClientHandshake) Finish(welcome []byte) (*Keys, []byte, error) {
	clear, box, err := h.parse(welcome)
	if err != nil {
		return nil, nil, err
	}
	ss, err := h.shared(clear)
	if err != nil {
		return nil, nil, ErrHandshake
	}
	th := transcript(h.hello, clear, h.server.Bytes())
	s := agree(ss, th)
	h.key, h.kem = nil, nil
	var nonce [12]byte
	text, err := aead(s.welcome).Open(nil, nonce[:], box, th)
	if err != nil {
		return nil, nil, ErrHandshake
	}
	g, err := parseGrant(h.kind, text)
	if err != nil {
		return nil, nil, err
	}
	k := newKeys(h.who, g, s.chain)
	k.up, k.session = s.up, s.session
	return k, s.confirmation(welcome), nil
}

func (h *ClientHandshake) parse(b []byte) (clear, box []byte, err error) {
	n := welcomeSize
	if h.suite == X25519MLKEM768 {
		n += mlkem.CiphertextSize768
	}
	if h.key == nil || len(b) < n+grantSize+tagSize || b[0] != version || b[1] != byte(h.suite) || b[2] != byte(h.kind) || b[3] != 0 {
		return nil, nil, ErrHandshake
	}
	return b[:n], b[n:], nil
}

func (h *ClientHandshake) shared(welcome []byte) ([]byte, error) {
	e, err := ecdh.X25519().NewPublicKey(welcome[4:36])
	if err != nil {
		return nil, err
	}
	one, err := h.key.ECDH(e)
	if err != nil {
		return nil, err
	}
	two, err := h.key.ECDH(h.server)
	if err != nil {
		return nil, err
	}
	ss := slices.Concat(one, two)
	if h.suite == X25519MLKEM768 {
		kem, err := h.kem.Decapsulate(welcome[36:])
		if err != nil {
			return nil, err
		}
		ss = append(ss, kem...)
	}
	return ss, nil
}
