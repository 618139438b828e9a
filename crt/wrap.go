package crt

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
)

// Wrapper wraps secrets for the database (section 7) under a key that is not in
// it. Immutable, and safe for concurrent use.
type Wrapper struct {
	newest uint32
	keys   map[uint32]*xaes
}

// NewWrapper makes one of numbered keys of 32 bytes. It wraps under the highest
// number, and unwraps under any.
func NewWrapper(keys map[uint32][]byte) (*Wrapper, error) {
	w := &Wrapper{keys: make(map[uint32]*xaes, len(keys))}
	for n, k := range keys {
		if len(k) != KeySize || allZero(k) {
			return nil, fmt.Errorf("crt: wrapping key %d is not %d random bytes", n, KeySize)
		}
		w.keys[n] = newXAES([KeySize]byte(k))
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
)

// ChainOwner is whose a chain key is, and where it stands: a wrapped one that was
// of another generation, key period or place does not open. Shard and Slot are
// zero in kind aead.
type ChainOwner struct {
	Who                Who
	Generation, Period uint32
	Kind               Kind
	Shard              uint64
	Slot               uint16
}

// Bytes is the owner as Wrap takes it.
func (o *ChainOwner) Bytes() []byte {
	b := append(make([]byte, 0, len(o.Who)+19), o.Who[:]...)
	b = binary.BigEndian.AppendUint32(b, o.Generation)
	b = binary.BigEndian.AppendUint32(b, o.Period)
	b = binary.BigEndian.AppendUint64(append(b, byte(o.Kind)), o.Shard)
	return binary.BigEndian.AppendUint16(b, o.Slot)
}

// ChannelOwner is whose a channel's secret is.
func ChannelOwner(channel uint64, epoch uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, channel), epoch)
}

const wrapHead = 4 + xNonce

// Wrap appends the wrapped secret to dst. owner says whose it is: nobody else's
// unwraps.
func (w *Wrapper) Wrap(dst []byte, label string, owner, secret []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, w.newest)
	var nonce [xNonce]byte
	rand.Read(nonce[:])
	dst = append(dst, nonce[:]...)
	return w.keys[w.newest].seal(dst, nonce[:], secret, append([]byte(label), owner...))
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
	secret, err := k.open(b[4:wrapHead], b[wrapHead:], append([]byte(label), owner...))
	if err != nil {
		return nil, ErrOpen
	}
	return secret, nil
}

// Old reports whether the secret is wrapped under another than the newest key.
func (w *Wrapper) Old(b []byte) bool { return len(b) < 4 || binary.BigEndian.Uint32(b) != w.newest }
