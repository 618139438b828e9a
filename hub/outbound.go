package hub

import (
	"errors"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/poll"
	"github.com/sunzi-push/sunzi/push"
)

// What is sent. Everything for one connection is gathered in the loop's cork
// and written when the connection's turn ends (settle), or in pieces where it
// is much. What the kernel does not take is kept in the connection's outbound
// queue, bounded so:
//
//	below Outbound       all is taken
//	from Outbound on     the line is full: the feed goes back to the mailbox,
//	                     live-only messages are dropped, and nothing is read
//	                     while the peer's own pongs and echoes wait
//	from 2*Outbound on   a notice or an answer closes the session (4102)
//
// One message may pass a bound; the next does not. At a quarter of Outbound
// the feed goes on. A peer that takes nothing for WriteTimeout is closed.

// outbound is what the kernel did not take.
type outbound struct {
	buf []byte
	off int // written up to here
}

func (o *outbound) len() int { return len(o.buf) - o.off }

func (o *outbound) add(p []byte) {
	if o.off > len(o.buf)/2 {
		o.buf = o.buf[:copy(o.buf, o.buf[o.off:])]
		o.off = 0
	}
	o.buf = append(o.buf, p...)
}

// queued is what waits for c, the cork included: c is the connection at work.
func (c *conn) queued() int {
	n := len(c.loop.cork)
	if c.out != nil {
		n += c.out.len()
	}
	return n
}

// put counts a message that was put in the cork, and writes where much is
// gathered. It answers whether the line has room for more.
func (c *conn) put(t wire.Type) bool {
	c.loop.count.out[t].Add(1)
	if t != wire.TypePong {
		c.said()
	}
	if len(c.loop.cork) >= corkSpill {
		c.flush()
	}
	return c.room() > 0
}

func (c *conn) room() int { return c.loop.hub.cfg.Outbound - c.queued() }

// putFrame sends a frame as it is: pong, echo, close.
func (c *conn) putFrame(op frame.Op, payload []byte) {
	l := c.loop
	switch op {
	case frame.Pong:
		l.count.pongsOut.Add(1)
	case frame.Ping:
		l.count.pingsOut.Add(1)
	default: // echoes and closes are counted elsewhere
	}
	l.cork = frame.AppendFrame(l.cork, op, payload)
	if len(l.cork) >= corkSpill {
		c.flush()
	}
	c.press()
}

// putMessage sends a small message: encode appends it.
func (c *conn) putMessage(t wire.Type, encode func(dst []byte, codec wire.Codec) []byte) bool {
	if c.phase >= phaseClosing {
		return false
	}
	l := c.loop
	l.scratch = encode(l.scratch[:0], c.codec)
	l.cork = frame.AppendFrame(l.cork, c.op(), l.scratch)
	return c.put(t)
}

// answer is putMessage for what is outside the feed: it does not know of a
// full line, so that the second bound is watched here.
func (c *conn) answer(t wire.Type, encode func(dst []byte, codec wire.Codec) []byte) {
	c.putMessage(t, encode)
	c.press()
}

// press stops reading from a peer whose answers pile up, and closes it at the
// second bound. An echo peer waits for its own bytes only: it is never closed
// for them.
func (c *conn) press() {
	if c.phase >= phaseClosing || c.room() > 0 {
		return
	}
	c.flush() // the kernel may take it all
	if c.phase >= phaseClosing || c.room() > 0 {
		return
	}
	c.flags |= flagFullStop
	c.pongAt = 0 // an answer would not be read; that something is, stallAt sees to
	if !c.has(flagEcho) && c.queued() >= 2*c.loop.hub.cfg.Outbound {
		c.loop.count.slowCloses.Add(1)
		c.shut(push.CloseSlow, "what was sent is not read")
	}
}

// op is the opcode of c's messages.
func (c *conn) op() frame.Op {
	if c.codec == wire.Msgpack {
		return frame.Binary
	}
	return frame.Text
}

// flush writes the cork, behind what already waits.
func (c *conn) flush() {
	l := c.loop
	p := l.cork
	l.cork = l.cork[:0]
	if c.phase == phaseDead {
		return
	}
	if c.has(flagTLS) {
		var err error
		if p, err = c.seal(p); err != nil {
			c.end(codeAbnormal)
			return
		}
	}
	if len(p) == 0 {
		return
	}
	if c.out == nil {
		n, err := c.write(p)
		if err != nil {
			c.end(codeAbnormal)
			return
		}
		if n == len(p) {
			return
		}
		p = p[n:]
		c.out = new(outbound)
		if c.phase < phaseClosing {
			c.stallAt = l.after(l.hub.cfg.WriteTimeout)
			c.watched()
		}
	}
	c.out.add(p)
	l.count.queued.Add(int64(len(p)))
}

// write gives bytes to the kernel and answers how many it took.
func (c *conn) write(p []byte) (int, error) {
	n, err := poll.Write(int(c.fd), p)
	if errors.Is(err, poll.ErrAgain) {
		err = nil
	}
	c.loop.count.writes.Add(1)
	c.loop.count.bytesOut.Add(uint64(n))
	return n, err
}

