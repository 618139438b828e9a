package hub

import (
	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/push"
)

// What a session is told outside its mailbox: live-only messages and notices.
// Nothing of it is stored, so that what can't be sent is dropped and counted.

// live sends a store=never message, or drops it.
func (c *conn) live(m *push.Message) {
	switch {
	case c.phase != phaseOpen || c.held():
		c.loop.count.drops[dropNotOpen].Add(1)
		return
	case !seals(c.state.Load(), m.Require): // other keys since it was posted
		c.loop.count.drops[dropUnsealed].Add(1)
		return
	case m.Sealed != nil && !c.feed.Live(): // a cover, as far as the hub can tell: it can wait for the next
		c.loop.count.drops[dropReplaying].Add(1)
		return
	case c.state.Load()&stateFull != 0 || c.room() <= 0:
		c.loop.count.drops[dropFull].Add(1)
		return
	}
	if m.Sealed != nil {
		c.putSealed(m.Sealed, 0)
		return
	}
	tail, err := tailOf(m, c.codec)
	if err != nil {
		c.loop.count.drops[dropEncoding].Add(1)
		c.loop.hub.log.Error("message can't be encoded", "push", m.ID, "err", err)
		return
	}
	if c.tooLong(wire.Head{}, tail) {
		c.loop.count.drops[dropEncoding].Add(1)
		return
	}
	c.putBody(wire.Head{}, tail)
}

// notice tells something outside the mailbox. Before welcome only what ends
// the token matters, and that is all that goes in clear where the session seals:
// the rest is about what was not sent yet.
func (c *conn) notice(n push.Notice) {
	if c.phase != phaseOpen || c.held() && n.Kind != push.NoticeTokenExpiring {
		c.loop.count.drops[dropNotOpen].Add(1)
		return
	}
	switch n.Kind {
	case push.NoticeTombstone:
		if n.Seq > c.feed.Sent() { // it will be told as a gap
			c.feed.Withdraw(n.Seq)
			return
		}
		c.tell(wire.TypeTombstone, func(dst []byte, codec wire.Codec) []byte {
			return wire.AppendTombstone(dst, codec, n.PushID, n.Seq)
		})
	case push.NoticeMemberJoined, push.NoticeMemberLeft:
		t := wire.TypeMemberJoined
		if n.Kind == push.NoticeMemberLeft {
			t = wire.TypeMemberLeft
		}
		c.tell(t, func(dst []byte, codec wire.Codec) []byte {
			return wire.AppendMember(dst, codec, t, n.Group, n.ClientID)
		})
	case push.NoticeTyping:
		if c.room() <= 0 { // worthless once it is late
			c.loop.count.drops[dropFull].Add(1)
			return
		}
		c.tell(wire.TypeTyping, func(dst []byte, codec wire.Codec) []byte {
			return wire.AppendTyping(dst, codec, n.Group, n.ClientID, n.SenderType, n.SenderName)
		})
	case push.NoticeTokenExpiring:
		c.answer(wire.TypeTokenExpiring, func(dst []byte, codec wire.Codec) []byte {
			return wire.AppendTokenExpiring(dst, codec, n.ExpiresInMilli)
		})
	}
}
