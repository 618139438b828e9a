package wire

import (
	"bytes"
	"encoding/base64"
	"math"
)

// Readers of one value whose grammar the first pass has checked. Their text
// may be a part of the message: callers copy what they keep.

// bytes is a text's bytes.
func (v value) bytes() ([]byte, bool) {
	if len(v.raw) == 0 {
		return nil, false
	}
	if v.c == Msgpack {
		s := mpScan{p: v.raw}
		h := s.head()
		if h.kind != mpText {
			return nil, false
		}
		return v.raw[s.i : s.i+h.n], true
	}
	if v.raw[0] != '"' {
		return nil, false
	}
	return unquote(v.raw), true
}

// uint is a place: a decimal string or an integer, in either encoding, so
// that a person with a terminal may write either.
func (v value) uint() (uint64, bool) {
	if text, ok := v.bytes(); ok {
		return parseUint(text)
	}
	if v.c == JSON {
		return parseUint(v.raw)
	}
	n, neg, ok := v.mpInteger()
	return n, ok && !neg
}

// parseUint takes digits only, without a leading zero.
func parseUint(p []byte) (uint64, bool) {
	if len(p) == 0 || len(p) > 20 || (p[0] == '0' && len(p) > 1) {
		return 0, false
	}
	var v uint64
	for _, b := range p {
		d := uint64(b - '0')
		if b < '0' || b > '9' || v > (math.MaxUint64-d)/10 {
			return 0, false
		}
		v = v*10 + d
	}
	return v, true
}

// int is an integer number.
func (v value) int() (int64, bool) {
	if v.c == JSON {
		raw := v.raw
		neg := len(raw) > 0 && raw[0] == '-'
		if neg {
			raw = raw[1:]
		}
		n, ok := parseUint(raw)
		return signed(n, neg, ok)
	}
	return signed(v.mpInteger())
}

func signed(n uint64, neg, ok bool) (int64, bool) {
	switch {
	case !ok:
		return 0, false
	case neg:
		return -int64(n), n <= 1<<63
	}
	return int64(n), n <= math.MaxInt64
}

// mpInteger is magnitude and sign.
func (v value) mpInteger() (n uint64, neg, ok bool) {
	s := mpScan{p: v.raw}
	h := s.head()
	switch {
	case h.kind == mpUint && h.n == 0:
		return uint64(v.raw[0]), false, true
	case h.kind == mpInt && h.n == 0:
		return uint64(-int64(int8(v.raw[0]))), true, true
	case h.kind == mpUint:
		return bigEndian(v.raw[s.i : s.i+h.n]), false, true
	case h.kind != mpInt:
		return 0, false, false
	}
	shift := 64 - 8*h.n
	i := int64(bigEndian(v.raw[s.i:s.i+h.n])<<shift) >> shift
	if i < 0 {
		return uint64(-i), true, true
	}
	return uint64(i), false, true
}

func (v value) bool() (is, ok bool) {
	if len(v.raw) == 0 {
		return false, false
	}
	switch b := v.raw[0]; {
	case v.c == Msgpack && (b == 0xc2 || b == 0xc3):
		return b == 0xc3, true
	case v.c == JSON && (b == 't' || b == 'f'):
		return b == 't', true
	}
	return false, false
}

// bin is MessagePack's byte string, as a copy.
func (v value) bin() ([]byte, bool) {
	if v.c != Msgpack {
		return nil, false
	}
	s := mpScan{p: v.raw}
	h := s.head()
	if h.kind != mpBin {
		return nil, false
	}
	return append(make([]byte, 0, h.n), v.raw[s.i:]...), true
}

// base64 is a text of RFC 4648 section 4.
func (v value) base64() ([]byte, bool) {
	text, ok := v.bytes()
	if !ok {
		return nil, false
	}
	out, err := base64.StdEncoding.AppendDecode(make([]byte, 0, len(text)*3/4), text)
	return out, err == nil
}

// base64url is a text of RFC 4648 section 5 without padding, in its one form.
func (v value) base64url() ([]byte, bool) {
	text, ok := v.bytes()
	if !ok || len(text) > MaxStringLen || bytes.ContainsAny(text, "\r\n") { // the package would pass over those
		return nil, false
	}
	out, err := base64.RawURLEncoding.Strict().AppendDecode(nil, text)
	return out, err == nil
}

// The readers below take a named field of an object. An absent field is the
// zero value; one of another kind is malformed. The first error stays.

// It keeps the field and the fault rather than an error: an error in here
// would make the compiler move the whole of fields to the heap.
type reader struct {
	f     *fields
	bad   field
	fault fault
}

type fault uint8

const (
	faultNone fault = iota
	faultMissing
	faultText
	faultLong
	faultSeq
	faultInt
	faultWide
	faultBool
	faultList
	faultElement
	faultObject
	faultBase64
	faultBase64URL
	faultData
	faultRange
	faultNonce
)

var faults = [...]string{
	faultMissing:   "is missing",
	faultText:      "is no string",
	faultLong:      "is too long",
	faultSeq:       "is no unsigned 64-bit integer",
	faultInt:       "is no integer",
	faultWide:      "does not fit 32 bits",
	faultBool:      "is no boolean",
	faultList:      "is no list",
	faultElement:   "has too many elements, or one of the wrong kind",
	faultObject:    "is no object, or has a field of the wrong kind",
	faultBase64:    "is no base64",
	faultBase64URL: "is no base64url without padding",
	faultData:      "holds what JSON can't",
	faultRange:     "is out of range, or ends before it begins",
	faultNonce:     "is not of 16 bytes",
}

func (r *reader) fail(k field, why fault) {
	if r.fault == faultNone {
		r.bad, r.fault = k, why
	}
}

func (r *reader) err() error {
	if r.fault == faultNone {
		return nil
	}
	return wrong(r.bad, faults[r.fault])
}

func (r *reader) text(k field) string {
	v := r.f.get(k)
	if v.absent() {
		return ""
	}
	text, ok := v.bytes()
	if !ok {
		r.fail(k, faultText)
		return ""
	}
	if len(text) > MaxStringLen {
		r.fail(k, faultLong)
		return ""
	}
	return string(text)
}

func (r *reader) seq(k field) uint64 {
	v := r.f.get(k)
	if v.absent() {
		return 0
	}
	n, ok := v.uint()
	if !ok {
		r.fail(k, faultSeq)
	}
	return n
}

func (r *reader) int(k field) int64 {
	v := r.f.get(k)
	if v.absent() {
		return 0
	}
	n, ok := v.int()
	if !ok {
		r.fail(k, faultInt)
	}
	return n
}

func (r *reader) uint32(k field) uint32 {
	n := r.int(k)
	if n != int64(uint32(n)) {
		r.fail(k, faultWide)
	}
	return uint32(n)
}

func (r *reader) base64url(k field) []byte {
	v := r.f.get(k)
	if v.absent() {
		return nil
	}
	b, ok := v.base64url()
	if !ok {
		r.fail(k, faultBase64URL)
	}
	return b
}

func (r *reader) int32(k field) int {
	n := r.int(k)
	if n != int64(int32(n)) {
		r.fail(k, faultWide)
	}
	return int(n)
}

// need fails where a field is absent.
func (r *reader) need(ks ...field) {
	for _, k := range ks {
		if r.f.get(k).absent() {
			r.fail(k, faultMissing)
		}
	}
}
