package frame

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var small = Limits{Frame: 1000, Message: 1200}

// bits reads frames as they are drawn in RFC 6455 section 5.2: groups of 0
// and 1 are bits, "x" groups are hex, spaces and | separate.
func bits(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	var acc, n int
	for _, w := range strings.FieldsFunc(s, func(c rune) bool { return c == ' ' || c == '|' }) {
		if h, ok := strings.CutPrefix(w, "x"); ok {
			b, err := hex.DecodeString(h)
			if err != nil || n != 0 {
				t.Fatalf("bad hex group %q", w)
			}
			out = append(out, b...)
			continue
		}
		for _, c := range w {
			acc, n = acc<<1|int(c-'0'), n+1
			if n == 8 {
				out, acc, n = append(out, byte(acc)), 0, 0
			}
		}
	}
	if n != 0 {
		t.Fatalf("bits left over in %q", s)
	}
	return out
}

// outcome is an event, or the end of the input, as text.
func outcome(ev Event, err error) string {
	var v *Violation
	switch {
	case errors.As(err, &v):
		return fmt.Sprintf("violation %d: %s", v.Code, v.Reason)
	case err != nil:
		return err.Error()
	case ev.Op == Close:
		return fmt.Sprintf("close %d %x", ev.Code, ev.Payload)
	}
	return fmt.Sprintf("%s %x", map[Op]string{Text: "text", Binary: "binary", Ping: "ping", Pong: "pong"}[ev.Op], ev.Payload)
}

// readAll gives r the pieces one after the other and returns what came of
// them, up to a violation or the first close.
func readAll(t testing.TB, r *Reader, lim Limits, pieces ...[]byte) (out []string) {
	t.Helper()
	arrived := 0
	for _, p := range pieces {
		arrived += len(p)
		rest := bytes.Clone(p) // Next unmasks in place
		for {
			ev, left, err := r.Next(rest, lim)
			if errors.Is(err, ErrMore) {
				break
			}
			if len(left) > len(rest) {
				t.Fatalf("rest grew from %d to %d", len(rest), len(left))
			}
			rest = left
			out = append(out, outcome(ev, err))
			if err != nil {
				return out
			}
		}
		if r.Held() > 2*arrived+64+14 {
			t.Fatalf("%d bytes held of %d that arrived", r.Held(), arrived)
		}
	}
	return out
}

func split(p []byte, size int) [][]byte { return slices.Collect(slices.Chunk(p, size)) }

type readerCase struct {
	name, in string
	role     Role
	lim      Limits
	want     []string
}

func TestReaderReadsAlikeAtEverySplit(t *testing.T) {
	for _, c := range readerCases() {
		t.Run(c.name, func(t *testing.T) {
			in := bits(t, c.in)
			if c.lim == (Limits{}) {
				c.lim = small
			}
			check := func(how string, pieces ...[]byte) {
				t.Helper()
				got := readAll(t, &Reader{Role: c.role}, c.lim, pieces...)
				if !slices.Equal(got, c.want) {
					t.Fatalf("%s:\n got %q\nwant %q", how, got, c.want)
				}
			}
			check("in one piece", in)
			check("byte by byte", split(in, 1)...)
			for i := range in {
				check(fmt.Sprintf("split at %d", i), in[:i], in[i:])
				if len(in) < 40 {
					for j := i; j < len(in); j++ {
						check(fmt.Sprintf("split at %d and %d", i, j), in[:i], in[i:j], in[j:])
					}
				}
			}
		})
	}
}

