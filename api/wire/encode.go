package wire

import "strconv"

// Encoders of what a server sends. Each appends one whole message to dst and
// returns it; none fails, blocks or keeps its arguments. SPEC.md section 5
// defines the messages.

// AppendMessage appends one push for one client: the head, then the shared
// tail from [EncodeBody] of the same codec. It copies, and allocates nothing
// where dst has [MessageLen] bytes of room.
func AppendMessage(dst []byte, c Codec, h Head, tail []byte) []byte {
	if c == Msgpack {
		return appendMpMessage(dst, h, tail)
	}
	dst = append(dst, jsonMessage...)
	if h.Seq != 0 {
		dst = append(dst, jsonSeq...)
		dst = strconv.AppendUint(dst, h.Seq, 10)
		dst = append(dst, jsonSeqEnd...)
	}
	if h.Replayed {
		dst = append(dst, jsonReplayed...)
	}
	return append(dst, tail...)
}

const (
	jsonMessage  = `{"type":"message",`
	jsonSeq      = `"seq":"`
	jsonSeqEnd   = `",`
	jsonReplayed = `"replayed":true,`

	mpMessage  = "\xa4type\xa7message"
	mpSeq      = "\xa3seq"
	mpReplayed = "\xa8replayed\xc3"
)

// appendMpMessage joins head and body into one flat map: the tail starts with
// the body's own map header, whose count grows by the head's fields.
func appendMpMessage(dst []byte, h Head, tail []byte) []byte {
	n, rest := mpTail(tail)
	n += headFields(h)
	dst = appendMpMap(dst, n)
	dst = append(dst, mpMessage...)
	if h.Seq != 0 {
		dst = append(dst, mpSeq...)
		dst = appendMpUint(dst, h.Seq)
	}
	if h.Replayed {
		dst = append(dst, mpReplayed...)
	}
	return append(dst, rest...)
}

func headFields(h Head) int {
	n := 1
	if h.Seq != 0 {
		n++
	}
	if h.Replayed {
		n++
	}
	return n
}

// mpTail splits a tail into the number of its pairs and the pairs. EncodeBody
// writes no header longer than three bytes.
func mpTail(tail []byte) (int, []byte) {
	if len(tail) == 0 {
		return 0, nil
	}
	if tail[0] == 0xde && len(tail) >= 3 {
		return int(tail[1])<<8 | int(tail[2]), tail[3:]
	}
	return int(tail[0] & 15), tail[1:]
}

// MessageLen is the length of what [AppendMessage] appends, so that a frame's
// header can be written first.
func MessageLen(c Codec, h Head, tail []byte) int {
	if c == Msgpack {
		n, rest := mpTail(tail)
		size := 1 + len(mpMessage) + len(rest)
		if n+headFields(h) > 15 {
			size += 2
		}
		if h.Seq != 0 {
			size += len(mpSeq) + mpUintLen(h.Seq)
		}
		if h.Replayed {
			size += len(mpReplayed)
		}
		return size
	}
	size := len(jsonMessage) + len(tail)
	if h.Seq != 0 {
		size += len(jsonSeq) + digits(h.Seq) + len(jsonSeqEnd)
	}
	if h.Replayed {
		size += len(jsonReplayed)
	}
	return size
}

func digits(v uint64) int {
	n := 1
	for ; v >= 10; v /= 10 {
		n++
	}
	return n
}

func mpUintLen(v uint64) int {
	switch {
	case v < 1<<7:
		return 1
	case v < 1<<8:
		return 2
	case v < 1<<16:
		return 3
	case v < 1<<32:
		return 5
	}
	return 9
}

