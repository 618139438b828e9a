package hub

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/push"
)

// The session on a connection: what the client says, what the domain answers.
// Everything here but the methods of push.Session (port.go) runs on the loop.

// Answers of the backend, as commands carry them.
type (
	openedReply struct {
		opened push.Opened
		seal   push.SealMode // what hello asked for
		nonce  []byte        // with it
		err    error
	}
	pageReply struct {
		page push.Page
		err  error
	}
	refreshReply struct {
		id    push.Identity
		token string
		err   error
	}
	closing struct {
		code   push.CloseCode
		reason string
	}
)

// do runs one command.
func (c *conn) do(cmd *command) {
	if cmd.kind == cmdAdd {
		early, _ := cmd.x.(upgraded)
		c.begin(early)
		return
	}
	if c.phase >= phaseClosing {
		if cmd.kind == cmdLive {
			c.loop.count.drops[dropGone].Add(1)
		}
		return
	}
	switch cmd.kind {
	case cmdOffer:
		m := cmd.m
		if c.lacks(m) {
			m = nil
		}
		c.feed.Offer((*line)(c), m, cmd.seq)
	case cmdLive:
		c.live(cmd.m)
	case cmdNotice:
		if n, ok := cmd.x.(push.Notice); ok {
			c.notice(n)
		}
	case cmdClose:
		if x, ok := cmd.x.(closing); ok {
			c.shut(x.code, x.reason)
		}
	case cmdOpened:
		if x, ok := cmd.x.(openedReply); ok {
			c.opened(x)
		}
	case cmdPage:
		if x, ok := cmd.x.(pageReply); ok {
			c.page(x)
		}
	case cmdRefreshed:
		if x, ok := cmd.x.(refreshReply); ok {
			c.refreshed(x)
		}
	case cmdUnsealer:
		if x, ok := cmd.x.(unsealerReply); ok {
			c.unsealing(x)
		}
	case cmdSealWelcome:
		if x, ok := cmd.x.(sealReply); ok {
			c.sealWelcome(x)
		}
	case cmdSealed:
		if x, ok := cmd.x.(sealReply); ok {
			c.sealed(x)
		}
	default: // the loop's own
	}
}

// upgraded is what a new connection brings along.
type upgraded struct {
	early   []byte        // read together with the request
	refusal *push.Refusal // close right away
}

// begin takes the connection over: from here on the loop owns it. The session
// is put in the table before its mailbox is read, so that what is committed
// meanwhile is either in what is read or offered.
func (c *conn) begin(up upgraded) {
	l := c.loop
	l.count.sockets.Add(1)
	if !l.add(c) {
		return
	}
	switch {
	case up.refusal != nil:
		c.shut(up.refusal.Code, up.refusal.Reason)
	case c.loop.hub.draining.Load():
		c.shut(push.CloseDraining, c.loop.hub.comeBack())
	case !c.has(flagEcho):
		l.hub.table.attach(c)
		c.flags |= flagAttached
		l.count.open.Add(1)
		c.phaseAt = l.after(l.hub.cfg.HelloWait)
		c.watched()
		c.watchExpiry()
	}
	if len(up.early) > 0 {
		c.take(up.early)
	}
	if c.has(flagTLS) && c.phase != phaseDead {
		c.decrypt(nil) // what came with the last record of the request
	}
}

// message acts on one message of the client.
func (c *conn) message(ev frame.Event) {
	if p := c.sealedUp(ev); p != nil {
		c.up(p)
		return
	}
	if ev.Op != c.op() {
		c.loop.count.in[wire.TypeUnknown].Add(1)
		c.shut(push.CloseUnsupported, "this sub-protocol uses the other kind of frame")
		return
	}
	c.act(c.codec, ev.Payload)
}

