package hubtest

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sunzi-push/sunzi/hub/frame"
)

// kosme is a Greek word of five runes in 11 bytes: the accented letter is the
// one with oxia, of three bytes.
const kosme = "κ\u1f79σμε"

// textCases is kind 6 up to 6.4.
func textCases() []Case {
	const mixed = "Hello-µ@ßöäüàá-UTF-8!!"
	const surrogate = kosme + "\xed\xa0\x80edited"
	bytewise := func(s string) []frame.Frame { return fragments(frame.Text, []byte(s), 1) }
	return append([]Case{
		{ID: "6.1.1", What: "empty text", Steps: one(0, frames(text("")), gotText(""))},
		{ID: "6.1.2", What: "three empty fragments", Steps: one(0, frames(more(text("")), more(cont("")), cont("")), gotText(""))},
		{ID: "6.1.3", What: "only the middle fragment not empty", Steps: one(0, frames(more(text("")), more(cont("middle frame payload")), cont("")), gotText("middle frame payload"))},
		{ID: "6.2.1", What: "UTF-8 in one frame", Steps: one(0, frames(text(mixed)), gotText(mixed))},
		{ID: "6.2.2", What: "UTF-8 in fragments of whole runes", Steps: one(0, frames(more(text("Hello-µ@ßöä")), cont("üàá-UTF-8!!")), gotText(mixed))},
		{ID: "6.2.3", What: "UTF-8 in fragments of one byte", Steps: one(0, bytewise(mixed), gotText(mixed))},
		{ID: "6.2.4", What: "Greek in fragments of one byte", Steps: one(0, bytewise(kosme), gotText(kosme))},
		{ID: "6.3.1", What: "surrogate in one frame", Steps: one(0, frames(text(surrogate))), Close: notUTF8},
		{ID: "6.3.2", What: "surrogate in fragments of one byte", Steps: one(0, bytewise(surrogate)), Close: notUTF8},
	}, failFastCases()...)
}

// failFastCases is 6.4: good text, then what can't become good, and never the
// rest. The suite looks for silence after the first part by waiting; between
// fragments a ping shows the same at once.
func failFastCases() []Case {
	const wait = 50 * time.Millisecond
	inFragments := func(good, bad string) []Step {
		return []Step{
			{Send: frames(more(text(good)), ping("still here?")), Want: want(gotPong("still here?"))},
			{Send: frames(more(cont(bad)))},
		}
	}
	inOneFrame := func(good, bad string) []Step {
		// A key of zeros, so that the payload can be sent as it is.
		head := string([]byte{0x81, 0x80 | byte(len(good)+len("\xf4\x90\x80\x80edited")), 0, 0, 0, 0})
		return []Step{{Tail: []byte(head + good), Quiet: wait}, {Tail: []byte(bad)}}
	}
	return []Case{
		{ID: "6.4.1", What: "fragments, the second beyond U+10FFFF", Steps: inFragments(kosme, "\xf4\x90\x80\x80"), Close: notUTF8},
		{ID: "6.4.2", What: "fragments, the second ends at the first wrong byte", Steps: inFragments(kosme+"\xf4", "\x90"), Close: notUTF8},
		{ID: "6.4.3", What: "one frame in pieces, the second beyond U+10FFFF", Steps: inOneFrame(kosme, "\xf4\x90\x80\x80"), Close: notUTF8},
		{ID: "6.4.4", What: "one frame in pieces, the second ends at the first wrong byte", Steps: inOneFrame(kosme+"\xf4", "\x90"), Close: notUTF8},
	}
}

