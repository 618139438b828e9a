package wire

import "strconv"

// EncodeClient encodes one message of a client. Fields that are zero and
// optional are left out. A type that is not a client's is a mistake of the
// caller and gives nothing.
func EncodeClient(c Codec, m *ClientMessage) []byte {
	o := newObject(make([]byte, 0, 64), c, m.Type)
	switch m.Type {
	case TypeHello:
		encodeHello(&o, m)
	case TypeAck:
		o.seq("seq", m.Seq)
		encodeFailed(&o, m.Failed)
	case TypeRead:
		o.seq("seq", m.Seq)
	case TypePing:
		o.optional("id", m.ID)
	case TypeTyping:
		o.text("conversation_id", m.Conversation)
		o.optional("sender_name", m.SenderName)
	case TypeRefresh:
		o.text("token", m.Token)
	case TypeSealHello, TypeSealConfirm:
		o.base64url("data", m.Handshake)
	default:
		return nil
	}
	return o.end()
}

func encodeHello(o *object, m *ClientMessage) {
	o.optional("device", m.Device)
	if m.Cursor != nil {
		o.seq("cursor", *m.Cursor)
	}
	o.optional("incarnation", m.Incarnation)
	o.optional("seal", m.Seal)
	encodeHeld(o, m.SealHeld)
	if m.SealNonce != nil {
		o.base64url("seal_nonce", m.SealNonce)
	}
	if len(m.Caps) == 0 {
		return
	}
	o.list("caps", len(m.Caps))
	for i, s := range m.Caps {
		if o.c == Msgpack {
			o.dst = appendMpText(o.dst, s)
			continue
		}
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.dst = appendJSONText(o.dst, s)
	}
	o.endList()
}

// encodeHeld writes an empty list too: it says that nothing is held.
func encodeHeld(o *object, held []uint32) {
	if held == nil {
		return
	}
	o.list("seal_held", len(held))
	for i, g := range held {
		switch {
		case o.c == Msgpack:
			o.dst = appendMpUint(o.dst, uint64(g))
		case i > 0:
			o.dst = strconv.AppendUint(append(o.dst, ','), uint64(g), 10)
		default:
			o.dst = strconv.AppendUint(o.dst, uint64(g), 10)
		}
	}
	o.endList()
}

func encodeFailed(o *object, failed []Failed) {
	if len(failed) == 0 {
		return
	}
	o.list("failed", len(failed))
	for i, f := range failed {
		if o.c == Msgpack {
			o.dst = appendMpUint(append(o.dst, "\x82\xa3seq"...), f.Seq)
			o.dst = appendMpInt(append(o.dst, "\xa4code"...), int64(f.Code))
			continue
		}
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.dst = strconv.AppendUint(append(o.dst, `{"seq":"`...), f.Seq, 10)
		o.dst = strconv.AppendInt(append(o.dst, `","code":`...), int64(f.Code), 10)
		o.dst = append(o.dst, '}')
	}
	o.endList()
}

func (o *object) list(k string, n int) {
	o.key(k)
	switch {
	case o.c == JSON:
		o.dst = append(o.dst, '[')
	case n <= 15:
		o.dst = append(o.dst, 0x90|byte(n))
	default:
		o.dst = append(o.dst, 0xdc, byte(n>>8), byte(n))
	}
}

func (o *object) endList() {
	if o.c == JSON {
		o.dst = append(o.dst, ']')
	}
}
