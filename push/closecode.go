package push

// CloseCode is a WebSocket close code (RFC 6455 section 7.4) or its
// equivalent on SSE. Application codes follow Pusher's ranges, so that a
// client library acts on the range alone:
//
//	4000–4099  do not reconnect as you are (new token, or a person's help)
//	4100–4199  reconnect with backoff
//	4200–4299  reconnect at once
type CloseCode uint16

// The one list of close codes. api/wire/SPEC.md section 7 quotes it, and the
// client libraries are tested against it.
const (
	CloseNormal        CloseCode = 1000
	CloseGoingAway     CloseCode = 1001
	CloseProtocolError CloseCode = 1002
	CloseUnsupported   CloseCode = 1003
	CloseInvalidUTF8   CloseCode = 1007
	CloseTooBig        CloseCode = 1009
	CloseInternal      CloseCode = 1011

	CloseUnauthorized CloseCode = 4001 // one of the Reason… texts
	CloseMalformed    CloseCode = 4002 // a message that is not of the protocol
	CloseTokenExpired CloseCode = 4003 // expired during the connection
	CloseTokenRevoked CloseCode = 4004
	CloseDisconnected CloseCode = 4005 // by the application, DELETE …/connections
	CloseDeleted      CloseCode = 4006 // the client was deleted
	CloseReplaced     CloseCode = 4007 // a newer connection of the same client took over
	CloseForbidden    CloseCode = 4008 // origin or connect key not allowed
	CloseUnsealed     CloseCode = 4009 // this server requires sealing, and hello asks for none that it offers

	CloseTryLater       CloseCode = 4100 // store or internal trouble
	CloseAuthDown       CloseCode = 4101 // the token store can't be reached
	CloseSlow           CloseCode = 4102 // did not read what was sent
	CloseTooMany        CloseCode = 4103 // connection limit or rate
	ClosePongTimeout    CloseCode = 4104
	CloseIdle           CloseCode = 4105 // idle_timeout
	CloseHelloTimeout   CloseCode = 4106 // no hello, or, with ReasonSaySeal, one that leaves out seal where the client has keys
	CloseMessageTimeout CloseCode = 4107 // a started frame or message was not finished in time

	CloseDraining CloseCode = 4200 // the server shuts down; the reason is a delay in ms
	CloseRestored CloseCode = 4201 // the mailbox has a new incarnation
)

// Reasons that go with [CloseUnauthorized].
const (
	ReasonMissingToken = "missing token"
	ReasonBadToken     = "invalid or expired token"
	ReasonMismatch     = "token-client mismatch"
	ReasonWrongRealm   = "wrong realm"
)

// ReasonSaySeal goes with [CloseHelloTimeout] where a hello does not say seal,
// and what waits for the client, or would come, is sealed. It begins with "seal:",
// by which client libraries know it from a hello that was late.
const ReasonSaySeal = `seal: this client has sealing keys; say seal in hello, or "seal":"none" to give them up`

// Reconnect is what a range of close codes tells a client library to do.
type Reconnect uint8

// How to come back.
const (
	ReconnectNever Reconnect = iota
	ReconnectBackoff
	ReconnectNow
)

// Advice is what a client library does on the code. Codes outside the
// application's ranges (1000, 1001, 1006, 1011 …) mean backoff: mobile
// networks end connections with any of them.
func (c CloseCode) Advice() Reconnect {
	switch {
	case c >= 4000 && c < 4100:
		return ReconnectNever
	case c >= 4200 && c < 4300:
		return ReconnectNow
	}
	return ReconnectBackoff
}

// CloseFor is how a session ends whose mailbox answered err: clients that are
// gone and tokens that were revoked don't come back, the others do.
func CloseFor(err error) (CloseCode, string) {
	switch {
	case HasCode(err, CodeNoClient):
		return CloseDeleted, "this client does not exist"
	case HasCode(err, CodeBadCredentials):
		return CloseTokenRevoked, "the token was revoked"
	}
	return CloseTryLater, "the mailbox can't be read now"
}
