package crt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// Sizes in bytes.
const (
	KeySize  = 32 // of chain keys, channel secrets and body keys
	tagSize  = 16
	confirms = 16
)

// MaxSteps is how many key periods a client steps for one frame, and how many on
// one connection for frames that do not open (section 4).
const MaxSteps = 1 << 16

// ErrOpen is the one error of whatever does not open, for all causes: telling
// them apart would help those who try.
var ErrOpen = errors.New("crt: this does not open")

// Who is a client's name hash (section 1).
type Who [sha256.Size]byte

// NameHash hashes the client's realm and ID, both as bytes.
func NameHash(realm, id string) Who {
	h := sha256.New()
	var n [4]byte
	h.Write([]byte("CRT-BE/1 client"))
	binary.BigEndian.PutUint32(n[:], uint32(len(realm)))
	h.Write(n[:])
	h.Write([]byte(realm))
	binary.BigEndian.PutUint32(n[:], uint32(len(id)))
	h.Write(n[:])
	h.Write([]byte(id))
	return Who(h.Sum(nil))
}

// Chain is a client's chain key at a key period (section 4). Its zero value is
// not a key. Copies are keys too: [Chain.Wipe] each.
type Chain struct {
	Period uint32
	Key    [KeySize]byte
}

// Step goes to the next key period; the key of before is overwritten.
func (c *Chain) Step() {
	c.Key = derive(c.Key[:], nil, "CRT-BE/1 ratchet")
	c.Period++
}

// at is the chain at a later period, or an error where that is one before, or
// further ahead than a client steps.
func (c *Chain) at(period uint32) (Chain, error) {
	if period < c.Period || period-c.Period > MaxSteps {
		return Chain{}, ErrOpen
	}
	later := *c
	for later.Period < period {
		later.Step()
	}
	return later, nil
}

// Wipe overwrites the key.
func (c *Chain) Wipe() { clear(c.Key[:]) }

// String keeps keys out of logs.
func (c Chain) String() string { return "a chain key" }

// GoString keeps keys out of logs.
func (c Chain) GoString() string { return c.String() }

// aead is AES-256-GCM under a key.
func aead(key [KeySize]byte) cipher.AEAD {
	b, err := aes.NewCipher(key[:])
	if err != nil { // only of a wrong length
		panic("crt: " + err.Error())
	}
	a, err := cipher.NewGCM(b)
	if err != nil { // only of another block size
		panic("crt: " + err.Error())
	}
	return a
}

// Domains of nonces (section 4).
const (
	domainSlot    = 1
	domainChannel = 2
	domainDown    = 3
	domainUp      = 4
	domainSession = 5
)

func putNonce(n *[12]byte, batch uint64, lane, domain uint16) {
	binary.BigEndian.PutUint64(n[0:], batch)
	binary.BigEndian.PutUint16(n[8:], lane)
	binary.BigEndian.PutUint16(n[10:], domain)
}
