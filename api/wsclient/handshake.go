package wsclient

import (
	"cmp"
	"crypto/rand"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/crt"
)

// Handshakes on a connection (crt/SPEC.md section 3): the first where the newest keys
// are missing, then one a day.

// startSealing makes a handshake where the newest keys are missing, or the server
// was not told that they are held; and times the next one.
func (s *session) startSealing(w *wire.Welcome) *ending {
	switch {
	case !s.cfg.seals() || w.Seal == "":
		return nil
	case !s.seal.usable:
		return s.handshake()
	case s.sealedAt.IsZero():
		s.sealedAt = time.Now() // by an earlier process, nobody knows when
	}
	s.seal.timer.Reset(max(time.Until(s.sealedAt.Add(sealEvery)), 0))
	return nil
}

func (s *session) handshake() *ending {
	h, hello, err := crt.NewHandshake(crt.X25519MLKEM768, s.kind(), s.keys.who, s.cfg.ServerKey, rand.Reader)
	if err != nil {
		return s.refuse(err)
	}
	s.seal.hello, s.seal.fresh, s.seal.doubtful = h, nil, nil
	s.seal.timer.Reset(sealDeadline)
	return s.send(&wire.ClientMessage{Type: wire.TypeSealHello, Handshake: hello})
}

// sealDue is the timer.
func (s *session) sealDue() *ending {
	if s.shaking() {
		return s.leave("the handshake was not answered")
	}
	return s.handshake()
}

func (s *session) shaking() bool { return s.seal.hello != nil || s.seal.fresh != nil }

// sealWelcomed goes on with a handshake. The keys are kept before they are
// confirmed: from then on messages are sealed for them.
func (s *session) sealWelcomed(welcome []byte) *ending {
	h := s.seal.hello
	if h == nil {
		return nil
	}
	s.seal.hello = nil
	keys, confirm, err := h.Finish(welcome)
	if err != nil {
		end := s.leave("the handshake failed")
		end.Err = err
		return end
	}
	s.seal.fresh = s.keys.add(keys)
	if err := s.saveKeys(); err != nil {
		return s.keysFailed(err)
	}
	s.seal.timer.Reset(sealDeadline)
	if end := s.send(&wire.ClientMessage{Type: wire.TypeSealConfirm, Handshake: confirm}); end != nil {
		return end
	}
	s.sealUp(s.seal.fresh) // the server takes no other keys from here on
	return nil
}

// sealUp seals what the session sends under these keys, in mode aead.
func (s *session) sealUp(g *generation) {
	if s.kind() == crt.KindAEAD {
		s.seal.sender = crt.NewSender(s.keys.who, []byte(s.seal.conn), g.keys.Up())
	}
}

// sealDown opens what is sealed for this connection under these keys, from here on.
func (s *session) sealDown(g *generation) {
	s.seal.receiver = crt.NewSessionReceiver(s.keys.who, s.seal.nonce, g.keys.Grant().Generation, g.keys.Session())
}

// sealedUp is a message as it is sent: sealed, but for hello and handshakes.
func (s *session) sealedUp(m *wire.ClientMessage, text []byte) ([]byte, error) {
	if s.seal.sender == nil || m.Type == wire.TypeHello || m.Type == wire.TypeSealHello || m.Type == wire.TypeSealConfirm {
		return text, nil
	}
	format := crt.JSON
	if s.codec == wire.Msgpack {
		format = crt.MsgPack
	}
	return s.seal.sender.Seal(format, text)
}

func (s *session) sealed(generation uint32) *ending {
	g := cmp.Or(s.seal.fresh, s.seal.doubtful)
	if g == nil {
		return nil
	}
	if g.keys.Grant().Generation != generation {
		return s.leave("another handshake was confirmed")
	}
	s.seal.fresh, s.seal.doubtful, s.seal.usable, s.sealedAt = nil, nil, true, time.Now()
	s.seal.timer.Reset(sealEvery)
	g.complete = true
	s.sealDown(g)
	if err := s.saveKeys(); err != nil { // the next welcome says it again
		s.notify(Event{Kind: KindSealKeys, Err: err})
	}
	s.tellGeneration()
	s.notify(Event{Kind: KindSealed, Generation: generation})
	return nil
}

// sealRefused takes an error for the answer to a handshake. With keys that are
// good still there is time.
func (s *session) sealRefused() *ending {
	s.seal.hello, s.seal.fresh, s.seal.doubtful = nil, nil, s.seal.fresh
	if !s.seal.usable {
		return s.leave("the handshake was refused")
	}
	s.seal.timer.Reset(sealRetry)
	return nil
}