// AppendWelcome appends the answer to hello.
func AppendWelcome(dst []byte, c Codec, w Welcome) []byte {
	o := newObject(dst, c, TypeWelcome)
	o.text("client_id", w.ClientID)
	o.optional("realm", w.Realm)
	o.text("session", w.Session)
	o.seq("generation", w.Generation)
	o.text("incarnation", w.Incarnation)
	o.seq("cursor", w.Cursor)
	o.int("heartbeat", w.HeartbeatMS)
	o.int("backlog", int64(w.Backlog))
	if w.Token != "" {
		o.text("token", w.Token)
		o.int("token_expires", w.TokenExpiresMS)
	}
	if w.Seal != "" {
		o.text("seal", w.Seal)
		o.base64url("seal_key", w.SealKey)
		o.int("seal_generation", int64(w.SealGeneration))
	}
	return o.end()
}

// AppendReplayComplete appends the end of the replay: everything up to seq
// was sent.
func AppendReplayComplete(dst []byte, c Codec, seq uint64) []byte {
	o := newObject(dst, c, TypeReplayComplete)
	o.seq("seq", seq)
	return o.end()
}

// AppendGap appends that the places from to to, both inclusive, hold nothing.
func AppendGap(dst []byte, c Codec, from, to uint64, reason string) []byte {
	o := newObject(dst, c, TypeGap)
	o.seq("from", from)
	o.seq("to", to)
	o.text("reason", reason)
	return o.end()
}

// AppendTombstone appends that a push was cancelled after it was sent.
func AppendTombstone(dst []byte, c Codec, pushID int64, seq uint64) []byte {
	var id [20]byte
	o := newObject(dst, c, TypeTombstone)
	o.text("id", string(strconv.AppendInt(id[:0], pushID, 10)))
	o.seq("seq", seq)
	return o.end()
}

// AppendMember appends a change of membership; t is [TypeMemberJoined] or
// [TypeMemberLeft].
func AppendMember(dst []byte, c Codec, t Type, group, clientID string) []byte {
	o := newObject(dst, c, t)
	o.text("group", group)
	o.text("client_id", clientID)
	return o.end()
}

// AppendTyping appends that somebody types in a conversation.
func AppendTyping(dst []byte, c Codec, conversation, senderID, senderType, senderName string) []byte {
	o := newObject(dst, c, TypeTyping)
	o.text("conversation_id", conversation)
	o.text("sender_id", senderID)
	o.text("sender_type", senderType)
	o.text("sender_name", senderName)
	return o.end()
}

// AppendTokenExpiring appends that the token ends in that many milliseconds.
func AppendTokenExpiring(dst []byte, c Codec, inMS int64) []byte {
	o := newObject(dst, c, TypeTokenExpiring)
	o.int("in", inMS)
	return o.end()
}

// AppendRefreshed appends that a refresh was taken; expiresMS is the new
// token's end in unix milliseconds.
func AppendRefreshed(dst []byte, c Codec, expiresMS int64) []byte {
	o := newObject(dst, c, TypeRefreshed)
	o.int("expires", expiresMS)
	return o.end()
}

// AppendError appends an error that does not end the connection. The code is
// one of push.Codes; the message holds no payloads or secrets.
func AppendError(dst []byte, c Codec, code int, message string) []byte {
	o := newObject(dst, c, TypeError)
	o.int("code", int64(code))
	o.text("message", message)
	return o.end()
}

// AppendPong appends the answer to a ping, with the ping's id where it had one.
func AppendPong(dst []byte, c Codec, id string) []byte {
	o := newObject(dst, c, TypePong)
	o.optional("id", id)
	return o.end()
}

// AppendSealWelcome appends the server's part of a handshake.
func AppendSealWelcome(dst []byte, c Codec, handshake []byte) []byte {
	o := newObject(dst, c, TypeSealWelcome)
	o.base64url("data", handshake)
	return o.end()
}

// AppendSealComplete appends that the handshake is complete.
func AppendSealComplete(dst []byte, c Codec, generation uint32) []byte {
	o := newObject(dst, c, TypeSealed)
	o.int("generation", int64(generation))
	return o.end()
}