func readerCases() []readerCase {
	const noMask = "x00000000"
	viol := func(v *Violation) []string { return []string{outcome(Event{}, v)} }
	ascii := func(n int) string { return "x" + strings.Repeat("61", n) }
	return []readerCase{
		{name: "RFC section 5.7 masked Hello", in: "1 000 0001 | 1 0000101 | x37fa213d x7f9f4d5158", want: []string{"text 48656c6c6f"}},
		{name: "RFC section 5.7 unmasked Hello", in: "1 000 0001 | 0 0000101 | x48656c6c6f", role: Client, want: []string{"text 48656c6c6f"}},
		{name: "RFC section 5.7 fragments", in: "0 000 0001 0 0000011 x48656c 1 000 0000 0 0000010 x6c6f", role: Client, want: []string{"text 48656c6c6f"}},
		{name: "server refuses unmasked", in: "1 000 0001 | 0 0000000", want: viol(errUnmasked)},
		{name: "client refuses masked", in: "1 000 0001 | 1 0000000 | " + noMask, role: Client, want: viol(errMasked)},
		{name: "empty text", in: "1 000 0001 1 0000000 x01020304", want: []string{"text "}},
		{name: "empty binary", in: "1 000 0010 1 0000000 x01020304", want: []string{"binary "}},
		{name: "empty ping and pong", in: "1 000 1001 1 0000000 x01020304 1 000 1010 1 0000000 x01020304", want: []string{"ping ", "pong "}},
		{name: "empty fragments", in: "0 000 0001 1 0000000 x01020304 0 000 0000 1 0000000 x01020304 1 000 0000 1 0000000 x01020304", want: []string{"text "}},
		{name: "content only in the last fragment", in: "0 000 0010 1 0000000 x01020304 1 000 0000 1 0000001 x01020304 x00", want: []string{"binary 01"}},
		{name: "content only in the first fragment", in: "0 000 0010 1 0000001 x01020304 x00 1 000 0000 1 0000000 x01020304", want: []string{"binary 01"}},
		{name: "control frames inside a message at once", in: "0 000 0001 1 0000010 " + noMask + " x4865 1 000 1001 1 0000001 x01020304 x00 1 000 1010 1 0000000 " + noMask + " 1 000 0000 1 0000001 " + noMask + " x79", want: []string{"ping 01", "pong ", "text 486579"}},
		{name: "two messages", in: "1 000 0010 1 0000001 x01020304 x00 1 000 0001 1 0000001 x00000000 x62", want: []string{"binary 01", "text 62"}},

		{name: "RSV1", in: "1 100 0001 1 0000000 " + noMask, want: viol(errReserved)},
		{name: "RSV2", in: "1 010 1001 1 0000000 " + noMask, want: viol(errReserved)},
		{name: "RSV3 on a continuation", in: "0 000 0001 1 0000000 " + noMask + " 1 001 0000 1 0000000 " + noMask, want: viol(errReserved)},
		{name: "opcode 3", in: "1 000 0011 1 0000000 " + noMask, want: viol(errOpcode)},
		{name: "opcode 7", in: "1 000 0111 1 0000000 " + noMask, want: viol(errOpcode)},
		{name: "opcode 11", in: "1 000 1011 1 0000000 " + noMask, want: viol(errOpcode)},
		{name: "opcode 15 not final", in: "0 000 1111 1 0000000 " + noMask, want: viol(errOpcode)},
		{name: "fragmented ping", in: "0 000 1001 1 0000000 " + noMask, want: viol(errFragControl)},
		{name: "ping of 125", in: "1 000 1001 1 1111101 " + noMask + ascii125(), want: []string{"ping " + ascii125()[2:]}},
		{name: "ping of 126", in: "1 000 1001 1 1111110 x007e " + noMask, want: viol(errLongControl)},
		{name: "close with a 64-bit length", in: "1 000 1000 1 1111111 x0000000000000001 " + noMask, want: viol(errLongControl)},
		{name: "continuation of nothing", in: "1 000 0000 1 0000000 " + noMask, want: viol(errContinuation)},
		{name: "continuation after the end", in: "1 000 0001 1 0000000 " + noMask + " 0 000 0000 1 0000000 " + noMask, want: []string{"text ", viol(errContinuation)[0]}},
		{name: "text inside a message", in: "0 000 0010 1 0000000 " + noMask + " 1 000 0001 1 0000000 " + noMask, want: viol(errInterleaved)},

		{name: "16-bit length of 125", in: "1 000 0010 1 1111110 x007d", want: viol(errLength)},
		{name: "16-bit length of 126", in: "1 000 0010 1 1111110 x007e " + noMask + " " + ascii(126), want: []string{"binary " + ascii(126)[1:]}},
		{name: "64-bit length of 65535", in: "1 000 0010 1 1111111 x000000000000ffff", lim: Limits{1 << 20, 1 << 20}, want: viol(errLength)},
		{name: "64-bit length of 65536 is too big", in: "1 000 0010 1 1111111 x0000000000010000", want: viol(errFrameLimit)},
		{name: "64-bit length with the top bit", in: "1 000 0010 1 1111111 x8000000000000000", want: viol(errLengthBit)},
		{name: "frame limit from the header", in: "1 000 0010 1 1111110 x03e9", want: viol(errFrameLimit)},
		{name: "message limit from the header", in: "0 000 0010 1 1111110 x03e8 " + noMask + " " + ascii(1000) + " 1 000 0000 1 1111110 x00c9", want: viol(errMessageLimit)},
		{name: "message limit reached", in: "0 000 0010 1 1111101 " + noMask + " " + ascii(125) + " 1 000 0000 1 0000001 " + noMask + " x61", lim: Limits{125, 126}, want: []string{"binary " + ascii(126)[1:]}},
		{name: "control frames are beyond limits", in: "1 000 1001 1 0000001 " + noMask + " x61", lim: Limits{0, 0}, want: []string{"ping 61"}},

		{name: "rune over three fragments", in: "0 000 0001 1 0000001 " + noMask + " xe2 0 000 0000 1 0000001 " + noMask + " x82 1 000 0000 1 0000001 " + noMask + " xac", want: []string{"text e282ac"}},
		{name: "rune with a ping inside", in: "0 000 0001 1 0000001 " + noMask + " xf0 1 000 1001 1 0000001 " + noMask + " xff 1 000 0000 1 0000011 " + noMask + " x9f9880", want: []string{"ping ff", "text f09f9880"}},
		{name: "rune cut at the message's end", in: "0 000 0001 1 0000001 " + noMask + " x61 1 000 0000 1 0000001 " + noMask + " xe2", want: viol(errUTF8)},
		{name: "rune cut in a whole frame", in: "1 000 0001 1 0000010 " + noMask + " xe282", want: viol(errUTF8)},
		{name: "wrong text fails before its frame ends", in: "1 000 0001 1 1111101 " + noMask + " x61ff", want: viol(errUTF8)},
		{name: "surrogate fails at its second byte", in: "1 000 0001 1 1111101 " + noMask + " xeda0", want: viol(errUTF8)},
		{name: "beyond U+10FFFF fails at its second byte", in: "0 000 0001 1 0000010 " + noMask + " xf490", want: viol(errUTF8)},
		{name: "overlong fails", in: "1 000 0001 1 0000010 " + noMask + " xc080", want: viol(errUTF8)},
		{name: "binary need not be UTF-8", in: "1 000 0010 1 0000010 " + noMask + " xff80", want: []string{"binary ff80"}},

		{name: "close without a body", in: "1 000 1000 1 0000000 " + noMask, want: []string{"close 1005 "}},
		{name: "close with a code", in: "1 000 1000 1 0000010 " + noMask + " x03e8", want: []string{"close 1000 "}},
		{name: "close with a reason", in: "1 000 1000 1 0000100 " + noMask + " x0fa16f6b", want: []string{"close 4001 6f6b"}},
		{name: "close of one byte", in: "1 000 1000 1 0000001 " + noMask + " x03", want: viol(errCloseBody)},
		{name: "close 1005", in: "1 000 1000 1 0000010 " + noMask + " x03ed", want: viol(errCloseCode)},
		{name: "close reason not UTF-8", in: "1 000 1000 1 0000100 " + noMask + " x03e8 xc080", want: viol(errCloseReason)},
		{name: "what follows a close is discarded", in: "1 000 1000 1 0000000 " + noMask + " 1 111 1111 xff", want: []string{"close 1005 "}},
		{name: "close inside a message ends it", in: "0 000 0001 1 0000001 " + noMask + " x61 1 000 1000 1 0000000 " + noMask + " 1 000 0000 1 0000000 " + noMask, want: []string{"close 1005 "}},
	}
}

