package wire

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// EncodeBody makes the shared tail of a message from a push's body, the JSON
// object that push.BuildBody writes: encoded once, appended for every client
// by [AppendMessage]. For JSON the tail is part of body; neither may be
// changed from then on. In MessagePack data_base64 becomes data of type bin.
// [ErrBody] where body is not such an object.
func EncodeBody(c Codec, body []byte) ([]byte, error) {
	if len(body) < len(`{"":0}`) || body[0] != '{' || body[len(body)-1] != '}' || body[1] == '}' {
		return nil, ErrBody
	}
	if c == JSON {
		return body[1:], nil
	}
	if !utf8.Valid(body) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrBody)
	}
	s := jsonScan{p: body}
	tail, err := appendMpBody(make([]byte, 0, len(body)), &s)
	if err != nil {
		return nil, err
	}
	if s.i != len(body) || len(tail) < 2 {
		return nil, ErrBody
	}
	return tail, nil
}

// appendMpBody differs from any other object in data_base64 alone.
func appendMpBody(dst []byte, s *jsonScan) ([]byte, error) {
	start := len(dst)
	dst = append(dst, 0)
	s.i++
	n := 0
	for s.space(); !s.take('}'); s.space() {
		if n > 0 {
			if !s.take(',') {
				return nil, ErrBody
			}
			s.space()
		}
		from := s.i
		k, err := s.key()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBody, err)
		}
		if k == fDataBase64 {
			if dst, err = appendMpBase64(dst, s); err != nil {
				return nil, err
			}
		} else {
			name := jsonScan{p: s.p, i: from}
			_ = name.text() // was just read by key
			dst = appendMpText(dst, string(unquote(s.p[from:name.i])))
			if dst, err = appendMpJSON(dst, s, MaxDataDepth); err != nil {
				return nil, err
			}
		}
		n++
	}
	if n > math.MaxUint16-3 { // room for the head's fields
		return nil, ErrBody
	}
	return countMp(dst, start, n, 0x80, 0xde), nil
}

func appendMpBase64(dst []byte, s *jsonScan) ([]byte, error) {
	from := s.i
	if err := s.text(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBody, err)
	}
	text := unquote(s.p[from:s.i])
	raw, err := base64.StdEncoding.AppendDecode(make([]byte, 0, len(text)*3/4), text)
	if err != nil {
		return nil, fmt.Errorf("%w: data_base64", ErrBody)
	}
	return appendMpBin(appendMpText(dst, keys[fData]), raw), nil
}

// appendMpJSON encodes one JSON value: integers that fit 64 bits as integers,
// all other numbers as float64, one beyond its range as an infinity.
func appendMpJSON(dst []byte, s *jsonScan, depth int) ([]byte, error) {
	if s.i >= len(s.p) {
		return nil, ErrBody
	}
	switch s.p[s.i] {
	case '{':
		return appendMpMembers(dst, s, depth, '}')
	case '[':
		return appendMpMembers(dst, s, depth, ']')
	}
	from := s.i
	if err := s.skip(0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBody, err)
	}
	switch raw := s.p[from:s.i]; raw[0] {
	case '"':
		return appendMpText(dst, string(unquote(raw))), nil
	case 't':
		return append(dst, 0xc3), nil
	case 'f':
		return append(dst, 0xc2), nil
	case 'n':
		return append(dst, 0xc0), nil
	default:
		return appendMpNumber(dst, raw), nil
	}
}

func appendMpNumber(dst, raw []byte) []byte {
	if raw[0] != '-' {
		if u, ok := parseUint(raw); ok {
			return appendMpUint(dst, u)
		}
	} else if n, ok := (value{JSON, raw}).int(); ok && n != 0 { // -0 is a float
		return appendMpInt(dst, n)
	}
	f, _ := strconv.ParseFloat(string(raw), 64) // out of range: an infinity
	return appendMpFloat(dst, f)
}

func appendMpMembers(dst []byte, s *jsonScan, depth int, end byte) ([]byte, error) {
	if depth <= 0 {
		return nil, fmt.Errorf("%w: nested deeper than %d", ErrBody, MaxDataDepth)
	}
	start := len(dst)
	dst = append(dst, 0)
	s.i++
	n := 0
	var err error
	for s.space(); !s.take(end); s.space() {
		if n > 0 {
			if !s.take(',') {
				return nil, ErrBody
			}
			s.space()
		}
		if end == '}' {
			from := s.i
			if err = s.text(); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrBody, err)
			}
			dst = appendMpText(dst, string(unquote(s.p[from:s.i])))
			s.space()
			if !s.take(':') {
				return nil, ErrBody
			}
			s.space()
		}
		if dst, err = appendMpJSON(dst, s, depth-1); err != nil {
			return nil, err
		}
		n++
	}
	if end == '}' {
		return countMp(dst, start, n, 0x80, 0xde), nil
	}
	return countMp(dst, start, n, 0x90, 0xdc), nil
}

// countMp puts the number of elements in front of them, at start, where one
// byte was kept free: larger numbers move what follows.
func countMp(dst []byte, start, n int, fix, wide byte) []byte {
	switch {
	case n <= 15:
		dst[start] = fix | byte(n)
		return dst
	case n <= math.MaxUint16:
		dst = append(dst, 0, 0)
		copy(dst[start+3:], dst[start+1:])
		dst[start], dst[start+1], dst[start+2] = wide, byte(n>>8), byte(n)
	default:
		dst = append(dst, 0, 0, 0, 0)
		copy(dst[start+5:], dst[start+1:])
		dst[start] = wide + 1
		append32(dst[start+1:start+1], uint32(n))
	}
	return dst
}

func appendMpMap(dst []byte, n int) []byte {
	if n <= 15 {
		return append(dst, 0x80|byte(n))
	}
	return append(dst, 0xde, byte(n>>8), byte(n))
}
