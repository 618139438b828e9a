package chaos

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
)

// session is one connection of a client, owned by the goroutine of run.
type session struct {
	c     *client
	sock  *socket
	life  Life
	node  Node
	conn  int
	epoch int // of the client when it began

	dialed      time.Time // before the handshake of RFC 6455, which a link may hold up
	began       time.Time
	until       time.Time
	wasDraining bool
	welcomed    bool
	armed       bool   // the next handler is killed before its save
	count       uint64 // the last place of this connection
	shake       shake
	covers      int       // sealed frames without a message
	due         int       // messages not acked
	ackAt       time.Time // when due acks go
}

// over says that the session has ended and its socket is dealt with.
type over bool

// run serves the connection until it or its life ends.
func (s *session) run(ctx context.Context) {
	defer s.gone()
	if s.hello() != nil {
		s.end("broken", 0)
		return
	}
	for {
		ev, err := s.sock.next(s.deadline())
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
		case err != nil:
			s.end("broken", 0)
			return
		case bool(s.take(ev)):
			return
		}
		if s.look(ctx) {
			return
		}
	}
}

// gone leaves the client's sockets.
func (s *session) gone() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	delete(s.c.sessions, s)
}

func (s *session) hello() error {
	m := wire.ClientMessage{Type: wire.TypeHello, Seal: s.c.sealing.kind}
	s.c.mu.Lock()
	s.abandon()
	if m.Seal != "" {
		m.SealHeld = s.c.sealing.held()
		s.shake.nonce = make([]byte, wire.SealNonceLen)
		_, _ = rand.Read(s.shake.nonce)
		m.SealNonce = s.shake.nonce
	}
	// Who keeps keys, and forgets those of what is acked, keeps its cursor too.
	if s.c.incarnation != "" && (!s.life.Shy || s.c.sealing.kind != "") {
		cursor := s.c.seen
		m.Cursor, m.Incarnation = &cursor, s.c.incarnation
	}
	s.c.mu.Unlock()
	return s.sock.say(m)
}

func (s *session) deadline() time.Time {
	at := time.Now().Add(lookAround)
	if s.until.Before(at) {
		at = s.until
	}
	if s.due > 0 && s.life.Ack != AckNever && s.ackAt.Before(at) {
		at = s.ackAt
	}
	return at
}

// look does what time asks for.
func (s *session) look(ctx context.Context) over {
	now := time.Now()
	if s.due > 0 && s.life.Ack != AckNever && !now.Before(s.ackAt) && s.ack() != nil {
		s.end("broken", 0)
		return true
	}
	if s.shakeHands() != nil {
		s.end("broken", 0)
		return true
	}
	switch {
	case ctx.Err() != nil, s.c.isDraining() && !s.wasDraining:
		s.log(Event{Kind: Closed, How: CleanClose.String()})
		s.sock.closeCleanly(closeNormal)
		return true
	case !s.welcomed && now.After(s.began.Add(welcomeWithin)):
		s.end("no welcome", 0)
		return true
	case s.unanswered(now):
		s.end("no handshake", 0)
		return true
	case now.Before(s.until):
		return false
	case s.life.End == KillInHandler && !s.armed:
		s.armed, s.until = true, now.Add(killWithin)
		return false
	}
	s.finish(ctx)
	return true
}

// finish ends the life as planned.
func (s *session) finish(ctx context.Context) {
	s.log(Event{Kind: Closed, How: s.life.End.String()})
	switch s.life.End {
	case CleanClose:
		s.sock.closeCleanly(closeNormal)
	case HalfOpen, ZeroWindow:
		s.c.wg.Go(func() {
			sleep(ctx, silentFor)
			s.sock.reset()
		})
	case Kill, KillInHandler:
		s.c.mu.Lock()
		if s.epoch == s.c.epoch {
			s.c.die()
		}
		s.c.mu.Unlock()
		s.sock.reset()
	default:
		s.sock.reset()
	}
}

// end notes an end that was not planned.
func (s *session) end(how string, code uint16) {
	s.log(Event{Kind: Closed, How: how, Code: int(code)})
	s.sock.reset()
}

// shakeHands makes a handshake where one is wanted.
func (s *session) shakeHands() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.epoch != s.c.epoch {
		return nil
	}
	return s.handshake()
}

func (s *session) log(e Event) {
	e.Conn = s.conn
	if e.Kind == Closed {
		e.Covers = s.covers
	}
	s.c.log.Add(e)
}

