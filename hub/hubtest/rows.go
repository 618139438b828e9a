package hubtest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/sunzi-push/sunzi/hub/frame"
)

// What the server must close with.
var (
	protocolError = []uint16{1002}
	notUTF8       = []uint16{1007}
	tooBig        = []uint16{1009}
)

// hello is the message that cases send where its content does not matter.
const hello = "Hello, world!"

func text(s string) frame.Frame   { return frame.Frame{Op: frame.Text, Payload: []byte(s)} }
func binary(s string) frame.Frame { return frame.Frame{Op: frame.Binary, Payload: []byte(s)} }
func ping(s string) frame.Frame   { return frame.Frame{Op: frame.Ping, Payload: []byte(s)} }
func pong(s string) frame.Frame   { return frame.Frame{Op: frame.Pong, Payload: []byte(s)} }
func cont(s string) frame.Frame   { return frame.Frame{Op: frame.Continuation, Payload: []byte(s)} }
func reserved(op byte, s string) frame.Frame {
	return frame.Frame{Op: frame.Op(op), Payload: []byte(s)}
}

// closeFrame takes any code; 1005 leaves the body empty.
func closeFrame(code uint16, reason string) frame.Frame {
	if code == frame.CodeNone {
		return closeBody("")
	}
	return closeBody(string([]byte{byte(code >> 8), byte(code)}) + reason)
}

func closeBody(s string) frame.Frame { return frame.Frame{Op: frame.Close, Payload: []byte(s)} }

// rsv sets reserved bits.
func rsv(bits byte, f frame.Frame) frame.Frame {
	f.Rsv = bits
	return f
}

// more clears the FIN bit.
func more(f frame.Frame) frame.Frame {
	f.More = true
	return f
}

func frames(f ...frame.Frame) []frame.Frame { return f }

// fragments cuts a message into frames of at most size bytes.
func fragments(op frame.Op, payload []byte, size int) (out []frame.Frame) {
	for p := range slices.Chunk(payload, size) {
		out = append(out, frame.Frame{Op: op, More: true, Payload: p})
		op = frame.Continuation
	}
	out[len(out)-1].More = false
	return out
}

// gotText and the like are the events that a case wants.
func gotText(s string) frame.Event   { return frame.Event{Op: frame.Text, Payload: []byte(s)} }
func gotBinary(s string) frame.Event { return frame.Event{Op: frame.Binary, Payload: []byte(s)} }
func gotPong(s string) frame.Event   { return frame.Event{Op: frame.Pong, Payload: []byte(s)} }

func want(ev ...frame.Event) []frame.Event { return ev }

// one is the steps of a case that sends all at once and then waits.
func one(cut int, send []frame.Frame, want ...frame.Event) []Step {
	return []Step{{Send: send, Cut: cut, Want: want}}
}

// inCuts makes three cases of one, sent in one write, frame by frame and byte
// by byte, numbered from first on.
func inCuts(kind, first int, c Case) (out []Case) {
	for i, how := range []struct {
		cut  int
		name string
	}{{0, "in one write"}, {PerFrame, "frame by frame"}, {1, "byte by byte"}} {
		v := c
		v.ID, v.What = fmt.Sprintf("%d.%d", kind, first+i), c.What+", "+how.name
		v.Steps = slices.Clone(c.Steps)
		for j := range v.Steps {
			v.Steps[j].Cut = how.cut
		}
		out = append(out, v)
	}
	return out
}

// Cases is the list without kind 9, in the suite's order, ours last.
func Cases() []Case {
	return slices.Concat(framingCases(), pingCases(), reservedBitCases(), opcodeCases(), fragmentCases(),
		textCases(), textTableCases(), closeCases(), fragmentedEchoCases(), ownCases())
}

// framingCases is kind 1: lengths around the borders of the three encodings.
func framingCases() (out []Case) {
	rows := []struct{ size, cut int }{{0, 0}, {125, 0}, {126, 0}, {127, 0}, {128, 0}, {65535, 0}, {65536, 0}, {65536, 997}}
	for i, r := range rows {
		p := string(bytes.Repeat([]byte("*"), r.size))
		out = append(out, Case{
			ID: fmt.Sprintf("1.1.%d", i+1), What: fmt.Sprintf("text of %d bytes, %d a write", r.size, r.cut),
			Steps: one(r.cut, frames(text(p)), gotText(p)),
		})
	}
	for i, r := range rows {
		p := string(bytes.Repeat([]byte{0xfe}, r.size))
		out = append(out, Case{
			ID: fmt.Sprintf("1.2.%d", i+1), What: fmt.Sprintf("binary of %d bytes, %d a write", r.size, r.cut),
			Steps: one(r.cut, frames(binary(p)), gotBinary(p)),
		})
	}
	return out
}

