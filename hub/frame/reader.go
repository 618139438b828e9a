package frame

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Role is which end of the connection a [Reader] reads for. It decides
// whether frames must be masked (RFC 6455 section 5.1).
type Role uint8

// The two ends.
const (
	Server Role = iota // reads a client's frames: all masked
	Client             // reads a server's frames: none masked
)

// Reader turns the bytes of one connection, in whatever pieces they come,
// into events. The zero value reads for a server. It must not be used by two
// goroutines at once. Between two calls that leave it [Reader.Idle] it holds
// nothing, so a loop can use one Reader for all connections that sit between
// messages, and hand it to a connection only while it is not idle.
//
// After a [Close] event all that follows is discarded (section 5.5.1), after
// a [*Violation] it is returned again: such a Reader is spent.
type Reader struct {
	Role Role // set before the first call

	inFrame bool // cur holds the header of a frame whose payload is not complete
	closed  bool // a close frame was delivered
	headLen uint8
	msg     Op                     // Text or Binary from a message's first header to its end, else 0
	head    [ws.MaxHeaderSize]byte // an incomplete header
	cur     ws.Header

	// buf is what is held of the open message, unmasked: mark bytes of
	// whole fragments, of which valid are whole runes (text only), then what
	// came of the current frame. That may be a control frame, which is cut
	// off again when delivered.
	buf   []byte
	mark  int
	valid int

	broken *Violation
}

// Next reads one event from in and returns what it did not read: call again
// with that until the error is [ErrMore]; then all of in was read, and what
// is still needed was copied. The other error is a [*Violation].
//
// A whole message or control frame that lies in one piece of the input is
// unmasked there and not copied. Limits are judged by the announced length, before
// anything is held for it. Next never blocks.
func (r *Reader) Next(in []byte, lim Limits) (ev Event, rest []byte, err error) {
	switch {
	case r.broken != nil:
		return Event{}, nil, r.broken
	case r.closed:
		return Event{}, nil, ErrMore
	}
	for {
		if !r.inFrame {
			n, ok, v := r.readHeader(in, lim)
			if v != nil {
				return Event{}, nil, r.fail(v)
			}
			if !ok {
				return Event{}, nil, ErrMore
			}
			in = in[n:]
		}
		p, n, state := r.readPayload(in)
		in = in[n:]
		switch state {
		case payloadPartial:
			return Event{}, nil, ErrMore
		case payloadFragment:
			continue
		case payloadNotUTF8:
			return Event{}, nil, r.fail(errUTF8)
		default: // whole
		}
		ev, v := r.event(p)
		if v != nil {
			return Event{}, nil, r.fail(v)
		}
		return ev, in, nil
	}
}

// Idle reports whether r is as good as a new one: nothing partial is held, no
// message is open, and the connection was not ended by a close frame or a
// violation.
func (r *Reader) Idle() bool { return !r.Started() && !r.closed && r.broken == nil }

// Started reports whether a frame or a fragmented message has begun and not
// ended: the state that a peer must not stay in for long.
func (r *Reader) Started() bool {
	return r.broken == nil && (r.headLen > 0 || r.inFrame || r.msg != 0)
}

// Held is the number of bytes that r keeps for what is incomplete, spare
// capacity included: at most twice what has arrived, and 64 more.
func (r *Reader) Held() int { return cap(r.buf) + int(r.headLen) }

// fail ends r and frees what it held.
func (r *Reader) fail(v *Violation) *Violation {
	*r = Reader{Role: r.Role, broken: v}
	return v
}

// readHeader parses a header from what is held and in, and returns how much
// of in it took; not ok means that in ended first, and is held.
func (r *Reader) readHeader(in []byte, lim Limits) (n int, ok bool, v *Violation) {
	p, held := in, int(r.headLen)
	if held > 0 {
		p = r.head[:held+copy(r.head[held:], in)]
	}
	h, n, v := r.parseHeader(p, lim)
	if v != nil {
		return 0, false, v
	}
	if n == 0 { // p is shorter than any whole header, so it fits
		if held == 0 {
			copy(r.head[:], p)
		}
		r.headLen = uint8(len(p))
		return 0, false, nil
	}
	r.headLen = 0
	r.cur, r.inFrame = h, true
	if h.OpCode == ws.OpText || h.OpCode == ws.OpBinary {
		r.msg = Op(h.OpCode)
	}
	return n - held, true, nil
}

type payloadState uint8

