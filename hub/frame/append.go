package frame

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// AppendHeader appends to dst the header of a server's whole message or
// control frame with n bytes of payload: final, not masked (RFC 6455 section
// 5.2). The payload may then be written from where it is.
func AppendHeader(dst []byte, op Op, n int) []byte {
	return appendLength(append(dst, 0x80|byte(op)), 0, n)
}

// AppendFrame appends a server's whole message or control frame.
func AppendFrame(dst []byte, op Op, payload []byte) []byte {
	return append(AppendHeader(dst, op, len(payload)), payload...)
}

// AppendPing appends a server's ping. Of payload at most 125 bytes are taken.
func AppendPing(dst, payload []byte) []byte {
	return AppendFrame(dst, Ping, payload[:min(len(payload), ws.MaxControlFramePayloadSize)])
}

// AppendClose appends a server's close frame; see [CloseBody].
func AppendClose(dst []byte, code uint16, reason string) []byte {
	return AppendFrame(dst, Close, CloseBody(code, reason))
}

// CloseBody is the payload of a close frame (RFC 6455 section 5.5.1). It
// leaves the body empty for codes that must not be sent ([CodeNone] above
// all, so that an event's code can be handed back), cuts the reason to 123
// bytes at the start of a rune, and replaces what is not UTF-8 in it.
func CloseBody(code uint16, reason string) []byte {
	if !ValidCode(code) {
		return nil
	}
	const room = ws.MaxControlFramePayloadSize - 2
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if len(reason) > room {
		n := room
		for !utf8.RuneStart(reason[n]) {
			n--
		}
		reason = reason[:n]
	}
	body := make([]byte, 2, 2+len(reason))
	binary.BigEndian.PutUint16(body, code)
	return append(body, reason...)
}

// AppendMasked appends a client's whole message or control frame. The key
// must be new and unpredictable for each frame (RFC 6455 section 5.3); dst and
// payload must not overlap, and payload stays as it is.
func AppendMasked(dst []byte, op Op, key [4]byte, payload []byte) []byte {
	return Frame{Op: op, Masked: true, Key: key, Payload: payload}.Append(dst)
}

// Frame is one frame of any kind, allowed or not: what client libraries
// fragment with and tests break rules with.
type Frame struct {
	Op      Op      // the low four bits count
	More    bool    // the FIN bit is clear
	Rsv     byte    // reserved bits, RSV1 is 4
	Masked  bool    // with Key
	Key     [4]byte // nothing unless Masked
	Payload []byte
}

// Append appends f as bytes. It checks nothing.
func (f Frame) Append(dst []byte) []byte {
	first := f.Rsv&7<<4 | byte(f.Op)&0x0f
	if !f.More {
		first |= 0x80
	}
	if !f.Masked {
		return append(appendLength(append(dst, first), 0, len(f.Payload)), f.Payload...)
	}
	dst = appendLength(append(dst, first), 0x80, len(f.Payload))
	dst = append(dst, f.Key[:]...)
	from := len(dst)
	dst = append(dst, f.Payload...)
	ws.Cipher(dst[from:], f.Key, 0)
	return dst
}

// appendLength appends a payload length in its shortest form; mask is 0x80 or 0.
func appendLength(dst []byte, mask byte, n int) []byte {
	switch {
	case n < 126:
		return append(dst, mask|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, mask|126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, mask|127), uint64(n))
}