// textTable is 6.5 to 6.23, after Markus Kuhn's UTF-8 decoder stress test: a
// row is a number of the suite, good rows are echoed, the others fail.
var textTable = []struct {
	what      string
	good, bad []string // in this order, but for prefixes
}{
	{what: "text of one to four bytes a rune", good: []string{"hello$world", "hello¢world", "hello€world", "hello\U00024B62world", kosme}},
	{what: "prefix of a Greek word"}, // filled in by textTableCases
	{what: "first sequence of its length", good: []string{"\x00", "\xc2\x80", "\xe0\xa0\x80", "\xf0\x90\x80\x80"}},
	{what: "first sequence of five or six", bad: []string{"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"}},
	{what: "last sequence of its length", good: []string{"\x7f", "\xdf\xbf", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"}},
	{what: "last sequence of four to six", bad: []string{"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf"}},
	{what: "at a border", good: []string{"\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd", "\xf4\x8f\xbf\xbf"}, bad: []string{"\xf4\x90\x80\x80"}},
	{what: "unexpected continuation", bad: []string{
		"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf",
		byteRange(0x80, 0xbe, ""),
	}},
	{what: "lonely starts", bad: []string{
		byteRange(0xc0, 0xde, " "), byteRange(0xe0, 0xee, " "), byteRange(0xf0, 0xf6, " "),
		byteRange(0xf8, 0xfa, " "), byteRange(0xfc, 0xfc, " "),
	}},
	{what: "last continuation missing", bad: unfinished},
	{what: "unfinished sequences together", bad: []string{strings.Join(unfinished, "")}},
	{what: "impossible bytes", bad: []string{"\xfe", "\xff", "\xfe\xfe\xff\xff"}},
	{what: "overlong slash", bad: []string{"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf"}},
	{what: "longest overlong", bad: []string{"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf"}},
	{what: "overlong NUL", bad: []string{"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80"}},
	{what: "single surrogate", bad: []string{
		"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf",
	}},
	{what: "pair of surrogates", bad: []string{
		"\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf",
		"\xed\xae\x80\xed\xb0\x80", "\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf",
	}},
	{what: "noncharacter, which is lawful", good: noncharacters()},
	{what: "special", good: []string{"\uFFF9", "\uFFFA", "\uFFFB", "\uFFFC", "\uFFFD", "\uFFFE", "\uFFFF"}},
}

// unfinished lacks its last byte in each row, overlong ones first.
var unfinished = []string{
	"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
	"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf",
}

// byteRange is the bytes from first to last, each followed by sep.
func byteRange(first, last byte, sep string) string {
	var b strings.Builder
	for c := int(first); c <= int(last); c++ {
		b.WriteByte(byte(c))
		b.WriteString(sep)
	}
	return b.String()
}

// noncharacters are the last two code points of planes 0 to 16, and those
// that end the quarters of the first plane of each lead byte, as the suite
// takes them: lead, second byte xF, BF, and BE or BF.
func noncharacters() []string {
	out := []string{"\uFFFE", "\uFFFF"}
	for lead := byte(0xf0); lead <= 0xf4; lead++ {
		for _, second := range []byte{0x8f, 0x9f, 0xaf, 0xbf} {
			for _, last := range []byte{0xbe, 0xbf} {
				if s := string([]byte{lead, second, 0xbf, last}); utf8.ValidString(s) { // else overlong or too high
					out = append(out, s)
				}
			}
		}
	}
	return out
}

func textTableCases() (out []Case) {
	for i, row := range textTable {
		n := 0
		add := func(s string, good bool) {
			n++
			c := Case{ID: fmt.Sprintf("6.%d.%d", i+5, n), What: fmt.Sprintf("%s, %x", row.what, s)}
			if c.Steps = one(0, frames(text(s)), gotText(s)); !good {
				c.Steps, c.Close = one(0, frames(text(s))), notUTF8
			}
			out = append(out, c)
		}
		if i == 1 {
			whole := map[int]bool{2: true, 5: true, 7: true, 9: true, 11: true}
			for n := 1; n <= len(kosme); n++ {
				add(kosme[:n], whole[n])
			}
		}
		for _, s := range row.good {
			add(s, true)
		}
		for _, s := range row.bad {
			add(s, false)
		}
	}
	return out
}
