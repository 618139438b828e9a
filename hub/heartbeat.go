package hub

import (
	"time"

	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/push"
)

// Time on a loop. There is no timer per connection: a sweep visits every slot
// once per heartbeat, a bucket at a time, so that pings are spread over the
// interval; connections with a nearer deadline are on the list of the watched,
// which is looked through every tick. An idle connection is on it only between
// a ping and its pong.

const maxBuckets = 256

// buckets is into how many parts the sweep divides the slots, and how many
// milliseconds lie between two.
func (c Config) buckets() (n int, step uint32) {
	ms := c.Heartbeat.Milliseconds()
	n = int(max(1, min(ms/10, maxBuckets)))
	return n, uint32(max(1, ms/int64(n)))
}

// after is a deadline on the loop's clock; never zero.
func (l *loop) after(d time.Duration) uint32 {
	return max(1, l.now+uint32(d.Milliseconds()))
}

// due reports whether a deadline is set and has passed.
func (l *loop) due(at uint32) bool { return at != 0 && int32(l.now-at) >= 0 }

// watched puts c on the list that every tick looks through.
func (c *conn) watched() {
	if !c.has(flagWatched) {
		c.flags |= flagWatched
		c.loop.watched = append(c.loop.watched, c)
	}
}

// watch looks through the watched connections, once a tick.
func (l *loop) watch() {
	if len(l.watched) == 0 || l.now-l.ticked < uint32(l.hub.cfg.tick().Milliseconds()) {
		return
	}
	l.ticked = l.now
	list := l.watched
	l.watched = list[:0]
	for _, c := range list { // what check appends is c itself, behind the reading place
		c.flags &^= flagWatched
		if c.phase != phaseDead {
			c.check()
			c.settle()
		}
	}
	clear(list[len(l.watched):])
	if len(l.watched) == 0 && cap(l.watched) > maxSpare {
		l.watched = nil
	}
}

// check acts on c's deadlines and watches on while one is set.
func (c *conn) check() {
	l, cfg := c.loop, &c.loop.hub.cfg
	switch {
	case c.phase >= phaseClosing:
		if l.due(c.phaseAt) {
			c.end(0)
			return
		}
	case c.phase == phaseHello && l.due(c.phaseAt):
		c.silent()
	case c.phase == phaseOpen && l.due(c.phaseAt):
		c.shut(push.CloseHelloTimeout, "no sealing keys were made in time")
	case l.due(c.frameAt) && !c.stopped():
		c.shut(push.CloseMessageTimeout, "a started message was not finished in time")
	case l.due(c.stallAt):
		l.count.slowCloses.Add(1)
		c.shut(push.CloseSlow, "nothing was read for too long")
	case l.due(c.pongAt):
		l.count.pongTimeouts.Add(1)
		c.shut(push.ClosePongTimeout, "no answer to a ping")
	case c.idleNear() && l.wall-c.lastMsg.Load() >= cfg.IdleTimeout.Milliseconds():
		c.shut(push.CloseIdle, "idle")
	default:
		c.expiry()
	}
	if c.has(flagRateStop) && c.withinRate() {
		c.resume(flagRateStop)
	}
	if c.phaseAt|c.frameAt|c.stallAt|c.pongAt != 0 || c.has(flagRateStop) || c.idleNear() || c.expiryNear() {
		c.watched()
	}
}

// silent serves a client that said no hello, from the server's cursor. One
// whose token is bound to a device has not shown that it is that device.
func (c *conn) silent() {
	if c.rare != nil && c.rare.device != "" {
		c.shut(push.CloseHelloTimeout, "no hello; the token is bound to a device")
		return
	}
	c.open(push.Hello{Unsaid: true})
}

// near is how far ahead of its time a deadline that only the sweep knows of
// is put on the list: the sweep comes by once a heartbeat.
func (l *loop) near() int64 { return 2 * l.hub.cfg.Heartbeat.Milliseconds() }

func (c *conn) idleNear() bool {
	idle := c.loop.hub.cfg.IdleTimeout.Milliseconds()
	return idle > 0 && c.phase < phaseClosing && c.lastMsg.Load()+idle <= c.loop.wall+c.loop.near()
}

// expiryAt is when the token's end has to be acted on next, in unix
// milliseconds; zero is never.
func (c *conn) expiryAt() int64 {
	if c.token.expires == 0 || c.has(flagEcho) || c.phase >= phaseClosing {
		return 0
	}
	if c.has(flagWarned) {
		return c.token.expires
	}
	return c.token.expires - c.loop.hub.cfg.ExpiryWarning.Milliseconds()
}

func (c *conn) expiryNear() bool {
	at := c.expiryAt()
	return at != 0 && at <= c.loop.wall+c.loop.near()
}

// expiry warns of the token's end, and closes at it.
func (c *conn) expiry() {
	at := c.expiryAt()
	if at == 0 || at > c.loop.wall {
		return
	}
	if left := c.token.expires - c.loop.wall; left > 0 {
		if c.phase == phaseOpen { // before, it is told once it is
			c.flags |= flagWarned
			c.notice(push.Notice{Kind: push.NoticeTokenExpiring, ExpiresInMilli: left})
		}
		return
	}
	c.shut(push.CloseTokenExpired, "the token has expired")
}

// sweep visits the buckets that are due.
func (l *loop) sweep() {
	n, step := l.hub.cfg.buckets()
	for visited := 0; int32(l.now-l.beat) >= 0; visited++ {
		if visited == n { // the loop was held up for longer than an interval
			l.beat = l.now + step
			return
		}
		for i := l.bucket; i < len(l.slots); i += n {
			if c := l.slots[i]; c != nil {
				c.visit()
				c.settle()
			}
		}
		l.bucket = (l.bucket + 1) % n
		l.beat += step
	}
}

// visit is c's turn in the sweep: a ping, unless it is known not to be read or
// answered now, for which other deadlines run.
func (c *conn) visit() {
	if c.phase == phaseHello || c.phase >= phaseClosing {
		return
	}
	if c.idleNear() || c.expiryNear() {
		c.watched()
	}
	if c.pongAt != 0 || c.out != nil || c.stopped() {
		return
	}
	c.loop.cork = frame.AppendPing(c.loop.cork, nil)
	c.loop.count.pingsOut.Add(1)
	c.pongAt = c.loop.after(c.loop.hub.cfg.PongWait)
	c.watched()
}

// watchExpiry is for a token that is new to the session: the sweep may come
// by too late for it.
func (c *conn) watchExpiry() {
	if c.expiryNear() {
		c.watched()
	}
}
