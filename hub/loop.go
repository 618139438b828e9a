package hub

import (
	"math"
	"sync"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/poll"
	"github.com/sunzi-push/sunzi/push"
)

const (
	readSize  = 64 << 10 // one read; also what one connection may bring in one turn
	corkSpill = 64 << 10 // bytes gathered for one connection before they are written
	maxInbox  = 1 << 18  // offers that may wait for a loop; beyond, only how far they reach is kept
	maxSpare  = 1 << 14  // commands whose memory is kept between turns
)

type cmdKind uint8

const (
	cmdAdd         cmdKind = iota + 1 // x: []byte that came with the upgrade
	cmdOffer                          // m, seq
	cmdLive                           // m
	cmdNotice                         // x: push.Notice
	cmdClose                          // x: closing
	cmdOpened                         // x: openedReply
	cmdPage                           // x: pageReply
	cmdRefreshed                      // x: refreshReply
	cmdSealWelcome                    // x: sealReply
	cmdUnsealer                       // x: unsealerReply
	cmdSealed                         // x: sealReply
	cmdDrain                          // no connection: the loop closes all
)

// command is what others ask of a loop, about one connection. On the way of a
// message there is no closure and no allocation.
type command struct {
	c    *conn
	m    *push.Message
	x    any
	seq  uint64
	next int32 // of the same connection in this turn: index + 1; owned by the loop
	kind cmdKind
}

// loop is one event-loop goroutine and the connections that it owns.
type loop struct {
	// static after newLoop
	hub    *Hub
	index  int
	poller *poll.Poller

	mu       sync.Mutex
	inbox    []command // guarded by mu
	woken    bool      // guarded by mu: the loop will look at the inbox
	overflow bool      // guarded by mu: some conn.missed was raised
	stopped  bool      // guarded by mu

	identMu sync.Mutex // guards conn.token of the loop's connections: Info reads, refresh writes

	count counters // any goroutine reads

	// owned by run
	now     uint32 // of hub.now, as this turn began
	mono    int64  // the same in nanoseconds, and 64 bits of them
	wall    int64  // the same as unix milliseconds
	spare   []command
	touched []*conn
	slots   []*conn // by epoll token
	free    []int32
	watched []*conn // with a deadline nearer than a heartbeat
	ticked  uint32  // when watched was last looked through
	bucket  int     // of the heartbeat sweep
	beat    uint32  // when the next bucket is due
	reader  *frame.Reader
	rbuf    []byte
	cork    []byte             // what is gathered for the one connection at work
	sealed  []byte             // its ciphertext, where it has TLS
	plain   []byte             // one record decrypted; nil until there is TLS
	scratch []byte             // one message being encoded
	msg     wire.ClientMessage // one message being decoded
}

func newLoop(h *Hub, index int) (*loop, error) {
	p, err := poll.New()
	if err != nil {
		return nil, err
	}
	return &loop{
		hub: h, index: index, poller: p, now: h.now(), beat: h.now(),
		reader: new(frame.Reader), rbuf: make([]byte, readSize),
	}, nil
}

// post hands a command over; false once the loop has stopped. For what is
// bounded by the number of connections.
func (l *loop) post(cmd command) bool { return l.postBelow(cmd, math.MaxInt) }

// postLimited is post for what may be dropped where the loop is far behind.
func (l *loop) postLimited(cmd command) bool { return l.postBelow(cmd, maxInbox) }

func (l *loop) postBelow(cmd command, limit int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || len(l.inbox) >= limit {
		return false
	}
	l.inbox = append(l.inbox, cmd)
	l.wake()
	return true
}

// postOffers hands hints over. They may be many, and nobody waits for the
// loop: where it is far behind, a hint shrinks to the sequence it tells of.
func (l *loop) postOffers(cmds []command) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	fit := min(len(cmds), max(0, maxInbox-len(l.inbox)))
	l.inbox = append(l.inbox, cmds[:fit]...)
	for i := range cmds[fit:] {
		cmd := &cmds[fit+i]
		if cmd.c.missed.Load() < cmd.seq { // only raised under mu
			cmd.c.missed.Store(cmd.seq)
		}
		l.overflow = true
	}
	l.wake()
}

// wake is called with mu held, so that the poller is not closed meanwhile.
func (l *loop) wake() {
	if !l.woken {
		l.woken = true
		l.poller.Wake()
	}
}

func (l *loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.wake()
}

// run is the loop. It ends after stop, with all its sockets closed.
func (l *loop) run() {
	for {
		events, err := l.poller.Wait(l.patience())
		if err != nil { // a descriptor of ours was closed by others: nothing can go on
			l.hub.log.Error("event loop failed", "loop", l.index, "err", err)
			l.end(nil)
			return
		}
		l.tell()
		batch, overflow, stopped := l.take()
		if stopped {
			l.end(batch)
			return
		}
		l.link(batch)
		for _, ev := range events {
			l.ready(ev, batch)
		}
		for i, c := range l.touched {
			c.serve(batch)
			l.touched[i] = nil
		}
		l.touched = l.touched[:0]
		if overflow {
			l.catchUp()
		}
		l.watch()
		l.sweep()
		l.giveBack(batch)
	}
}

