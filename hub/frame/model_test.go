package frame

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// model reads a whole connection at once, the plainest way: whole frames are
// cut out, joined and judged. It knows nothing of limits or of partial input.
func model(in []byte) (out []string) {
	var msg []byte
	var open Op
	viol := func(v *Violation) []string { return append(out, outcome(Event{}, v)) }
	for len(in) > 0 {
		f, size, v := modelFrame(in)
		if v != nil {
			return viol(v)
		}
		in = in[size:]
		switch {
		case f.Op >= 8:
			if f.Op != Close {
				out = append(out, outcome(Event{Op: f.Op, Payload: f.Payload}, nil))
				continue
			}
			code := CodeNone
			switch n := len(f.Payload); {
			case n == 1:
				return viol(errCloseBody)
			case n > 1:
				code, f.Payload = binary.BigEndian.Uint16(f.Payload), f.Payload[2:]
				if !ValidCode(code) {
					return viol(errCloseCode)
				}
				if !utf8.Valid(f.Payload) {
					return viol(errCloseReason)
				}
			}
			return append(out, outcome(Event{Op: Close, Code: code, Payload: f.Payload}, nil))
		case f.Op == Continuation && open == 0:
			return viol(errContinuation)
		case f.Op != Continuation && open != 0:
			return viol(errInterleaved)
		case f.Op != Continuation:
			open, msg = f.Op, nil
		}
		msg = append(msg, f.Payload...)
		if open == Text && !utf8.Valid(msg) && !(f.More && completable(msg)) {
			return viol(errUTF8)
		}
		if f.More {
			continue
		}
		out, open = append(out, outcome(Event{Op: open, Payload: msg}, nil)), 0
	}
	return out
}

// completable reports, by trying, whether some bytes after p make it UTF-8:
// these six continuation bytes hold one from each range that any rune needs.
func completable(p []byte) bool {
	if utf8.Valid(p) {
		return true
	}
	if len(p) > 4 && !utf8.Valid(p[:len(p)-3]) && !utf8.Valid(p[:len(p)-2]) && !utf8.Valid(p[:len(p)-1]) {
		return false
	}
	for _, a := range []byte{0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf} {
		for _, tail := range [][]byte{{a}, {a, 0x80}, {a, 0x80, 0x80}} {
			if utf8.Valid(append(slices.Clone(p), tail...)) {
				return true
			}
		}
	}
	return false
}

// modelFrame cuts a whole masked frame off in.
func modelFrame(in []byte) (f Frame, size int, v *Violation) {
	f = Frame{Op: Op(in[0] & 15), More: in[0]&0x80 == 0, Rsv: in[0] >> 4 & 7, Masked: in[1]&0x80 != 0}
	n, size := int(in[1]&127), 2
	switch n {
	case 126:
		n, size = int(binary.BigEndian.Uint16(in[2:])), 4
	case 127:
		n, size = int(binary.BigEndian.Uint64(in[2:])), 10
	}
	switch {
	case f.Rsv != 0:
		return f, 0, errReserved
	case f.Op > 2 && f.Op < 8 || f.Op > 10:
		return f, 0, errOpcode
	case f.Op >= 8 && f.More:
		return f, 0, errFragControl
	case f.Op >= 8 && n > 125:
		return f, 0, errLongControl
	}
	key := in[size : size+4]
	for i, b := range in[size+4 : size+4+n] {
		f.Payload = append(f.Payload, b^key[i%4])
	}
	return f, size + 4 + n, nil
}

// drawFrames makes a client's bytes: mostly lawful messages cut into
// fragments with control frames between, now and then a breach. A Close is
// drawn last, if at all, so that the model need not know what follows one.
func drawFrames(t *rapid.T) []byte {
	var in []byte
	add := func(f Frame) {
		f.Masked = true
		f.Key = [4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "key"))
		in = f.Append(in)
	}
	control := func() {
		add(Frame{
			Op:      rapid.SampledFrom([]Op{Ping, Pong}).Draw(t, "control"),
			Payload: rapid.SliceOfN(rapid.Byte(), 0, 125).Draw(t, "control payload"),
		})
	}
	for range rapid.IntRange(0, 5).Draw(t, "messages") {
		if rapid.IntRange(0, 9).Draw(t, "breach?") == 0 {
			add(Frame{
				Op:      Op(rapid.IntRange(0, 15).Draw(t, "op")),
				More:    rapid.Bool().Draw(t, "more"),
				Rsv:     rapid.SampledFrom([]byte{0, 0, 0, 1, 2, 4}).Draw(t, "rsv"),
				Payload: rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "payload"),
			})
		}
		op, payload := Text, []byte(rapid.String().Draw(t, "text"))
		if rapid.Bool().Draw(t, "bytes") {
			op = rapid.SampledFrom([]Op{Text, Binary, Binary, Binary}).Draw(t, "op of bytes")
			payload = rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(t, "payload")
		}
		for more := true; more; op = Continuation {
			n := rapid.IntRange(0, len(payload)).Draw(t, "fragment")
			more = rapid.IntRange(0, 2).Draw(t, "more") > 0
			if !more {
				n = len(payload)
			}
			add(Frame{Op: op, More: more, Payload: payload[:n]})
			payload = payload[n:]
			if more && rapid.Bool().Draw(t, "interleave") {
				control()
			}
		}
	}
	if rapid.Bool().Draw(t, "close") {
		add(Frame{Op: Close, Payload: rapid.OneOf(
			rapid.SliceOfN(rapid.Byte(), 0, 125),
			rapid.Just(CloseBody(1000, "bye")),
		).Draw(t, "body")})
	}
	return in
}

