package crt

// Frames without slots: channel (one ciphertext for all members), down, up and
// session (one client's). Their body is sealed under a key that only a sealer, or a
// sender, uses, with its batch numbers as nonces.

import (
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

func sealSingle(h Header, key [KeySize]byte, domain uint16, text, more []byte) ([]byte, error) {
	return sealUnder(h, aead(key), domain, text, more)
}

// sealUnder makes a frame whose body's additional data is frame[0:44] and more.
func sealUnder(h Header, c cipher.AEAD, domain uint16, text, more []byte) ([]byte, error) {
	if len(text) > MaxBody-tagSize {
		return nil, fmt.Errorf("crt: a body of %d bytes, above %d", len(text), MaxBody-tagSize)
	}
	h.BodyLen = uint32(len(text) + tagSize)
	frame := make([]byte, HeaderSize, HeaderSize+len(text)+tagSize)
	h.put((*[HeaderSize]byte)(frame))
	var nonce [12]byte
	putNonce(&nonce, h.Batch, h.Lane, domain)
	frame = c.Seal(frame, nonce[:], text, append(frame[:44:44], more...))
	h.BodyHash = sha256.Sum256(frame[HeaderSize:])
	h.put((*[HeaderSize]byte)(frame))
	return frame, nil
}

func openSingle(f *Frame, key [KeySize]byte, domain uint16, more []byte) ([]byte, error) {
	return openUnder(f, aead(key), domain, more)
}

func openUnder(f *Frame, c cipher.AEAD, domain uint16, more []byte) ([]byte, error) {
	var nonce [12]byte
	putNonce(&nonce, f.Batch, f.Lane, domain)
	text, err := c.Open(nil, nonce[:], f.Body, append(f.Head[:44:44], more...))
	if err != nil {
		return nil, ErrOpen
	}
	return text, nil
}

// SealChannel seals a message for all members of a channel (section 5.4). The
// same frame is sent to each, after its [AppendPrefix].
func (s *Sealer) SealChannel(k *ChannelKey, message []byte) ([]byte, error) {
	h := Header{Mode: Channel, Shard: k.Channel, Period: k.Epoch, Batch: s.take(), Sealer: s.id}
	return sealSingle(h, derive(k.Secret[:], nil, "CRT-BE/1 channel", s.id[:]), domainChannel, message, nil)
}

// Open opens a channel frame, without its prefix.
func (k *ChannelKey) Open(f *Frame) ([]byte, error) {
	if f.Mode != Channel || f.Shard != k.Channel || f.Period != k.Epoch {
		return nil, ErrOpen
	}
	return openSingle(f, derive(k.Secret[:], nil, "CRT-BE/1 channel", f.Sealer[:]), domainChannel, nil)
}

// SealDown seals a message at a place of a client's mailbox for it alone
// (section 5.5); seq is zero for one without a place.
func (s *Sealer) SealDown(who Who, c *Chain, seq uint64, message []byte) ([]byte, error) {
	h := Header{Mode: Down, Period: c.Period, Batch: s.take(), Sealer: s.id}
	text := append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(message)), seq), message...)
	return sealSingle(h, derive(c.Key[:], nil, "CRT-BE/1 down", s.id[:], who[:]), domainDown, text, who[:])
}

func openDown(f *Frame, who Who, c *Chain) (seq uint64, message []byte, err error) {
	text, err := openSingle(f, derive(c.Key[:], nil, "CRT-BE/1 down", f.Sealer[:], who[:]), domainDown, who[:])
	if err != nil || len(text) < 8 {
		return 0, nil, ErrOpen
	}
	return binary.BigEndian.Uint64(text), text[8:], nil
}
