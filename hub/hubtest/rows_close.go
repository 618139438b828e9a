package hubtest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/sunzi-push/sunzi/hub/frame"
)

// closeCases is kind 7.
func closeCases() []Case {
	return slices.Concat(closeBehaviourCases(), closeBodyCases(), closeCodeCases())
}

// closeBehaviourCases is 7.1: after a close frame all is ignored.
func closeBehaviourCases() []Case {
	normal := []uint16{1000}
	bye := closeFrame(1000, "")
	long := string(bytes.Repeat([]byte("BAsd7&jh23"), 26215)[:256<<10])
	return []Case{
		{ID: "7.1.1", What: "text, close", Steps: one(0, frames(text("Hello World!"), bye), gotText("Hello World!")), Close: normal},
		{ID: "7.1.2", What: "two closes", Steps: one(0, frames(bye, bye)), Close: normal},
		{ID: "7.1.3", What: "close, ping", Steps: one(0, frames(bye, ping(""))), Close: normal},
		{ID: "7.1.4", What: "close, text", Steps: one(0, frames(bye, text("Hello World!"))), Close: normal},
		{ID: "7.1.5", What: "fragment, close, fragment", Steps: one(0, frames(more(text("fragment1")), bye, cont("fragment2"))), Close: normal},
		{
			ID: "7.1.6", What: "256 KiB of text, a short text, close, ping", // what is not yet written may be dropped
			Steps: []Step{{Send: frames(text(long), text("Hello World!"), bye, ping("")), Want: want(gotText(long), gotText("Hello World!")), May: true}},
			Close: normal,
		},
	}
}

// closeBodyCases is 7.3 and 7.5.
func closeBodyCases() []Case {
	return []Case{
		{ID: "7.3.1", What: "close without a body", Steps: one(0, frames(closeBody(""))), Close: []uint16{1000, frame.CodeNone}},
		{ID: "7.3.2", What: "close of one byte", Steps: one(0, frames(closeBody("a"))), Close: protocolError},
		{ID: "7.3.3", What: "close with a code", Steps: one(0, frames(closeFrame(1000, ""))), Close: []uint16{1000}},
		{ID: "7.3.4", What: "close with a reason", Steps: one(0, frames(closeFrame(1000, hello))), Close: []uint16{1000}},
		{ID: "7.3.5", What: "close of 125 bytes", Steps: one(0, frames(closeFrame(1000, string(bytes.Repeat([]byte("*"), 123))))), Close: []uint16{1000}},
		{ID: "7.3.6", What: "close of 126 bytes", Steps: one(0, frames(closeFrame(1000, string(bytes.Repeat([]byte("*"), 124))))), Close: protocolError},
		{ID: "7.5.1", What: "close whose reason is not UTF-8", Steps: one(0, frames(closeFrame(1000, kosme+"\xed\xa0\x80edited"))), Close: notUTF8},
	}
}

// closeCodeCases is 7.7 (allowed: answered with the same, or with 1000), 7.9
// (not allowed) and 7.13 (beyond all ranges; open in the suite, 1002 here).
func closeCodeCases() (out []Case) {
	add := func(sub string, n int, code uint16, answer ...uint16) {
		out = append(out, Case{
			ID: fmt.Sprintf("%s.%d", sub, n+1), What: fmt.Sprintf("close %d", code),
			Steps: one(0, frames(closeBody(string([]byte{byte(code >> 8), byte(code)})))), Close: answer,
		})
	}
	for i, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		add("7.7", i, code, code, 1000)
	}
	for i, code := range []uint16{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		add("7.9", i, code, 1002)
	}
	for i, code := range []uint16{5000, 65535} {
		add("7.13", i, code, 1002)
	}
	// The registry has given these a meaning since the suite was written.
	for i, code := range []uint16{1012, 1013, 1014} {
		add("S.7.7", i, code, code, 1000)
	}
	add("S.7.9", 0, 1015, 1002)
	return out
}
