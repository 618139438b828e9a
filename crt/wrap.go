package crt

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
)

// Wrapper wraps secrets for the database (section 7) under a key that is not in
// it. Immutable, and safe for concurrent use.
type Wrapper struct {
	newest uint32
	keys   map[uint32]cipher.AEAD
}

// NewWrapper makes one of numbered keys of 32 bytes. It wraps under the highest
// number, and unwraps under any.
func NewWrapper(keys map[uint32][]byte) (*Wrapper, error) {
	w := &Wrapper{keys: make(map[uint32]cipher.AEAD, len(keys))}
	for n, k := range keys {
		if len(k) != KeySize || allZero(k) {
			return nil, fmt.Errorf("crt: wrapping key %d is not %d random bytes", n, KeySize)
		}
		w.keys[n] = aead([KeySize]byte(k))
		w.newest = max(w.newest, n)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("crt: there is no wrapping key")
	}
	return w, nil
}

// What a wrapped secret is.
const (
	LabelChain   = "CRT-BE/1 chain"
	LabelChannel = "CRT-BE/1 channel"
	LabelBody    = "CRT-BE/1 body"
	LabelLive    = "CRT-BE/1 live" // a body on its way to another node
)

// ChannelOwner is whose a channel's secret is.
func ChannelOwner(channel uint64, epoch uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, channel), epoch)
}

const wrapHead = 4 + 12

// Wrap appends the wrapped secret to dst. owner says whose it is: nobody else's
// unwraps.
func (w *Wrapper) Wrap(dst []byte, label string, owner, secret []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, w.newest)
	var nonce [12]byte
	rand.Read(nonce[:])
	dst = append(dst, nonce[:]...)
	return w.keys[w.newest].Seal(dst, nonce[:], secret, append([]byte(label), owner...))
}

// Unwrap is the reverse. The error names the number of a key that is missing,
// and says nothing else.
func (w *Wrapper) Unwrap(label string, owner, b []byte) ([]byte, error) {
	if len(b) < wrapHead+tagSize {
		return nil, ErrOpen
	}
	n := binary.BigEndian.Uint32(b)
	k := w.keys[n]
	if k == nil {
		return nil, fmt.Errorf("crt: wrapping key %d is not there", n)
	}
	secret, err := k.Open(nil, b[4:wrapHead], b[wrapHead:], append([]byte(label), owner...))
	if err != nil {
		return nil, ErrOpen
	}
	return secret, nil
}

// Old reports whether the secret is wrapped under another than the newest key.
func (w *Wrapper) Old(b []byte) bool { return len(b) < 4 || binary.BigEndian.Uint32(b) != w.newest }
