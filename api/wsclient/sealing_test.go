package wsclient

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/crt"
)

func TestSealedDelivery(t *testing.T) {
	long := `"` + strings.Repeat("long ", 100) + `"`
	for _, tc := range []struct {
		seal    string
		msgpack bool
	}{{SealCRT, false}, {SealCRT, true}, {SealAEAD, false}, {SealAEAD, true}} {
		t.Run(fmt.Sprint(tc.seal, tc.msgpack), func(t *testing.T) {
			s := newSealer(t)
			acked := make(chan wire.ClientMessage, 1)
			base := serial(t, func(p *peer) {
				if h := s.welcome(p, tc.seal, 0); h.Seal != tc.seal || len(h.SealHeld) != 0 {
					t.Errorf("%+v", h)
				}
				s.handshake(p)
				p.binary(s.frame(1, `1`))
				p.binary(s.frame(2, long))
				if tc.seal == SealCRT {
					p.binary(s.cover())
				}
				p.send(wire.AppendReplayComplete(nil, p.codec, 2))
				p.binary(s.frame(3, `3`))
				acked <- p.message(wire.TypeAck)
				p.closing()
			})
			cfg := s.config(base, tc.seal)
			cfg.Msgpack = tc.msgpack
			r := runClient(t, cfg)
			if m := r.wants(t, 1, `1`); !m.Replayed {
				t.Error("it is told as new")
			}
			r.wants(t, 2, long)
			if m := r.wants(t, 3, `3`); m.Replayed {
				t.Error("it is told as replayed")
			}
			if m := <-acked; m.Seq == 0 || len(m.Failed) != 0 {
				t.Errorf("%+v", m)
			}
			covers := uint64(0)
			if tc.seal == SealCRT {
				covers = 1
			}
			if got, want := r.c.SealStats(), (SealStats{Sealed: 3 + covers, Covers: covers, Generation: 1}); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

func TestAnotherServerKeyEndsTheRun(t *testing.T) {
	s := newSealer(t)
	closed := make(chan uint16, 1)
	base := serial(t, func(p *peer) {
		s.welcome(p, SealCRT, 0)
		closed <- p.closing()
	})
	cfg := s.config(base, SealCRT)
	cfg.ServerKey = newSealer(t).id.Public()
	r := runClient(t, cfg)
	if err := <-r.done; !errors.Is(err, ErrServerKey) || r.c.State() != Failed {
		t.Errorf("%v in %s", err, r.c.State())
	}
	if got := <-closed; got != 1000 {
		t.Errorf("closed with %d", got)
	}
}

// A hello that was held up by the network finds its client served as one that
// said nothing.
func TestALateHelloIsNoRefusal(t *testing.T) {
	s := newSealer(t)
	late := make(chan bool, 1)
	late <- true
	base := server(t, func(p *peer) {
		select {
		case <-late:
			time.Sleep(helloWait)
			p.welcome(0)
			p.closing()
			return
		default:
		}
		s.welcome(p, SealCRT, 0)
		s.handshake(p)
		p.binary(s.frame(1, `1`))
		p.closing()
	})
	r := runClient(t, s.config(base, SealCRT))
	r.wants(t, 1, `1`)
}

func TestPlainIsRefused(t *testing.T) {
	for name, serve := range map[string]func(*sealer, *peer){
		"not offered": func(_ *sealer, p *peer) { p.welcome(0) },
		"of another kind": func(s *sealer, p *peer) {
			s.welcome(p, SealAEAD, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSealer(t)
			base := serial(t, func(p *peer) { serve(s, p); p.closing() })
			r := runClient(t, s.config(base, SealCRT))
			if err := <-r.done; !errors.Is(err, ErrNotSealed) {
				t.Error(err)
			}
			if len(r.handled) > 0 {
				t.Error("it was handled")
			}
		})
	}
}

func TestPlainIsTakenWhereItIsAllowed(t *testing.T) {
	s := newSealer(t)
	base := serial(t, func(p *peer) {
		p.welcome(0)
		p.send(p.pushBytes(1, `1`))
		p.closing()
	})
	cfg := s.config(base, SealCRT)
	cfg.AllowPlain = true
	if m := runClient(t, cfg).wait(t); m.Seq != 1 || m.Sealed {
		t.Errorf("%+v", m)
	}
}

// TestWhatDoesNotOpenIsADeadLetter: a later place explains the hole, or the
// replay's end does; a hole that nothing explains is one.
func TestWhatDoesNotOpenIsADeadLetter(t *testing.T) {
	for name, tc := range map[string]struct {
		send   func(*sealer, *peer)
		seq    uint64
		failed string
		lost   uint64
		closed uint16
	}{
		"before a message": {func(s *sealer, p *peer) {
			p.binary(flip(s.frame(1, `1`)))
			p.binary(flip(s.frame(2, `2`)))
			p.binary(s.frame(3, `3`))
		}, 3, "[{1 -1} {2 -1}]", 2, 0},
		"before a gap": {func(s *sealer, p *peer) {
			p.binary(flip(s.frame(1, `1`)))
			s.tell(p, wire.AppendGap(nil, p.codec, 2, 3, "expired"))
		}, 3, "[{1 -1}]", 1, 0},
		"at the replay's end": {func(s *sealer, p *peer) {
			p.binary(flip(s.frame(1, `1`)))
			p.binary([]byte("CB"))
			p.send(wire.AppendReplayComplete(nil, p.codec, 1))
		}, 1, "[{1 -1}]", 2, 0},
		"opens, and holds no message": {func(s *sealer, p *peer) {
			p.binary(s.slot(crt.Direct, crt.Slot{Type: crt.SlotInline, Seq: 1, Data: []byte("junk")}, nil))
		}, 1, "[{1 -1}]", 1, 0},
		"a hole": {func(s *sealer, p *peer) {
			p.binary(flip(s.frame(1, `1`)))
			p.binary(s.frame(3, `3`))
		}, 0, "[]", 1, codeComeBack},
		"a hole after the count began anew": {func(s *sealer, p *peer) {
			p.binary(flip(s.cover()))
			p.binary(s.frame(1, `1`))
			p.binary(s.frame(3, `3`))
		}, 0, "[]", 1, codeComeBack},
		"a hole after the replay's end": {func(s *sealer, p *peer) {
			p.binary(flip(s.frame(1, `1`)))
			p.send(wire.AppendReplayComplete(nil, p.codec, 1))
			p.binary(s.frame(3, `3`))
		}, 0, "[{1 -1}]", 1, codeComeBack},
		"a hole at the replay's end": {func(s *sealer, p *peer) {
			p.binary(flip(s.frame(1, `1`)))
			p.send(wire.AppendReplayComplete(nil, p.codec, 2))
		}, 0, "[]", 1, codeComeBack},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSealer(t)
			acks, codes := make(chan wire.ClientMessage, 1), make(chan uint16, 1)
			base := serial(t, func(p *peer) {
				if s.gen > 0 { // it came back
					p.closing()
					return
				}
				s.welcome(p, SealCRT, 0)
				s.handshake(p)
				tc.send(s, p)
				if tc.closed != 0 {
					codes <- p.closing()
					return
				}
				acks <- p.message(wire.TypeAck)
				p.closing()
			})
			var mu sync.Mutex
			var failed []uint64
			cfg := s.config(base, SealCRT)
			cfg.OnEvent = func(e Event) {
				if e.Kind == KindFailed {
					mu.Lock()
					defer mu.Unlock()
					failed = append(failed, e.Seq)
					if e.Code != -1 || !errors.Is(e.Err, ErrUnopened) {
						t.Errorf("%+v", e)
					}
				}
			}
			r := runClient(t, cfg)
			if tc.closed != 0 {
				if got := <-codes; got != tc.closed {
					t.Errorf("closed with %d", got)
				}
			} else if m := <-acks; m.Seq != tc.seq || fmt.Sprint(m.Failed) != tc.failed {
				t.Errorf("%+v, want %d %s", m, tc.seq, tc.failed)
			}
			if n := r.c.SealStats().DecryptFailed; n != tc.lost {
				t.Errorf("%d are counted", n)
			}
			mu.Lock()
			defer mu.Unlock()
			if want := strings.Count(tc.failed, "{"); len(failed) != want && tc.closed == 0 {
				t.Errorf("%v were told", failed)
			}
		})
	}
}

func TestHandshakesThatAreRefused(t *testing.T) {
	s := newSealer(t)
	codes := make(chan uint16, 8)
	base := serial(t, func(p *peer) {
		s.welcome(p, SealCRT, 0)
		p.message(wire.TypeSealHello)
		p.send(wire.AppendError(nil, p.codec, 42900, "too many"))
		codes <- p.closing()
	})
	cfg := s.config(base, SealCRT)
	cfg.MaxFailures = 1
	r := runClient(t, cfg)
	var f *Failure
	if err := <-r.done; !errors.As(err, &f) {
		t.Error(err)
	}
	if got := <-codes; got != codeComeBack {
		t.Errorf("closed with %d", got)
	}
}

func TestSealNeedsAKey(t *testing.T) {
	for _, cfg := range []Config{{Seal: SealCRT}, {Seal: SealAEAD, ServerKey: make([]byte, 31)}, {Seal: "rot13", ServerKey: make([]byte, 32)}} {
		cfg.URL, cfg.Token = "wss://h/ws/a", "t"
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "Seal") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
