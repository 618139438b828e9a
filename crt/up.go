package crt

import (
	"crypto/cipher"
	"encoding/base64"
	"errors"
)

// Frames of one connection, in order: what a client of kind aead sends (section
// 5.6), and what one session of a client is sent (section 5.7).

// Format is how the text inside such a frame is encoded (section 5.6).
type Format uint8

// The formats.
const (
	JSON    Format = 1
	MsgPack Format = 2
)

// way is the direction that frames of a connection go.
type way struct {
	mode   Mode
	domain uint16
	info   string
}

var (
	upward  = way{Up, domainUp, "CRT-BE/1 up"}
	session = way{Session, domainSession, "CRT-BE/1 session"}
)

func (w *way) cipher(c *Chain, sender [8]byte, who Who, conn []byte) cipher.AEAD {
	return aead(derive(c.Key[:], nil, w.info, sender[:], who[:], conn))
}

// Sender seals what goes one way on one connection. It is not safe for concurrent
// use: the receiver takes frames in order.
type Sender struct {
	way    *way
	who    Who
	conn   []byte
	chain  Chain
	sealer *Sealer // nil, as is cipher, until there is something to seal
	cipher cipher.AEAD
}

// NewSender makes a sender for one connection of a client; c is what [Keys.Up]
// answered. conn is how the server names the connection; it is kept.
func NewSender(who Who, conn []byte, c Chain) *Sender {
	return &Sender{way: &upward, who: who, conn: conn, chain: c}
}

// NewSessionSender makes the server's sender for one session of a client (section
// 5.7), under the key of [Pending.Session] for that generation. nonce is what the
// client has made for the connection; it is kept.
func NewSessionSender(who Who, nonce []byte, generation uint32, key [KeySize]byte) *Sender {
	return &Sender{way: &session, who: who, conn: nonce, chain: Chain{generation, key}}
}

// Seal seals one message of the WebSocket protocol, at most [MaxBody] less 17
// bytes. It keeps nothing of text.
func (s *Sender) Seal(format Format, text []byte) ([]byte, error) {
	if s.sealer == nil {
		s.sealer = NewSealer()
	}
	if s.cipher == nil {
		s.cipher = s.way.cipher(&s.chain, s.sealer.id, s.who, s.conn)
	}
	h := Header{Mode: s.way.mode, Period: s.chain.Period, Batch: s.sealer.take(), Sealer: s.sealer.id}
	return sealUnder(h, s.cipher, s.way.domain, append([]byte{byte(format)}, text...), s.who[:])
}

// Receiver opens what comes one way on one connection, each frame once and in
// order. Not safe for concurrent use.
type Receiver struct {
	way    *way
	who    Who
	conn   []byte
	chain  Chain
	sender [8]byte
	cipher cipher.AEAD // of the sender; nil until the first frame has opened
	next   uint64
}

// NewReceiver makes a receiver for one connection of the client; c has the key of
// [Pending.Up], and the key period at which its keys begin. conn is a name that the
// server gives to no other connection: what was sent on another does not open. It
// is kept.
func NewReceiver(who Who, conn []byte, c Chain) *Receiver {
	return &Receiver{way: &upward, who: who, conn: conn, chain: c}
}

// NewSessionReceiver makes a client's receiver for one connection (section 5.7);
// key is what [Keys.Session] answered for that generation. nonce is random, made
// for this connection alone: what was sent on another does not open. It is kept.
func NewSessionReceiver(who Who, nonce []byte, generation uint32, key [KeySize]byte) *Receiver {
	return &Receiver{way: &session, who: who, conn: nonce, chain: Chain{generation, key}}
}

// Open opens the next frame. After an error nothing of the connection can be
// trusted: close it.
func (r *Receiver) Open(frame []byte) (Format, []byte, error) {
	f, err := ParseFrame(frame)
	if err != nil || f.Mode != r.way.mode || f.Period != r.chain.Period || f.Batch != r.next || r.cipher != nil && f.Sealer != r.sender {
		return 0, nil, ErrOpen
	}
	c := r.cipher
	if c == nil {
		c = r.way.cipher(&r.chain, f.Sealer, r.who, r.conn)
	}
	text, err := openUnder(&f, c, r.way.domain, r.who[:])
	if err != nil || len(text) == 0 || Format(text[0]) != JSON && Format(text[0]) != MsgPack {
		return 0, nil, ErrOpen
	}
	r.sender, r.cipher = f.Sealer, c
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
