// Package seal decides what is sealed with whom, and does it: it is what
// package push calls Sealing and Sealer, on package crt (whose SPEC.md names the
// sections below).
//
// Read first: [Service]. It may be called from any goroutine. It keeps nothing
// but caches: keys are the store's, wrapped by a key that the store does not
// have.
package seal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/crt/residue"
	"github.com/sunzi-push/sunzi/push"
)

// Config is what a [Service] needs.
type Config struct {
	Identity *crt.Identity
	Wrapper  *crt.Wrapper
	// Encode appends a message's body (see [push.BuildBody]) as it stands in a
	// seal (section 6).
	Encode func(dst, body []byte) ([]byte, error)
	// Bits is the width of a modulus, Slots how many clients share a shard
	// (section 1.2). Zero: 512 and 16.
	Bits, Slots int
	// NoCRT and NoAEAD are kinds that are not offered.
	NoCRT, NoAEAD bool
}

// Service makes clients' keys and seals for them. Make one for each start of a
// process: it holds the process's sealer.
type Service struct {
	cfg    Config
	keys   push.SealKeys // set by [Service.Keep]
	sealer *crt.Sealer
	pool   func() *residue.Pool // made when the first client asks: most servers need none
	made   atomic.Pointer[residue.Pool]

	mu     sync.Mutex
	shards map[int64]*ready // guarded by mu
}

// primesReady is how many primes are kept for clients that join.
const primesReady = 256

// New makes a service. [Service.Keep] has to be called before it makes keys,
// Close when it is not needed any more.
func New(cfg Config) *Service {
	if cfg.Bits == 0 {
		cfg.Bits = 512
	}
	if cfg.Slots == 0 {
		cfg.Slots = 16
	}
	s := &Service{cfg: cfg, sealer: crt.NewSealer(), shards: make(map[int64]*ready)}
	s.pool = sync.OnceValue(func() *residue.Pool {
		p := residue.NewPool(cfg.Bits, primesReady)
		s.made.Store(p)
		return p
	})
	return s
}

// Keep says where keys are kept.
func (s *Service) Keep(keys push.SealKeys) { s.keys = keys }

// Close stops the making of primes, and waits for it.
func (s *Service) Close() {
	if p := s.made.Load(); p != nil {
		p.Close()
	}
}

// Public implements [push.Sealing].
func (s *Service) Public() []byte { return s.cfg.Identity.Public() }

// Offers implements [push.Sealing].
func (s *Service) Offers(mode push.SealMode) bool {
	return mode == push.SealCRT && !s.cfg.NoCRT || mode == push.SealAEAD && !s.cfg.NoAEAD
}

// Hold implements [push.Sealing].
func (s *Service) Hold(ctx context.Context, key push.ClientKey, want push.SealMode, held []uint32, cursor uint64) (bool, error) {
	return s.keys.Hold(ctx, key, want, held, cursor)
}

// handshake is one that waits for its confirmation.
type handshake struct {
	at      push.SealPlace
	pending *crt.Pending
	modulus *residue.Modulus // nil in aead
}

var kinds = map[crt.Kind]push.SealMode{crt.KindCRT: push.SealCRT, crt.KindAEAD: push.SealAEAD}