func ascii125() string { return " x" + strings.Repeat("61", 125) }

func TestValidCodeFollowsTheRegistry(t *testing.T) {
	for code := range 1 << 16 {
		c := uint16(code)
		want := c >= 1000 && c <= 1014 && (c < 1004 || c > 1006) || c >= 3000 && c < 5000
		if ValidCode(c) != want {
			t.Errorf("ValidCode(%d) = %v", c, !want)
		}
	}
}

func TestHeaderAloneIsNeverWorthItsAnnouncement(t *testing.T) {
	var r Reader
	in := bits(t, "1 000 0010 1 1111111 x0000000000100000 x00000000 x61")
	if _, _, err := r.Next(in, Limits{1 << 20, 1 << 20}); !errors.Is(err, ErrMore) {
		t.Fatal(err)
	}
	if r.Held() > 64 || !r.Started() || r.Idle() {
		t.Fatalf("held %d, started %v, idle %v", r.Held(), r.Started(), r.Idle())
	}
}

func TestReaderStates(t *testing.T) {
	masked := func(f Frame) []byte { f.Masked = true; return f.Append(nil) }
	text := masked(Frame{Op: Text, Payload: []byte("hello")})
	for _, c := range []struct {
		name          string
		in            []byte
		started, idle bool
	}{
		{"new", nil, false, true},
		{"half a header", text[:3], true, false},
		{"half a payload", text[:8], true, false},
		{"whole message", text, false, true},
		{"whole ping", masked(Frame{Op: Ping, Payload: []byte("hello")}), false, true},
		{"open message", masked(Frame{Op: Text, More: true}), true, false},
		{"closed", masked(Frame{Op: Close}), false, false},
		{"closed inside a message", append(masked(Frame{Op: Text, More: true}), masked(Frame{Op: Close})...), false, false},
		{"broken", []byte{0xff}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int{1, 100} {
				var r Reader
				readAll(t, &r, small, split(c.in, size)...)
				if r.Started() != c.started || r.Idle() != c.idle {
					t.Errorf("started %v, idle %v", r.Started(), r.Idle())
				}
				if r.Idle() && (r.Held() != 0 || r.buf != nil) {
					t.Errorf("idle, and holds %d", r.Held())
				}
			}
		})
	}
}

func TestSpentReaderRepeatsItsVerdict(t *testing.T) {
	var r Reader
	_, _, first := r.Next([]byte{0x83, 0x80}, small)
	ok := AppendMasked(nil, Text, [4]byte{}, []byte("x"))
	if _, _, err := r.Next(ok, small); err == nil || !errors.Is(err, first) {
		t.Errorf("got %v after %v", err, first)
	}
}
