package wsclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
)

// codeComeBack closes a connection that the client will open again.
const codeComeBack = 4900

// session is one connection, owned by the goroutine of Client.Run.
type session struct {
	*run
	t     transport
	codec wire.Codec

	in     chan inbound  // from the reader, which closes it
	stop   chan struct{} // closed by the session: the reader ends
	tokens chan tokenAnswer

	began    time.Time // of the attempt, dialing included
	welcomed time.Time
	heard    time.Time // last inbound
	next     uint64    // the place that must come next

	opening *time.Timer // welcome's deadline
	quiet   *time.Timer // silence, or the ping's deadline
	ack     *time.Timer // of the ack that is due
	renew   *time.Timer // next refresh, or its deadline
	seal    sealing

	pinged    bool
	woken     bool // the ping was a wake's: come back at once
	acking    bool // ack is running
	asking    context.CancelFunc
	offered   string    // the token in refresh, until refreshed
	tokenEnds time.Time // as token_expiring said
}

type inbound struct {
	p   []byte
	err error
}

type tokenAnswer struct {
	token string
	err   error
}

func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

func newSession(r *run, t transport) *session {
	return &session{
		run: r, t: t, codec: t.Codec(),
		in: make(chan inbound), stop: make(chan struct{}), tokens: make(chan tokenAnswer, 1),
		opening: stopped(), quiet: stopped(), ack: stopped(), renew: stopped(),
		seal: sealing{timer: stopped()},
	}
}

// serve says hello and goes on until the connection ends. When it returns the
// reader has ended and the socket is closed.
func (s *session) serve(ctx context.Context, deadline time.Duration) ending {
	go s.read()
	end := s.loop(ctx, deadline)
	close(s.stop)
	for range s.in { // until the reader has ended
	}
	if w, ok := s.t.(interface{ shut() }); ok {
		w.shut()
	}
	if s.asking != nil {
		s.asking()
		<-s.tokens
	}
	for _, t := range []*time.Timer{s.opening, s.quiet, s.ack, s.renew, s.seal.timer} {
		t.Stop()
	}
	end.welcomed = s.welcomed
	return end
}

func (s *session) read() {
	defer close(s.in)
	for {
		p, err := s.t.Read()
		select {
		case s.in <- inbound{p, err}:
		case <-s.stop:
		}
		if err != nil {
			return
		}
	}
}

// loop is the connection's life. A nil *ending of a step means to go on.
func (s *session) loop(ctx context.Context, deadline time.Duration) ending {
	s.heard = time.Now()
	s.began = s.heard.Add(deadline - attemptDeadline)
	if end := s.hello(ctx); end != nil {
		return *end
	}
	s.opening.Reset(deadline)
	for {
		if end := s.step(ctx); end != nil {
			return *end
		}
	}
}

func (s *session) step(ctx context.Context) *ending {
	in := s.in
	if s.inbox.full() {
		in = nil // the handler is behind: let the server wait
	}
	select {
	case <-ctx.Done():
		// A handler that is at work ends first, as Run waits for it anyway:
		// what it has done is acked, and does not come again.
		<-s.inbox.done
		_ = s.flush() // if it can: this ends either way
		s.t.Close(1000, "")
		return &ending{Failure: &Failure{Err: ctx.Err()}}
	case f := <-in:
		return s.receive(ctx, f)
	case <-s.inbox.changed:
		return s.due()
	case <-s.ack.C:
		return s.flush()
	case <-s.quiet.C:
		return s.silent()
	case <-s.opening.C:
		return s.leave("no welcome")
	case <-s.renew.C:
		return s.renewal(ctx)
	case <-s.seal.timer.C:
		return s.sealDue()
	case a := <-s.tokens:
		return s.answered(a)
	case <-s.poke:
		return s.poked()
	}
}

// leave closes the connection in order to come back as after a failure.
func (s *session) leave(why string) *ending {
	_ = s.flush() // if it can: this ends either way
	s.t.Close(codeComeBack, why)
	return &ending{Failure: &Failure{Err: errors.New(why)}}
}

func (s *session) send(m *wire.ClientMessage) *ending {
	p, err := s.sealedUp(m, wire.EncodeClient(s.codec, m))
	if err == nil {
		err = s.t.Write(p)
	}
	if err != nil {
		s.t.Close(codeComeBack, "")
		return &ending{Failure: &Failure{Err: fmt.Errorf("writing: %w", err)}}
	}
	return nil
}

func (s *session) hello(ctx context.Context) *ending {
	m := wire.ClientMessage{Type: wire.TypeHello, Device: s.cfg.Device}
	realm, clientID := s.speaksAs()
	if end := s.holdKeys(ctx, &m); end != nil {
		return end
	}
	if at, ok := s.inbox.open(ctx, realm, clientID); ok {
		m.Cursor, m.Incarnation = &at.Seq, at.Incarnation
	}
	return s.send(&m)
}

func (s *session) receive(ctx context.Context, f inbound) *ending {
	if f.err != nil {
		s.t.Close(codeComeBack, "")
		var closed *Failure
		if errors.As(f.err, &closed) {
			return &ending{Failure: closed}
		}
		return &ending{Failure: &Failure{Err: f.err}}
	}
	s.alive()
	if f.p == nil {
		return nil
	}
	if s.cfg.seals() && isSealed(f.p) {
		return s.frame(ctx, f.p)
	}
	m, err := wire.DecodeServer(s.codec, f.p)
	if err != nil {
		return s.leave("malformed message")
	}
	if m.Type == wire.TypeWelcome && s.welcomed.IsZero() {
		return s.welcome(ctx, &m.Welcome)
	}
	if s.inClear(m.Type) {
		return s.refuse(ErrNotSealed)
	}
	return s.take(ctx, &m, int64(len(f.p)), plainMessage)
}