// tell reads the clocks, once a turn.
func (l *loop) tell() {
	now := time.Now()
	since := now.Sub(l.hub.start)
	l.now, l.mono, l.wall = uint32(since.Milliseconds()), int64(since), now.UnixMilli()
}

// take empties the inbox.
func (l *loop) take() (batch []command, overflow, stopped bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch, overflow = l.inbox, l.overflow
	l.inbox, l.spare = l.spare, nil
	l.woken, l.overflow = false, false
	return batch, overflow, l.stopped
}

// giveBack keeps the batch's memory for the next turn, without what it holds.
func (l *loop) giveBack(batch []command) {
	l.count.turns.Add(1)
	l.count.commands.Add(uint64(len(batch)))
	clear(batch)
	if cap(batch) <= maxSpare {
		l.spare = batch[:0]
	}
	if cap(l.cork) > 4*corkSpill {
		l.cork = nil
	}
	if cap(l.sealed) > 4*corkSpill {
		l.sealed = nil
	}
	if cap(l.scratch) > 4*corkSpill { // a message that was sealed for a session
		l.scratch = nil
	}
}

// link chains each connection's commands in their order, so that what they
// lead to leaves in one write.
func (l *loop) link(batch []command) {
	for i := range batch {
		cmd := &batch[i]
		c := cmd.c
		if c == nil {
			l.drain()
			continue
		}
		if c.firstCmd == 0 {
			c.firstCmd = int32(i + 1)
			l.touched = append(l.touched, c)
		} else {
			batch[c.lastCmd-1].next = int32(i + 1)
		}
		c.lastCmd = int32(i + 1)
	}
}

// ready serves one connection that epoll reported.
func (l *loop) ready(ev poll.Event, batch []command) {
	c := l.slots[ev.Token]
	if c == nil { // closed earlier in this turn
		return
	}
	if ev.Ready&poll.Writable != 0 {
		c.drainOut()
	}
	switch {
	case c.phase == phaseDead:
	case ev.Ready&poll.Readable != 0:
		c.read()
	case ev.Ready&poll.Gone != 0:
		c.end(codeAbnormal)
	}
	c.serve(batch)
}

// serve runs the connection's commands of this turn and sends what is due.
func (c *conn) serve(batch []command) {
	i := c.firstCmd
	c.firstCmd, c.lastCmd = 0, 0
	for i != 0 {
		cmd := &batch[i-1]
		c.do(cmd)
		i = cmd.next
	}
	c.settle()
}

// catchUp tells the feeds of hints that did not fit in the inbox.
func (l *loop) catchUp() {
	for _, c := range l.slots {
		if c == nil {
			continue
		}
		if seq := c.missed.Load(); seq > 0 {
			c.missed.CompareAndSwap(seq, 0)
			c.feed.Offer((*line)(c), nil, seq)
			c.settle()
		}
	}
}

// patience is how long the loop may sleep: until the next bucket of the
// heartbeat sweep, or the next tick while deadlines run.
func (l *loop) patience() time.Duration {
	now := l.hub.now()
	wait := int32(l.beat - now)
	if len(l.watched) > 0 {
		wait = min(wait, int32(l.ticked+uint32(l.hub.cfg.tick().Milliseconds())-now))
	}
	return time.Duration(max(wait, 0)) * time.Millisecond
}

// add takes a connection over. It answers false where that failed.
func (l *loop) add(c *conn) bool {
	if n := len(l.free); n > 0 {
		c.slot = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		c.slot = int32(len(l.slots))
		l.slots = append(l.slots, nil)
	}
	l.slots[c.slot] = c
	c.interest = poll.Readable
	if err := l.poller.Add(int(c.fd), c.slot, poll.Readable); err != nil {
		l.hub.log.Error("connection not taken over", "err", err)
		c.end(codeAbnormal)
		return false
	}
	return true
}

// drain closes what is left when a shutdown comes to its end.
func (l *loop) drain() {
	for _, c := range l.slots {
		switch {
		case c == nil:
			continue
		case c.has(flagEcho):
			c.shut(push.CloseGoingAway, "")
		default: // a session's own command may stand in this same turn
			c.shut(push.CloseDraining, l.hub.comeBack())
		}
		c.settle()
	}
}

// end closes all sockets, those that were being handed over included.
func (l *loop) end(batch []command) {
	l.mu.Lock()
	l.stopped = true
	batch = append(batch, l.inbox...)
	l.inbox = nil
	l.mu.Unlock()
	for i := range batch {
		if cmd := &batch[i]; cmd.kind == cmdAdd {
			cmd.c.discard()
		}
	}
	for _, c := range l.slots {
		if c != nil {
			c.end(codeAbnormal)
		}
	}
}