const (
	payloadWhole    payloadState = iota // of a control frame or a message
	payloadPartial                      // the input ended first
	payloadFragment                     // a frame ended, its message did not
	payloadNotUTF8
)

// readPayload takes what in has of the current frame's payload, n bytes.
// p is the payload to deliver when state says so.
func (r *Reader) readPayload(in []byte) (p []byte, n int, state payloadState) {
	h := &r.cur
	control := h.OpCode.IsControl()
	have := len(r.buf) - r.mark
	n = int(h.Length) - have
	if len(in) >= n && have == 0 && (control || h.Fin && r.mark == 0) {
		r.inFrame = false
		p = in[:n:n]
		if h.Masked {
			ws.Cipher(p, h.Mask, 0)
		}
		if !control {
			if r.msg == Text && !utf8.Valid(p) {
				return nil, n, payloadNotUTF8
			}
			r.buf = nil // an empty fragment may have left one
		}
		return p, n, payloadWhole
	}
	whole := len(in) >= n
	n = min(n, len(in))
	r.hold(in[:n], have)
	if !control && r.msg == Text && !r.checkText(whole && h.Fin) {
		return nil, n, payloadNotUTF8
	}
	if !whole {
		return nil, n, payloadPartial
	}
	r.inFrame = false
	return r.finishHeld(control, n)
}

// finishHeld ends a frame whose payload is, at least partly, in buf.
func (r *Reader) finishHeld(control bool, n int) ([]byte, int, payloadState) {
	if !control && !r.cur.Fin {
		r.mark = len(r.buf)
		return nil, n, payloadFragment
	}
	if control {
		p := r.buf[r.mark:]
		r.buf = r.buf[:r.mark]
		if r.mark == 0 {
			r.buf = nil
		}
		return p, n, payloadWhole
	}
	p := r.buf
	r.buf, r.mark, r.valid = nil, 0, 0
	return p, n, payloadWhole
}

// hold appends to buf and unmasks; have is how much of the frame came before.
// Room is made for what has arrived, never for what was only announced: a
// header is 14 bytes and can announce the whole message limit. It is doubled
// even where a frame would need less, or a message sent as a million fragments
// of one byte would be copied a million times; only a message's last frame
// says where it ends.
func (r *Reader) hold(p []byte, have int) {
	from, need := len(r.buf), len(r.buf)+len(p)
	if need > cap(r.buf) {
		room := max(2*need, 64)
		if r.cur.Fin && !r.cur.OpCode.IsControl() {
			room = min(room, r.mark+int(r.cur.Length))
		}
		grown := make([]byte, from, room)
		copy(grown, r.buf)
		r.buf = grown
	}
	r.buf = append(r.buf, p...)
	if r.cur.Masked {
		ws.Cipher(r.buf[from:], r.cur.Mask, have)
	}
}

// checkText checks what buf gained, so that text that can't become UTF-8
// fails at its first wrong byte and not at the end of its message.
func (r *Reader) checkText(last bool) bool {
	p := r.buf[r.valid:]
	n := len(p)
	if !last {
		n -= openRune(p)
	}
	r.valid += n
	return utf8.Valid(p[:n])
}

// openRune is how many bytes at p's end begin a rune that more input could
// complete. utf8.FullRune calls a wrong beginning full, and Valid refuses it.
func openRune(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if tail := p[len(p)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// event makes the event of a whole payload.
func (r *Reader) event(p []byte) (Event, *Violation) {
	op := Op(r.cur.OpCode)
	switch op {
	case Ping, Pong:
		return Event{Op: op, Payload: p}, nil
	case Close:
		return r.closeEvent(p)
	default: // the last frame of a message
	}
	op, r.msg = r.msg, 0
	return Event{Op: op, Payload: p}, nil
}

// closeEvent reads a close frame's body (section 5.5.1). A close inside a
// fragmented message ends it: what was held of it is freed.
func (r *Reader) closeEvent(p []byte) (Event, *Violation) {
	code := CodeNone
	switch {
	case len(p) == 1:
		return Event{}, errCloseBody
	case len(p) >= 2:
		if code = binary.BigEndian.Uint16(p); !ValidCode(code) {
			return Event{}, errCloseCode
		}
		if p = p[2:]; !utf8.Valid(p) {
			return Event{}, errCloseReason
		}
	}
	*r = Reader{Role: r.Role, closed: true}
	return Event{Op: Close, Payload: p, Code: code}, nil
}
