package wsclient

import (
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"testing"

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

	modulus *residue.Modulus  // of kind crt
	key     [crt.KeySize]byte // of sessions
	session *crt.Sender       // of this one
	nonce   []byte            // of its hello
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
	s.nonce = hello.SealNonce
	s.session = crt.NewSessionSender(alice, s.nonce, s.gen, s.key)
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
	if g.Modulus == nil {
		p.opens = crt.NewReceiver(alice, []byte("s"), crt.Chain{Period: g.Period, Key: pending.Up()})
	}
	s.key = pending.Session()
	s.complete(p, chain, g)
	s.session = crt.NewSessionSender(alice, s.nonce, s.gen, s.key)
}

// tell sends a message of the protocol sealed for the session.
func (s *sealer) tell(p *peer, text []byte) { p.binary(s.told(p, text)) }

func (s *sealer) told(p *peer, text []byte) []byte {
	format := crt.JSON
	if p.codec == wire.Msgpack {
		format = crt.MsgPack
	}
	f, err := s.session.Seal(format, text)
	if err != nil {
		s.t.Error(err)
	}
	return f
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
	agreed, err := s.id.Agree(h, rand.Reader)
	if err != nil {
		s.t.Error(err)
		return nil, g
	}
	welcome, pending, err := agreed.Grant(g)
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
		s.modulus = g.Modulus
		s.shard = s.later(0)
	}
	p.send(wire.AppendSealComplete(nil, p.codec, s.gen))
}

// later is the shard so many key periods on.
func (s *sealer) later(periods uint32) *crt.Shard {
	chain := s.chain
	for range periods {
		chain.Step()
	}
	spares := primes()[2:]
	shard, err := s.sealer.NewShard(5, 7+periods, []*crt.Member{nil, {Who: alice, Modulus: s.modulus, Chain: chain}, nil, nil}, func() *residue.Modulus {
		m := spares[0]
		spares = spares[1:]
		return m
	})
	if err != nil {
		s.t.Error(err)
	}
	return shard
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

// base is the server's address as the client knows it.
func (p *peer) base() string { return "ws://" + p.conn.LocalAddr().String() }

// serial is a server that serves one connection after the other, since a
// sealer is not safe for more.
func serial(t *testing.T, serve func(*peer)) string {
	t.Helper()
	var one sync.Mutex
	return server(t, func(p *peer) {
		one.Lock()
		defer one.Unlock()
		serve(p)
	})
}
