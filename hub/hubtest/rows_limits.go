package hubtest

import (
	"bytes"
	"fmt"
	"time"

	"github.com/sunzi-push/sunzi/hub/frame"
)

// limitRow is one case of kind 9. Its payload is made when it is its turn:
// all of them together would be some hundred megabytes.
type limitRow struct {
	id    string
	op    frame.Op
	size  int // of the message, bytes
	frag  int // of a frame; 0: one frame
	cut   int // of a write; 0: one write
	times int // sent one after the other, each awaited; 0: once
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

func limitRows() (out []limitRow) {
	group := func(text, binary int, rows ...limitRow) {
		for _, g := range []struct {
			kind int
			op   frame.Op
		}{{text, frame.Text}, {binary, frame.Binary}} {
			for i, r := range rows {
				r.id, r.op = fmt.Sprintf("9.%d.%d", g.kind, i+1), g.op
				out = append(out, r)
			}
		}
	}
	var whole, fragmented, chopped, round []limitRow
	for _, n := range []int{64 * kib, 256 * kib, mib, 4 * mib, 8 * mib, 16 * mib} {
		whole = append(whole, limitRow{size: n})
	}
	for _, n := range []int{64, 256, kib, 4 * kib, 16 * kib, 64 * kib, 256 * kib, mib, 4 * mib} {
		fragmented = append(fragmented, limitRow{size: 4 * mib, frag: n})
	}
	for n := 64; n <= 2*kib; n *= 2 {
		chopped = append(chopped, limitRow{size: mib, cut: n})
	}
	for _, n := range []int{0, 16, 64, 256, kib, 4 * kib} {
		round = append(round, limitRow{size: n, times: 1000})
	}
	group(1, 2, whole...)
	group(3, 4, fragmented...)
	group(5, 6, chopped...)
	group(7, 8, round...)
	return out
}

// build makes the case, as it must end under lim.
func (r limitRow) build(lim frame.Limits) Case {
	p := bytes.Repeat([]byte{'*'}, r.size)
	if r.op == frame.Binary {
		p = bytes.Repeat([]byte{0xfe}, r.size)
	}
	send := frames(frame.Frame{Op: r.op, Payload: p})
	if r.frag > 0 {
		send = fragments(r.op, p, r.frag)
	}
	c := Case{
		ID: r.id, What: fmt.Sprintf("%d × %d bytes, %d a frame, %d a write", max(1, r.times), r.size, r.frag, r.cut),
		Steps:   []Step{{Send: send, Cut: r.cut, Want: want(frame.Event{Op: r.op, Payload: p}), Repeat: r.times}},
		Timeout: 30 * time.Second,
	}
	if int64(len(send[0].Payload)) > lim.Frame || int64(r.size) > lim.Message {
		c.Steps[0].Want, c.Close = nil, tooBig
	}
	return c
}