// Begin implements [push.Sealing].
func (s *Service) Begin(ctx context.Context, key push.ClientKey, hello []byte) ([]byte, push.Handshake, error) {
	h, err := crt.ParseHello(hello)
	if err != nil || h.Who != crt.NameHash(key.Realm, key.ID) {
		return nil, nil, push.Errorf(push.CodeInvalidField, "seal_hello is not one of this client's: see crt/SPEC.md, section 3")
	}
	if !s.Offers(kinds[h.Kind]) {
		return nil, nil, push.Errorf(push.CodeInvalidField, "this server does not offer seal %q", kinds[h.Kind])
	}
	agreed, err := s.cfg.Identity.Agree(h, rand.Reader)
	if err != nil { // before anything is kept for it
		return nil, nil, push.Errorf(push.CodeInvalidField, "seal_hello can't be answered: a key in it is none")
	}
	at, err := s.keys.Reserve(ctx, key, kinds[h.Kind], s.cfg.Bits, s.cfg.Slots)
	if err != nil {
		return nil, nil, err
	}
	hs := &handshake{at: at}
	g := crt.Grant{Generation: at.Generation, Period: at.Period}
	if h.Kind == crt.KindCRT {
		hs.modulus = s.pool().Take()
		g.Shard, g.Slot, g.Slots, g.Modulus = uint64(at.Shard), at.Slot, at.Slots, hs.modulus
	}
	welcome, pending, err := agreed.Grant(g)
	hs.pending = pending
	return welcome, hs, err
}

// Complete implements [push.Sealing].
func (s *Service) Complete(ctx context.Context, key push.ClientKey, nonce []byte, h push.Handshake, confirm []byte) (push.Completed, error) {
	hs, ok := h.(*handshake)
	if !ok {
		return push.Completed{}, push.Errorf(push.CodeInvalidField, "seal_confirm without a handshake")
	}
	chain, err := hs.pending.Confirm(confirm)
	if err != nil {
		return push.Completed{}, push.Errorf(push.CodeInvalidField, "seal_confirm does not confirm: the client and this server came to other keys")
	}
	// chain is not wiped on return: a store that ran out of time may still be at
	// work, and would then keep, and seal for, a key of zeros.
	who, conn := crt.NameHash(key.Realm, key.ID), connKeys{hs.pending.Up(), hs.pending.Session()}
	err = s.keys.Activate(ctx, key, hs.at, func(period uint32) ([]byte, error) {
		c := chain
		defer c.Wipe()
		for c.Period < period {
			c.Step()
		}
		m := &push.SealMember{Client: key, Generation: hs.at.Generation, Shard: hs.at.Shard, Slot: hs.at.Slot}
		return s.wrap(m, &c, &conn, hs.modulus), nil
	})
	if err != nil {
		return push.Completed{}, err
	}
	return completed(who, nonce, hs.at.Generation, &conn, hs.modulus), nil
}

// wrap is how a member's secret is kept: its chain key, what it sends with, what
// its sessions are sent with, then c (section 7).
func (s *Service) wrap(of *push.SealMember, c *crt.Chain, conn *connKeys, m *residue.Modulus) []byte {
	secret := append(make([]byte, 0, 256), c.Key[:]...)
	secret = append(append(secret, conn.up[:]...), conn.session[:]...)
	if m != nil {
		secret = m.AppendC(secret)
	}
	defer clear(secret)
	return s.cfg.Wrapper.Wrap(nil, crt.LabelChain, chainOwner(of, c.Period), secret)
}

// unwrapped is a member's keys, in clear.
type unwrapped struct {
	crt.Member
	conn connKeys
}

// unwrap is the reverse.
func (s *Service) unwrap(m *push.SealMember) (*unwrapped, error) {
	who := crt.NameHash(m.Client.Realm, m.Client.ID)
	secret, err := s.cfg.Wrapper.Unwrap(crt.LabelChain, chainOwner(m, m.Period), m.Secret)
	if err == nil && len(secret) < 3*crt.KeySize {
		err = crt.ErrOpen
	}
	if err != nil {
		return nil, fmt.Errorf("seal: the keys of client %q can't be read: %w", m.Client, err)
	}
	defer clear(secret)
	mem := &unwrapped{crt.Member{Who: who, Chain: crt.Chain{Period: m.Period, Key: [crt.KeySize]byte(secret)}}, connKeys{[crt.KeySize]byte(secret[crt.KeySize:]), [crt.KeySize]byte(secret[2*crt.KeySize:])}}
	if c := secret[3*crt.KeySize:]; len(c) > 0 {
		if mem.Modulus, err = residue.NewModulus(16*len(c), c); err != nil {
			return nil, fmt.Errorf("seal: the keys of client %q can't be read: %w", m.Client, err)
		}
	}
	return mem, nil
}

