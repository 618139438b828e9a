package wire

import (
	"unicode/utf16"
	"unicode/utf8"
)

// jsonScan walks JSON text (RFC 8259) without building anything. The text is
// valid UTF-8; its owner has checked.
type jsonScan struct {
	p []byte
	i int
}

func (s *jsonScan) space() {
	for s.i < len(s.p) {
		switch s.p[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

func (s *jsonScan) take(b byte) bool {
	if s.i < len(s.p) && s.p[s.i] == b {
		s.i++
		return true
	}
	return false
}

// key reads `"key" :` with the space after it.
func (s *jsonScan) key() (field, error) {
	from := s.i
	if err := s.text(); err != nil {
		return fNone, err
	}
	raw := s.p[from:s.i]
	s.space()
	if !s.take(':') {
		return fNone, malformed("bad object")
	}
	s.space()
	inner := raw[1 : len(raw)-1]
	if k, ok := byKey[string(inner)]; ok {
		return k, nil
	}
	for _, b := range inner {
		if b == '\\' { // rare: a known key may be written with escapes
			return byKey[string(unquote(raw))], nil
		}
	}
	return fNone, nil
}

// skip passes over one value, in which objects and lists nest to depth.
func (s *jsonScan) skip(depth int) error {
	if s.i >= len(s.p) {
		return malformed("cut short")
	}
	switch b := s.p[s.i]; b {
	case '{':
		return s.members(depth, '}')
	case '[':
		return s.members(depth, ']')
	case '"':
		return s.text()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

// members passes over an object (end is a brace) or an array.
func (s *jsonScan) members(depth int, end byte) error {
	if depth <= 0 {
		return malformed("nested too deep")
	}
	s.i++
	s.space()
	if s.take(end) {
		return nil
	}
	for {
		if end == '}' {
			if err := s.text(); err != nil {
				return err
			}
			s.space()
			if !s.take(':') {
				return malformed("bad object")
			}
			s.space()
		}
		if err := s.skip(depth - 1); err != nil {
			return err
		}
		s.space()
		if s.take(end) {
			return nil
		}
		if !s.take(',') {
			return malformed("bad list")
		}
		s.space()
	}
}

func (s *jsonScan) literal(w string) error {
	if len(s.p)-s.i < len(w) || string(s.p[s.i:s.i+len(w)]) != w {
		return malformed("bad literal")
	}
	s.i += len(w)
	return nil
}

// text passes over a string with its quotes.
func (s *jsonScan) text() error {
	if !s.take('"') {
		return malformed("no string")
	}
	for s.i < len(s.p) {
		b := s.p[s.i]
		s.i++
		switch {
		case b == '"':
			return nil
		case b < 0x20:
			return malformed("control character")
		case b == '\\':
			if !s.escape() {
				return malformed("bad escape")
			}
		}
	}
	return malformed("cut short")
}

func (s *jsonScan) escape() bool {
	if s.i >= len(s.p) {
		return false
	}
	b := s.p[s.i]
	s.i++
	switch b {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		if _, ok := hex4(s.p[s.i:]); ok {
			s.i += 4
			return true
		}
	}
	return false
}

// number passes over -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (s *jsonScan) number() error {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return malformed("bad value")
	}
	if s.take('.') && !s.digits() {
		return malformed("bad number")
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if !s.digits() {
			return malformed("bad number")
		}
	}
	return nil
}

func (s *jsonScan) digits() bool {
	from := s.i
	for s.i < len(s.p) && s.p[s.i] >= '0' && s.p[s.i] <= '9' {
		s.i++
	}
	return s.i > from
}

func hex4(p []byte) (rune, bool) {
	if len(p) < 4 {
		return 0, false
	}
	var r rune
	for _, b := range p[:4] {
		switch {
		case b >= '0' && b <= '9':
			b -= '0'
		case b >= 'a' && b <= 'f':
			b -= 'a' - 10
		case b >= 'A' && b <= 'F':
			b -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(b)
	}
	return r, true
}

// unquote is the text of a string whose grammar was checked. Without escapes
// it is a part of raw. A lone surrogate becomes U+FFFD.
func unquote(raw []byte) []byte {
	p := raw[1 : len(raw)-1]
	i := 0
	for i < len(p) && p[i] != '\\' {
		i++
	}
	if i == len(p) {
		return p
	}
	out := append(make([]byte, 0, len(p)), p[:i]...)
	for i < len(p) {
		if p[i] != '\\' {
			out = append(out, p[i])
			i++
			continue
		}
		b := p[i+1]
		i += 2
		switch b {
		case 'b':
			b = '\b'
		case 'f':
			b = '\f'
		case 'n':
			b = '\n'
		case 'r':
			b = '\r'
		case 't':
			b = '\t'
		case 'u':
			r, n := unescape(p[i:])
			i += n
			out = utf8.AppendRune(out, r)
			continue
		}
		out = append(out, b)
	}
	return out
}

// unescape reads the digits after \u, and a second escape where both are a
// surrogate pair.
func unescape(p []byte) (rune, int) {
	r, _ := hex4(p)
	if !utf16.IsSurrogate(r) {
		return r, 4
	}
	if len(p) >= 10 && p[4] == '\\' && p[5] == 'u' {
		if low, ok := hex4(p[6:]); ok {
			if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
				return both, 10
			}
		}
	}
	return utf8.RuneError, 4
}
