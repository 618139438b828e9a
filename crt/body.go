package crt

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Body is a sealed body with its hash. It is immutable, and may stand in any
// number of frames of its mode.
type Body struct {
	Bytes []byte
	hash  [sha256.Size]byte
}

var noBody = Body{hash: sha256.Sum256(nil)}

// NewBody is a body that was sealed before. It keeps b.
func NewBody(b []byte) (*Body, error) {
	if len(b) < tagSize || len(b) > MaxBody {
		return nil, fmt.Errorf("crt: a body of %d bytes", len(b))
	}
	return &Body{b, sha256.Sum256(b)}, nil
}

// bodyAAD is frame[0:4]: a body belongs to no shard.
func bodyAAD(mode Mode) []byte { return []byte{'C', 'B', version, byte(mode)} }

// SealBody seals a message for envelopes, under a key of its own, which their
// slots carry (section 5.2).
func SealBody(message []byte) (*Body, [KeySize]byte, error) {
	var key [KeySize]byte
	rand.Read(key[:])
	b, err := sealBody(key, Envelope, message)
	return b, key, err
}

func sealBody(key [KeySize]byte, mode Mode, text []byte) (*Body, error) {
	if len(text) > MaxBody-tagSize {
		return nil, fmt.Errorf("crt: a body of %d bytes, above %d", len(text), MaxBody-tagSize)
	}
	var nonce [12]byte // the key is this body's alone
	return NewBody(aead(key).Seal(nil, nonce[:], text, bodyAAD(mode)))
}

func openBody(key []byte, mode Mode, body []byte) ([]byte, error) {
	var nonce [12]byte
	text, err := aead([KeySize]byte(key)).Open(nil, nonce[:], body, bodyAAD(mode))
	if err != nil {
		return nil, ErrOpen
	}
	return text, nil
}

// maxName is how long a group's name may be in a rekey body, in bytes.
const maxName = 1024

// ChannelKey is the secret of one epoch of a channel (section 5.3).
type ChannelKey struct {
	Channel uint64
	Epoch   uint32
	Name    string // of the group
	Secret  [KeySize]byte
}

// NewChannelKey makes the secret of an epoch.
func NewChannelKey(channel uint64, epoch uint32, name string) *ChannelKey {
	k := &ChannelKey{Channel: channel, Epoch: epoch, Name: name}
	rand.Read(k.Secret[:])
	return k
}

// String keeps keys out of logs.
func (k ChannelKey) String() string { return fmt.Sprintf("channel %d, epoch %d", k.Channel, k.Epoch) }

// GoString keeps keys out of logs.
func (k ChannelKey) GoString() string { return k.String() }

// SealRekeyBody is the body of frames that bring the secret to members. It is
// the same each time.
func (k *ChannelKey) SealRekeyBody() (*Body, error) {
	if len(k.Name) > maxName {
		return nil, errors.New("crt: a group's name is too long for a rekey body")
	}
	text := binary.BigEndian.AppendUint64(nil, k.Channel)
	text = binary.BigEndian.AppendUint32(text, k.Epoch)
	return sealBody(derive(k.Secret[:], nil, "CRT-BE/1 rekey"), Rekey, append(text, k.Name...))
}

// openRekey takes a rekey body with the secret of a slot.
func openRekey(secret, body []byte) (*ChannelKey, error) {
	key := derive(secret, nil, "CRT-BE/1 rekey")
	text, err := openBody(key[:], Rekey, body)
	if err != nil || len(text) < 12 || len(text) > 12+maxName {
		return nil, ErrOpen
	}
	return &ChannelKey{
		Channel: binary.BigEndian.Uint64(text), Epoch: binary.BigEndian.Uint32(text[8:]), Name: string(text[12:]),
		Secret: [KeySize]byte(secret),
	}, nil
}