// act acts on the message that is in these bytes.
func (c *conn) act(codec wire.Codec, payload []byte) {
	m := &c.loop.msg
	if err := wire.DecodeClient(codec, payload, m); err != nil {
		c.loop.count.malformed.Add(1)
		c.shut(push.CloseMalformed, err.Error())
		return
	}
	c.loop.count.in[m.Type].Add(1)
	if m.Type != wire.TypePing {
		c.said()
	}
	switch m.Type {
	case wire.TypeHello:
		c.hello(m)
	case wire.TypeAck:
		c.ack(m)
	case wire.TypeRead:
		if c.reached(m.Seq) {
			c.loop.hub.serving().Read(c.key, m.Seq)
		}
	case wire.TypePing:
		c.beat()
		id := m.ID
		c.answer(wire.TypePong, func(dst []byte, codec wire.Codec) []byte { return wire.AppendPong(dst, codec, id) })
	case wire.TypeTyping:
		c.typing(m)
	case wire.TypeRefresh:
		c.refresh(m.Token)
	case wire.TypeSealHello:
		c.sealHello(m.Handshake)
	case wire.TypeSealConfirm:
		c.sealConfirm(m.Handshake)
	default: // unknown, or the server's: ignored and counted
	}
}

// complain tells the client of a mistake that does not end the connection.
func (c *conn) complain(code push.Code, text string) {
	c.answer(wire.TypeError, func(dst []byte, codec wire.Codec) []byte {
		return wire.AppendError(dst, codec, int(code), text)
	})
}

func (c *conn) hello(m *wire.ClientMessage) {
	if c.rare != nil && c.rare.device != "" && m.Device != c.rare.device {
		c.shut(push.CloseUnauthorized, push.ReasonMismatch)
		return
	}
	if c.phase != phaseHello { // it came late, and is being served from the server's cursor
		return
	}
	h := push.Hello{Device: m.Device, Incarnation: m.Incarnation, Seal: push.SealMode(m.Seal), Held: slices.Clone(m.SealHeld), Nonce: m.SealNonce}
	if m.Cursor != nil {
		cursor := *m.Cursor
		h.Cursor = &cursor
	}
	c.open(h)
}

// open asks for the mailbox's state.
func (c *conn) open(h push.Hello) {
	h.Alive = c.alive
	c.phase = phaseOpening
	c.phaseAt = 0
	c.loop.hub.serving().Open(c.identity(), h, func(o push.Opened, err error) {
		c.loop.post(command{c: c, kind: cmdOpened, x: openedReply{o, h.Seal, h.Nonce, err}})
	})
}

// opened welcomes the client and starts its feed.
func (c *conn) opened(r openedReply) {
	if c.phase != phaseOpening {
		return
	}
	if r.err != nil {
		c.failed("mailbox not opened", r.err)
		return
	}
	if no := r.opened.Refusal; no != nil {
		c.shut(no.Code, no.Reason)
		return
	}
	w := wire.Welcome{
		ClientID: c.key.ID, Realm: c.key.Realm, Session: c.sessionID(), Generation: c.gen,
		Incarnation: r.opened.Incarnation, Cursor: r.opened.Start,
		HeartbeatMS: c.loop.hub.cfg.Heartbeat.Milliseconds(), Backlog: r.opened.Count,
	}
	if c.rare != nil && c.rare.minted != "" {
		w.Token, c.rare.minted = c.rare.minted, ""
		w.TokenExpiresMS = c.token.expires
	}
	if r.opened.Public != nil {
		w.Seal, w.SealKey, w.SealGeneration = string(r.seal), r.opened.Public, r.opened.SealGeneration
		s := c.seals()
		s.mode, s.nonce, s.session, s.held = r.seal, r.nonce, r.opened.Session, true
	}
	c.answer(wire.TypeWelcome, func(dst []byte, codec wire.Codec) []byte { return wire.AppendWelcome(dst, codec, w) })
	if c.phase >= phaseClosing {
		return
	}
	c.phase = phaseOpen
	c.feed.Hold(r.opened.Start, max(r.opened.Head, r.opened.Start))
	switch {
	case r.opened.Public == nil:
		c.release()
	case r.opened.Session != nil:
		c.usable(push.Completed{Mode: r.seal, Session: r.opened.Session})
	default:
		c.phaseAt = c.loop.after(c.loop.hub.cfg.SealWait)
		c.watched()
	}
}

