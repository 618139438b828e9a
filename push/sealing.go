package push

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
)

// Sealed is a message sealed for its client (crt/SPEC.md, section 5). It is
// immutable, and its bytes are shared: by the members of a shard, or of a
// channel.
type Sealed struct {
	Head []byte // the frame up to its body
	Body []byte // nil: none
	// Channel says that it is for all members of a channel: the sequence goes
	// before the frame. ChannelID and Epoch name the secret that opens it.
	Channel   bool
	ChannelID uint64
	Epoch     uint32
	// Prelude brings that secret, to whom the message is for. It is sent first
	// where the session did not get the secret yet; nil: it has to be read from
	// the mailbox, where it comes with the message.
	Prelude *Sealed
}

// Covers says which frames of mode crt go as covers to members of the shard that
// they have nothing for (crt/SPEC.md, section 8.1).
type Covers string

const (
	// CoverNone spares everybody frames that hold nothing for them: whoever
	// sees the connections can tell whom a frame is for.
	CoverNone Covers = "none"
	// CoverDirect covers frames without a body, of which x is the whole.
	CoverDirect Covers = "direct"
	// CoverAll covers envelopes as well, body and all: g clients receive what
	// is for one.
	CoverAll Covers = "all"
)

// Known reports whether it is one of the three.
func (c Covers) Known() bool { return c == CoverNone || c == CoverDirect || c == CoverAll }

// Covers reports whether members that the frame has nothing for get it.
func (c Covers) Covers(s *Sealed) bool {
	return c == CoverAll || c == CoverDirect && s.Body == nil
}

// CoverListener is a [CommitListener] that also hears of covers: members of a
// shard that a frame has no message for get it as well, so that nobody can tell
// for whom it is. It must not block, and may keep both arguments.
type CoverListener interface {
	Covered(m *Message, to []ClientKey)
}

// Covered implements [CoverListener]: live sessions get the frame, wherever they
// are. A cover that is dropped is not missed.
func (s *Service) Covered(m *Message, to []ClientKey) {
	s.elsewhere.Cover(m, to)
	for _, key := range to {
		for _, session := range s.sessions.Of(key) {
			if session.Live(m) {
				s.met.covers.Inc()
			}
		}
	}
}

// Sealing makes clients' sealing keys. Its errors are [CodeInvalidField] where
// this kind is not offered or a handshake fails, and the store's.
type Sealing interface {
	// Public is the server's identity key, which clients pin: 32 bytes.
	Public() []byte
	// Hold is [SealKeys.Hold].
	Hold(ctx context.Context, key ClientKey, want SealMode, held []uint32, cursor uint64) (changed bool, err error)
	// Offers reports whether clients may ask for that kind.
	Offers(mode SealMode) bool
	// Unsealer opens what the client sends on that session under its newest keys.
	// [CodeNoSealKey] where it has none of kind SealAEAD.
	Unsealer(ctx context.Context, key ClientKey, session string) (Unsealer, error)
	// DecodeText takes base64 as clients in the field send it; nil for what is
	// none.
	DecodeText(text []byte) []byte
	// Begin takes SEAL_HELLO. It answers SEAL_WELCOME, and what Complete needs.
	// The keys are kept, but nothing is sealed for them yet.
	Begin(ctx context.Context, key ClientKey, hello []byte) (welcome []byte, h Handshake, err error)
	// Complete takes SEAL_CONFIRM: what is committed from its return on is
	// sealed for the new keys. nonce is [Hello.Nonce].
	Complete(ctx context.Context, key ClientKey, nonce []byte, h Handshake, confirm []byte) (Completed, error)
	// Session makes what seals for one session of the client, under its keys in
	// use, with its [Hello.Nonce]. Zero where it has none. [ErrUnreadable] where no
	// server of the store can read them.
	Session(ctx context.Context, key ClientKey, nonce []byte) (Completed, error)
}

// Completed are keys that are in use.
type Completed struct {
	Generation uint32
	Mode       SealMode
	// Session seals what one session is sent. It is the session's own.
	Session SessionSealer
}

// MaxSessionText is the longest text that goes in a session frame, in bytes: it
// fits a body with what comes with it (crt/SPEC.md section 10).
const MaxSessionText = 16 << 20