// how a message came.
type how bool

const (
	plainMessage  how = false
	sealedMessage how = true
)

// take handles any message but welcome.
func (s *session) take(ctx context.Context, m *wire.ServerMessage, size int64, h how) *ending {
	switch m.Type {
	case wire.TypeMessage:
		if s.welcomed.IsZero() || !s.expected(m.Delivery.Seq, m.Delivery.Seq) {
			return s.leave("a hole in the sequence")
		}
		msg := newMessage(m.Delivery)
		msg.Sealed = h == sealedMessage
		s.inbox.put(item{m: msg, size: size})
	case wire.TypeGap:
		if s.welcomed.IsZero() || !s.expected(m.From, m.To) {
			return s.leave("a hole in the sequence")
		}
	case wire.TypeReplayComplete:
		if end := s.replayEnded(m.Seq); end != nil {
			return end
		}
	case wire.TypeSealWelcome:
		return s.sealWelcomed(m.Handshake)
	case wire.TypeSealed:
		return s.sealed(m.Sealing)
	case wire.TypeTokenExpiring:
		s.tokenEnds = time.Now().Add(time.Duration(min(m.InMS, 1<<40)) * time.Millisecond)
		return s.refreshNow(ctx)
	case wire.TypeRefreshed:
		s.refreshed()
	default: // an event, or nothing of ours
	}
	e, ok := eventOf(m)
	switch {
	case !ok:
	case m.Type != wire.TypeError:
		s.inbox.put(item{e: e, size: size})
	default: // has no place among the messages, and must not wait for them
		s.notify(e)
		if s.shaking() {
			if end := s.sealRefused(); end != nil {
				return end
			}
		}
		if s.offered != "" {
			return s.fallBack("refresh was refused")
		}
	}
	return nil
}

// expected checks that a place continues what was received, but for what did
// not open. A store=never message has none.
func (s *session) expected(from, to uint64) bool {
	if from == 0 && to == 0 {
		return true
	}
	if from > s.next && !s.explained(from) {
		return false
	}
	s.seal.unopened = 0
	s.next = max(s.next, to+1)
	return true
}

func (s *session) welcome(ctx context.Context, w *wire.Welcome) *ending {
	s.opening.Stop()
	if end := s.checkSeal(ctx, w); end != nil {
		return end
	}
	s.welcomed = time.Now()
	s.next = w.Cursor + 1
	s.mu.Lock()
	s.realm, s.clientID = w.Realm, w.ClientID
	s.learned = s.learned || w.Token != ""
	s.wake = false
	s.mu.Unlock()
	if w.Token != "" {
		s.token, s.tokenAt = w.Token, s.welcomed
	}
	if s.refreshing {
		s.refreshed()
	}
	s.renewed = false
	s.inbox.welcome(ctx, w)
	s.notify(Event{Kind: KindWelcome, ClientID: w.ClientID, Welcome: w})
	s.setState(Connected, nil, 0)
	s.armRenewal()
	if end := s.startSealing(w); end != nil {
		return end
	}
	return s.poked() // what waited for the connection
}

// poked does what other goroutines asked for.
func (s *session) poked() *ending {
	if s.welcomed.IsZero() {
		return nil
	}
	s.mu.Lock()
	read, typing, wake := s.Client.read, s.typing, s.wake
	s.Client.read, s.typing, s.wake = 0, nil, false
	s.mu.Unlock()
	if read > 0 {
		if end := s.send(&wire.ClientMessage{Type: wire.TypeRead, Seq: read}); end != nil {
			s.MarkRead(read) // the next connection's
			return end
		}
	}
	for i := range typing {
		if end := s.send(&typing[i]); end != nil {
			return end
		}
	}
	if wake && !s.pinged && time.Since(s.heard) >= wakeSilence {
		s.woken = true
		return s.ping(wakeDeadline)
	}
	return nil
}

// alive puts the next ping off.
func (s *session) alive() {
	s.heard = time.Now()
	s.pinged, s.woken = false, false
	s.quiet.Reset(silence)
}

func (s *session) ping(deadline time.Duration) *ending {
	s.pinged = true
	s.quiet.Reset(deadline)
	return s.send(&wire.ClientMessage{Type: wire.TypePing})
}

func (s *session) silent() *ending {
	switch {
	case s.inbox.full(): // nothing is read: silence says nothing
		s.alive()
		return nil
	case !s.pinged:
		return s.ping(pongDeadline)
	}
	end := s.leave("no answer to ping")
	end.now = s.woken
	return end
}

// due sends or times the ack.
func (s *session) due() *ending {
	n := s.inbox.dueAcks()
	switch {
	case s.welcomed.IsZero() || n == 0:
	case n >= ackCount:
		return s.flush()
	case !s.acking:
		s.acking = true
		s.ack.Reset(ackDelay)
	}
	return nil
}

// flush sends the ack that is due.
func (s *session) flush() *ending {
	s.ack.Stop()
	s.acking = false
	for !s.welcomed.IsZero() {
		m, ok := s.inbox.takeAck()
		if !ok {
			break
		}
		if end := s.send(&m); end != nil {
			return end
		}
		s.forget(m.Seq)
	}
	return nil
}
