package hub

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"sync/atomic"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/poll"
	"github.com/sunzi-push/sunzi/push"
)

// phase is where a connection is in its life. It only grows.
type phase uint8

const (
	phaseHello   phase = iota // waiting for hello
	phaseOpening              // the mailbox's state is being read
	phaseOpen                 // the feed runs
	phaseClosing              // our close frame is on its way, the peer's is awaited
	phaseLinger               // nothing more is sent; waiting for the peer's end of stream
	phaseDead                 // the socket is closed
)

// State bits that other goroutines read.
const (
	stateOpen uint32 = 1 << iota // welcome was sent, and the feed has begun
	stateFull                    // the outbound limit is reached
	stateGone                    // closing or closed
	stateCRT                     // what is sent is sealed, under keys of kind crt
	stateAEAD                    // the same, of kind aead
)

// Flags of a connection, owned by its loop.
const (
	flagEcho       uint16 = 1 << iota // an echo connection: no session
	flagAttached                      // was put in the table
	flagStalled                       // a send method of the line answered false
	flagWatched                       // in loop.watched
	flagWarned                        // token_expiring was sent
	flagRefreshing                    // a refresh is being checked
	flagDeaf                          // after a violation nothing of the peer is parsed
	flagPeerDone                      // the peer's close frame came
	flagRateStop                      // not reading: it sends too much
	flagFullStop                      // not reading: it does not take what it asked for
	flagSlow                          // counted among slow sessions
	flagCounted                       // its close was counted
	flagReplayed                      // its replay came to its end
	flagTLS                           // has rare.tls
)

// conn is one connection and the session on it. It is kept small: a server
// holds one for each idle client (about 250 bytes; the rest of the budget is
// the client ID, a slot of the loop and an entry of the table).
type conn struct {
	// static after the upgrade
	loop      *loop
	key       push.ClientKey // zero for echoes
	sid       uint64         // session ID
	addr      [16]byte       // of the peer; IPv4 as IPv4-mapped
	connected int64          // unix ms
	gen       uint64         // place among the upgrade requests

	// guarded by the table's stripe
	next *conn

	token tokenInfo // written by the loop under loop.identMu

	// read by any goroutine
	state    atomic.Uint32
	waiting  atomic.Uint32 // outbound bytes, as of the last turn
	lastMsg  atomic.Int64  // unix ms: of the last message in or out
	lastBeat atomic.Int64  // unix ms: of the last ping, pong or JSON ping heard; zero: none
	missed   atomic.Uint64 // highest sequence whose offer did not fit in the inbox

	// owned by the loop
	feed   push.Feed
	reader *frame.Reader // nil between messages
	out    *outbound     // nil while the kernel takes everything
	rare   *rare         // nil mostly
	quota  int64         // of inbound messages: theoretical arrival time, ns of the loop's clock

	phaseAt uint32 // deadlines, hub.now; zero: none. Of hello, of sealing keys, of closing
	frameAt uint32 // of a started frame or message
	stallAt uint32 // of a write that makes no progress
	pongAt  uint32 // of an answer to our ping

	fd       int32
	slot     int32
	firstCmd int32 // commands of this turn: index + 1
	lastCmd  int32
	flags    uint16
	phase    phase
	codec    wire.Codec
	port     uint16 // static
	interest poll.Interest
}

// rare is what few connections have.
type rare struct {
	device  string // the token is bound to it
	minted  string // a token for welcome
	tokenID string // one that is not 16 bytes of base64url
	tls     *tls.Conn
	sealing *sealing // of a client that asks for it
}

// Codes of a close that no close frame carried.
const codeAbnormal push.CloseCode = 1006

func (c *conn) remote() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(c.addr).Unmap(), c.port)
}

func (c *conn) has(flag uint16) bool { return c.flags&flag != 0 }

// limits is what the peer may send.
func (c *conn) limits() frame.Limits {
	if c.has(flagEcho) {
		return frame.Limits{Frame: echoMessage, Message: echoMessage}
	}
	return frame.Limits{Frame: c.loop.hub.cfg.MaxFrame, Message: c.loop.hub.cfg.MaxMessage}
}

// read takes what is there, once, and acts on it. The bytes stand in the
// loop's buffer only until the return: what is incomplete is the reader's, or
// tls.Conn's.
func (c *conn) read() {
	n, err := poll.Read(int(c.fd), c.loop.rbuf)
	switch {
	case errors.Is(err, poll.ErrAgain):
		return
	case err != nil || n == 0:
		c.end(codeAbnormal)
		return
	}
	c.loop.count.bytesIn.Add(uint64(n))
	c.pongAt = 0
	if c.has(flagTLS) {
		c.decrypt(c.loop.rbuf[:n])
		return
	}
	c.take(c.loop.rbuf[:n])
}

// take parses bytes of the peer and acts on each frame.
func (c *conn) take(p []byte) {
	r := c.reader
	if r == nil {
		r = c.loop.reader
	}
	for !c.has(flagDeaf) {
		ev, rest, err := r.Next(p, c.limits())
		if err != nil {
			c.incomplete(r, err)
			break
		}
		p = rest
		if !r.Started() {
			c.frameAt = 0
		}
		c.event(ev)
	}
	switch idle := r.Idle(); {
	case idle:
		c.reader = nil
	case r == c.loop.reader:
		c.reader, c.loop.reader = r, new(frame.Reader)
	}
	if c.phase == phaseDead {
		c.reader = nil
	}
}

