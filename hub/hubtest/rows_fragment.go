package hubtest

import (
	"bytes"
	"slices"

	"github.com/sunzi-push/sunzi/hub/frame"
)

// fragmentCases is kind 5.
func fragmentCases() []Case {
	const a, b = "fragment1", "fragment2"
	const lost = "non-continuation payload"
	split := frames(more(text(a)), cont(b))
	pinged := frames(more(text(a)), ping("ping payload"), cont(b))
	return slices.Concat(
		[]Case{
			{ID: "5.1", What: "ping in two fragments", Steps: one(0, frames(more(ping(a)), cont(b))), Close: protocolError},
			{ID: "5.2", What: "pong in two fragments", Steps: one(0, frames(more(pong(a)), cont(b))), Close: protocolError},
		},
		inCuts(5, 3, Case{What: "text in two fragments", Steps: one(0, split, gotText(a+b))}),
		inCuts(5, 6, Case{What: "text in two fragments with a ping between", Steps: one(0, pinged, gotPong("ping payload"), gotText(a+b))}),
		inCuts(5, 9, Case{What: "last continuation of nothing, text", Steps: one(0, frames(cont(lost), text(hello))), Close: protocolError}),
		inCuts(5, 12, Case{What: "continuation of nothing, text", Steps: one(0, frames(more(cont(lost)), text(hello))), Close: protocolError}),
		brokenSequences(),
		interleavedPings(),
	)
}

func brokenSequences() []Case {
	twice := func(first frame.Frame) []frame.Frame {
		once := frames(first, more(text("fragment2")), cont("fragment3"))
		return slices.Concat(once, once)
	}
	after := frames(more(text("fragment1")), cont("fragment2"), more(cont("fragment3")), text("fragment4"))
	return []Case{
		{ID: "5.15", What: "text in two fragments, a continuation of nothing, text", Steps: one(0, after, gotText("fragment1fragment2")), Close: protocolError},
		{ID: "5.16", What: "twice: a continuation of nothing, text in two fragments", Steps: one(0, twice(more(cont("fragment1")))), Close: protocolError},
		{ID: "5.17", What: "twice: a last continuation of nothing, text in two fragments", Steps: one(0, twice(cont("fragment1"))), Close: protocolError},
		{ID: "5.18", What: "both fragments with opcode text", Steps: one(0, frames(more(text("fragment1")), text("fragment2"))), Close: protocolError},
	}
}

// interleavedPings: the first pong must come while the message is still open.
func interleavedPings() []Case {
	steps := func(cut int) []Step {
		return []Step{
			{
				Send: frames(more(text("fragment1")), more(cont("fragment2")), ping("pongme 1!")),
				Cut:  cut, Want: want(gotPong("pongme 1!")),
			},
			{
				Send: frames(more(cont("fragment3")), more(cont("fragment4")), ping("pongme 2!"), cont("fragment5")),
				Cut:  cut, Want: want(gotPong("pongme 2!"), gotText("fragment1fragment2fragment3fragment4fragment5")),
			},
		}
	}
	return []Case{
		{ID: "5.19", What: "five fragments with two pings between", Steps: steps(0)},
		{ID: "5.20", What: "five fragments with two pings between, frame by frame", Steps: steps(PerFrame)},
	}
}

// fragmentedEchoCases is kind 10.
func fragmentedEchoCases() []Case {
	p := bytes.Repeat([]byte("*"), 65536)
	return []Case{{
		ID: "10.1.1", What: "text of 64 KiB in fragments of 1,300 bytes",
		Steps: one(0, fragments(frame.Text, p, 1300), gotText(string(p))),
	}}
}

// ownCases hold what a suite that plays a lawful client can't send.
func ownCases() []Case {
	raw := func(s string) []Step { return []Step{{Tail: []byte(s)}} }
	deflated := frames(rsv(4, more(text("x"))), cont("y"))
	return []Case{
		{ID: "S.1", What: "text not masked", Steps: raw("\x81\x01x"), Close: protocolError},
		{ID: "S.2", What: "length of 125 in 16 bits", Steps: raw("\x82\xfe\x00\x7d"), Close: protocolError},
		{ID: "S.3", What: "length of 65,535 in 64 bits", Steps: raw("\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff"), Close: protocolError},
		{ID: "S.4", What: "length with its top bit set", Steps: raw("\x82\xff\x80\x00\x00\x00\x00\x01\x00\x00"), Close: protocolError},
		{ID: "S.5", What: "frame of 2^62 bytes announced", Steps: raw("\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00"), Close: tooBig},
		{ID: "S.6", What: "message as if deflated", Steps: one(0, deflated), Close: protocolError},
		{ID: "S.7", What: "close not masked", Steps: raw("\x88\x02\x03\xe8"), Close: protocolError},
		{ID: "S.8", What: "binary that is no text, in fragments", Steps: one(0, fragments(frame.Binary, []byte("\xff\xc0\x80"), 1), gotBinary("\xff\xc0\x80"))},
		{ID: "S.9", What: "ping in the middle of a rune", Steps: one(1, frames(more(text("\xe2\x82")), ping("\xff"), cont("\xac")), gotPong("\xff"), gotText("€"))},
		{ID: "S.10", What: "text that ends in half a rune", Steps: one(0, frames(more(text("a\xe2")), cont("\x82"))), Close: notUTF8},
	}
}
