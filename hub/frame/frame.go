// Package frame is RFC 6455 framing over gobwas/ws for an event loop: it
// parses what has arrived, keeps a copy only of what is incomplete, and says
// which close code a violation must be answered with. RFC 7692 is never
// negotiated, so all reserved bits are violations.
//
// Read [Reader] first (what a peer sends), then [Frame] and the Append
// functions (what is sent to it). A Reader belongs to one goroutine at a time;
// the functions keep no state.
//
// It is a leaf: it imports nothing of ours, does no I/O, starts no goroutine
// and knows no time: deadlines are the caller's, who asks [Reader.Started].
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
	Payload []byte // valid until the next call, and while its input is; Close: the reason's bytes
	Code    uint16 // Close: 1005 where the frame held none
}

// Op is a data or control opcode (RFC 6455 section 5.2).
type Op byte

// The opcodes that events carry, all but Continuation: a Reader puts
// fragments together.
const (
	Continuation Op = 0x0

	Text   Op = 0x1
	Binary Op = 0x2
	Close  Op = 0x8
	Ping   Op = 0x9
	Pong   Op = 0xA
)

// Close codes that this package itself reads or writes (RFC 6455 section 7.4.1).
const (
	CodeProtocol uint16 = 1002 // framing broken
	CodeNone     uint16 = 1005 // never on the wire: the close frame held no code
	CodeUTF8     uint16 = 1007 // text that is not UTF-8
	CodeTooBig   uint16 = 1009 // beyond [Limits]
)

// ValidCode reports whether a close frame may carry code (RFC 6455 section
// 7.4 and the IANA registry, which has added 1012 to 1014 since).
func ValidCode(code uint16) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}

// Violation is a breach by the peer: answer with a close frame of Code.
type Violation struct {
	Code   uint16 // 1002, 1007 or 1009
	Reason string
}

// Error is the reason, for logs: it holds nothing that the peer sent.
func (v *Violation) Error() string { return "frame: " + v.Reason }