func (s *session) ack() error {
	s.due = 0
	s.log(Event{Kind: Acked, Seq: s.count})
	err := s.sock.say(wire.ClientMessage{Type: wire.TypeAck, Seq: s.count})
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.epoch == s.c.epoch {
		s.c.forgetKeys(s.count)
	}
	return err
}

// owe makes an ack due.
func (s *session) owe() {
	wait := ackSoon
	if s.life.Ack == AckLate {
		wait = ackLater
	}
	if s.due == 0 {
		s.ackAt = time.Now().Add(wait)
	}
	s.due++
	if s.due == ackCount && s.life.Ack == AckAtOnce {
		s.ackAt = time.Now()
	}
}

// take deals with one event of the socket.
func (s *session) take(ev frame.Event) over {
	switch ev.Op {
	case frame.Ping:
		if s.sock.send(frame.Pong, ev.Payload) != nil {
			s.end("broken", 0)
			return true
		}
	case frame.Close:
		s.end("server", ev.Code)
		return true
	case frame.Text:
		m, err := wire.DecodeServer(wire.JSON, ev.Payload)
		if err != nil {
			s.end("malformed", 0)
			return true
		}
		return s.message(&m)
	case frame.Binary:
		return s.frame(ev.Payload)
	default: // a pong
	}
	return false
}

// message holds the client's state while it is changed, so that two sockets
// take turns as in a library with one handler.
func (s *session) message(m *wire.ServerMessage) over {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.epoch != s.c.epoch {
		s.end(Kill.String(), 0) // with the process that it belonged to
		return true
	}
	switch m.Type {
	case wire.TypeMessage, wire.TypeGap, wire.TypeTombstone, wire.TypeMemberJoined, wire.TypeMemberLeft, wire.TypeTyping:
		if s.shake.on {
			s.log(Event{Kind: Bare, How: m.Type.String()})
		}
	default:
	}
	return s.act(m)
}

// act is message once mu is held, of what came sealed for this connection too.
func (s *session) act(m *wire.ServerMessage) over {
	switch m.Type {
	case wire.TypeWelcome:
		return s.welcome(&m.Welcome)
	case wire.TypeMessage:
		return s.delivery(&m.Delivery, false) // it was stored in clear
	case wire.TypeGap:
		s.log(Event{Kind: Gap, From: m.From, To: m.To, Reason: m.Reason})
		if m.From != s.count+1 {
			return s.hole()
		}
		s.count = m.To
		if m.To > s.c.seen {
			s.c.save(s.conn, m.To)
		}
		s.owe()
	case wire.TypeSealWelcome:
		return s.granted(m.Handshake)
	case wire.TypeSealed:
		return s.sealed(m.Sealing)
	case wire.TypeError:
		return s.complained()
	default: // replay_complete and what this client does not need
	}
	return false
}

func (s *session) welcome(w *wire.Welcome) over {
	s.welcomed = true
	s.count = w.Cursor
	s.log(Event{Kind: Connected, Node: s.node.Name, Incarnation: w.Incarnation, Cursor: w.Cursor})
	if w.Incarnation != s.c.incarnation {
		s.c.incarnation = w.Incarnation
		s.c.save(s.conn, w.Cursor)
	} else if w.Cursor > s.c.seen {
		s.c.save(s.conn, w.Cursor)
	}
	return s.sealWelcomed(w)
}

// delivery is the handler, and then the save.
func (s *session) delivery(d *wire.Delivery, sealed bool) over {
	producer, n, err := parseTopic(d.Topic)
	if err != nil {
		producer, n = 0, 0 // nobody pushed that: the judge will say so
	}
	s.log(Event{Kind: Received, Seq: d.Seq, ID: d.ID, Hash: hashOf(d.Data), Replayed: d.Replayed, Sealed: sealed, Producer: producer, Push: n})
	if d.Seq == 0 {
		return false // live alone: it has no place, and nothing is owed for it
	}
	if d.Seq != s.count+1 {
		return s.hole()
	}
	s.count = d.Seq
	s.owe()
	if d.Seq <= s.c.seen {
		return false
	}
	s.log(Event{Kind: Handled, Seq: d.Seq, ID: d.ID, Producer: producer, Push: n})
	if s.armed {
		s.log(Event{Kind: Killed, Seq: d.Seq})
		s.c.die()
		s.end(KillInHandler.String(), 0)
		return true
	}
	s.c.save(s.conn, d.Seq)
	return false
}

// hole leaves as a library does: it must not ack over it. The log has it
// already, in what came.
func (s *session) hole() over {
	s.log(Event{Kind: Closed, How: "hole"})
	_ = s.sock.send(frame.Close, frame.CloseBody(closeReturn, "")) // it is closed either way
	s.sock.reset()
	return true
}
