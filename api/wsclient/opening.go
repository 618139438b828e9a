package wsclient

import (
	"context"
	"encoding/binary"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/crt"
)

// What comes sealed: frames of the mailbox, which are handled as messages, and those
// of this connection alone (api/wire/SPEC.md section 9).

// isSealed tells a sealed frame from the messages of either sub-protocol: none
// of those begins so.
func isSealed(p []byte) bool { return len(p) >= 2 && p[0] == 'C' && (p[1] == 'B' || p[1] == 'P') }

// frame takes a sealed frame.
func (s *session) frame(ctx context.Context, p []byte) *ending {
	if s.welcomed.IsZero() {
		return s.leave("a sealed frame before welcome")
	}
	if len(p) > modeAt && crt.Mode(p[modeAt]) == crt.Session && p[1] == 'B' {
		return s.told(ctx, p)
	}
	o, g, ok := s.keys.open(p)
	if !ok {
		s.seal.unopened++
		s.seals.failed.Add(1)
		if s.seal.vain += o.Steps; s.seal.vain > crt.MaxSteps { // crt/SPEC.md section 4
			return s.leave("frames that do not open cost too much")
		}
		return nil
	}
	s.seals.sealed.Add(1)
	switch {
	case o.Channel != nil:
		s.brought(o.Channel)
		if err := s.saveKeys(); err != nil { // before a message that needs it can be acked
			return s.keysFailed(err)
		}
		return nil
	case o.Message == nil:
		s.seals.covers.Add(1)
		return nil
	}
	if !s.expected(o.Seq, o.Seq) {
		return s.leave("a hole in the sequence")
	}
	if o.Seq != 0 && g != nil {
		s.mark(mark{o.Seq, g, binary.BigEndian.Uint32(p[periodAt:])})
	}
	s.deliver(o, int64(len(p)))
	return nil
}

// deliver puts an opened message in the inbox. What opens and is no message is
// as what does not open, but that its place is known.
func (s *session) deliver(o crt.Opened, size int64) {
	d, err := wire.DecodeSealed(o.Message)
	if err != nil {
		s.seals.failed.Add(1)
		if o.Seq != 0 {
			s.lost(o.Seq, o.Seq)
		}
		return
	}
	d.Seq, d.Replayed = o.Seq, o.Seq != 0 && !s.seal.replayed
	m := newMessage(d)
	m.Sealed = true
	s.inbox.put(item{m: m, size: size})
}

// explained takes the places before to as failed where no more are missing
// than frames did not open.
func (s *session) explained(to uint64) bool {
	if to <= s.next || to-s.next > s.seal.unopened {
		return false
	}
	s.lost(s.next, to-1)
	s.next, s.seal.unopened = to, 0
	return true
}

// lost puts places whose messages did not open in the inbox.
func (s *session) lost(from, to uint64) {
	s.inbox.put(item{e: Event{Kind: KindFailed, From: from, To: to, Code: codeUnopened, Err: ErrUnopened}})
}

// replayEnded is replay_complete.
func (s *session) replayEnded(seq uint64) *ending {
	s.seal.replayed = true
	if s.seal.unopened > 0 && seq >= s.next && !s.explained(seq+1) {
		return s.leave("a hole in the sequence")
	}
	if s.retireChannels() {
		s.saveFewer()
	}
	return nil
}

// brought notes the secret that a rekey frame brought.
func (s *session) brought(k *crt.ChannelKey) {
	if s.seal.brought == nil {
		s.seal.brought = make(map[uint64]uint32)
	}
	s.seal.brought[k.Channel] = k.Epoch
	s.retireChannels()
}

// retireChannels forgets, once the replay is over, all secrets of channels but
// those that came last on this connection: the server brings any other again
// before a message that needs it (api/wire/SPEC.md section 9).
func (s *session) retireChannels() bool {
	if !s.seal.replayed || s.keys.channels == nil {
		return false
	}
	return s.keys.channels.RetireChannels(func(k *crt.ChannelKey) bool {
		epoch, there := s.seal.brought[k.Channel]
		return there && epoch == k.Epoch
	})
}

// saveFewer saves what is left: where that fails more is kept than is needed, and
// nothing is missing.
func (s *session) saveFewer() {
	if err := s.saveKeys(); err != nil {
		s.notify(Event{Kind: KindSealKeys, Err: err})
	}
}

// mark notes where messages under other keys begin.
func (s *session) mark(m mark) {
	if m.gen == s.seal.last.gen && m.period == s.seal.last.period {
		return
	}
	s.seal.last = m
	s.seal.marks = append(s.seal.marks, m)
}

// forget forgets the keys of everything that is acked, which was saved before:
// mailboxes are in the order in which they were sealed.
func (s *session) forget(acked uint64) {
	var m mark
	for len(s.seal.marks) > 0 && s.seal.marks[0].seq <= acked {
		m = s.seal.marks[0]
		s.seal.marks = s.seal.marks[1:]
	}
	if m.gen == nil {
		return
	}
	changed := false
	for i, g := range s.keys.gens {
		if g == m.gen {
			changed = s.keys.retire(i + 1)
			break
		}
	}
	if m.period > m.gen.keys.Chain().Period {
		m.gen.keys.Forget(m.period)
		changed = true
	}
	if changed {
		s.saveFewer()
	}
}

// inClear reports whether the message must have come sealed (api/wire/SPEC.md
// section 9): whatever has content, and before welcome, which says whether the
// server seals, as well.
func (s *session) inClear(t wire.Type) bool {
	return (s.seal.on || s.cfg.seals() && s.welcomed.IsZero()) && hasContent(t)
}

func hasContent(t wire.Type) bool {
	switch t {
	case wire.TypeMessage, wire.TypeGap, wire.TypeTombstone, wire.TypeMemberJoined, wire.TypeMemberLeft, wire.TypeTyping:
		return true
	default:
		return false
	}
}

// told takes a frame that was sealed for this connection alone. Each is the next
// one: what is not ends the connection.
func (s *session) told(ctx context.Context, p []byte) *ending {
	if s.seal.receiver == nil {
		return s.leave("a session frame before there are keys")
	}
	format, text, err := s.seal.receiver.Open(p)
	if err != nil {
		s.seals.failed.Add(1)
		return s.leave("a session frame that does not open, or not in this place")
	}
	s.seals.sealed.Add(1)
	codec := wire.JSON
	if format == crt.MsgPack {
		codec = wire.Msgpack
	}
	m, err := wire.DecodeServer(codec, text)
	if err != nil || !hasContent(m.Type) {
		return s.leave("malformed message in a session frame")
	}
	return s.take(ctx, &m, int64(len(p)), sealedMessage)
}
