package wsclient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/crt/residue"
)

// primes are moduli that tests share: making them is what takes time.
var primes = sync.OnceValue(func() []*residue.Modulus {
	all := make([]*residue.Modulus, 8)
	for i := range all {
		m, err := residue.Prime(512, rand.Reader)
		if err != nil {
			panic(err)
		}
		all[i] = m
	}
	return all
})

// sealer is a server's sealing for the client alice, who has slot 1 of 4.
type sealer struct {
	t      *testing.T
	id     *crt.Identity
	sealer *crt.Sealer
	shard  *crt.Shard
	chain  crt.Chain
	gen    uint32 // the newest that is complete
	kind   crt.Kind
}

var alice = crt.NameHash("", "alice")

func newSealer(t *testing.T) *sealer {
	t.Helper()
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	id, err := crt.NewIdentity(secret)
	if err != nil {
		t.Fatal(err)
	}
	return &sealer{t: t, id: id, sealer: crt.NewSealer()}
}

func (s *sealer) config(base, seal string) Config {
	return Config{URL: base + "/ws/alice", Seal: seal, ServerKey: s.id.Public()}
}

// welcome reads hello and offers sealing.
func (s *sealer) welcome(p *peer, seal string, cursor uint64) wire.ClientMessage {
	hello := p.message(wire.TypeHello)
	p.send(wire.AppendWelcome(nil, p.codec, wire.Welcome{ClientID: "alice", Session: "s", Incarnation: "aa", Cursor: cursor,
		HeartbeatMS: 25000, Seal: seal, SealKey: s.id.Public(), SealGeneration: s.gen}))
	return hello
}

// handshake is the server's part of one.
func (s *sealer) handshake(p *peer) {
	pending, g := s.answer(p)
	if pending == nil {
		return
	}
	chain, err := pending.Confirm(p.message(wire.TypeSealConfirm).Handshake)
	if err != nil {
		s.t.Errorf("confirm: %v", err)
		return
	}
	s.complete(p, chain, g)
}

func (s *sealer) answer(p *peer) (*crt.Pending, crt.Grant) {
	h, err := crt.ParseHello(p.message(wire.TypeSealHello).Handshake)
	if err != nil || h.Who != alice || h.Suite != crt.X25519MLKEM768 {
		s.t.Errorf("hello %+v, %v", h, err)
		return nil, crt.Grant{}
	}
	s.kind = h.Kind
	g := crt.Grant{Generation: s.gen + 1, Period: 7}
	if h.Kind == crt.KindCRT {
		g.Shard, g.Slot, g.Slots, g.Modulus = 5, 1, 4, primes()[s.gen%2]
	}
	welcome, pending, err := s.id.Answer(h, g, rand.Reader)
	if err != nil {
		s.t.Error(err)
		return nil, g
	}
	p.send(wire.AppendSealWelcome(nil, p.codec, welcome))
	return pending, g
}

func (s *sealer) complete(p *peer, chain crt.Chain, g crt.Grant) {
	s.gen, s.chain = g.Generation, chain
	if g.Modulus != nil {
		spares := primes()[2:]
		shard, err := s.sealer.NewShard(5, 7, []*crt.Member{nil, {Who: alice, Modulus: g.Modulus, Chain: chain}, nil, nil}, func() *residue.Modulus {
			m := spares[0]
			spares = spares[1:]
			return m
		})
		if err != nil {
			s.t.Error(err)
		}
		s.shard = shard
	}
	p.send(wire.AppendSealComplete(nil, p.codec, s.gen))
}

// message is the text inside the seal of the push at seq.
func (s *sealer) message(seq uint64, data string) []byte {
	m, err := wire.AppendSealed(nil, fmt.Appendf(nil, `{"id":"%d","ts":1767225600000,"topic":"t","data":%s}`, 100+seq, data))
	if err != nil {
		s.t.Error(err)
	}
	return m
}

func (s *sealer) slot(mode crt.Mode, slot crt.Slot, body *crt.Body) []byte {
	f, err := s.shard.Seal(nil, mode, 0, []crt.Slot{{}, slot, {}, {}}, body, new(crt.Scratch))
	if err != nil {
		s.t.Error(err)
	}
	if body != nil {
		f = append(f, body.Bytes...)
	}
	return f
}

// frame is the push at seq, sealed as its length and the client's kind ask for.
func (s *sealer) frame(seq uint64, data string) []byte {
	m := s.message(seq, data)
	if s.kind == crt.KindAEAD {
		f, err := s.sealer.SealDown(alice, &s.chain, seq, m)
		if err != nil {
			s.t.Error(err)
		}
		return f
	}
	if len(m) <= crt.InlineSize(64) {
		return s.slot(crt.Direct, crt.Slot{Type: crt.SlotInline, Seq: seq, Data: m}, nil)
	}
	body, key, err := crt.SealBody(m)
	if err != nil {
		s.t.Error(err)
	}
	return s.slot(crt.Envelope, crt.Slot{Type: crt.SlotEnvelope, Seq: seq, Data: key[:]}, body)
}

