package hub

import (
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// push.Session, as other goroutines see a connection: each method is a command
// to the loop. None blocks.

// Offer implements push.Session.
func (c *conn) Offer(m *push.Message, seq uint64) {
	if c.alive() {
		c.loop.postOffers([]command{{c: c, kind: cmdOffer, m: m, seq: seq}})
	}
}

// Live implements push.Session. True says that the loop has it: the peer may
// still be gone, or become full, before it is written.
func (c *conn) Live(m *push.Message) bool {
	reason := dropGone
	switch s := c.state.Load(); {
	case s&stateGone != 0:
	case s&stateFull != 0:
		reason = dropFull
	case s&stateOpen == 0:
		reason = dropNotOpen
	case !seals(s, m.Require):
		reason = dropUnsealed
	case c.loop.postLimited(command{c: c, kind: cmdLive, m: m}):
		return true
	default:
		reason = dropBusy
	}
	c.loop.count.drops[reason].Add(1)
	return false
}

// Notify implements push.Session.
func (c *conn) Notify(n push.Notice) {
	if c.alive() && !c.loop.postLimited(command{c: c, kind: cmdNotice, x: n}) {
		c.loop.count.drops[dropBusy].Add(1)
	}
}

// Close implements push.Session.
func (c *conn) Close(code push.CloseCode, reason string) {
	if c.alive() {
		c.loop.post(command{c: c, kind: cmdClose, x: closing{code, reason}})
	}
}

// Info implements push.Session.
func (c *conn) Info() push.SessionInfo {
	at := func(unixMS int64) time.Time {
		if unixMS == 0 {
			return time.Time{}
		}
		return time.UnixMilli(unixMS)
	}
	c.loop.identMu.Lock()
	id := c.identity()
	c.loop.identMu.Unlock()
	return push.SessionInfo{
		Client: c.key, ID: c.sessionID(), Transport: "websocket", Remote: c.remote().String(),
		Connected: at(c.connected), LastMessage: at(c.lastMsg.Load()), LastHeartbeat: at(c.lastBeat.Load()),
		TokenID: id.TokenID, TokenIssued: id.TokenIssued, Outbound: int(c.waiting.Load()),
		Generation: c.gen, Seal: sealsAs(c.state.Load()),
	}
}

var _ push.Session = (*conn)(nil)