// release begins to send what has content.
func (c *conn) release() {
	c.state.Or(stateOpen)
	c.loop.count.replays.Add(1)
	c.feed.Release((*line)(c))
	c.tellLive()
}

// page goes on with the replay.
func (c *conn) page(r pageReply) {
	if r.err != nil {
		c.failed("mailbox not read", r.err)
		return
	}
	c.feed.Fetched((*line)(c), r.page)
	c.tellLive()
}

// tellLive counts a replay that has come to its end, once.
func (c *conn) tellLive() {
	if !c.has(flagReplayed) && c.feed.Live() {
		c.flags |= flagReplayed
		c.loop.count.ended.Add(1)
	}
}

// failed ends a session that can't be served. The client comes back, unless it
// is no longer one.
func (c *conn) failed(what string, err error) {
	code, reason := push.CloseFor(err)
	if code == push.CloseTryLater {
		c.loop.hub.log.Warn(what, "client", c.key.String(), "err", err)
	}
	c.shut(code, reason)
}

// reached checks a sequence that the client speaks of.
func (c *conn) reached(seq uint64) bool {
	if seq <= c.feed.Sent() {
		return true
	}
	c.complain(push.CodeInvalidField, fmt.Sprintf("seq %d was not sent on this connection", seq))
	return false
}

func (c *conn) ack(m *wire.ClientMessage) {
	if !c.reached(m.Seq) {
		return
	}
	var failed []push.FailedEntry
	for _, f := range m.Failed {
		if !c.reached(f.Seq) {
			return
		}
		failed = append(failed, push.FailedEntry{Seq: f.Seq, Code: f.Code})
	}
	c.loop.hub.serving().Ack(c.key, m.Seq, failed)
}

func (c *conn) typing(m *wire.ClientMessage) {
	if !push.ValidName(m.Conversation) || (m.SenderName != "" && !push.ValidName(m.SenderName)) {
		c.complain(push.CodeInvalidField, "typing: conversation_id and sender_name are 1 to 100 characters")
		return
	}
	c.loop.hub.serving().Typing(c.key, m.Conversation, m.SenderName)
}

// refresh has the new token checked; one at a time.
func (c *conn) refresh(token string) {
	if c.has(flagRefreshing) {
		c.complain(push.CodeRateLimited, "a refresh is being checked")
		return
	}
	c.flags |= flagRefreshing
	c.loop.hub.serving().Refresh(c.identity(), token, func(id push.Identity, err error) {
		c.loop.post(command{c: c, kind: cmdRefreshed, x: refreshReply{id, token, err}})
	})
}

func (c *conn) refreshed(r refreshReply) {
	c.flags &^= flagRefreshing
	if r.err != nil {
		e := push.AsError(r.err)
		c.complain(e.Code, e.Message)
		switch {
		case e.Code == push.CodeWrongRealm:
			c.shut(push.CloseUnauthorized, push.ReasonWrongRealm)
		case e.Message == push.ReasonMismatch:
			c.shut(push.CloseUnauthorized, push.ReasonMismatch)
		case e.Code == push.CodeBadCredentials, e.Code == push.CodeNotSignedIn:
			c.shut(push.CloseUnauthorized, push.ReasonBadToken)
		}
		return
	}
	c.loop.identMu.Lock()
	c.setToken(r.id)
	c.loop.identMu.Unlock()
	c.flags &^= flagWarned
	c.watchExpiry()
	// A revocation between the check and now found the session on its old
	// token. From here on one finds it; one before is seen by a second look.
	c.loop.hub.serving().Refresh(c.identity(), r.token, func(_ push.Identity, err error) {
		if push.HasCode(err, push.CodeBadCredentials) {
			c.loop.post(command{c: c, kind: cmdClose, x: closing{push.CloseTokenRevoked, "the token was revoked"}})
		}
	})
	expires := c.token.expires
	c.answer(wire.TypeRefreshed, func(dst []byte, codec wire.Codec) []byte {
		return wire.AppendRefreshed(dst, codec, expires)
	})
}

// errNoBackend is a hub that nobody serves yet.
var errNoBackend = errors.New("hub: no backend")
