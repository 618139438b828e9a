package api

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/push"
)

// What a stream writes: the wire protocol's JSON messages as events. All of
// this runs on the stream's own goroutine, which is why push.Line may write
// through: blocking here holds up nobody else.

// event begins an event; the message is appended after it, then end.
func (s *stream) event(name string) {
	s.out = append(s.out, "event: "...)
	s.out = append(s.out, name...)
	s.out = append(s.out, "\ndata: "...)
}

// content appends what has content, of that place in the mailbox or of none: the
// message as an event of its type, or sealed for the stream where it seals
// (api/wire/SPEC.md section 9).
func (s *stream) content(name string, seq uint64, encode func(dst []byte) []byte) {
	if s.sealer == nil {
		s.place(seq)
		s.event(name)
		s.out = encode(s.out)
		return
	}
	frame, err := s.sealer.Seal(encode(nil), true)
	if err != nil { // of more than push.MaxSessionText alone
		s.a.log.Error("message can't be sealed", "session", s.id, "client", s.adm.Client, "err", err)
		s.Close(push.CloseTryLater, "a message can't be sealed")
		return
	}
	s.place(seq)
	s.event("sealed")
	s.out = base64.StdEncoding.AppendEncode(s.out, frame)
}

// place is the event's ID, where it has one.
func (s *stream) place(seq uint64) {
	if seq != 0 {
		s.out = appendEventID(s.out, seq, s.incarnation)
	}
}

// end closes the event. JSON as the codec writes it holds no line break.
func (s *stream) end(kind string) bool {
	s.out = append(s.out, "\n\n"...)
	s.a.met.events.WithLabelValues(kind).Inc()
	s.waiting.Store(int64(len(s.out)))
	if len(s.out) >= s.a.cfg.SSE.PageBytes {
		s.flush()
	}
	return s.err == nil
}

func (s *stream) message(m *push.Message, seq uint64, replayed bool) bool {
	if m.Sealed != nil {
		return s.sealed(m.Sealed, seq)
	}
	tail, err := wire.EncodeBody(wire.JSON, m.Body)
	if err != nil {
		// A body that was accepted encodes; a damaged one must not stop
		// the mailbox.
		s.a.log.Error("message can't be encoded; its place is told as a gap", "push", m.ID, "err", err)
		return seq == 0 || s.Gap(seq, seq, push.GapDropped)
	}
	head := wire.Head{Seq: seq, Replayed: replayed}
	if s.sealer != nil && wire.MessageLen(wire.JSON, head, tail) > push.MaxSessionText {
		s.a.log.Error("message is too long to be sealed; its place is told as a gap", "push", m.ID)
		return seq == 0 || s.Gap(seq, seq, push.GapDropped)
	}
	s.content("message", seq, func(dst []byte) []byte { return wire.AppendMessage(dst, wire.JSON, head, tail) })
	s.lastSent.Store(s.a.now().UnixMilli())
	return s.end("message")
}

// channelsKnown bounds of how many channels a stream remembers the epoch whose
// secret was sent last. Of any other epoch the secret is sent again: the client
// may have forgotten it.
const channelsKnown = 1024

// lacks reports whether the message can't be opened yet, and does not bring what
// it takes: then it is read from the mailbox, where it does.
func (s *stream) lacks(m *push.Sealed) bool {
	if m == nil || !m.Channel || m.Prelude != nil {
		return false
	}
	e, known := s.epochs[m.ChannelID]
	return !known || e != m.Epoch
}

// prelude sends the secret of a channel's epoch before the first message that
// needs it.
func (s *stream) prelude(m *push.Sealed) {
	if e, known := s.epochs[m.ChannelID]; known && e == m.Epoch || m.Prelude == nil {
		return
	}
	if s.epochs == nil || len(s.epochs) >= channelsKnown {
		s.epochs = make(map[uint64]uint32)
	}
	s.epochs[m.ChannelID] = m.Epoch
	s.sealed(m.Prelude, 0)
}

// sealed writes a sealed frame in base64: api/wire/SPEC.md section 9.
func (s *stream) sealed(m *push.Sealed, seq uint64) bool {
	s.prelude(m)
	frame := make([]byte, 0, 10+len(m.Head)+len(m.Body))
	if m.Channel && seq > 0 { // the sequence stands outside the seal: crt/SPEC.md section 5.4
		frame = binary.BigEndian.AppendUint64(append(frame, "CP"...), seq)
	}
	frame = append(append(frame, m.Head...), m.Body...)
	s.place(seq)
	s.event("sealed")
	s.out = base64.StdEncoding.AppendEncode(s.out, frame)
	s.lastSent.Store(s.a.now().UnixMilli())
	return s.end("message")
}

