package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
)

// What is wrapped is bound to whose it is, and where it stands (section 7).

func chainOwner(m *push.SealMember, period uint32) []byte {
	o := crt.ChainOwner{
		Who: crt.NameHash(m.Client.Realm, m.Client.ID), Generation: m.Generation, Period: period,
		Kind: crt.KindAEAD, Shard: uint64(m.Shard), Slot: uint16(m.Slot),
	}
	if m.Shard != 0 {
		o.Kind = crt.KindCRT
	}
	return o.Bytes()
}

func channelOwner(k *push.SealChannel) []byte { return crt.ChannelOwner(uint64(k.ID), k.Epoch) }

func bodyOwner(id int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(id)) }

// Use implements [push.Sealer].
func (s *Service) Use(key uint32) error {
	if err := s.cfg.Wrapper.Use(key); err != nil {
		return fmt.Errorf("seal: the store is under wrapping key %d, which this server does not have: give it the other servers' file (seal.key_file): %w", key, err)
	}
	return nil
}

// Proof is what a store keeps of the wrapping key in use (section 7).
func (s *Service) Proof() (key uint32, proof []byte) {
	key = s.cfg.Wrapper.Used()
	return key, s.cfg.Wrapper.Wrap(nil, crt.LabelStore, crt.StoreOwner(key), s.Public())
}

// Check says in what this server's keys differ from those of the proof; nil: in
// nothing.
func (s *Service) Check(key uint32, proof []byte) error {
	public, err := s.cfg.Wrapper.Unwrap(crt.LabelStore, crt.StoreOwner(key), proof)
	switch {
	case errors.Is(err, crt.ErrOpen):
		return fmt.Errorf("wrapping key %d is another one than the store's", key)
	case err != nil:
		return fmt.Errorf("wrapping key %d, which the store is under, is missing", key)
	case !bytes.Equal(public, s.Public()):
		return errors.New("the identity is another one than that which the store's clients have pinned")
	}
	return nil
}

// Blind implements [push.Sealer].
func (s *Service) Blind(key push.ClientKey, text string) string {
	sum := s.cfg.Identity.Blind(crt.NameHash(key.Realm, key.ID), []byte(text))
	return "blind:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// Rewrapper wraps what a store has under older wrapping keys under the newest:
// a [push.Rewrapper]. Safe for concurrent use.
type Rewrapper struct{ Wrapper *crt.Wrapper }

// Member implements [push.Rewrapper].
func (r Rewrapper) Member(m *push.SealMember) ([]byte, error) {
	b, err := r.again(crt.LabelChain, chainOwner(m, m.Period), m.Secret)
	if err != nil {
		err = fmt.Errorf("seal: the keys of client %q can't be read: %w", m.Client, err)
	}
	return b, err
}

// Channel implements [push.Rewrapper].
func (r Rewrapper) Channel(k *push.SealChannel) ([]byte, error) {
	b, err := r.again(crt.LabelChannel, channelOwner(k), k.Secret)
	if err != nil {
		err = fmt.Errorf("seal: the secret of group %q can't be read: %w", k.Group, err)
	}
	return b, err
}

// Waiting implements [push.Rewrapper].
func (r Rewrapper) Waiting(id int64, wrapped []byte) ([]byte, error) {
	b, err := r.again(crt.LabelBody, bodyOwner(id), wrapped)
	if err != nil {
		err = fmt.Errorf("seal: the body of push %d can't be read: %w", id, err)
	}
	return b, err
}

func (r Rewrapper) again(label string, owner, b []byte) ([]byte, error) {
	if !r.Wrapper.Old(b) {
		return nil, nil
	}
	plain, err := r.Wrapper.Unwrap(label, owner, b)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return r.Wrapper.Wrap(nil, label, owner, plain), nil
}

// Counter counts what is wrapped under older keys than the newest, and changes
// nothing: a [push.Rewrapper]. Not safe for concurrent use.
type Counter struct {
	Wrapper *crt.Wrapper
	Old     int
}

// Member implements [push.Rewrapper].
func (c *Counter) Member(m *push.SealMember) ([]byte, error) { return c.count(m.Secret) }

// Channel implements [push.Rewrapper].
func (c *Counter) Channel(k *push.SealChannel) ([]byte, error) { return c.count(k.Secret) }

// Waiting implements [push.Rewrapper].
func (c *Counter) Waiting(_ int64, wrapped []byte) ([]byte, error) { return c.count(wrapped) }

func (c *Counter) count(b []byte) ([]byte, error) {
	if c.Wrapper.Old(b) {
		c.Old++
	}
	return nil, nil
}

var (
	_ push.Rewrapper = Rewrapper{}
	_ push.Rewrapper = (*Counter)(nil)
)
