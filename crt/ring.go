package crt

import "slices"

// MaxEpochs is how many channel secrets a ring keeps, and maxGenerations how
// many generations of keys.
const (
	MaxEpochs      = 1024
	maxGenerations = 8
)

// Ring is everything that a client can open with: its keys, newest first, and
// the channel secrets that it was brought. Not safe for concurrent use.
type Ring struct {
	keys     []*Keys
	channels []*ChannelKey // oldest first
}

// Add adds the keys of a handshake; the oldest generation beyond what a client
// needs is forgotten.
func (r *Ring) Add(k *Keys) {
	r.keys = slices.Insert(r.keys, 0, k)
	if len(r.keys) > maxGenerations {
		r.keys[maxGenerations].Wipe()
		r.keys = r.keys[:maxGenerations]
	}
}

// AddChannel adds a secret that the client kept.
func (r *Ring) AddChannel(k *ChannelKey) {
	r.channels = slices.DeleteFunc(r.channels, func(o *ChannelKey) bool { return o.Channel == k.Channel && o.Epoch == k.Epoch })
	r.channels = append(r.channels, k)
	if len(r.channels) > MaxEpochs {
		clear(r.channels[0].Secret[:])
		r.channels = slices.Delete(r.channels, 0, 1)
	}
}

// Keys are the generations, newest first, and Channels the secrets, for keeping.
func (r *Ring) Keys() []*Keys { return r.keys }

// Channels are the channel secrets, oldest first.
func (r *Ring) Channels() []*ChannelKey { return r.channels }

// Retire forgets all generations but the newest: nothing under them is left to
// be opened.
func (r *Ring) Retire() {
	for _, k := range r.keys[min(1, len(r.keys)):] {
		k.Wipe()
	}
	r.keys = r.keys[:min(1, len(r.keys))]
}

// RetireChannels forgets the channel secrets that keep is false of (section 5.3):
// they are overwritten. It answers whether there were any.
func (r *Ring) RetireChannels(keep func(*ChannelKey) bool) bool {
	before := len(r.channels)
	r.channels = slices.DeleteFunc(r.channels, func(k *ChannelKey) bool {
		if keep(k) {
			return false
		}
		clear(k.Secret[:])
		return true
	})
	return len(r.channels) < before
}

// Opened is what a frame holds for the client. A cover has no message and no
// key.
type Opened struct {
	Seq     uint64      // of a message with a place
	Message []byte      // the message, MessagePack (section 6); nil: none
	Channel *ChannelKey // a rekey frame's, which the ring has taken
	// Steps is how many key periods were stepped in vain, of a frame that did not
	// open. Who opens what anybody may have sent bounds their sum by MaxSteps
	// (section 4).
	Steps uint64
}

// Open opens what came in one binary message: a frame, or a channel frame after
// its prefix. [ErrOpen] stands for all failures. The message is the caller's.
func (r *Ring) Open(b []byte) (Opened, error) {
	seq, b := CutPrefix(b)
	f, err := ParseFrame(b)
	if err != nil || seq != 0 && f.Mode != Channel {
		return Opened{}, ErrOpen
	}
	if f.Mode == Channel {
		return r.openChannel(&f, seq)
	}
	steps := uint64(0)
	for _, k := range r.keys {
		before := k.stepped
		if o, err := r.openWith(k, &f); err == nil {
			return o, nil
		}
		steps += k.stepped - before
	}
	return Opened{Steps: steps}, ErrOpen
}

func (r *Ring) openChannel(f *Frame, seq uint64) (Opened, error) {
	for _, k := range slices.Backward(r.channels) {
		if k.Channel == f.Shard && k.Epoch == f.Period {
			m, err := k.Open(f)
			return Opened{Seq: seq, Message: m}, err
		}
	}
	return Opened{}, ErrOpen
}

func (r *Ring) openWith(k *Keys, f *Frame) (Opened, error) {
	if f.Mode == Down {
		if k.modulus() != nil {
			return Opened{}, ErrOpen
		}
		c, err := k.at(f.Period)
		if err != nil {
			return Opened{}, ErrOpen
		}
		defer c.Wipe()
		seq, m, err := openDown(f, k.who, &c)
		return Opened{Seq: seq, Message: m}, err
	}
	if !f.Mode.slotted() {
		return Opened{}, ErrOpen
	}
	s, err := k.openSlot(f)
	if err != nil {
		return Opened{}, err
	}
	switch s.Type {
	case SlotCover:
	case SlotInline:
		return Opened{Seq: s.Seq, Message: slices.Clone(s.Data)}, nil
	case SlotEnvelope:
		m, err := openBody(s.Data, Envelope, f.Body)
		return Opened{Seq: s.Seq, Message: m}, err
	case SlotRekey:
		c, err := openRekey(s.Data, f.Body)
		if err == nil {
			r.AddChannel(c)
		}
		return Opened{Channel: c}, err
	}
	return Opened{}, nil
}