// incomplete acts on the reader's error: input that ends inside something
// starts its deadline, a violation is answered and ends the connection.
func (c *conn) incomplete(r *frame.Reader, err error) {
	var v *frame.Violation
	if errors.As(err, &v) {
		c.flags |= flagDeaf
		c.shut(push.CloseCode(v.Code), v.Reason)
		return
	}
	if r.Started() && c.frameAt == 0 && c.phase < phaseClosing {
		c.frameAt = c.loop.after(c.loop.hub.cfg.MessageTimeout)
		c.watched()
	}
}

// event acts on one frame or message.
func (c *conn) event(ev frame.Event) {
	if ev.Op == frame.Close {
		c.peerClose(ev)
		return
	}
	if c.phase >= phaseClosing {
		return
	}
	switch ev.Op {
	case frame.Ping:
		c.beat()
		c.loop.count.pingsIn.Add(1)
		c.putFrame(frame.Pong, ev.Payload)
	case frame.Pong:
		c.beat()
		c.loop.count.pongsIn.Add(1)
	case frame.Text, frame.Binary:
		if c.has(flagEcho) {
			c.said()
			c.putFrame(ev.Op, ev.Payload)
			break
		}
		c.message(ev)
	default: // close is above; continuation is no event
	}
	c.meter()
}

// said notes that a message came or went.
func (c *conn) said() {
	c.lastMsg.Store(c.loop.wall)
	c.loop.count.lastMsg.Store(c.loop.wall)
}

// beat notes that a heartbeat was heard.
func (c *conn) beat() {
	c.lastBeat.Store(c.loop.wall)
	c.loop.count.lastBeat.Store(c.loop.wall)
}

// peerClose answers the peer's close frame, or ends the handshake that we
// began (RFC 6455 section 5.5.1).
func (c *conn) peerClose(ev frame.Event) {
	c.flags |= flagPeerDone
	if c.phase >= phaseClosing {
		return // settle ends it
	}
	c.count(push.CloseCode(ev.Code), byPeer)
	c.leave()
	c.putFrame(frame.Close, frame.CloseBody(ev.Code, ""))
}

// shut begins our side of the close handshake; only the first call counts.
func (c *conn) shut(code push.CloseCode, reason string) {
	if c.phase >= phaseClosing {
		return
	}
	c.count(code, byServer)
	c.leave()
	c.putFrame(frame.Close, frame.CloseBody(uint16(code), reason))
}

// leave ends the session: from here on it is in no table, and its deadline
// runs.
func (c *conn) leave() {
	c.phase = phaseClosing
	c.state.Or(stateGone)
	c.detach()
	c.flags &^= flagRateStop | flagFullStop | flagStalled
	c.frameAt, c.pongAt, c.stallAt = 0, 0, 0
	c.phaseAt = c.loop.after(c.loop.hub.cfg.CloseTimeout)
	c.watched()
}

func (c *conn) detach() {
	if c.has(flagAttached) {
		c.loop.hub.table.detach(c)
		c.loop.count.open.Add(-1)
		c.flags &^= flagAttached
	}
}

// finish ends what can be ended once all our bytes are written: a completed
// close handshake at once; after a violation our direction only, since to
// close a socket with unread bytes would reset it and take our close frame
// back from a peer that has not read it yet.
func (c *conn) finish() {
	switch {
	case c.phase != phaseClosing || c.out != nil:
	case c.has(flagPeerDone):
		c.farewell()
		c.end(0)
	case c.has(flagDeaf):
		c.farewell()
		c.phase = phaseLinger
		if err := poll.CloseWrite(int(c.fd)); err != nil {
			c.end(0)
		}
	}
}

// end closes the socket, whatever is still to be sent.
func (c *conn) end(code push.CloseCode) {
	if c.phase == phaseDead {
		return
	}
	if !c.has(flagCounted) {
		c.count(code, byNobody)
	}
	l := c.loop
	c.detach()
	c.phase = phaseDead
	c.state.Or(stateGone)
	if c.out != nil {
		l.count.queued.Add(-int64(c.out.len()))
	}
	c.markFast()
	c.reader, c.out = nil, nil
	c.waiting.Store(0)
	l.cork, l.sealed = l.cork[:0], l.sealed[:0]
	l.slots[c.slot] = nil
	l.free = append(l.free, c.slot)
	l.count.sockets.Add(-1)
	c.discard()
}

// discard closes a socket that no loop has.
func (c *conn) discard() {
	if err := poll.Close(int(c.fd)); err != nil {
		c.loop.hub.log.Error("socket not closed", "err", err)
	}
	c.loop.hub.gate.release(c.remote().Addr())
}

// steer tells epoll what c waits for, where that has changed.
func (c *conn) steer() {
	want := poll.Readable
	if c.stopped() {
		want = 0
	}
	if c.out != nil {
		want |= poll.Writable
	}
	if want == c.interest {
		return
	}
	c.interest = want
	if err := c.loop.poller.Set(int(c.fd), c.slot, want); err != nil {
		c.loop.hub.log.Error("connection not watched", "err", err)
		c.end(codeAbnormal)
	}
}
