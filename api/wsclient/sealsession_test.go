package wsclient

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/crt"
)

// Whatever has content comes sealed for the session, among the mailbox's frames.
func TestEverythingComesSealed(t *testing.T) {
	for _, tc := range []struct {
		seal    string
		msgpack bool
	}{{SealCRT, false}, {SealCRT, true}, {SealAEAD, false}, {SealAEAD, true}} {
		t.Run(fmt.Sprint(tc.seal, tc.msgpack), func(t *testing.T) {
			s := newSealer(t)
			base := serial(t, func(p *peer) {
				s.welcome(p, tc.seal, 0)
				s.handshake(p)
				s.tell(p, p.pushBytes(1, `1`)) // was stored in clear
				p.binary(s.frame(2, `2`))
				s.tell(p, wire.AppendGap(nil, p.codec, 3, 4, "expired"))
				p.send(wire.AppendReplayComplete(nil, p.codec, 4))
				s.tell(p, p.pushBytes(5, `5`))
				s.tell(p, wire.AppendTombstone(nil, p.codec, 101, 1))
				s.tell(p, wire.AppendMember(nil, p.codec, wire.TypeMemberJoined, "g", "bob"))
				s.tell(p, wire.AppendMember(nil, p.codec, wire.TypeMemberLeft, "g", "bob"))
				s.tell(p, wire.AppendTyping(nil, p.codec, "g", "bob", "client", "Bob"))
				p.binary(s.frame(6, `6`))
				p.closing()
			})
			cfg := s.config(base, tc.seal)
			cfg.Msgpack = tc.msgpack
			kinds := make(chan Kind, 32)
			cfg.OnEvent = func(e Event) { kinds <- e.Kind }
			r := runClient(t, cfg)
			for _, seq := range []uint64{1, 2, 5, 6} {
				r.wants(t, seq, fmt.Sprint(seq))
			}
			for _, want := range []Kind{KindWelcome, KindSealed, KindGap, KindReplayComplete, KindTombstone, KindMemberJoined, KindMemberLeft, KindTyping} {
				if got := <-kinds; got != want {
					t.Errorf("%s was told, want %s", got, want)
				}
			}
			if n := r.c.SealStats(); n.DecryptFailed != 0 || n.Sealed != 9 {
				t.Errorf("%+v", n)
			}
		})
	}
}

// Nothing that has content is taken in clear where the server seals, whatever is
// allowed where it does not.
func TestContentInClearEndsTheRun(t *testing.T) {
	for name, text := range map[string]func(*peer) []byte{
		"message":         func(p *peer) []byte { return p.pushBytes(1, `1`) },
		"live message":    func(p *peer) []byte { return p.pushBytes(0, `1`) },
		"gap":             func(p *peer) []byte { return wire.AppendGap(nil, p.codec, 1, 1, "expired") },
		"tombstone":       func(p *peer) []byte { return wire.AppendTombstone(nil, p.codec, 1, 1) },
		"joined":          func(p *peer) []byte { return wire.AppendMember(nil, p.codec, wire.TypeMemberJoined, "g", "b") },
		"left":            func(p *peer) []byte { return wire.AppendMember(nil, p.codec, wire.TypeMemberLeft, "g", "b") },
		"typing":          func(p *peer) []byte { return wire.AppendTyping(nil, p.codec, "g", "b", "client", "B") },
		"before any keys": nil,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSealer(t)
			base := serial(t, func(p *peer) {
				s.welcome(p, SealCRT, 0)
				if text == nil {
					p.send(p.pushBytes(1, `1`))
				} else {
					s.handshake(p)
					p.send(text(p))
				}
				p.closing()
			})
			cfg := s.config(base, SealCRT)
			cfg.AllowPlain = true
			r := runClient(t, cfg)
			if err := <-r.done; !errors.Is(err, ErrNotSealed) || len(r.handled) > 0 {
				t.Errorf("%v, %d handled", err, len(r.handled))
			}
		})
	}
}

