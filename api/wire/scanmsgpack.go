package wire

import "unicode/utf8"

// mpScan walks MessagePack without building anything. An announced length is
// compared with the bytes that are there before it is believed.
type mpScan struct {
	p []byte
	i int
}

// head is the first byte of a value with what it announces.
type mpHead struct {
	kind mpKind
	n    int // bytes of text, bin, ext and numbers; elements of a list; pairs of a map
}

type mpKind uint8

const (
	mpBad mpKind = iota
	mpNil
	mpFalse
	mpTrue
	mpUint  // n bytes follow; n = 0: the value is in the first byte
	mpInt   // likewise
	mpFloat // n bytes follow
	mpText
	mpBin
	mpExt
	mpList
	mpMap
)

// head reads a first byte and the length after it, and checks that what is
// announced can be there: each element takes at least one byte.
func (s *mpScan) head() mpHead {
	if s.i >= len(s.p) {
		return mpHead{}
	}
	b := s.p[s.i]
	s.i++
	h := s.form(b)
	left := len(s.p) - s.i
	need := h.n
	if h.kind == mpMap {
		need = 2 * h.n
	}
	if h.n < 0 || need > left {
		return mpHead{}
	}
	return h
}

func (s *mpScan) form(b byte) mpHead {
	switch {
	case b < 0x80:
		return mpHead{mpUint, 0}
	case b < 0x90:
		return mpHead{mpMap, int(b & 15)}
	case b < 0xa0:
		return mpHead{mpList, int(b & 15)}
	case b < 0xc0:
		return mpHead{mpText, int(b & 31)}
	case b >= 0xe0:
		return mpHead{mpInt, 0}
	}
	switch b {
	case 0xc0:
		return mpHead{mpNil, 0}
	case 0xc2:
		return mpHead{mpFalse, 0}
	case 0xc3:
		return mpHead{mpTrue, 0}
	case 0xc4, 0xc5, 0xc6:
		return mpHead{mpBin, s.length(1 << (b - 0xc4))}
	case 0xc7, 0xc8, 0xc9:
		return mpHead{mpExt, s.length(1<<(b-0xc7)) + 1} // and its type
	case 0xca, 0xcb:
		return mpHead{mpFloat, 4 << (b - 0xca)}
	case 0xcc, 0xcd, 0xce, 0xcf:
		return mpHead{mpUint, 1 << (b - 0xcc)}
	case 0xd0, 0xd1, 0xd2, 0xd3:
		return mpHead{mpInt, 1 << (b - 0xd0)}
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return mpHead{mpExt, 1<<(b-0xd4) + 1}
	case 0xd9, 0xda, 0xdb:
		return mpHead{mpText, s.length(1 << (b - 0xd9))}
	case 0xdc, 0xdd:
		return mpHead{mpList, s.length(2 << (b - 0xdc))}
	case 0xde, 0xdf:
		return mpHead{mpMap, s.length(2 << (b - 0xde))}
	}
	return mpHead{}
}

// length reads n bytes of length; more than could ever be there where they
// are missing. It fits an int of 32 bits.
func (s *mpScan) length(n int) int {
	const never = 1<<30 - 1
	if len(s.p)-s.i < n {
		return never
	}
	v := bigEndian(s.p[s.i : s.i+n])
	s.i += n
	return int(min(v, never))
}

func bigEndian(p []byte) uint64 {
	var v uint64
	for _, b := range p {
		v = v<<8 | uint64(b)
	}
	return v
}

func (s *mpScan) mapLen() (int, bool) {
	h := s.head()
	return h.n, h.kind == mpMap
}

func (s *mpScan) arrayLen() (int, bool) {
	h := s.head()
	return h.n, h.kind == mpList
}

// key reads a map's key; one that is no text is passed over.
func (s *mpScan) key(depth int) (field, error) {
	from := s.i
	if err := s.skip(depth); err != nil {
		return fNone, err
	}
	text, ok := value{Msgpack, s.p[from:s.i]}.bytes()
	if !ok {
		return fNone, nil
	}
	return byKey[string(text)], nil
}

// skip passes over one value, in which maps and lists nest to depth, and
// checks the UTF-8 of its texts.
func (s *mpScan) skip(depth int) error {
	h := s.head()
	n := 0
	switch h.kind {
	case mpBad:
		return malformed("cut short, or no MessagePack")
	case mpList:
		n = h.n
	case mpMap:
		n = 2 * h.n
	case mpText:
		if !utf8.Valid(s.p[s.i : s.i+h.n]) {
			return malformed("not UTF-8")
		}
		s.i += h.n
	default:
		s.i += h.n
	}
	if depth <= 0 && (h.kind == mpList || h.kind == mpMap) {
		return malformed("nested too deep")
	}
	for range n {
		if err := s.skip(depth - 1); err != nil {
			return err
		}
	}
	return nil
}