// SessionSealer seals what one session of a client is sent (crt/SPEC.md section
// 5.7): the client opens it in the order of the calls. Not safe for concurrent
// use; it does not block.
type SessionSealer interface {
	// Seal seals one message of the WebSocket protocol, in JSON or in
	// MessagePack. It keeps nothing of text. It fails for nothing up to
	// [MaxSessionText].
	Seal(text []byte, json bool) ([]byte, error)
}

// SealKeys keeps clients' sealing keys. Implemented by store.
type SealKeys interface {
	// Reserve numbers the client's next keys, and for SealCRT finds it a slot in
	// a shard of that shape. Keys of the client that were reserved and not
	// activated are given up. CodeNoClient where the client is unknown.
	Reserve(ctx context.Context, key ClientKey, kind SealMode, bits, slots int) (SealPlace, error)
	// Activate has everything that is committed from its return on sealed for
	// the keys, and destroys those of before. secret answers what is to be kept,
	// wrapped, for a key period at or after the place's; it is called as often as
	// the transaction is tried, and even after a return with CodeTimeout, whose
	// outcome is unknown. CodeInvalidField where the place is not reserved any
	// more.
	Activate(ctx context.Context, key ClientKey, at SealPlace, secret func(period uint32) ([]byte, error)) error
	// Member reads the client's keys in use; nil where there are none.
	Member(ctx context.Context, key ClientKey) (*SealMember, error)
	// Hold takes a client's word on what it wants and which generations it
	// holds. Keys of another kind, or that it does not hold, are destroyed, so
	// that nothing more is sealed for them; what waits under keys that it does
	// not hold is dropped as key_lost. Where it holds some, keys newer than those
	// stay: its word may be older than they are. Keys that were reserved are given
	// up: none that a welcome does not name come into use after it. What waits up to
	// cursor the client has: it is not dropped. changed says that the mailbox may be
	// another one than before.
	Hold(ctx context.Context, key ClientKey, want SealMode, held []uint32, cursor uint64) (changed bool, err error)
}

// SealPlace is what keys were reserved for.
type SealPlace struct {
	Kind        SealMode
	Generation  uint32
	Period      uint32 // key period at which they begin
	Shard       int64  // with Slot, Slots and Bits only of SealCRT
	Slot, Slots int
	Bits        int // of a modulus
}

// ErrUnreadable is the error of what is in the store and can't be read by any
// server: it was changed, or cut short.
var ErrUnreadable = errors.New("unreadable")

// Sealer seals inside the store's transactions: no I/O, and quick. Safe for
// concurrent use.
type Sealer interface {
	// Group starts a commit group: a message that many are sent has one body in
	// it.
	Group() SealGroup
	// Use says which wrapping key is the store's: what is wrapped from now on is
	// wrapped under it. An error where this server does not have it.
	Use(key uint32) error
	// Wrap wraps the content of a push that waits to be placed, and Unwrap is the
	// reverse: whom it is for, and how it is to be sealed, is not known yet. The
	// error is [ErrUnreadable] where no server of the store can unwrap it.
	Wrap(id int64, body []byte) []byte
	Unwrap(id int64, wrapped []byte) ([]byte, error)
	// Blind answers what stands for a text of the client in the store, so that
	// equal ones can be found by who cannot tell what they are: at most 64 bytes
	// of ASCII.
	Blind(key ClientKey, text string) string
	// NewChannel fills in the secret of a channel's new epoch, wrapped.
	NewChannel(k *SealChannel)
	// Step answers the member's secret at the next key period.
	Step(m *SealMember) ([]byte, error)
}

// Rewrapper wraps secrets as they are stored anew, under a newer key. Its methods
// answer nil where the secret stays as it is.
type Rewrapper interface {
	Member(m *SealMember) ([]byte, error)
	Channel(k *SealChannel) ([]byte, error)
	// Waiting takes what [Sealer.Wrap] made for the push.
	Waiting(id int64, wrapped []byte) ([]byte, error)
}

// SealGroup seals for one commit group.
type SealGroup interface {
	// Shard seals what members of a shard are sent. Frames name all items, each
	// once.
	Shard(sh *SealShard, items []SealItem) ([]SealedFrame, error)
	// Channel seals a message for all members of a channel. Its ID is of the
	// push and the channel, so that it can be found again.
	Channel(k *SealChannel, m *Message) (SealedFrame, error)
	// Rekey brings the channel's secret to some slots of a shard.
	Rekey(sh *SealShard, k *SealChannel, slots []int) (*Sealed, error)
	// Client seals for a client of kind SealAEAD.
	Client(m *SealMember, it SealItem) (SealedFrame, error)
}