func drawPieces(t *rapid.T, in []byte) (pieces [][]byte) {
	for len(in) > 0 {
		n := rapid.IntRange(1, len(in)).Draw(t, "piece")
		if rapid.Bool().Draw(t, "small") {
			n = min(n, 4)
		}
		pieces, in = append(pieces, in[:n]), in[n:]
	}
	return pieces
}

func TestReaderAgreesWithTheWholeMessageModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawFrames(t)
		want := model(in)
		got := readModelled(t, in, drawPieces(t, in))
		if !slices.Equal(got, want) {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
	})
}

func readModelled(t *rapid.T, in []byte, pieces [][]byte) (out []string) {
	var r Reader
	arrived := 0
	for _, p := range pieces {
		arrived += len(p)
		rest := slices.Clone(p)
		for {
			ev, left, err := r.Next(rest, Limits{1 << 20, 1 << 20})
			if errors.Is(err, ErrMore) {
				break
			}
			out, rest = append(out, outcome(ev, err)), left
			if err != nil {
				return out
			}
		}
		if r.Held() > 2*arrived+64+14 {
			t.Fatalf("%d bytes held of %d", r.Held(), arrived)
		}
	}
	return out
}

// FuzzReader feeds hostile bytes, as they are and masked, in one piece, byte
// by byte, and cut where the input itself says: what comes out is the same,
// nothing panics, and no more is held than arrived accounts for (readAll).
func FuzzReader(f *testing.F) {
	cases := readerCases()
	if len(cases) == 0 {
		f.Fatal("no seeds")
	}
	for _, c := range cases {
		f.Add(bits(f, c.in), uint8(c.role), uint8(7))
	}
	f.Fuzz(func(t *testing.T, in []byte, role, size uint8) {
		if len(in) > 1<<14 {
			return
		}
		who := Role(role % 2)
		lim := Limits{Frame: 4096, Message: 6000}
		want := readAll(t, &Reader{Role: who}, lim, in)
		for _, n := range []int{1, max(1, int(size))} {
			if got := readAll(t, &Reader{Role: who}, lim, split(in, n)...); !slices.Equal(got, want) {
				t.Fatalf("in pieces of %d: %q, in one: %q", n, got, want)
			}
		}
	})
}

func BenchmarkReaderMaskedText128(b *testing.B) {
	src := AppendMasked(nil, Text, [4]byte{1, 2, 3, 4}, make([]byte, 128))
	in := make([]byte, len(src))
	var r Reader
	lim := Limits{1 << 20, 1 << 20}
	b.ReportAllocs()
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		copy(in, src) // unmasking changes it
		if ev, _, err := r.Next(in, lim); err != nil || len(ev.Payload) != 128 {
			b.Fatal(err)
		}
	}
}

func TestWholeFramesCostNoAllocation(t *testing.T) {
	src := AppendMasked(nil, Text, [4]byte{1, 2, 3, 4}, make([]byte, 128))
	in := make([]byte, len(src))
	var r Reader
	n := testing.AllocsPerRun(100, func() {
		copy(in, src)
		if ev, _, err := r.Next(in, small); err != nil || &ev.Payload[0] != &in[8] {
			t.Fatal("not delivered from where it lies:", err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A peer that sends a big message as fragments of one byte, with control
// frames cut in two between, must not make each of them cost a copy.
func TestTinyFragmentsAreCopiedInLinearTime(t *testing.T) {
	const n = 1 << 13
	frag := Frame{Op: Continuation, More: true, Masked: true, Payload: []byte("x")}.Append(nil)
	ping := Frame{Op: Ping, Masked: true, Payload: make([]byte, 100)}.Append(nil)
	first := Frame{Op: Binary, More: true, Masked: true}.Append(nil)
	grown, last := 0, 0
	var r Reader
	feed := func(p []byte) {
		for rest := slices.Clone(p); ; {
			_, left, err := r.Next(rest, Limits{n, n})
			if errors.Is(err, ErrMore) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			rest = left
		}
		if c := cap(r.buf); c != last {
			grown, last = grown+1, c
		}
	}
	feed(first)
	for range n {
		feed(frag)
		feed(ping[:50])
		feed(ping[50:])
	}
	if grown > 20 {
		t.Errorf("the buffer grew %d times for %d fragments", grown, n)
	}
}
