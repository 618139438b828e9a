// Package frame is RFC 6455 framing over gobwas/ws for an event loop: it
// parses what has arrived, keeps a copy only of what is incomplete, and says
// which close code a violation must be answered with. RFC 7692 is never
// negotiated, so all reserved bits are violations.
//
// It is a leaf: it imports nothing of ours and does no I/O.
package frame

import "errors"

// ErrMore says that the input ends inside a frame or message.
var ErrMore = errors.New("frame: more input needed")

// Limits bound what a peer may make us hold. Both in bytes; both must be set.
type Limits struct {
	Frame   int64 // payload of one frame
	Message int64 // payload of a message over all its fragments
}

// Event is one whole message (Text, Binary; defragmented, UTF-8 checked,
// unmasked) or control frame.
type Event struct {
	Op      Op
	Payload []byte // valid until the next call; Close: the reason's bytes
	Code    uint16 // Close: 1005 where the frame held none
}

// Op is a data or control opcode (RFC 6455 section 5.2).
type Op byte

// The opcodes that events carry.
const (
	Text   Op = 0x1
	Binary Op = 0x2
	Close  Op = 0x8
	Ping   Op = 0x9
	Pong   Op = 0xA
)

// Violation is a breach by the peer: answer with a close frame of Code.
type Violation struct {
	Code   uint16 // 1002, 1007 or 1009
	Reason string
}

func (v *Violation) Error() string { return "frame: " + v.Reason }
