package wire

import (
	"fmt"
	"unicode/utf8"
)

// Decoding takes two passes and no memory. The first walks the whole message
// once, checks its grammar and depth, and notes where the value of each known
// field lies; the last of several equal keys counts. The second reads what the
// message's type asks for. A field that the type does not have is never
// looked at, whatever it holds.

// field is a key that some message has.
type field uint8

const (
	fNone field = iota
	fType
	fDevice
	fCursor
	fIncarnation
	fSeal
	fSealHeld
	fSealNonce
	fSealKey
	fSealGeneration
	fCaps
	fSeq
	fFailed
	fCode
	fConversationID
	fSenderID
	fSenderType
	fSenderName
	fToken
	fTokenExpires
	fID
	fClientID
	fRealm
	fSession
	fGeneration
	fHeartbeat
	fBacklog
	fFrom
	fTo
	fReason
	fGroup
	fIn
	fExpires
	fMessage
	fReplayed
	fTS
	fTopic
	fData
	fDataBase64
	fPriority
	fCollapseKey
	fAttachment
	fURL
	fSize
	fName
	fieldCount
)

var keys = [fieldCount]string{
	fType: "type", fDevice: "device", fCursor: "cursor", fIncarnation: "incarnation", fSeal: "seal",
	fSealHeld: "seal_held", fSealNonce: "seal_nonce", fSealKey: "seal_key", fSealGeneration: "seal_generation",
	fCaps: "caps", fSeq: "seq", fFailed: "failed", fCode: "code", fConversationID: "conversation_id",
	fSenderID: "sender_id", fSenderType: "sender_type", fSenderName: "sender_name", fToken: "token",
	fTokenExpires: "token_expires", fID: "id", fClientID: "client_id", fRealm: "realm",
	fSession: "session", fGeneration: "generation", fHeartbeat: "heartbeat", fBacklog: "backlog",
	fFrom: "from", fTo: "to", fReason: "reason", fGroup: "group", fIn: "in", fExpires: "expires",
	fMessage: "message", fReplayed: "replayed", fTS: "ts", fTopic: "topic", fData: "data",
	fDataBase64: "data_base64", fPriority: "priority", fCollapseKey: "collapse_key",
	fAttachment: "attachment", fURL: "url", fSize: "size", fName: "name",
}

// byKey is read-only after start; a look-up by a converted slice allocates
// nothing.
var byKey = func() map[string]field {
	m := make(map[string]field, fieldCount)
	for f := fType; f < fieldCount; f++ {
		m[keys[f]] = f
	}
	return m
}()

// typeByName is read-only after start.
var typeByName = func() map[string]Type {
	m := make(map[string]Type, len(names))
	for t, n := range names {
		if n != "" {
			m[n] = Type(t)
		}
	}
	return m
}()

// value is one value as it lies in the message; no bytes: absent.
type value struct {
	c   Codec
	raw []byte
}

// absent is true of null too: a client that writes null says nothing.
func (v value) absent() bool {
	if len(v.raw) == 0 {
		return true
	}
	if v.c == Msgpack {
		return v.raw[0] == 0xc0
	}
	return v.raw[0] == 'n'
}

// fields notes where the values of one object lie.
type fields struct {
	c    Codec
	p    []byte
	span [fieldCount]struct{ from, to uint32 }
}

func (f *fields) get(k field) value {
	s := f.span[k]
	return value{f.c, f.p[s.from:s.to]}
}

// object reads v as an object into f.
func (f *fields) object(v value, depth int) error {
	f.c, f.p = v.c, v.raw
	if v.c == Msgpack {
		return f.msgpack(depth)
	}
	return f.json(depth)
}

func (f *fields) note(k field, from, to int) {
	if k != fNone {
		f.span[k].from, f.span[k].to = uint32(from), uint32(to)
	}
}

func (f *fields) json(depth int) error {
	s := jsonScan{p: f.p}
	s.space()
	if !s.take('{') {
		return malformed("no object")
	}
	s.space()
	for n := 0; !s.take('}'); n++ {
		if n > 0 {
			if !s.take(',') {
				return malformed("bad object")
			}
			s.space()
		}
		k, err := s.key()
		if err != nil {
			return err
		}
		from := s.i
		if err := s.skip(depth - 1); err != nil {
			return err
		}
		f.note(k, from, s.i)
		s.space()
	}
	s.space()
	if s.i != len(s.p) {
		return malformed("bytes after the message")
	}
	return nil
}

func (f *fields) msgpack(depth int) error {
	s := mpScan{p: f.p}
	n, ok := s.mapLen()
	if !ok {
		return malformed("no map")
	}
	for range n {
		k, err := s.key(depth - 1)
		if err != nil {
			return err
		}
		from := s.i
		if err := s.skip(depth - 1); err != nil {
			return err
		}
		f.note(k, from, s.i)
	}
	if s.i != len(s.p) {
		return malformed("bytes after the message")
	}
	return nil
}

// list walks the elements of an array whose grammar was checked already.
type list struct {
	c  Codec
	j  jsonScan
	m  mpScan
	n  int // MessagePack: elements left
	at int // JSON: elements seen
}

func (v value) list() (list, bool) {
	l := list{c: v.c}
	if v.c == Msgpack {
		l.m.p = v.raw
		n, ok := l.m.arrayLen()
		l.n = n
		return l, ok
	}
	l.j.p = v.raw
	return l, l.j.take('[')
}

func (l *list) next() (value, bool) {
	if l.c == Msgpack {
		if l.n == 0 {
			return value{}, false
		}
		l.n--
		from := l.m.i
		if l.m.skip(MaxDataDepth) != nil {
			return value{}, false
		}
		return value{Msgpack, l.m.p[from:l.m.i]}, true
	}
	l.j.space()
	if l.j.take(']') {
		return value{}, false
	}
	if l.at++; l.at > 1 {
		l.j.take(',')
		l.j.space()
	}
	from := l.j.i
	if l.j.skip(MaxDataDepth) != nil {
		return value{}, false
	}
	return value{JSON, l.j.p[from:l.j.i]}, true
}

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

func wrong(k field, what string) error {
	return fmt.Errorf("%w: %s %s", ErrMalformed, keys[k], what)
}

// open does the first pass over a whole message.
func (f *fields) open(c Codec, p []byte, depth int) (Type, error) {
	if len(p) > 1<<30 {
		return TypeUnknown, malformed("too long")
	}
	if c == JSON && !utf8.Valid(p) {
		return TypeUnknown, malformed("not UTF-8")
	}
	if err := f.object(value{c, p}, depth); err != nil {
		return TypeUnknown, err
	}
	name, ok := f.get(fType).bytes()
	if !ok {
		return TypeUnknown, wrong(fType, faults[faultText])
	}
	return typeByName[string(name)], nil
}