// drainOut goes on with what waits, now that the kernel has room.
func (c *conn) drainOut() {
	if c.out == nil {
		return
	}
	n, err := c.write(c.out.buf[c.out.off:])
	if err != nil {
		c.end(codeAbnormal)
		return
	}
	if n == 0 {
		return
	}
	c.loop.count.queued.Add(-int64(n))
	c.out.off += n
	if c.out.len() > 0 {
		if c.phase < phaseClosing {
			c.stallAt = c.loop.after(c.loop.hub.cfg.WriteTimeout)
		}
		return
	}
	c.out = nil
	c.stallAt = 0
}

// settle ends the connection's turn: all that is due leaves in one write, a
// feed that was stopped goes on where there is room again, and epoll is told
// what to wait for.
func (c *conn) settle() {
	c.flush()
	low := c.loop.hub.cfg.Outbound / 4
	for c.phase == phaseOpen && c.has(flagStalled) && c.queued() <= low {
		c.flags &^= flagStalled
		c.markFast()
		c.feed.Drained((*line)(c))
		c.flush()
	}
	if c.phase == phaseDead {
		return
	}
	if c.has(flagFullStop) && c.queued() <= low {
		c.resume(flagFullStop)
	}
	if c.finish(); c.phase == phaseDead {
		return
	}
	c.steer()
	if c.phase == phaseDead {
		return
	}
	if n := c.queued(); n > 0 || c.waiting.Load() > 0 {
		c.waiting.Store(uint32(n))
	}
}

// line is a connection as its feed sees it. Owned by the loop.
type line conn

func (l *line) full(ok bool) bool {
	c := (*conn)(l)
	if ok || c.phase >= phaseClosing {
		return ok
	}
	c.flags |= flagStalled
	c.state.Or(stateFull)
	if !c.has(flagSlow) {
		c.flags |= flagSlow
		c.loop.count.slow.Add(1)
	}
	return false
}

// markFast says that the line has room again.
func (c *conn) markFast() {
	c.state.And(^stateFull)
	if c.has(flagSlow) {
		c.flags &^= flagSlow
		c.loop.count.slow.Add(-1)
	}
}

// Message implements push.Line.
func (l *line) Message(m *push.Message, seq uint64, replayed bool) bool {
	c := (*conn)(l)
	if c.phase >= phaseClosing {
		return false
	}
	if m.Sealed != nil {
		if replayed {
			c.loop.count.replayed.Add(1)
		}
		return l.full(c.putSealed(m.Sealed, seq))
	}
	tail, err := tailOf(m, c.codec)
	if err != nil { // a body that was accepted encodes; a damaged one must not stop the mailbox
		c.loop.hub.log.Error("message can't be encoded; its place is told as a gap", "push", m.ID, "err", err)
		return l.Gap(seq, seq, push.GapDropped)
	}
	head := wire.Head{Seq: seq, Replayed: replayed}
	if c.tooLong(head, tail) {
		c.loop.hub.log.Error("message is too long to be sealed; its place is told as a gap", "push", m.ID)
		return l.Gap(seq, seq, push.GapDropped)
	}
	if replayed {
		c.loop.count.replayed.Add(1)
	}
	return l.full(c.putBody(head, tail))
}

// putBody sends a message: a prefix of its own, then the bytes that all share.
func (c *conn) putBody(head wire.Head, tail []byte) bool {
	l := c.loop
	if s := c.sealer(); s != nil {
		return c.putSession(s, wire.TypeMessage, wire.AppendMessage(l.scratch[:0], c.codec, head, tail))
	}
	n := wire.MessageLen(c.codec, head, tail)
	l.cork = frame.AppendHeader(l.cork, c.op(), n)
	l.cork = wire.AppendMessage(l.cork, c.codec, head, tail)
	return c.put(wire.TypeMessage)
}

// tailOf is what all sessions of a codec share of a message, encoded by
// whoever needs it first. Two loops may both do it: the results are equal.
func tailOf(m *push.Message, codec wire.Codec) ([]byte, error) {
	if p := m.Encoded[codec].Load(); p != nil {
		return *p, nil
	}
	tail, err := wire.EncodeBody(codec, m.Body)
	if err != nil {
		return nil, err
	}
	m.Encoded[codec].Store(&tail)
	return tail, nil
}

// Gap implements push.Line.
func (l *line) Gap(from, to uint64, reason push.GapReason) bool {
	return l.full((*conn)(l).putContent(wire.TypeGap, func(dst []byte, codec wire.Codec) []byte {
		return wire.AppendGap(dst, codec, from, to, string(reason))
	}))
}

// ReplayComplete implements push.Line.
func (l *line) ReplayComplete(seq uint64) bool {
	return l.full((*conn)(l).putMessage(wire.TypeReplayComplete, func(dst []byte, codec wire.Codec) []byte {
		return wire.AppendReplayComplete(dst, codec, seq)
	}))
}

// Fetch implements push.Line.
func (l *line) Fetch(after uint64) {
	c := (*conn)(l)
	c.loop.count.fetches.Add(1)
	c.loop.hub.serving().Fetch(c.key, after, max(c.room(), 1), c.alive, func(p push.Page, err error) {
		c.loop.post(command{c: c, kind: cmdPage, x: pageReply{p, err}})
	})
}

// alive reports whether the session still wants answers. Any goroutine.
func (c *conn) alive() bool { return c.state.Load()&stateGone == 0 }
