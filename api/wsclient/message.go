package wsclient

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
)

// Message is one push.
type Message struct {
	ID          string // of the push
	Seq         uint64 // place in the mailbox; zero: never stored
	Sent        time.Time
	Topic       string
	Data        json.RawMessage // nil where Bytes is set
	Bytes       []byte
	Replayed    bool
	Sealed      bool // it came sealed
	Priority    int  // 1 to 5
	CollapseKey string
	Attachment  *wire.Attachment
	Expires     time.Time // zero: never
}

const defaultPriority = 3

func newMessage(d wire.Delivery) *Message {
	m := &Message{
		ID: d.ID, Seq: d.Seq, Sent: time.UnixMilli(d.SentMS), Topic: d.Topic, Data: d.Data, Bytes: d.Bytes,
		Replayed: d.Replayed, Priority: or(d.Priority, defaultPriority), CollapseKey: d.CollapseKey, Attachment: d.Attachment,
	}
	if d.ExpiresMS != 0 {
		m.Expires = time.UnixMilli(d.ExpiresMS)
	}
	return m
}

// Event is what a client is told apart from messages. Kind says which fields
// count. Those with a place in the mailbox's order come in that order.
type Event struct {
	Kind         Kind
	ID           string // tombstone, failed: the push
	Seq          uint64 // tombstone, failed, replay_complete
	From, To     uint64 // gap, both inclusive
	Reason       string // gap
	Group        string // member_joined, member_left
	Conversation string // typing
	ClientID     string // member_…, typing: who; welcome: we
	SenderType   string // typing
	SenderName   string // typing
	Code         int    // error, failed; of a failed one that did not open -1
	Generation   uint32 // sealed: of the new keys
	Text         string // error
	Welcome      *wire.Welcome
	Err          error // failed: the handler's; cursor: the store's
}

// Kind is the kind of an [Event].
type Kind string

// The kinds, named as on the wire where they come from there.
const (
	KindWelcome        Kind = "welcome" // with Welcome.Token after a connect key: keep it
	KindReplayComplete Kind = "replay_complete"
	KindGap            Kind = "gap"
	KindTombstone      Kind = "tombstone"
	KindMemberJoined   Kind = "member_joined"
	KindMemberLeft     Kind = "member_left"
	KindTyping         Kind = "typing"
	KindError          Kind = "error"
	KindFailed         Kind = "failed"    // a dead letter
	KindSealed         Kind = "sealed"    // a handshake is complete
	KindSealKeys       Kind = "seal_keys" // the store of sealing keys failed
	KindCursor         Kind = "cursor"    // the cursor store failed; delivery goes on
)

// eventOf answers false for messages that are no event.
func eventOf(m *wire.ServerMessage) (Event, bool) {
	e := Event{Kind: Kind(m.Type.String()), Seq: m.Seq, ID: m.ID, From: m.From, To: m.To, Reason: m.Reason,
		Group: m.Group, ClientID: m.ClientID, Conversation: m.Conversation, SenderType: m.SenderType,
		SenderName: m.SenderName, Code: m.Code, Text: m.Text}
	switch m.Type {
	case wire.TypeReplayComplete, wire.TypeGap, wire.TypeTombstone, wire.TypeMemberJoined, wire.TypeMemberLeft, wire.TypeError:
		return e, true
	case wire.TypeTyping:
		e.ClientID = m.SenderID
		return e, true
	default:
		return Event{}, false
	}
}

// codedError carries the code of a dead letter.
type codedError struct {
	error
	code int
}

func (e *codedError) Unwrap() error { return e.error }

// WithCode gives a handler's error the code that the dead letter has on the
// server, where the application finds it. Codes fit 32 bits.
func WithCode(err error, code int) error { return &codedError{err, int(int32(code))} }

func codeOf(err error) int {
	var e *codedError
	if errors.As(err, &e) {
		return e.code
	}
	return 1
}