// Message implements push.Line.
func (s *stream) Message(m *push.Message, seq uint64, replayed bool) bool {
	return s.message(m, seq, replayed)
}

// Gap implements push.Line.
func (s *stream) Gap(from, to uint64, reason push.GapReason) bool {
	s.content("gap", to, func(dst []byte) []byte { return wire.AppendGap(dst, wire.JSON, from, to, string(reason)) })
	return s.end("gap")
}

// ReplayComplete implements push.Line.
func (s *stream) ReplayComplete(seq uint64) bool {
	s.event("replay_complete")
	s.out = wire.AppendReplayComplete(s.out, wire.JSON, seq)
	return s.end("other")
}

// Fetch implements push.Line. The feed asks for one page at a time, so the
// channel has room.
func (s *stream) Fetch(after uint64) {
	s.a.deps.Backend.Fetch(s.adm.Client, after, s.a.cfg.SSE.PageBytes,
		func() bool { return !s.over.Load() },
		func(p push.Page, err error) { s.fetched <- fetched{p, err} })
}

func (s *stream) welcome(o push.Opened, seal push.SealMode) {
	w := wire.Welcome{
		ClientID: s.adm.Client.ID, Realm: s.adm.Client.Realm, Session: s.id, Generation: s.generation,
		Incarnation: o.Incarnation, Cursor: o.Start, Backlog: o.Count,
		HeartbeatMS: s.a.cfg.SSE.Heartbeat.Milliseconds(), Token: s.adm.Minted,
	}
	if s.adm.Minted != "" {
		w.TokenExpiresMS = s.adm.Expires.UnixMilli()
	}
	if o.Public != nil {
		w.Seal, w.SealKey, w.SealGeneration = string(seal), o.Public, o.SealGeneration
	}
	s.event("welcome")
	s.out = wire.AppendWelcome(s.out, wire.JSON, w)
	s.end("other")
}

func (s *stream) notice(n push.Notice) {
	switch n.Kind {
	case push.NoticeTombstone:
		if n.Seq > s.feed.Sent() { // it will be told as a gap
			s.feed.Withdraw(n.Seq)
			return
		}
		s.content("tombstone", 0, func(dst []byte) []byte { return wire.AppendTombstone(dst, wire.JSON, n.PushID, n.Seq) })
	case push.NoticeMemberJoined:
		s.content("member_joined", 0, func(dst []byte) []byte {
			return wire.AppendMember(dst, wire.JSON, wire.TypeMemberJoined, n.Group, n.ClientID)
		})
	case push.NoticeMemberLeft:
		s.content("member_left", 0, func(dst []byte) []byte {
			return wire.AppendMember(dst, wire.JSON, wire.TypeMemberLeft, n.Group, n.ClientID)
		})
	case push.NoticeTyping:
		s.content("typing", 0, func(dst []byte) []byte {
			return wire.AppendTyping(dst, wire.JSON, n.Group, n.ClientID, n.SenderType, n.SenderName)
		})
	case push.NoticeTokenExpiring:
		s.event("token_expiring")
		s.out = wire.AppendTokenExpiring(s.out, wire.JSON, n.ExpiresInMilli)
	default:
		return
	}
	s.end("notice")
}

// last writes why the stream ends. Where the close code gives a delay, the
// browser's own reconnect keeps it too.
func (s *stream) last(e *ending) {
	body, err := json.Marshal(struct {
		Type    string         `json:"type"`
		Code    push.Code      `json:"code"`
		Message string         `json:"message"`
		Close   push.CloseCode `json:"close"`
	}{"error", codeOfClose(e.code), e.reason, e.code})
	if err != nil { // plain fields always marshal
		panic("api: " + err.Error())
	}
	if e.code == push.CloseDraining {
		s.out = append(s.out, "retry: "...)
		s.out = append(s.out, e.reason...)
		s.out = append(s.out, '\n')
	}
	s.event("error")
	s.out = append(s.out, body...)
	s.end("other")
}

// flush hands everything to the connection, and waits until the kernel has
// it or the client's time to read is over.
func (s *stream) flush() {
	if len(s.out) == 0 || s.err != nil {
		return
	}
	// Writers that take no deadline (tests) don't block either.
	_ = s.rc.SetWriteDeadline(time.Now().Add(s.a.cfg.SSE.WriteTimeout))
	if _, s.err = s.w.Write(s.out); s.err == nil { //nolint:gosec // G705: text/event-stream, no page
		s.err = s.rc.Flush()
	}
	if cap(s.out) > 2*s.a.cfg.SSE.PageBytes { // one large message must not cost its size for ever
		s.out = nil
	}
	s.out = s.out[:0]
	s.waiting.Store(0)
}
