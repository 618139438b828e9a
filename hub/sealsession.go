package hub

import (
	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/push"
)

// What a session that seals is sent (api/wire/SPEC.md section 9): everything that
// has content is sealed for it, here, in the order in which it is written. Until
// there are keys its feed is held, and the rest is dropped.

// held reports whether nothing with content may be sent yet.
func (c *conn) held() bool { return c.rare != nil && c.rare.sealing != nil && c.rare.sealing.held }

// sealer seals what has content; nil: it goes in clear.
func (c *conn) sealer() push.SessionSealer {
	if c.rare == nil || c.rare.sealing == nil || c.rare.sealing.mode == "" {
		return nil
	}
	return c.rare.sealing.session
}

// usable has what follows sealed under these keys, and lets go what was held. A
// session that did not ask for sealing goes on in clear: its next hello is asked
// again.
func (c *conn) usable(keys push.Completed) {
	s := c.seals()
	if s.mode == "" || c.phase >= phaseClosing {
		return
	}
	s.session = keys.Session
	c.state.And(^(stateCRT | stateAEAD))
	c.state.Or(stateOf(keys.Mode))
	if s.held {
		s.held = false
		c.phaseAt = 0
		c.release()
	}
}

func stateOf(mode push.SealMode) uint32 {
	if mode == push.SealCRT {
		return stateCRT
	}
	return stateAEAD
}

// seals reports whether a session in that state may be sent what requires a mode.
func seals(state uint32, mode push.SealMode) bool { return mode.Allows(sealsAs(state)) }

// sealsAs is how a session in that state seals.
func sealsAs(state uint32) push.SealMode {
	switch {
	case state&stateCRT != 0:
		return push.SealCRT
	case state&stateAEAD != 0:
		return push.SealAEAD
	}
	return ""
}

// tooLong reports whether a message can't be sealed for the session.
func (c *conn) tooLong(head wire.Head, tail []byte) bool {
	return c.sealer() != nil && wire.MessageLen(c.codec, head, tail) > push.MaxSessionText
}

// putContent is putMessage for what has content.
func (c *conn) putContent(t wire.Type, encode func(dst []byte, codec wire.Codec) []byte) bool {
	s := c.sealer()
	if s == nil {
		return c.putMessage(t, encode)
	}
	if c.phase >= phaseClosing {
		return false
	}
	return c.putSession(s, t, encode(c.loop.scratch[:0], c.codec))
}

// tell is answer for what has content.
func (c *conn) tell(t wire.Type, encode func(dst []byte, codec wire.Codec) []byte) {
	c.putContent(t, encode)
	c.press()
}

// putSession seals text, which stands in the loop's scratch, and sends it: binary
// whatever the codec.
func (c *conn) putSession(s push.SessionSealer, t wire.Type, text []byte) bool {
	l := c.loop
	l.scratch = text
	sealed, err := s.Seal(text, c.codec == wire.JSON)
	if err != nil {
		l.hub.log.Error("message can't be sealed", "client", c.key.String(), "err", err)
		c.shut(push.CloseTryLater, "a message can't be sealed")
		return false
	}
	l.cork = frame.AppendFrame(l.cork, frame.Binary, sealed)
	l.count.session.Add(1)
	return c.put(t)
}
