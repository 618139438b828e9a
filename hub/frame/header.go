package frame

import (
	"encoding/binary"

	"github.com/gobwas/ws"
)

// All violations that a peer can commit; read-only.
var (
	errReserved     = &Violation{CodeProtocol, "reserved bit set, and no extension negotiated"}
	errOpcode       = &Violation{CodeProtocol, "reserved opcode"}
	errFragControl  = &Violation{CodeProtocol, "fragmented control frame"}
	errLongControl  = &Violation{CodeProtocol, "control frame of more than 125 bytes"}
	errContinuation = &Violation{CodeProtocol, "continuation without a message"}
	errInterleaved  = &Violation{CodeProtocol, "new message inside a fragmented one"}
	errUnmasked     = &Violation{CodeProtocol, "frame of a client not masked"}
	errMasked       = &Violation{CodeProtocol, "frame of a server masked"}
	errLength       = &Violation{CodeProtocol, "length not in its shortest form"}
	errLengthBit    = &Violation{CodeProtocol, "length with its top bit set"}
	errFrameLimit   = &Violation{CodeTooBig, "frame too big"}
	errMessageLimit = &Violation{CodeTooBig, "message too big"}
	errUTF8         = &Violation{CodeUTF8, "text is not UTF-8"}
	errCloseBody    = &Violation{CodeProtocol, "close frame of one byte"}
	errCloseCode    = &Violation{CodeProtocol, "close code not allowed"}
	errCloseReason  = &Violation{CodeUTF8, "close reason is not UTF-8"}
)

// parseHeader parses the header that p begins with (RFC 6455 section 5.2) and
// returns its size; 0 means that p ends inside it. It consumes nothing, which
// is why ws.ReadHeader is not used: that loses what it read when input ends
// short. Each rule is judged as soon as its bytes are there and in their
// order, so that the verdict does not depend on how the input was split.
func (r *Reader) parseHeader(p []byte, lim Limits) (h ws.Header, size int, v *Violation) {
	if len(p) == 0 {
		return h, 0, nil
	}
	h.Fin, h.Rsv, h.OpCode = p[0]&0x80 != 0, p[0]>>4&7, ws.OpCode(p[0]&0x0f)
	if v := r.checkKind(h); v != nil {
		return h, 0, v
	}
	if len(p) < 2 {
		return h, 0, nil
	}
	h.Masked = p[1]&0x80 != 0
	short := p[1] & 0x7f
	switch {
	case !h.Masked && r.Role == Server:
		return h, 0, errUnmasked
	case h.Masked && r.Role == Client:
		return h, 0, errMasked
	case short > ws.MaxControlFramePayloadSize && h.OpCode.IsControl():
		return h, 0, errLongControl
	}
	h.Length, size, v = parseLength(p, short)
	if v != nil || size == 0 {
		return h, 0, v
	}
	if v := r.checkLimits(h, lim); v != nil {
		return h, 0, v
	}
	if h.Masked {
		if len(p) < size+4 {
			return h, 0, nil
		}
		copy(h.Mask[:], p[size:])
		size += 4
	}
	return h, size, nil
}

// parseLength is the length and the size of the header up to its end; short
// is the 7-bit length.
func parseLength(p []byte, short byte) (length int64, size int, v *Violation) {
	switch short {
	case 126:
		if len(p) < 4 {
			return 0, 0, nil
		}
		n := binary.BigEndian.Uint16(p[2:])
		if n < 126 {
			return 0, 0, errLength
		}
		return int64(n), 4, nil
	case 127:
		if len(p) < 10 {
			return 0, 0, nil
		}
		n := binary.BigEndian.Uint64(p[2:])
		switch {
		case n>>63 != 0:
			return 0, 0, errLengthBit
		case n < 1<<16:
			return 0, 0, errLength
		}
		return int64(n), 10, nil
	}
	return int64(short), 2, nil
}

// checkKind holds the rules on a header's first byte (sections 5.2, 5.4, 5.5).
func (r *Reader) checkKind(h ws.Header) *Violation {
	switch {
	case h.Rsv != 0:
		return errReserved
	case h.OpCode.IsReserved():
		return errOpcode
	case h.OpCode.IsControl():
		if !h.Fin {
			return errFragControl
		}
	case h.OpCode == ws.OpContinuation:
		if r.msg == 0 {
			return errContinuation
		}
	case r.msg != 0:
		return errInterleaved
	}
	return nil
}

// checkLimits judges the announced length; control frames have their own.
func (r *Reader) checkLimits(h ws.Header, lim Limits) *Violation {
	switch {
	case h.OpCode.IsControl():
		return nil
	case h.Length > lim.Frame:
		return errFrameLimit
	case h.Length > lim.Message-int64(r.mark):
		return errMessageLimit
	}
	return nil
}