func (s *sealer) cover() []byte { return s.slot(crt.Direct, crt.Slot{}, nil) }

func flip(f []byte) []byte {
	f = slices.Clone(f)
	f[len(f)-1] ^= 1
	return f
}

func (p *peer) binary(b []byte) { p.frame(ws.NewBinaryFrame(b)) }

func (r *running) wants(t *testing.T, seq uint64, data string) *Message {
	t.Helper()
	m := r.wait(t)
	if m.Seq != seq || string(m.Data) != data || !m.Sealed || m.ID != fmt.Sprint(100+seq) {
		t.Errorf("%+v (%s), want %s at %d", m, m.Data, data, seq)
	}
	return m
}

func TestSealedDelivery(t *testing.T) {
	long := `"` + strings.Repeat("long ", 100) + `"`
	for _, tc := range []struct {
		seal    string
		msgpack bool
	}{{SealCRT, false}, {SealCRT, true}, {SealAEAD, false}, {SealAEAD, true}} {
		t.Run(fmt.Sprint(tc.seal, tc.msgpack), func(t *testing.T) {
			s := newSealer(t)
			acked := make(chan wire.ClientMessage, 1)
			base := server(t, func(p *peer) {
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

func TestKeysSurviveARestart(t *testing.T) {
	s := newSealer(t)
	path := filepath.Join(t.TempDir(), "keys.json")
	group := crt.NewChannelKey(9, 2, "room")
	visits := 0
	base := server(t, func(p *peer) {
		visits++
		h := s.welcome(p, SealCRT, uint64(visits)-1)
		if visits == 1 {
			s.handshake(p)
			body, err := group.SealRekeyBody()
			if err != nil {
				t.Error(err)
			}
			p.binary(s.slot(crt.Rekey, crt.Slot{Type: crt.SlotRekey, Data: group.Secret[:]}, body))
			p.binary(s.frame(1, `1`))
			p.message(wire.TypeAck)
			p.closing()
			return
		}
		if fmt.Sprint(h.SealHeld) != "[1]" {
			t.Errorf("%+v", h)
		}
		p.binary(s.frame(2, `2`))
		f, err := s.sealer.SealChannel(group, s.message(3, `3`))
		if err != nil {
			t.Error(err)
		}
		p.binary(append(crt.AppendPrefix(nil, 3), f...))
		p.message(wire.TypeAck)
		p.closing()
	})
	cfg := s.config(base, SealCRT)
	cfg.SealKeys = NewFileSealKeys(path)
	r := runClient(t, cfg)
	r.wants(t, 1, `1`)
	r.c.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	cfg.SealKeys = NewFileSealKeys(path)
	r = runClient(t, cfg)
	r.wants(t, 2, `2`)
	r.wants(t, 3, `3`)
}

func TestAnotherServerKeyEndsTheRun(t *testing.T) {
	s := newSealer(t)
	closed := make(chan uint16, 1)
	base := server(t, func(p *peer) {
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
		"a message": func(s *sealer, p *peer) {
			s.welcome(p, SealCRT, 0)
			s.handshake(p)
			p.send(p.pushBytes(1, `1`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSealer(t)
			base := server(t, func(p *peer) { serve(s, p); p.closing() })
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
	base := server(t, func(p *peer) {
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
			p.send(wire.AppendGap(nil, p.codec, 2, 3, "expired"))
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
			base := server(t, func(p *peer) {
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

// recorder is a store that tells of each save, and fails where it is told to.
type recorder struct {
	*MemorySealKeys
	saves chan []byte
	fail  error
}

func (s *recorder) Save(ctx context.Context, key string, state []byte) error {
	if s.fail != nil {
		return s.fail
	}
	err := s.MemorySealKeys.Save(ctx, key, state)
	s.saves <- slices.Clone(state)
	return err
}

func TestKeysAreKeptBeforeTheyAreConfirmed(t *testing.T) {
	s := newSealer(t)
	store := &recorder{NewMemorySealKeys(), make(chan []byte, 8), nil}
	done := make(chan struct{})
	base := server(t, func(p *peer) {
		defer close(done)
		s.welcome(p, SealCRT, 0)
		s.answer(p)
		p.message(wire.TypeSealConfirm)
		if _, ok, _ := store.Load(t.Context(), storeKey(p.base(), "", "alice")); !ok {
			t.Error("the confirmation came before the keys were kept")
		}
		p.closing()
	})
	cfg := s.config(base, SealCRT)
	cfg.SealKeys = store
	r := runClient(t, cfg)
	<-store.saves
	r.c.Close()
	<-done
}

func TestKeysThatCantBeKeptAreNotConfirmed(t *testing.T) {
	s := newSealer(t)
	codes := make(chan uint16, 8)
	base := server(t, func(p *peer) {
		s.welcome(p, SealCRT, 0)
		s.answer(p)
		codes <- p.closing() // passes over what is no close, and confirm is
	})
	told := make(chan Event, 8)
	cfg := s.config(base, SealCRT)
	cfg.SealKeys = &recorder{NewMemorySealKeys(), nil, errors.New("disk full")}
	cfg.MaxFailures = 1
	cfg.OnEvent = func(e Event) {
		if e.Kind == KindSealKeys {
			told <- e
		}
	}
	r := runClient(t, cfg)
	if err := <-r.done; err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Error(err)
	}
	if got := <-codes; got != codeComeBack {
		t.Errorf("closed with %d", got)
	}
	<-told
}

// TestKeysAreForgottenOnceAllIsAcked: of earlier key periods, then of an
// earlier generation.
func TestKeysAreForgottenOnceAllIsAcked(t *testing.T) {
	s := newSealer(t)
	store := &recorder{NewMemorySealKeys(), make(chan []byte, 16), nil}
	visits := 0
	next := make(chan struct{})
	base := server(t, func(p *peer) {
		visits++
		s.welcome(p, SealCRT, 2*uint64(visits-1))
		if visits == 1 {
			s.handshake(p)
			old := s.shard
			s.shard = s.shard.Step().Step()
			p.binary(s.frame(1, `1`))
			p.message(wire.TypeAck)
			<-next
			s.shard = old
			p.binary(s.frame(2, `2`)) // under a period that is gone
			s.shard = s.shard.Step().Step()
			p.binary(s.cover())
			p.send(wire.AppendGap(nil, p.codec, 2, 2, "expired")) // 2 is told after all
			p.message(wire.TypeAck)
			s.gen = 41 // somebody else made a handshake
			return
		}
		s.handshake(p)
		p.binary(s.frame(3, `3`))
		p.message(wire.TypeAck)
		p.closing()
	})
	cfg := s.config(base, SealCRT)
	cfg.SealKeys = store
	r := runClient(t, cfg)
	state := func(want string) {
		t.Helper()
		k := keyring{}
		if err := k.unmarshal(<-store.saves); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, g := range k.gens {
			got += fmt.Sprint(" ", g.keys.Grant().Generation, "@", g.keys.Chain().Period)
		}
		if got != want {
			t.Errorf("kept%s, want%s", got, want)
		}
	}
	state(" 1@7")
	r.wants(t, 1, `1`)
	state(" 1@9")
	close(next)
	state(" 42@7 1@9")
	r.wants(t, 3, `3`)
	state(" 42@7")
	if n := r.c.SealStats().DecryptFailed; n != 1 {
		t.Errorf("%d did not open", n)
	}
}

// TestUnconfirmedKeysAreDropped: the server never completed the handshake, and
// says so.
func TestUnconfirmedKeysAreDropped(t *testing.T) {
	s := newSealer(t)
	visits := 0
	base := server(t, func(p *peer) {
		visits++
		if h := s.welcome(p, SealCRT, 0); visits == 2 && fmt.Sprint(h.SealHeld) != "[1]" {
			t.Errorf("%+v", h)
		}
		if visits == 1 {
			s.answer(p)
			p.message(wire.TypeSealConfirm)
			return // without a word
		}
		s.handshake(p)
		p.binary(s.frame(1, `1`))
		p.message(wire.TypeAck)
		p.closing()
	})
	store := &recorder{NewMemorySealKeys(), make(chan []byte, 8), nil}
	cfg := s.config(base, SealCRT)
	cfg.SealKeys = store
	r := runClient(t, cfg)
	r.wants(t, 1, `1`)
	<-store.saves
	k := keyring{}
	if err := k.unmarshal(<-store.saves); err != nil || len(k.gens) != 1 {
		t.Errorf("%d generations are kept, %v", len(k.gens), err)
	}
}

func TestHandshakesThatAreRefused(t *testing.T) {
	s := newSealer(t)
	codes := make(chan uint16, 8)
	base := server(t, func(p *peer) {
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

func TestDamagedKeysAreNotOverwritten(t *testing.T) {
	s := newSealer(t)
	base := server(t, func(p *peer) { p.closing() })
	store := NewMemorySealKeys()
	_ = store.Save(t.Context(), storeKey(base, "", "alice"), []byte(`{"generations":[{"chain":"AA=="}]}`))
	cfg := s.config(base, SealCRT)
	cfg.SealKeys, cfg.MaxFailures = store, 1
	r := runClient(t, cfg)
	select {
	case err := <-r.done:
		if err == nil || !strings.Contains(err.Error(), errSavedKeys.Error()) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on without them")
	}
}

// base is the server's address as the client knows it.
func (p *peer) base() string { return "ws://" + p.conn.LocalAddr().String() }
