package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func seed(f *testing.F, direction string) {
	n := 0
	for _, v := range vectors(f) {
		if v.Direction == direction {
			for c, p := range v.texts(f) {
				f.Add(byte(c), p)
				n++
			}
		}
	}
	if n == 0 {
		f.Fatal("no seeds")
	}
}

func codecOf(b byte) Codec { return Codec(b & 1) }

func FuzzDecodeClient(f *testing.F) {
	seed(f, "client")
	f.Fuzz(func(t *testing.T, b byte, p []byte) {
		c := codecOf(b)
		before := bytes.Clone(p)
		var m ClientMessage
		err := DecodeClient(c, p, &m)
		if !bytes.Equal(p, before) {
			t.Fatal("the input was changed")
		}
		if c == JSON {
			var want ClientMessage
			if ok := referenceDecode(p, &want); ok != (err == nil) {
				t.Fatalf("%q: reference %v, codec %v", p, ok, err)
			} else if ok && !reflect.DeepEqual(trim(m), want) {
				t.Fatalf("%q:\n%+v\nreference\n%+v", p, m, want)
			}
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if m.Type == TypeUnknown {
			return
		}
		for _, to := range codecs {
			var again ClientMessage
			if err := DecodeClient(to, EncodeClient(to, &m), &again); err != nil || !reflect.DeepEqual(trim(again), trim(m)) {
				t.Fatalf("codec %d: %v\n%+v\n%+v", to, err, m, again)
			}
		}
	})
}

// trim makes empty slices nil, but for one where that is another word.
func trim(m ClientMessage) ClientMessage {
	if len(m.Failed) == 0 {
		m.Failed = nil
	}
	if len(m.Caps) == 0 {
		m.Caps = nil
	}
	return m
}

// referenceDecode is the same decoder over encoding/json: slow and plain.
func referenceDecode(p []byte, m *ClientMessage) bool {
	var o map[string]json.RawMessage
	if !utf8.Valid(p) || !json.Valid(p) || depthOf(p) > MaxDepth || json.Unmarshal(p, &o) != nil || o == nil {
		return false
	}
	r := reference{o: o, ok: true}
	typ := r.text("type")
	if _, there := o["type"]; !there || isNull(o["type"]) || !r.ok {
		return false
	}
	m.Type = typeByName[typ]
	switch m.Type {
	case TypeHello:
		m.Device, m.Incarnation, m.Seal = r.text("device"), r.text("incarnation"), r.text("seal")
		if r.has("cursor") {
			n := r.seq("cursor")
			m.Cursor = &n
		}
		if r.has("seal_held") {
			m.SealHeld = []uint32{}
		}
		for _, raw := range r.list("seal_held", MaxSealHeld) {
			var g *int64
			if json.Unmarshal(raw, &g) != nil || g == nil || *g != int64(uint32(*g)) {
				return false
			}
			m.SealHeld = append(m.SealHeld, uint32(*g))
		}
		nonce := r.text("seal_nonce")
		if b, err := base64.RawURLEncoding.Strict().DecodeString(nonce); err == nil && len(b) == SealNonceLen && !strings.ContainsAny(nonce, "\r\n") {
			m.SealNonce = b
		} else if r.has("seal_nonce") || m.Seal == "crt" || m.Seal == "aead" {
			return false
		}
		for _, raw := range r.list("caps", MaxCaps) {
			r.o["\x00"] = raw
			if isNull(raw) {
				return false
			}
			m.Caps = append(m.Caps, r.text("\x00"))
		}
	case TypeAck:
		m.Seq = r.seq("seq")
		for _, raw := range r.list("failed", MaxFailed) {
			e := reference{ok: true}
			if json.Unmarshal(raw, &e.o) != nil || e.o == nil || !e.has("seq") {
				return false
			}
			m.Failed = append(m.Failed, Failed{e.seq("seq"), e.int32("code")})
			r.ok = r.ok && e.ok
		}
		r.ok = r.ok && (r.has("seq") || len(m.Failed) > 0)
	case TypeRead:
		m.Seq = r.seq("seq")
		r.ok = r.ok && r.has("seq")
	case TypePing:
		m.ID = r.text("id")
		r.ok = r.ok && len(m.ID) <= MaxPingIDLen
	case TypeTyping:
		m.Conversation, m.SenderName = r.text("conversation_id"), r.text("sender_name")
		r.ok = r.ok && r.has("conversation_id")
	case TypeRefresh:
		m.Token = r.text("token")
		r.ok = r.ok && r.has("token")
	case TypeSealHello, TypeSealConfirm:
		text := r.text("data")
		m.Handshake, _ = base64.RawURLEncoding.DecodeString(text)
		r.ok = r.ok && r.has("data") && base64.RawURLEncoding.EncodeToString(m.Handshake) == text
		if len(m.Handshake) == 0 {
			m.Handshake = nil
		}
	default:
		m.Type = TypeUnknown
	}
	return r.ok
}

type reference struct {
	o  map[string]json.RawMessage
	ok bool
}

func isNull(p json.RawMessage) bool { return string(bytes.TrimSpace(p)) == "null" }

func (r *reference) has(k string) bool { return len(r.o[k]) > 0 && !isNull(r.o[k]) }

func (r *reference) text(k string) (s string) {
	if r.has(k) && (json.Unmarshal(r.o[k], &s) != nil || len(s) > MaxStringLen) {
		r.ok = false
	}
	return s
}

func (r *reference) list(k string, limit int) (l []json.RawMessage) {
	if r.has(k) && (json.Unmarshal(r.o[k], &l) != nil || len(l) > limit) {
		r.ok = false
		return nil
	}
	return l
}

func (r *reference) seq(k string) uint64 {
	if !r.has(k) {
		return 0
	}
	digits := string(bytes.TrimSpace(r.o[k]))
	if digits[0] == '"' {
		_ = json.Unmarshal(r.o[k], &digits)
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != digits {
		r.ok = false
		return 0
	}
	return n
}

func (r *reference) int32(k string) (n int) {
	var v int32
	if r.has(k) && json.Unmarshal(r.o[k], &v) != nil {
		r.ok = false
	}
	return int(v)
}

func depthOf(p []byte) int {
	d := json.NewDecoder(bytes.NewReader(p))
	depth, most := 0, 0
	for {
		tok, err := d.Token()
		if err != nil {
			return most
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
			most = max(most, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

func FuzzDecodeServer(f *testing.F) {
	seed(f, "server")
	f.Fuzz(func(t *testing.T, b byte, p []byte) {
		c := codecOf(b)
		m, err := DecodeServer(c, p)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if m.Type == TypeMessage && m.Delivery.Data != nil && !json.Valid(m.Delivery.Data) {
			t.Fatalf("data is no JSON: %q", m.Delivery.Data)
		}
		for _, to := range codecs {
			q := encodeServer(t, to, m)
			if q == nil {
				return
			}
			again, err := DecodeServer(to, q)
			if err != nil {
				t.Fatalf("codec %d: %v\n%+v\n%q", to, err, m, q)
			}
			if m.Delivery.Data != nil && !sameJSON(m.Delivery.Data, again.Delivery.Data) {
				t.Fatalf("codec %d:\n%s\n%s", to, m.Delivery.Data, again.Delivery.Data)
			}
			again.Delivery.Data = m.Delivery.Data
			if m.Delivery.Attachment != nil && *m.Delivery.Attachment == (Attachment{}) {
				continue
			}
			if !m.Delivery.Replayed || m.Type == TypeMessage {
				if x, y := normal(m), normal(again); !reflect.DeepEqual(x, y) {
					t.Fatalf("codec %d:\n%+v\n%+v", to, x, y)
				}
			}
		}
	})
}

// normal is m as an encoder writes it: no token_expires without token, and a
// tombstone's ID as the number that it is.
func normal(m ServerMessage) ServerMessage {
	if id, err := strconv.ParseInt(m.ID, 10, 64); err == nil && m.Type == TypeTombstone {
		m.ID = strconv.FormatInt(id, 10)
	}
	if m.Welcome.Token == "" {
		m.Welcome.TokenExpiresMS = 0
	}
	if len(m.Welcome.SealKey) == 0 {
		m.Welcome.SealKey = nil
	}
	if len(m.Handshake) == 0 {
		m.Handshake = nil
	}
	return m
}

// sameJSON compares values as MessagePack may carry them.
func sameJSON(a, b []byte) bool {
	var x, y any
	da, db := json.NewDecoder(bytes.NewReader(a)), json.NewDecoder(bytes.NewReader(b))
	da.UseNumber()
	db.UseNumber()
	if da.Decode(&x) != nil || db.Decode(&y) != nil {
		return false
	}
	return reflect.DeepEqual(numbers(x), numbers(y))
}

func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.ParseUint(string(v), 10, 64); err == nil {
			return n
		}
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil && n != 0 {
			return n
		}
		x, _ := strconv.ParseFloat(string(v), 64)
		if x == math.Trunc(x) && x >= 0 && x < 1<<64 && !math.Signbit(x) {
			return uint64(x) // 1.0 may be written as 1
		}
		if x == math.Trunc(x) && x < 0 && x >= -1<<63 {
			return int64(x)
		}
		return x
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

func FuzzEncodeBody(f *testing.F) {
	f.Add([]byte(body))
	f.Add([]byte(`{"id":"1","ts":1,"topic":"","data_base64":"AP8Q"}`))
	f.Add([]byte(`{"id":"1","data":[[[]],{"a":{"b":-0.0}}]}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		tail, err := EncodeBody(Msgpack, p)
		if err != nil {
			if !errors.Is(err, ErrBody) {
				t.Fatal(err)
			}
			return
		}
		if !json.Valid(p) {
			t.Fatalf("%q was taken", p)
		}
		for _, h := range []Head{{}, {Seq: 1 << 33, Replayed: true}} {
			q := AppendMessage(nil, Msgpack, h, tail)
			if len(q) != MessageLen(Msgpack, h, tail) {
				t.Fatal("MessageLen is wrong")
			}
			var fs fields
			if typ, err := fs.open(Msgpack, q, MaxDataDepth+1); err != nil || (typ != TypeMessage && !bytes.Contains(p, []byte("type")) && !bytes.Contains(p, []byte(`\u`))) {
				t.Fatalf("%q: %v %v", q, typ, err)
			}
		}
	})
}
