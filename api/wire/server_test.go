package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"testing"
)

// encodeServer is the encoder that belongs to DecodeServer. The server itself
// never holds a ServerMessage.
func encodeServer(t testing.TB, c Codec, m ServerMessage) []byte {
	t.Helper()
	switch m.Type {
	case TypeWelcome:
		return AppendWelcome(nil, c, m.Welcome)
	case TypeMessage:
		tail, err := EncodeBody(c, bodyOf(m.Delivery))
		if err != nil {
			t.Fatal(err)
		}
		return AppendMessage(nil, c, m.Delivery.Head, tail)
	case TypeReplayComplete:
		return AppendReplayComplete(nil, c, m.Seq)
	case TypeGap:
		return AppendGap(nil, c, m.From, m.To, m.Reason)
	case TypeTombstone:
		id, err := strconv.ParseInt(m.ID, 10, 64)
		if err != nil {
			return nil
		}
		return AppendTombstone(nil, c, id, m.Seq)
	case TypeMemberJoined, TypeMemberLeft:
		return AppendMember(nil, c, m.Type, m.Group, m.ClientID)
	case TypeTyping:
		return AppendTyping(nil, c, m.Conversation, m.SenderID, m.SenderType, m.SenderName)
	case TypeTokenExpiring:
		return AppendTokenExpiring(nil, c, m.InMS)
	case TypeRefreshed:
		return AppendRefreshed(nil, c, m.ExpiresMS)
	case TypeError:
		return AppendError(nil, c, m.Code, m.Text)
	case TypePong:
		return AppendPong(nil, c, m.ID)
	case TypeSealWelcome:
		return AppendSealWelcome(nil, c, m.Handshake)
	case TypeSealed:
		return AppendSealComplete(nil, c, m.Sealing)
	default: // a server sends no such message
		return nil
	}
}

// bodyOf is the body as push.BuildBody writes it; wire can't import that.
func bodyOf(d Delivery) []byte {
	b := &bytes.Buffer{}
	b.Write(appendJSONText([]byte(`{"id":`), d.ID))
	b.WriteString(`,"ts":` + strconv.FormatInt(d.SentMS, 10))
	b.Write(appendJSONText([]byte(`,"topic":`), d.Topic))
	if d.Bytes != nil {
		b.WriteString(`,"data_base64":"` + base64.StdEncoding.EncodeToString(d.Bytes) + `"`)
	} else {
		b.WriteString(`,"data":`)
		b.Write(d.Data)
	}
	if d.Priority != 0 {
		b.WriteString(`,"priority":` + strconv.Itoa(d.Priority))
	}
	if d.CollapseKey != "" {
		b.Write(appendJSONText([]byte(`,"collapse_key":`), d.CollapseKey))
	}
	if a := d.Attachment; a != nil {
		j, _ := json.Marshal(struct {
			URL  string `json:"url"`
			Type string `json:"type,omitempty"`
			Size int64  `json:"size,omitempty"`
			Name string `json:"name,omitempty"`
		}(*a))
		b.WriteString(`,"attachment":`)
		b.Write(j)
	}
	if d.ExpiresMS != 0 {
		b.WriteString(`,"expires":` + strconv.FormatInt(d.ExpiresMS, 10))
	}
	b.WriteByte('}')
	return b.Bytes()
}
