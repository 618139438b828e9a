package crt

import (
	"encoding/base64"
	"errors"
)

// Format is how the text inside an up frame is encoded (section 5.6).
type Format uint8

// The formats.
const (
	JSON    Format = 1
	MsgPack Format = 2
)

// Sender seals what a client of kind aead sends on one connection. It is not
// safe for concurrent use: the receiver takes frames in order.
type Sender struct {
	sealer *Sealer
	who    Who
	chain  Chain
}

// NewSender makes a sender for one connection; c is what [Keys.Up] answered.
func NewSender(who Who, c Chain) *Sender { return &Sender{NewSealer(), who, c} }

// Seal seals one message of the WebSocket protocol.
func (s *Sender) Seal(format Format, text []byte) ([]byte, error) {
	h := Header{Mode: Up, Period: s.chain.Period, Batch: s.sealer.take(), Sealer: s.sealer.id}
	key := derive(s.chain.Key[:], nil, "CRT-BE/1 up", h.Sealer[:], s.who[:])
	return sealSingle(h, key, domainUp, append([]byte{byte(format)}, text...), s.who[:])
}

// Receiver opens what a client of kind aead sends on one connection, each frame
// once and in order. Not safe for concurrent use.
type Receiver struct {
	who    Who
	chain  Chain
	sender [8]byte
	key    [KeySize]byte
	known  bool
	next   uint64
}

// NewReceiver makes a receiver for one connection of the client; c has the key of
// [Pending.Up], and the key period at which its keys begin.
func NewReceiver(who Who, c Chain) *Receiver { return &Receiver{who: who, chain: c} }

// Open opens the next frame. After an error nothing of the connection can be
// trusted: close it.
func (r *Receiver) Open(frame []byte) (Format, []byte, error) {
	f, err := ParseFrame(frame)
	if err != nil || f.Mode != Up || f.Period != r.chain.Period || f.Batch != r.next || r.known && f.Sealer != r.sender {
		return 0, nil, ErrOpen
	}
	if !r.known {
		r.key = derive(r.chain.Key[:], nil, "CRT-BE/1 up", f.Sealer[:], r.who[:])
	}
	text, err := openSingle(&f, r.key, domainUp, r.who[:])
	if err != nil || len(text) == 0 || Format(text[0]) != JSON && Format(text[0]) != MsgPack {
		return 0, nil, ErrOpen
	}
	r.sender, r.known = f.Sealer, true
	r.next++
	return Format(text[0]), text[1:], nil
}

// DecodeText takes a frame that travelled as text: base64 of either alphabet,
// padded, not padded, or padded with too little, among characters that do not
// belong there (section 5.6).
func DecodeText(s []byte) ([]byte, error) {
	clean := make([]byte, 0, len(s))
	for _, b := range s {
		switch {
		case b == '-':
			b = '+'
		case b == '_':
			b = '/'
		case b <= ' ' || b == '=' || b > '~':
			continue
		}
		clean = append(clean, b)
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, err := base64.RawStdEncoding.Decode(out, clean)
	if err != nil {
		return nil, errors.New("crt: this is not base64")
	}
	return out[:n], nil
}
