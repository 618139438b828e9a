package wire

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"
)

// object writes one flat message in either encoding: type first, then the
// fields in the order of the calls. A value on the stack; nothing escapes.
type object struct {
	dst   []byte
	c     Codec
	start int // of the MessagePack map header
	n     int // pairs written
}

func newObject(dst []byte, c Codec, t Type) object {
	o := object{dst: dst, c: c, start: len(dst)}
	if c == Msgpack {
		o.dst = append(o.dst, 0x80)
	} else {
		o.dst = append(o.dst, '{')
	}
	o.text("type", t.String())
	return o
}

// end closes the message. All messages have at most 15 fields, so that their
// MessagePack header is one byte, patched here.
func (o *object) end() []byte {
	if o.c == Msgpack {
		o.dst[o.start] = 0x80 | byte(o.n)
		return o.dst
	}
	return append(o.dst, '}')
}

// key takes only names without characters that JSON escapes.
func (o *object) key(k string) {
	o.n++
	if o.c == Msgpack {
		o.dst = appendMpText(o.dst, k)
		return
	}
	if o.n > 1 {
		o.dst = append(o.dst, ',')
	}
	o.dst = append(o.dst, '"')
	o.dst = append(o.dst, k...)
	o.dst = append(o.dst, '"', ':')
}

func (o *object) text(k, v string) {
	o.key(k)
	if o.c == Msgpack {
		o.dst = appendMpText(o.dst, v)
	} else {
		o.dst = appendJSONText(o.dst, v)
	}
}

// optional leaves an empty text out.
func (o *object) optional(k, v string) {
	if v != "" {
		o.text(k, v)
	}
}

// base64url writes bytes of a handshake (RFC 4648 section 5, no padding).
func (o *object) base64url(k string, v []byte) { o.text(k, base64.RawURLEncoding.EncodeToString(v)) }

func (o *object) int(k string, v int64) {
	o.key(k)
	if o.c == Msgpack {
		o.dst = appendMpInt(o.dst, v)
	} else {
		o.dst = strconv.AppendInt(o.dst, v, 10)
	}
}

// seq writes a 64-bit place: JavaScript's numbers can't hold it, so that it is
// a decimal string in JSON.
func (o *object) seq(k string, v uint64) {
	o.key(k)
	if o.c == Msgpack {
		o.dst = appendMpUint(o.dst, v)
		return
	}
	o.dst = append(o.dst, '"')
	o.dst = strconv.AppendUint(o.dst, v, 10)
	o.dst = append(o.dst, '"')
}

const hexDigits = "0123456789abcdef"

// appendJSONText quotes s. Bytes that are no UTF-8 become U+FFFD, since a text
// frame must not hold them (RFC 6455 section 5.6).
func appendJSONText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[from:i]...)
				dst = append(dst, "\ufffd"...)
				from = i + 1
			}
			i += n
			continue
		}
		if b >= 0x20 && b != '"' && b != '\\' {
			i++
			continue
		}
		dst = append(dst, s[from:i]...)
		switch b {
		case '"', '\\':
			dst = append(dst, '\\', b)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
		}
		i++
		from = i
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// The MessagePack writers choose the shortest form, so that equal values have
// equal bytes.

func appendMpText(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = string([]rune(s)) // each stray byte becomes U+FFFD, as in JSON
	}
	n := len(s)
	switch {
	case n < 32:
		dst = append(dst, 0xa0|byte(n))
	case n <= math.MaxUint8:
		dst = append(dst, 0xd9, byte(n))
	case n <= math.MaxUint16:
		dst = append(dst, 0xda, byte(n>>8), byte(n))
	default:
		dst = append32(append(dst, 0xdb), uint32(n))
	}
	return append(dst, s...)
}

func appendMpBin(dst, b []byte) []byte {
	n := len(b)
	switch {
	case n <= math.MaxUint8:
		dst = append(dst, 0xc4, byte(n))
	case n <= math.MaxUint16:
		dst = append(dst, 0xc5, byte(n>>8), byte(n))
	default:
		dst = append32(append(dst, 0xc6), uint32(n))
	}
	return append(dst, b...)
}

func appendMpUint(dst []byte, v uint64) []byte {
	switch {
	case v < 128:
		return append(dst, byte(v))
	case v <= math.MaxUint8:
		return append(dst, 0xcc, byte(v))
	case v <= math.MaxUint16:
		return append(dst, 0xcd, byte(v>>8), byte(v))
	case v <= math.MaxUint32:
		return append32(append(dst, 0xce), uint32(v))
	}
	return append64(append(dst, 0xcf), v)
}

func appendMpInt(dst []byte, v int64) []byte {
	switch {
	case v >= 0:
		return appendMpUint(dst, uint64(v))
	case v >= -32:
		return append(dst, byte(v))
	case v >= math.MinInt8:
		return append(dst, 0xd0, byte(v))
	case v >= math.MinInt16:
		return append(dst, 0xd1, byte(v>>8), byte(v))
	case v >= math.MinInt32:
		return append32(append(dst, 0xd2), uint32(v))
	}
	return append64(append(dst, 0xd3), uint64(v))
}

func appendMpFloat(dst []byte, v float64) []byte {
	return append64(append(dst, 0xcb), math.Float64bits(v))
}

func append32(dst []byte, v uint32) []byte {
	return append(dst, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

func append64(dst []byte, v uint64) []byte {
	return append32(append32(dst, uint32(v>>32)), uint32(v))
}
