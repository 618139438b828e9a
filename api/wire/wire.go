// Package wire is the WebSocket protocol: messages, their two encodings
// (sunzi.v1.json, sunzi.v1.msgpack) and the vectors that hold both. SPEC.md is
// the contract; this package is its codec, shared by server and Go client.
//
// It is a leaf: it imports nothing of ours, does no I/O and keeps no state.
package wire

// Codec is one of the two encodings.
type Codec uint8

// The codecs; the values index push.Message.Encoded.
const (
	JSON Codec = iota
	Msgpack
)

// Sub-protocol names (RFC 6455 section 1.9).
const (
	ProtocolJSON    = "sunzi.v1.json"
	ProtocolMsgpack = "sunzi.v1.msgpack"
	BearerPrefix    = "bearer." // bearer.<token>, offered beside a protocol
)

// Type is the type of a message.
type Type uint8

// Message types. Client to server first.
const (
	TypeUnknown Type = iota
	TypeHello
	TypeAck
	TypeRead
	TypePing
	TypeTyping
	TypeRefresh
	TypeSealHello
	TypeSealConfirm

	TypeWelcome
	TypeMessage
	TypeReplayComplete
	TypeGap
	TypeTombstone
	TypeMemberJoined
	TypeMemberLeft
	TypeTokenExpiring
	TypeRefreshed
	TypeError
	TypePong
	TypeSealWelcome
	TypeSealed
)

// Failed is one dead letter in an ack.
type Failed struct {
	Seq  uint64
	Code int
}

// ClientMessage is any message from a client, flat: Type says which fields
// count.
type ClientMessage struct {
	Type         Type
	Device       string   // hello
	Cursor       *uint64  // hello
	Incarnation  string   // hello
	Caps         []string // hello
	Seal         string   // hello
	SealHeld     []uint32 // hello: seal_held; nil: not said, empty: none is held
	SealNonce    []byte   // hello: seal_nonce, the connection's own
	Seq          uint64   // ack, read
	Failed       []Failed // ack
	Conversation string   // typing: conversation_id
	SenderName   string   // typing
	Token        string   // refresh
	ID           string   // ping: echoed in pong
	Handshake    []byte   // seal_hello, seal_confirm: data
}

// Welcome answers hello.
type Welcome struct {
	ClientID       string
	Realm          string
	Session        string
	Generation     uint64
	Incarnation    string
	Cursor         uint64 // the server's: replay starts after it
	HeartbeatMS    int64
	Backlog        int
	Token          string // a connect key's: the client's own from now on
	TokenExpiresMS int64  // unix ms
	Seal           string // the sealing that the server does for the client; empty: none
	SealKey        []byte // with Seal: the server's public identity key
	SealGeneration uint32 // with Seal: the newest of the client's keys; zero: none
}