// Only welcome says whether the server seals: what has content does not come
// before it.
func TestContentBeforeWelcomeEndsTheRun(t *testing.T) {
	for name, text := range map[string]func(*peer) []byte{
		"message":   func(p *peer) []byte { return p.pushBytes(0, `1`) },
		"tombstone": func(p *peer) []byte { return wire.AppendTombstone(nil, p.codec, 1, 1) },
		"typing":    func(p *peer) []byte { return wire.AppendTyping(nil, p.codec, "g", "b", "client", "B") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSealer(t)
			base := serial(t, func(p *peer) {
				p.message(wire.TypeHello)
				p.send(text(p))
				p.closing()
			})
			cfg := s.config(base, SealCRT)
			cfg.AllowPlain, cfg.MaxFailures = true, 1
			var told atomic.Bool
			cfg.OnEvent = func(e Event) {
				if e.Kind == KindTombstone || e.Kind == KindTyping {
					told.Store(true)
				}
			}
			r := runClient(t, cfg)
			if err := <-r.done; !errors.Is(err, ErrNotSealed) || len(r.handled) > 0 || told.Load() {
				t.Errorf("%v, %d handled, told %t", err, len(r.handled), told.Load())
			}
		})
	}
}

// A session frame that is not the next, or is nothing that comes so, ends the
// connection; the next one begins anew, under the same keys.
func TestASessionFrameOutOfPlaceEndsTheConnection(t *testing.T) {
	for name, bad := range map[string]func(*sealer, *peer) []byte{
		"a hole": func(s *sealer, p *peer) []byte {
			s.told(p, []byte("lost"))
			return s.told(p, p.pushBytes(2, `2`))
		},
		"a changed bit": func(s *sealer, p *peer) []byte { return flip(s.told(p, p.pushBytes(2, `2`))) },
		"no message":    func(s *sealer, p *peer) []byte { return s.told(p, []byte("{}")) },
		"no content":    func(s *sealer, p *peer) []byte { return s.told(p, wire.AppendPong(nil, p.codec, "x")) },
		"other keys": func(s *sealer, p *peer) []byte {
			s.session = crt.NewSessionSender(alice, s.nonce, s.gen+1, s.key)
			return s.told(p, p.pushBytes(2, `2`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSealer(t)
			first := true
			base := serial(t, func(p *peer) {
				if first {
					first = false
					s.welcome(p, SealAEAD, 0)
					s.handshake(p)
					s.tell(p, p.pushBytes(1, `1`))
					p.binary(bad(s, p))
					p.closing()
					return
				}
				if h := s.welcome(p, SealAEAD, 1); len(h.SealHeld) != 1 {
					t.Errorf("%+v", h)
				}
				s.tell(p, p.pushBytes(2, `22`))
				p.closing()
			})
			r := runClient(t, s.config(base, SealAEAD))
			r.wants(t, 1, `1`)
			r.wants(t, 2, `22`)
		})
	}
}

// What one connection was told, from its first frame on, is told on no later one,
// though the keys are the same; nor does the client say its nonce twice.
func TestWhatAnEarlierConnectionWasToldIsToldOnNoOther(t *testing.T) {
	s := newSealer(t)
	var recorded, nonce []byte
	visits := 0
	base := serial(t, func(p *peer) {
		typing := func(conversation string) []byte {
			return s.told(p, wire.AppendTyping(nil, p.codec, conversation, "b", "client", "B"))
		}
		visits++
		s.welcome(p, SealCRT, 0)
		switch visits {
		case 1:
			s.handshake(p)
			recorded, nonce = typing("first"), s.nonce
			p.binary(recorded)
			return
		case 2:
			if bytes.Equal(nonce, s.nonce) {
				t.Error("a nonce was said twice")
			}
			p.binary(recorded)
		case 3:
			p.binary(typing("last"))
		}
		p.closing()
	})
	told := make(chan string, 8)
	cfg := s.config(base, SealCRT)
	cfg.OnEvent = func(e Event) {
		if e.Kind == KindTyping {
			told <- e.Conversation
		}
	}
	runClient(t, cfg)
	for _, want := range []string{"first", "last"} {
		if got := <-told; got != want {
			t.Errorf("told of %q, want %q", got, want)
		}
	}
}
