package wire

// DecodeClient reads one whole message from a client into m, which is reset
// first; its slices Failed and Caps are used again. It keeps no part of p.
// Anything that is not of the protocol is an error that wraps [ErrMalformed];
// a type that is not a client's is [TypeUnknown] without error, to be ignored
// and counted. Time and memory are bounded by len(p), whatever lengths the
// message announces; ack, read and ping allocate nothing but their id.
func DecodeClient(c Codec, p []byte, m *ClientMessage) error {
	*m = ClientMessage{Failed: m.Failed[:0], Caps: m.Caps[:0]}
	var f fields
	t, err := f.open(c, p, MaxDepth)
	if err != nil {
		return err
	}
	r := reader{f: &f}
	switch t {
	case TypeHello:
		decodeHello(&r, m)
	case TypeAck:
		m.Seq = r.seq(fSeq)
		decodeFailed(&r, m)
		if f.get(fSeq).absent() && len(m.Failed) == 0 {
			r.fail(fSeq, faultMissing)
		}
	case TypeRead:
		r.need(fSeq)
		m.Seq = r.seq(fSeq)
	case TypePing:
		if m.ID = r.text(fID); len(m.ID) > MaxPingIDLen {
			r.fail(fID, faultLong)
		}
	case TypeTyping:
		r.need(fConversationID)
		m.Conversation = r.text(fConversationID)
		m.SenderName = r.text(fSenderName)
	case TypeRefresh:
		r.need(fToken)
		m.Token = r.text(fToken)
	case TypeSealHello, TypeSealConfirm:
		r.need(fData)
		m.Handshake = r.base64url(fData)
	default:
		t = TypeUnknown
	}
	if r.fault == faultNone {
		m.Type = t
	}
	return r.err()
}

func decodeHello(r *reader, m *ClientMessage) {
	m.Device = r.text(fDevice)
	m.Incarnation = r.text(fIncarnation)
	m.Seal = r.text(fSeal)
	if !r.f.get(fCursor).absent() {
		cursor := r.seq(fCursor)
		m.Cursor = &cursor
	}
	decodeHeld(r, m)
	decodeNonce(r, m)
	v := r.f.get(fCaps)
	if v.absent() {
		return
	}
	l, ok := v.list()
	if !ok {
		r.fail(fCaps, faultList)
		return
	}
	for v, more := l.next(); more; v, more = l.next() {
		text, ok := v.bytes()
		if !ok || len(text) > MaxStringLen || len(m.Caps) == MaxCaps {
			r.fail(fCaps, faultElement)
			return
		}
		m.Caps = append(m.Caps, string(text))
	}
}

func decodeHeld(r *reader, m *ClientMessage) {
	v := r.f.get(fSealHeld)
	if v.absent() {
		return
	}
	l, ok := v.list()
	if !ok {
		r.fail(fSealHeld, faultList)
		return
	}
	m.SealHeld = []uint32{} // said, if empty
	for v, more := l.next(); more; v, more = l.next() {
		g, ok := v.int()
		if !ok || g != int64(uint32(g)) || len(m.SealHeld) == MaxSealHeld {
			r.fail(fSealHeld, faultElement)
			return
		}
		m.SealHeld = append(m.SealHeld, uint32(g))
	}
}

// decodeNonce asks for one of who wants sealing: without it what an earlier
// connection was told could be told again.
func decodeNonce(r *reader, m *ClientMessage) {
	if m.Seal == "crt" || m.Seal == "aead" {
		r.need(fSealNonce)
	}
	m.SealNonce = r.base64url(fSealNonce)
	if !r.f.get(fSealNonce).absent() && len(m.SealNonce) != SealNonceLen {
		r.fail(fSealNonce, faultNonce)
	}
}

func decodeFailed(r *reader, m *ClientMessage) {
	v := r.f.get(fFailed)
	if v.absent() {
		return
	}
	l, ok := v.list()
	if !ok {
		r.fail(fFailed, faultList)
		return
	}
	for v, more := l.next(); more; v, more = l.next() {
		var f fields
		if len(m.Failed) == MaxFailed || f.object(v, MaxDepth) != nil {
			r.fail(fFailed, faultElement)
			return
		}
		e := reader{f: &f}
		e.need(fSeq)
		one := Failed{Seq: e.seq(fSeq), Code: e.int32(fCode)}
		if e.fault != faultNone {
			r.fail(fFailed, faultElement)
			return
		}
		m.Failed = append(m.Failed, one)
	}
}
