package wire

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// DecodeServer reads one whole message from a server. It keeps no part of p.
// Anything that is not of the protocol is an error that wraps [ErrMalformed];
// a type that this client does not know is [TypeUnknown] without error.
func DecodeServer(c Codec, p []byte) (ServerMessage, error) {
	var f fields
	// data lies one level down in the message.
	t, err := f.open(c, p, MaxDataDepth+1)
	if err != nil {
		return ServerMessage{}, err
	}
	r := reader{f: &f}
	m := ServerMessage{Type: t}
	switch t {
	case TypeWelcome:
		m.Welcome = decodeWelcome(&r)
	case TypeMessage:
		m.Delivery = decodeDelivery(&r)
	case TypeReplayComplete:
		r.need(fSeq)
		m.Seq = r.seq(fSeq)
	case TypeGap:
		r.need(fFrom, fTo)
		m.From, m.To, m.Reason = r.seq(fFrom), r.seq(fTo), r.text(fReason)
		if m.From > m.To {
			r.fail(fTo, faultRange)
		}
	case TypeTombstone:
		r.need(fID)
		m.ID, m.Seq = r.text(fID), r.seq(fSeq)
	case TypeMemberJoined, TypeMemberLeft:
		r.need(fGroup, fClientID)
		m.Group, m.ClientID = r.text(fGroup), r.text(fClientID)
	case TypeTyping:
		r.need(fConversationID)
		m.Conversation, m.SenderID = r.text(fConversationID), r.text(fSenderID)
		m.SenderType, m.SenderName = r.text(fSenderType), r.text(fSenderName)
	case TypeTokenExpiring:
		m.InMS = r.int(fIn)
	case TypeRefreshed:
		r.need(fExpires)
		m.ExpiresMS = r.int(fExpires)
	case TypeError:
		r.need(fCode)
		m.Code, m.Text = r.int32(fCode), r.text(fMessage)
	case TypePong:
		m.ID = r.text(fID)
	case TypeSealWelcome:
		r.need(fData)
		m.Handshake = r.base64url(fData)
	case TypeSealed:
		r.need(fGeneration)
		m.Sealing = r.uint32(fGeneration)
	default:
		m.Type = TypeUnknown
	}
	if r.fault != faultNone {
		return ServerMessage{}, r.err()
	}
	return m, nil
}

func decodeWelcome(r *reader) Welcome {
	r.need(fClientID, fIncarnation)
	w := Welcome{
		ClientID:       r.text(fClientID),
		Realm:          r.text(fRealm),
		Session:        r.text(fSession),
		Generation:     r.seq(fGeneration),
		Incarnation:    r.text(fIncarnation),
		Cursor:         r.seq(fCursor),
		HeartbeatMS:    r.int(fHeartbeat),
		Backlog:        r.int32(fBacklog),
		Token:          r.text(fToken),
		TokenExpiresMS: r.int(fTokenExpires),
		Seal:           r.text(fSeal),
	}
	if w.Seal != "" {
		r.need(fSealKey)
		w.SealKey, w.SealGeneration = r.base64url(fSealKey), r.uint32(fSealGeneration)
	}
	return w
}

func decodeDelivery(r *reader) Delivery {
	r.need(fID)
	d := Delivery{
		Head:        Head{Seq: r.seq(fSeq)},
		ID:          r.text(fID),
		SentMS:      r.int(fTS),
		Topic:       r.text(fTopic),
		Priority:    r.int32(fPriority),
		CollapseKey: r.text(fCollapseKey),
		ExpiresMS:   r.int(fExpires),
	}
	if v := r.f.get(fReplayed); !v.absent() {
		var ok bool
		if d.Replayed, ok = v.bool(); !ok {
			r.fail(fReplayed, faultBool)
		}
	}
	decodeData(r, &d)
	if v := r.f.get(fAttachment); !v.absent() {
		var ok bool
		if d.Attachment, ok = attachment(v); !ok {
			r.fail(fAttachment, faultObject)
		}
	}
	return d
}

// decodeData reads data, whose kind says whether it was data_base64.
func decodeData(r *reader, d *Delivery) {
	if v := r.f.get(fDataBase64); !v.absent() {
		var ok bool
		if d.Bytes, ok = v.base64(); !ok {
			r.fail(fDataBase64, faultBase64)
		}
		return
	}
	v := r.f.get(fData)
	switch {
	case v.absent():
		d.Data = json.RawMessage("null")
	case v.c == JSON:
		d.Data = bytes.Clone(v.raw)
	default:
		if b, ok := v.bin(); ok {
			d.Bytes = b
			return
		}
		s := mpScan{p: v.raw}
		var ok bool
		if d.Data, ok = appendJSONMp(make([]byte, 0, len(v.raw)+16), &s); !ok {
			r.fail(fData, faultData)
		}
	}
}

// appendJSONMp writes one MessagePack value, whose grammar was checked, as
// JSON. Byte strings, extensions and keys that are no text have no JSON form.
func appendJSONMp(dst []byte, s *mpScan) ([]byte, bool) {
	from := s.i
	h := s.head()
	switch h.kind {
	case mpNil:
		return append(dst, "null"...), true
	case mpFalse:
		return append(dst, "false"...), true
	case mpTrue:
		return append(dst, "true"...), true
	case mpText:
		dst = appendJSONText(dst, string(s.p[s.i:s.i+h.n]))
		s.i += h.n
		return dst, true
	case mpUint, mpInt:
		n, neg, _ := value{Msgpack, s.p[from : s.i+h.n]}.mpInteger()
		s.i += h.n
		if neg {
			dst = append(dst, '-')
		}
		return strconv.AppendUint(dst, n, 10), true
	case mpFloat:
		dst = appendJSONFloat(dst, s.p[s.i:s.i+h.n])
		s.i += h.n
		return dst, true
	case mpList, mpMap:
		return appendJSONMembers(dst, s, h)
	default:
		return dst, false
	}
}

func appendJSONMembers(dst []byte, s *mpScan, h mpHead) ([]byte, bool) {
	open, end := byte('['), byte(']')
	if h.kind == mpMap {
		open, end = '{', '}'
	}
	dst = append(dst, open)
	for i := range h.n {
		if i > 0 {
			dst = append(dst, ',')
		}
		var ok bool
		if h.kind == mpMap {
			key := mpScan{p: s.p, i: s.i}
			if key.head().kind != mpText {
				return dst, false
			}
			dst, _ = appendJSONMp(dst, s)
			dst = append(dst, ':')
		}
		if dst, ok = appendJSONMp(dst, s); !ok {
			return dst, false
		}
	}
	return append(dst, end), true
}

// appendJSONFloat writes an infinity as a number beyond float64's range, which
// every JSON reader takes back as one; what is no number is null.
func appendJSONFloat(dst, p []byte) []byte {
	var f float64
	if len(p) == 4 {
		f = float64(math.Float32frombits(uint32(bigEndian(p))))
	} else {
		f = math.Float64frombits(bigEndian(p))
	}
	switch {
	case math.IsNaN(f):
		return append(dst, "null"...)
	case math.IsInf(f, 1):
		return append(dst, "1e999"...)
	case math.IsInf(f, -1):
		return append(dst, "-1e999"...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}