// pingCases is kind 2.
func pingCases() []Case {
	longest := string(bytes.Repeat([]byte{0xfe}, 125))
	raw := "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
	ten, tenPongs := make([]frame.Frame, 0, 10), make([]frame.Event, 0, 10)
	for i := range 10 {
		s := fmt.Sprintf("payload-%d", i)
		ten, tenPongs = append(ten, ping(s)), append(tenPongs, gotPong(s))
	}
	return []Case{
		{ID: "2.1", What: "ping without payload", Steps: one(0, frames(ping("")), gotPong(""))},
		{ID: "2.2", What: "ping with text", Steps: one(0, frames(ping(hello)), gotPong(hello))},
		{ID: "2.3", What: "ping with bytes that are no text", Steps: one(0, frames(ping(raw)), gotPong(raw))},
		{ID: "2.4", What: "ping of 125 bytes", Steps: one(0, frames(ping(longest)), gotPong(longest))},
		{ID: "2.5", What: "ping of 126 bytes", Steps: one(0, frames(ping(longest+"\xfe"))), Close: protocolError},
		{ID: "2.6", What: "ping of 125 bytes, byte by byte", Steps: one(1, frames(ping(longest)), gotPong(longest))},
		{ID: "2.7", What: "pong that nobody asked for, empty", Steps: one(0, frames(pong("")))},
		{ID: "2.8", What: "pong that nobody asked for", Steps: one(0, frames(pong("unsolicited pong payload")))},
		{ID: "2.9", What: "such a pong, then a ping", Steps: one(0, frames(pong("unsolicited pong payload"), ping("ping payload")), gotPong("ping payload"))},
		{ID: "2.10", What: "ten pings", Steps: one(0, ten, tenPongs...)},
		{ID: "2.11", What: "ten pings, byte by byte", Steps: one(1, ten, tenPongs...)},
	}
}

// reservedBitCases is kind 3. What was whole before the violation is still
// echoed; what follows it is not answered.
func reservedBitCases() []Case {
	bad := func(bits byte) []frame.Frame { return frames(text(hello), rsv(bits, text(hello)), ping("")) }
	return []Case{
		{ID: "3.1", What: "text with RSV 1", Steps: one(0, frames(rsv(1, text(hello)))), Close: protocolError},
		{ID: "3.2", What: "text, text with RSV 2, ping", Steps: one(0, bad(2), gotText(hello)), Close: protocolError},
		{ID: "3.3", What: "text, text with RSV 3, ping, frame by frame", Steps: one(PerFrame, bad(3), gotText(hello)), Close: protocolError},
		{ID: "3.4", What: "text, text with RSV 4, ping, byte by byte", Steps: one(1, bad(4), gotText(hello)), Close: protocolError},
		{ID: "3.5", What: "binary with RSV 5", Steps: one(0, frames(rsv(5, binary("\x00\xff\xfe\xfd\xfc\xfb\x00\xff")))), Close: protocolError},
		{ID: "3.6", What: "ping with RSV 6", Steps: one(0, frames(rsv(6, ping(hello)))), Close: protocolError},
		{ID: "3.7", What: "close with RSV 7", Steps: one(0, frames(rsv(7, closeFrame(1000, "")))), Close: protocolError},
	}
}

// opcodeCases is kind 4: five reserved data opcodes, five for control, each
// five alone, with a payload, and after a text message.
func opcodeCases() (out []Case) {
	for kind, first := range []byte{3, 11} {
		rows := []struct {
			after   bool // a text message before it, a ping after
			payload string
			cut     int
		}{{false, "", 0}, {false, "reserved opcode payload", 0}, {true, "", 0}, {true, hello, 0}, {true, hello, 1}}
		for i, r := range rows {
			op := first + byte(i)
			c := Case{
				ID: fmt.Sprintf("4.%d.%d", kind+1, i+1), What: fmt.Sprintf("opcode %d", op),
				Steps: one(r.cut, frames(reserved(op, r.payload))), Close: protocolError,
			}
			if r.after {
				c.Steps = one(r.cut, frames(text(hello), reserved(op, r.payload), ping("")), gotText(hello))
			}
			out = append(out, c)
		}
	}
	return out
}
