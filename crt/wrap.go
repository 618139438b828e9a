package crt

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

// Wrapper wraps secrets for the database (section 7) under a key that is not in
// it. Safe for concurrent use.
type Wrapper struct {
	use  atomic.Uint32 // the key that wraps
	keys map[uint32]*xaes
}

// NewWrapper makes one of numbered keys of 32 bytes. It wraps under the highest
// number (see [Wrapper.Use]), and unwraps under any.
func NewWrapper(keys map[uint32][]byte) (*Wrapper, error) {
	w := &Wrapper{keys: make(map[uint32]*xaes, len(keys))}
	for n, k := range keys {
		if len(k) != KeySize || allZero(k) {
			return nil, fmt.Errorf("crt: wrapping key %d is not %d random bytes", n, KeySize)
		}
		w.keys[n] = newXAES([KeySize]byte(k))
		w.use.Store(max(w.use.Load(), n))
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("crt: there is no wrapping key")
	}
	return w, nil
}

// Use has it wrap under that key from now on. The error names one that is
// missing.
func (w *Wrapper) Use(number uint32) error {
	if w.keys[number] == nil {
		return fmt.Errorf("crt: wrapping key %d is not there", number)
	}
	w.use.Store(number)
	return nil
}

// Used is the number of the key that wraps.
func (w *Wrapper) Used() uint32 { return w.use.Load() }

// What a wrapped secret is.
const (
	LabelChain   = "CRT-BE/1 chain"
	LabelChannel = "CRT-BE/1 channel"
	LabelBody    = "CRT-BE/1 body"
	LabelLive    = "CRT-BE/1 live"   // a body on its way to another node
	LabelNotice  = "CRT-BE/1 notice" // likewise; without an owner
	LabelStore   = "CRT-BE/1 store"
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

// StoreOwner is whose a store's proof of a wrapping key is.
func StoreOwner(number uint32) []byte { return binary.BigEndian.AppendUint32(nil, number) }

const wrapHead = 4 + xNonce

// Wrap appends the wrapped secret to dst. owner says whose it is: nobody else's
// unwraps.
func (w *Wrapper) Wrap(dst []byte, label string, owner, secret []byte) []byte {
	use := w.use.Load()
	dst = binary.BigEndian.AppendUint32(dst, use)
	var nonce [xNonce]byte
	rand.Read(nonce[:])
	dst = append(dst, nonce[:]...)
	return w.keys[use].seal(dst, nonce[:], secret, append([]byte(label), owner...))
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

// Old reports whether the secret is wrapped under another key than the one in
// use.
func (w *Wrapper) Old(b []byte) bool { return len(b) < 4 || binary.BigEndian.Uint32(b) != w.use.Load() }