// SealShard is a shard as it is stored. Two of one ID and Version are equal.
type SealShard struct {
	ID      int64
	Version int64 // random, another one with every change
	Period  uint32
	Bits    int
	Slots   int
	Members []SealMember
}

// SealMember is a client's keys as they are stored.
type SealMember struct {
	Client     ClientKey
	Generation uint32
	Period     uint32
	Shard      int64 // with Slot only of SealCRT
	Slot       int
	Secret     []byte // wrapped
}

// SealChannel is one epoch of a group's channel as it is stored.
type SealChannel struct {
	Realm, Group string
	Epoch        uint32
	ID           int64
	Secret       []byte // wrapped
}

// SealItem is a message at a place of a client's mailbox.
type SealItem struct {
	Client  ClientKey
	Slot    int
	Seq     uint64
	Message *Message
}

// SealedFrame is a frame, and which of the items are in it.
type SealedFrame struct {
	ID     [16]byte // unique
	Sealed *Sealed
	Items  []int
}

// ChannelFrameID is the ID of the frame that a push to a channel is in: one push
// is sealed once for it, however many transactions place it.
func ChannelFrameID(channel, id int64) (frame [16]byte) {
	binary.BigEndian.PutUint64(frame[:], uint64(channel))
	binary.BigEndian.PutUint64(frame[8:], uint64(id))
	return frame
}

// Unsealer opens what a client of kind SealAEAD sends on one connection, each
// frame once and in order. Not safe for concurrent use; it does not block.
type Unsealer interface {
	// Open answers the message of the WebSocket protocol, in JSON or in
	// MessagePack. After an error nothing of the connection can be trusted.
	Open(frame []byte) (text []byte, json bool, err error)
}

// DecodeText answers what came as text in base64; nil for what is none.
func (d *Desk) DecodeText(text []byte) []byte {
	if d.sealing == nil {
		return nil
	}
	return d.sealing.DecodeText(text)
}

// Unsealer makes one for the session of that name.
func (d *Desk) Unsealer(id Identity, session string, done func(Unsealer, error)) {
	d.enqueue(errand{run: func(ctx context.Context) bool {
		if d.sealing == nil {
			done(nil, Errorf(CodeInvalidField, "this server does not seal"))
			return true
		}
		u, err := d.sealing.Unsealer(ctx, id.Client, session)
		if HasCode(err, CodeNoStore) || HasCode(err, CodeTimeout) {
			return false
		}
		done(u, err)
		return true
	}})
}

// Handshake is one that was begun, opaque but to its [Sealing].
type Handshake any

// SealHello begins a handshake of the session's client.
func (d *Desk) SealHello(id Identity, hello []byte, done func(welcome []byte, h Handshake, err error)) {
	d.enqueue(errand{tries: lastTry, run: func(ctx context.Context) bool {
		if d.sealing == nil {
			done(nil, nil, Errorf(CodeInvalidField, "this server does not seal"))
			return true
		}
		welcome, h, err := d.sealing.Begin(ctx, id.Client, hello)
		done(welcome, h, err)
		return true
	}})
}

// SealConfirm completes it; nonce is the session's [Hello.Nonce].
func (d *Desk) SealConfirm(id Identity, nonce []byte, h Handshake, confirm []byte, done func(Completed, error)) {
	d.enqueue(errand{tries: lastTry, run: func(ctx context.Context) bool {
		done(d.sealing.Complete(ctx, id.Client, nonce, h, confirm))
		return true
	}})
}

// offer fills in what welcome says of sealing, and what seals for the session
// where the client holds the keys in use. Those are read last: where others came
// into use meanwhile, welcome names them.
func (d *Desk) offer(ctx context.Context, key ClientKey, h Hello, o *Opened) error {
	if !d.offers(h.Seal) {
		return nil
	}
	o.Public = d.sealing.Public()
	if o.Seal != h.Seal || !slices.Contains(h.Held, o.SealGeneration) {
		return nil
	}
	c, err := d.sealing.Session(ctx, key, h.Nonce)
	if errors.Is(err, ErrUnreadable) { // welcome names none, so that the client makes new ones in their place
		d.log.Error("a client's sealing keys can't be read by any server; it has to make new ones", "client", key, "err", err)
		c, err = Completed{}, nil
	}
	if err != nil {
		return err
	}
	if o.SealGeneration == c.Generation {
		o.Session = c.Session
	}
	o.SealGeneration = c.Generation
	return nil
}
