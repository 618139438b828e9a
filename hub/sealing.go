package hub

import (
	"bytes"
	"encoding/binary"
	"math"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/push"
)

// Sealing on a connection (api/wire/SPEC.md section 9): the handshake's
// messages, which are opaque here, and sealed frames, which are passed on as
// they are.

// sealing is what a session has of it.
type sealing struct {
	mode    push.SealMode      // as welcome offered; empty: none
	nonce   []byte             // of hello
	session push.SessionSealer // of what has content; nil: it is held back, see session.go
	held    bool               // nothing with content was sent yet
	pending push.Handshake     // waits for the client's confirmation; nil: none
	busy    bool               // the backend is at work on a step
	known   map[uint64]uint32  // by channel, the epoch whose secret was sent last
	between bool               // a confirmation is at work: nobody knows under which keys secrets come
	// What the client sends sealed.
	unsealer push.Unsealer // nil: its keys were not read yet
	up       [][]byte      // waits for that
	waiting  int           // bytes in up
	round    int           // of keys: grows with each confirmation
	asking   bool          // the backend reads the keys of this round
	quota    int64         // of handshakes: theoretical arrival time, ns of the loop's clock
}

// channelsKnown bounds of how many channels a session remembers the epoch whose
// secret was sent last. Of any other epoch the secret is sent again: the client
// may have forgotten it.
const channelsKnown = 1024

// lacks reports whether the message can't be opened yet, and does not bring
// what it takes: then it is read from the mailbox, where it does.
func (c *conn) lacks(m *push.Message) bool {
	return m != nil && m.Sealed != nil && m.Sealed.Channel && m.Sealed.Prelude == nil && !c.knows(m.Sealed)
}

func (c *conn) knows(s *push.Sealed) bool {
	if c.rare == nil || c.rare.sealing == nil {
		return false
	}
	e, there := c.rare.sealing.known[s.ChannelID]
	return there && e == s.Epoch
}

// prelude sends the secret of a channel's epoch before the first message that
// needs it.
func (c *conn) prelude(s *push.Sealed) {
	if s.Prelude == nil || c.knows(s) {
		return
	}
	known := &c.seals().known
	if *known == nil || len(*known) >= channelsKnown {
		*known = make(map[uint64]uint32)
	}
	if !c.seals().between {
		(*known)[s.ChannelID] = s.Epoch
	}
	c.putSealed(s.Prelude, 0)
}

// Handshakes cost an agreement of keys and a transaction each: so many at
// once, and one in so long.
const (
	sealBurst    = 4
	sealInterval = int64(15 * time.Second)
)

// sealReply is the backend's answer to either step.
type sealReply struct {
	welcome   []byte
	handshake push.Handshake
	completed push.Completed
	err       error
}

func (c *conn) seals() *sealing {
	if c.rare == nil {
		c.loop.identMu.Lock() // Info reads it
		c.rare = new(rare)
		c.loop.identMu.Unlock()
	}
	if c.rare.sealing == nil {
		c.rare.sealing = new(sealing)
	}
	return c.rare.sealing
}

// sealHello begins a handshake; one that waits for its confirmation is given
// up for it.
func (c *conn) sealHello(hello []byte) {
	if c.phase != phaseOpen {
		c.complain(push.CodeInvalidField, "seal_hello comes after welcome")
		return
	}
	s := c.seals()
	if s.busy {
		c.complain(push.CodeRateLimited, "a handshake is under way")
		return
	}
	at := max(s.quota, c.loop.mono)
	if at-c.loop.mono > (sealBurst-1)*sealInterval {
		c.complain(push.CodeRateLimited, "too many handshakes on this connection")
		return
	}
	s.quota, s.busy, s.pending = at+sealInterval, true, nil
	c.loop.hub.serving().SealHello(c.identity(), hello, func(welcome []byte, h push.Handshake, err error) {
		c.loop.post(command{c: c, kind: cmdSealWelcome, x: sealReply{welcome: welcome, handshake: h, err: err}})
	})
}

func (c *conn) sealWelcome(r sealReply) {
	s := c.seals()
	s.busy = false
	c.askUnsealer()
	if r.err != nil {
		c.complainOf(r.err)
		return
	}
	s.pending = r.handshake
	c.answer(wire.TypeSealWelcome, func(dst []byte, codec wire.Codec) []byte {
		return wire.AppendSealWelcome(dst, codec, r.welcome)
	})
}

// sealConfirm completes the handshake that waits, or ends it.
func (c *conn) sealConfirm(confirm []byte) {
	if c.rare == nil || c.rare.sealing == nil || c.rare.sealing.pending == nil {
		c.complain(push.CodeInvalidField, "there is no handshake to confirm")
		return
	}
	s := c.rare.sealing
	h := s.pending
	s.pending, s.busy, s.unsealer, s.asking = nil, true, nil, false
	s.round++
	s.known, s.between = nil, true
	c.loop.hub.serving().SealConfirm(c.identity(), s.nonce, h, confirm, func(done push.Completed, err error) {
		c.loop.post(command{c: c, kind: cmdSealed, x: sealReply{completed: done, err: err}})
	})
}

