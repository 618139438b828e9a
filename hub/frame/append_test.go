package frame

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"
)

func TestAppendHeaderUsesTheShortestLength(t *testing.T) {
	for _, c := range []struct {
		n    int
		want string
	}{
		{0, "8200"}, {125, "827d"}, {126, "827e007e"}, {65535, "827effff"},
		{65536, "827f0000000000010000"}, {1 << 32, "827f0000000100000000"},
	} {
		if got := hex.EncodeToString(AppendHeader(nil, Binary, c.n)); got != c.want {
			t.Errorf("%d: %s, want %s", c.n, got, c.want)
		}
	}
}

func TestAppendedFramesAreWhatGobwasReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := Frame{
			Op:      Op(rapid.IntRange(0, 15).Draw(t, "op")),
			More:    rapid.Bool().Draw(t, "more"),
			Rsv:     byte(rapid.IntRange(0, 7).Draw(t, "rsv")),
			Masked:  rapid.Bool().Draw(t, "masked"),
			Payload: bytes.Repeat([]byte("p"), rapid.SampledFrom([]int{0, 1, 125, 126, 65535, 65536}).Draw(t, "len")),
		}
		if f.Masked {
			f.Key = [4]byte{1, 2, 3, byte(len(f.Payload))}
		}
		in := bytes.NewReader(f.Append([]byte{}))
		h, err := ws.ReadHeader(in)
		want := ws.Header{Fin: !f.More, Rsv: f.Rsv, OpCode: ws.OpCode(f.Op), Masked: f.Masked, Mask: f.Key, Length: int64(len(f.Payload))}
		if err != nil || h != want {
			t.Fatalf("%+v %v, want %+v", h, err, want)
		}
		got := make([]byte, in.Len())
		_, _ = in.Read(got)
		if f.Masked {
			ws.Cipher(got, f.Key, 0)
		}
		if !bytes.Equal(got, f.Payload) {
			t.Fatal("payload differs")
		}
	})
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	payload := []byte("hello")
	dst := AppendPing([]byte("ab"), []byte("1"))
	dst = AppendMasked(dst, Text, [4]byte{0x37, 0xfa, 0x21, 0x3d}, payload)
	dst = AppendFrame(dst, Pong, nil)
	want := "6162" + "890131" + "818537fa213d5f9f4d5158" + "8a00"
	if got := hex.EncodeToString(dst); got != want || string(payload) != "hello" {
		t.Errorf("%s, want %s; payload %q", got, want, payload)
	}
}

func TestPingIsCutToAControlFrame(t *testing.T) {
	if b := AppendPing(nil, make([]byte, 300)); b[1] != 125 || len(b) != 127 {
		t.Errorf("% x", b[:2])
	}
}

func TestCloseBody(t *testing.T) {
	for _, c := range []struct {
		name   string
		code   uint16
		reason string
		want   string
	}{
		{"code and reason", 4001, "missing token", "\x0f\xa1missing token"},
		{"no code can be sent", CodeNone, "lost", ""},
		{"1006 is never sent", 1006, "", ""},
		{"cut to 123 bytes", 1000, strings.Repeat("a", 200), "\x03\xe8" + strings.Repeat("a", 123)},
		{"cut at a rune", 1000, strings.Repeat("a", 122) + "é", "\x03\xe8" + strings.Repeat("a", 122)},
		{"rune that just fits", 1000, strings.Repeat("a", 121) + "éé", "\x03\xe8" + strings.Repeat("a", 121) + "é"},
		{"not UTF-8", 1000, "a\xffb", "\x03\xe8a\uFFFDb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(CloseBody(c.code, c.reason)); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestAnyCloseCanBeReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		code := rapid.Uint16().Draw(t, "code")
		reason := string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "reason"))
		if rapid.Bool().Draw(t, "utf8") {
			reason = rapid.StringN(0, -1, 300).Draw(t, "text")
		}
		r := Reader{Role: Client}
		ev, rest, err := r.Next(AppendClose(nil, code, reason), Limits{})
		if err != nil || len(rest) != 0 || ev.Op != Close {
			t.Fatal(ev, rest, err)
		}
		if !ValidCode(code) {
			code, reason = CodeNone, ""
		}
		if ev.Code != code || !utf8.Valid(ev.Payload) {
			t.Fatalf("code %d reason %q", ev.Code, ev.Payload)
		}
		if utf8.ValidString(reason) && !strings.HasPrefix(reason, string(ev.Payload)) {
			t.Fatalf("reason %q of %q", ev.Payload, reason)
		}
	})
}
