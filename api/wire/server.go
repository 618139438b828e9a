package wire

import (
	"encoding/json"
	"errors"
)

// Limits of what a decoder takes, part of the protocol (SPEC.md section 10).
// The size of a whole message is the frame reader's business.
const (
	MaxStringLen = 8 << 10 // bytes of any string outside a message's data
	MaxPingIDLen = 64      // bytes of a ping's id
	MaxFailed    = 256     // dead letters in one ack
	MaxCaps      = 32      // capabilities in one hello
	MaxSealHeld  = 8       // generations of keys in one hello
	SealNonceLen = 16      // bytes of seal_nonce in a hello
	MaxDepth     = 16      // nesting of a client's message
	MaxDataDepth = 128     // nesting of a push's data
)

// ErrMalformed is every error of the decoders: the message is not of this
// protocol. Errors wrap it with what was wrong, and never hold any of the
// message's content.
var ErrMalformed = errors.New("wire: malformed message")

// ErrBody says that a push's body can't be encoded: it is no JSON object with
// at least one member, or is nested deeper than [MaxDataDepth].
var ErrBody = errors.New("wire: not a message body")

// Head is what differs between clients in one push's message.
type Head struct {
	Seq      uint64 // zero: a store=never push, which has no place
	Replayed bool   // sent from the mailbox, not as it was committed
}

// ServerMessage is any message from a server, flat: Type says which fields
// count. It holds no reference to the bytes that it was decoded from.
type ServerMessage struct {
	Type         Type
	Welcome      Welcome  // welcome
	Delivery     Delivery // message
	Seq          uint64   // replay_complete, tombstone
	From, To     uint64   // gap, both inclusive
	Reason       string   // gap
	ID           string   // tombstone: the push; pong: of the ping
	Group        string   // member_joined, member_left
	ClientID     string   // member_joined, member_left
	Conversation string   // typing: conversation_id
	SenderID     string   // typing
	SenderType   string   // typing
	SenderName   string   // typing
	InMS         int64    // token_expiring
	ExpiresMS    int64    // refreshed: unix ms
	Code         int      // error
	Text         string   // error: message
	Handshake    []byte   // seal_welcome: data
	Sealing      uint32   // sealed: generation
}

// Delivery is one push as a client receives it.
type Delivery struct {
	Head
	ID          string
	SentMS      int64 // unix ms
	Topic       string
	Data        json.RawMessage // nil where Bytes is set
	Bytes       []byte          // data_base64 in JSON, bin in MessagePack
	Priority    int             // zero: the default
	CollapseKey string
	Attachment  *Attachment
	ExpiresMS   int64 // unix ms; zero: never
}

// Attachment is a link that a push carries.
type Attachment struct {
	URL  string
	Type string
	Size int64 // bytes; zero: unknown
	Name string
}

// names are the message types as they stand on the wire, by [Type].
var names = [...]string{
	TypeHello:          "hello",
	TypeAck:            "ack",
	TypeRead:           "read",
	TypePing:           "ping",
	TypeTyping:         "typing",
	TypeRefresh:        "refresh",
	TypeWelcome:        "welcome",
	TypeMessage:        "message",
	TypeReplayComplete: "replay_complete",
	TypeGap:            "gap",
	TypeTombstone:      "tombstone",
	TypeMemberJoined:   "member_joined",
	TypeMemberLeft:     "member_left",
	TypeTokenExpiring:  "token_expiring",
	TypeRefreshed:      "refreshed",
	TypeError:          "error",
	TypePong:           "pong",
	TypeSealHello:      "seal_hello",
	TypeSealConfirm:    "seal_confirm",
	TypeSealWelcome:    "seal_welcome",
	TypeSealed:         "sealed",
}

// String is the type's name on the wire, "unknown" for [TypeUnknown].
func (t Type) String() string {
	if t == TypeUnknown || int(t) >= len(names) {
		return "unknown"
	}
	return names[t]
}

// ClientTypes and ServerTypes are the types that each side sends. typing is
// the one that both send.
var (
	ClientTypes = []Type{TypeHello, TypeAck, TypeRead, TypePing, TypeTyping, TypeRefresh, TypeSealHello, TypeSealConfirm}
	ServerTypes = []Type{TypeWelcome, TypeMessage, TypeReplayComplete, TypeGap, TypeTombstone, TypeMemberJoined,
		TypeMemberLeft, TypeTyping, TypeTokenExpiring, TypeRefreshed, TypeError, TypePong, TypeSealWelcome, TypeSealed}
)