// sealed is the end of a handshake. Secrets of channels came under the keys of
// before, which the client may not have had: they are sent again, and a page that
// is on its way, which may have been read before, is read again.
func (c *conn) sealed(r sealReply) {
	c.seals().busy, c.seals().between = false, false
	c.feed.Withdraw(math.MaxUint64)
	c.askUnsealer()
	if r.err != nil {
		c.complainOf(r.err)
		return
	}
	c.answer(wire.TypeSealed, func(dst []byte, codec wire.Codec) []byte {
		return wire.AppendSealComplete(dst, codec, r.completed.Generation)
	})
	c.usable(r.completed)
}

func (c *conn) complainOf(err error) {
	e := push.AsError(err)
	c.complain(e.Code, e.Message)
}

// sealPrefix is what stands before a sequence that is outside the seal
// (crt/SPEC.md section 5.4).
const sealPrefix = "CP"

// putSealed sends a sealed frame, binary whatever the codec: parts that
// others share, copied nowhere but into the cork.
func (c *conn) putSealed(m *push.Sealed, seq uint64) bool {
	c.prelude(m)
	l := c.loop
	n := len(m.Head) + len(m.Body)
	prefixed := m.Channel && seq > 0
	if prefixed {
		n += len(sealPrefix) + 8
	}
	l.cork = frame.AppendHeader(l.cork, frame.Binary, n)
	if prefixed {
		l.cork = binary.BigEndian.AppendUint64(append(l.cork, sealPrefix...), seq)
	}
	l.cork = append(append(l.cork, m.Head...), m.Body...)
	if seq > 0 {
		l.count.sealed.Add(1)
	} else {
		l.count.covers.Add(1)
	}
	return c.put(wire.TypeMessage)
}

// sealedUp is what a client that seals what it sends sent so; nil: something
// else. No message of either sub-protocol is binary and begins with CB; one in
// text is base64 of that, in whatever state, and no JSON object.
func (c *conn) sealedUp(ev frame.Event) []byte {
	if c.rare == nil || c.rare.sealing == nil || c.rare.sealing.mode != push.SealAEAD {
		return nil
	}
	p := ev.Payload
	if ev.Op == frame.Text {
		if p = bytes.TrimLeft(p, " \t\r\n"); len(p) == 0 || p[0] == '{' {
			return nil
		}
		p = c.loop.hub.serving().DecodeText(p)
	}
	if len(p) >= 2 && p[0] == 'C' && p[1] == 'B' {
		return p
	}
	return nil
}

// upQueue bounds what a client may send sealed while its keys are read, in bytes.
const upQueue = 256 << 10

// up takes a sealed message of the client (crt/SPEC.md section 5.6). The first
// one has its keys read; what comes meanwhile waits, in order.
func (c *conn) up(payload []byte) {
	s := c.seals()
	switch {
	case s.unsealer != nil:
		c.unseal(payload)
	case c.phase != phaseOpen:
		c.complain(push.CodeInvalidField, "sealed messages come after welcome")
	default:
		if s.waiting += len(payload); s.waiting > upQueue {
			c.shut(push.CloseTooBig, "too much was sent sealed at once")
			return
		}
		s.up = append(s.up, bytes.Clone(payload))
		if !s.busy { // a handshake that ends decides the keys
			c.askUnsealer()
		}
	}
}

func (c *conn) askUnsealer() {
	s := c.seals()
	if s.asking || s.unsealer != nil || len(s.up) == 0 {
		return
	}
	s.asking = true
	round := s.round
	c.loop.hub.serving().Unsealer(c.identity(), c.sessionID(), func(u push.Unsealer, err error) {
		c.loop.post(command{c: c, kind: cmdUnsealer, x: unsealerReply{u, err, round}})
	})
}

type unsealerReply struct {
	unsealer push.Unsealer
	err      error
	round    int
}

// unsealing goes on with what waited.
func (c *conn) unsealing(r unsealerReply) {
	s := c.seals()
	if r.round != s.round { // the keys of before
		return
	}
	s.asking = false
	queue := s.up
	s.up, s.waiting = nil, 0
	if r.err != nil {
		c.complainOf(r.err)
		return
	}
	s.unsealer = r.unsealer
	for _, payload := range queue {
		if c.phase >= phaseClosing {
			return
		}
		c.unseal(payload)
	}
}

// unseal opens one and acts on what is in it.
func (c *conn) unseal(payload []byte) {
	text, json, err := c.seals().unsealer.Open(payload)
	if err != nil {
		c.loop.count.malformed.Add(1)
		// Its keys may have changed, or a handshake came to nothing: it comes again.
		c.shut(push.CloseTryLater, "a sealed message that does not open, or not in this place")
		return
	}
	codec := wire.Msgpack
	if json {
		codec = wire.JSON
	}
	c.act(codec, text)
}
