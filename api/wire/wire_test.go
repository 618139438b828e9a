package wire

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

var codecs = []Codec{JSON, Msgpack}

const body = `{"id":"1790000000000000001","ts":1700000000123,"topic":"order.shipped","data":{"n":1,"f":1.5,"big":18446744073709551615,"neg":-7,"s":"h\u00e9 \ud83d\ude00 \ud800","l":[true,false,null,-0,1e999]},"priority":5,"collapse_key":"k","attachment":{"url":"https://x.example/a","type":"image/png","size":12,"name":"a"},"expires":1700000600123}`

func TestMessageIsOneObjectOfHeadAndBody(t *testing.T) {
	for _, c := range codecs {
		tail, err := EncodeBody(c, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range []Head{{}, {Seq: 7}, {Seq: 1<<64 - 1, Replayed: true}, {Replayed: true}, {Seq: 300}, {Seq: 70000}, {Seq: 200}, {Seq: 1 << 40}} {
			p := AppendMessage(nil, c, h, tail)
			if len(p) != MessageLen(c, h, tail) {
				t.Errorf("codec %d head %+v: %d bytes, MessageLen says %d", c, h, len(p), MessageLen(c, h, tail))
			}
			m, err := DecodeServer(c, p)
			if err != nil {
				t.Fatalf("codec %d head %+v: %v", c, h, err)
			}
			if m.Type != TypeMessage || m.Delivery.Head != h || m.Delivery.ID != "1790000000000000001" || m.Delivery.Attachment.Size != 12 {
				t.Errorf("codec %d: %+v", c, m)
			}
			if c == JSON && !json.Valid(p) {
				t.Errorf("not JSON: %s", p)
			}
		}
	}
}

func TestBodiesOfManyFieldsKeepAnHonestCount(t *testing.T) {
	for n := 1; n < 40; n++ {
		var b strings.Builder
		b.WriteString(`{"id":"1"`)
		for i := 1; i < n; i++ {
			fmt.Fprintf(&b, `,"x%d":%d`, i, i)
		}
		b.WriteString("}")
		tail, err := EncodeBody(Msgpack, []byte(b.String()))
		if err != nil {
			t.Fatal(err)
		}
		h := Head{Seq: 5, Replayed: true}
		p := AppendMessage(nil, Msgpack, h, tail)
		var got map[string]any
		if err := msgpack.Unmarshal(p, &got); err != nil || len(got) != n+3 {
			t.Fatalf("%d fields: %d, %v\n%s", n, len(got), err, hex.Dump(p))
		}
		if len(p) != MessageLen(Msgpack, h, tail) {
			t.Fatalf("%d fields: MessageLen %d, is %d", n, MessageLen(Msgpack, h, tail), len(p))
		}
	}
}

func TestBytesAreBinInMessagePack(t *testing.T) {
	tail, err := EncodeBody(Msgpack, []byte(`{"id":"1","data_base64":"AQID"}`))
	if err != nil {
		t.Fatal(err)
	}
	m, err := DecodeServer(Msgpack, AppendMessage(nil, Msgpack, Head{Seq: 1}, tail))
	if err != nil || !reflect.DeepEqual(m.Delivery.Bytes, []byte{1, 2, 3}) || m.Delivery.Data != nil {
		t.Fatalf("%+v, %v", m.Delivery, err)
	}
}

func TestNumbersThatAreNoIntegersAreFloats(t *testing.T) {
	for text, want := range map[string]float64{"-0": math.Copysign(0, -1), "1.0": 1, "1e2": 100, "18446744073709551616": 1 << 64, "1e999": math.Inf(1), "-1e999": math.Inf(-1)} {
		tail, err := EncodeBody(Msgpack, []byte(`{"id":"1","data":`+text+`}`))
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := msgpack.Unmarshal(tail, &got); err != nil {
			t.Fatal(err)
		}
		if f, ok := got["data"].(float64); !ok || math.Float64bits(f) != math.Float64bits(want) {
			t.Errorf("%s became %v", text, got["data"])
		}
	}
}

func TestAckAndPingAllocateNothing(t *testing.T) {
	for _, c := range codecs {
		for _, m := range []ClientMessage{{Type: TypeAck, Seq: 1 << 60}, {Type: TypePing}, {Type: TypeRead, Seq: 3}} {
			p := EncodeClient(c, &m)
			var got ClientMessage
			if n := testing.AllocsPerRun(100, func() {
				if err := DecodeClient(c, p, &got); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("codec %d %s: %v allocations", c, m.Type, n)
			}
		}
	}
}

func TestParseProtocols(t *testing.T) {
	for _, tc := range []struct {
		offer []string
		codec Codec
		name  string
		token string
		ok    bool
	}{
		{nil, JSON, "", "", true},
		{[]string{""}, JSON, "", "", true},
		{[]string{"sunzi.v1.json"}, JSON, ProtocolJSON, "", true},
		{[]string{"sunzi.v1.msgpack, sunzi.v1.json"}, Msgpack, ProtocolMsgpack, "", true},
		{[]string{"sunzi.v1.json, sunzi.v1.msgpack"}, JSON, ProtocolJSON, "", true},
		{[]string{"sunzi.v1.json", "bearer.a.b.c"}, JSON, ProtocolJSON, "a.b.c", true},
		{[]string{"bearer.a.b.c,\tsunzi.v1.msgpack"}, Msgpack, ProtocolMsgpack, "a.b.c", true},
		{[]string{"bearer.abc"}, JSON, "bearer.abc", "abc", true},
		{[]string{"bearer.a, bearer.b"}, JSON, "bearer.a", "a", true},
		{[]string{"bearer."}, JSON, "", "", false},
		{[]string{"sunzi.v9.json, bearer.abc"}, JSON, "", "abc", false},
		{[]string{"graphql-ws"}, JSON, "", "", false},
		{[]string{"SUNZI.V1.JSON"}, JSON, "", "", false},
	} {
		codec, name, token, ok := ParseProtocols(tc.offer)
		if codec != tc.codec || name != tc.name || token != tc.token || ok != tc.ok {
			t.Errorf("%q: %v %q %q %v", tc.offer, codec, name, token, ok)
		}
	}
}

func TestEncodeBodyRefusesWhatIsNoBody(t *testing.T) {
	deep := `{"data":` + strings.Repeat("[", MaxDataDepth+1) + strings.Repeat("]", MaxDataDepth+1) + `}`
	for _, s := range []string{"", "{}", "[1,2,3]", "null     ", `{"a":}`, `{"a":1,}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"data_base64":"!!!!"}`, `{"data_base64":1}`, "{\"a\":\"\xff\"}", deep, `{   }`, `{"a":1}}`} {
		if tail, err := EncodeBody(Msgpack, []byte(s)); err == nil {
			t.Errorf("%q: %x", s, tail)
		}
	}
}