// DecodeText implements [push.Sealing].
func (s *Service) DecodeText(text []byte) []byte {
	b, err := crt.DecodeText(text)
	if err != nil {
		return nil
	}
	return b
}

// Unsealer implements [push.Sealing].
func (s *Service) Unsealer(ctx context.Context, key push.ClientKey, session string) (push.Unsealer, error) {
	m, err := s.keys.Member(ctx, key)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, push.Errorf(push.CodeNoSealKey, "client %q has no sealing keys: it has to make a handshake first", key.ID)
	}
	mem, err := s.unwrap(m)
	if err != nil {
		return nil, err
	}
	defer mem.Chain.Wipe()
	if mem.Modulus != nil {
		return nil, push.Errorf(push.CodeNoSealKey, "client %q seals with crt: what it sends is not sealed", key.ID)
	}
	// Keys of this kind begin at key period 0.
	return unsealer{crt.NewReceiver(mem.Who, []byte(session), crt.Chain{Key: mem.conn.up})}, nil
}

type unsealer struct{ *crt.Receiver }

func (u unsealer) Open(frame []byte) ([]byte, bool, error) {
	format, text, err := u.Receiver.Open(frame)
	return text, format == crt.JSON, err
}

// Step implements [push.Sealer].
func (s *Service) Step(m *push.SealMember) ([]byte, error) {
	mem, err := s.unwrap(m)
	if err != nil {
		return nil, err
	}
	defer mem.Chain.Wipe()
	mem.Chain.Step()
	return s.wrap(m, &mem.Chain, &mem.conn, mem.Modulus), nil
}

// Wrap implements [push.Sealer].
func (s *Service) Wrap(id int64, body []byte) []byte {
	return s.cfg.Wrapper.Wrap(nil, crt.LabelBody, bodyOwner(id), body)
}

// Unwrap implements [push.Sealer].
func (s *Service) Unwrap(id int64, wrapped []byte) ([]byte, error) {
	body, err := s.cfg.Wrapper.Unwrap(crt.LabelBody, bodyOwner(id), wrapped)
	if errors.Is(err, crt.ErrOpen) { // under a key that is there
		err = push.ErrUnreadable
	}
	if err != nil {
		return nil, fmt.Errorf("seal: the body of push %d can't be read: %w", id, err)
	}
	return body, nil
}

// NewChannel implements [push.Sealer].
func (s *Service) NewChannel(k *push.SealChannel) {
	c := crt.NewChannelKey(uint64(k.ID), k.Epoch, k.Group)
	k.Secret = s.cfg.Wrapper.Wrap(nil, crt.LabelChannel, channelOwner(k), c.Secret[:])
	clear(c.Secret[:])
}

func (s *Service) channel(k *push.SealChannel) (*crt.ChannelKey, error) {
	secret, err := s.cfg.Wrapper.Unwrap(crt.LabelChannel, channelOwner(k), k.Secret)
	if err == nil && len(secret) != crt.KeySize {
		err = crt.ErrOpen
	}
	if err != nil {
		return nil, fmt.Errorf("seal: the secret of group %q can't be read: %w", k.Group, err)
	}
	return &crt.ChannelKey{Channel: uint64(k.ID), Epoch: k.Epoch, Name: k.Group, Secret: [crt.KeySize]byte(secret)}, nil
}

// prime makes one now.
func prime(bits int) *residue.Modulus {
	m, err := residue.Prime(bits, rand.Reader)
	if err != nil { // the system's randomness never fails, and the width is one
		panic("seal: " + err.Error())
	}
	return m
}

var (
	_ push.Sealing = (*Service)(nil)
	_ push.Sealer  = (*Service)(nil)
)
