package push

import (
	"net/netip"
	"time"
)

// Credentials are what a connection brought.
type Credentials struct {
	Token  string     // JWT or connect key; empty: none
	Path   *ClientKey // the client that the path names; nil on /ws
	Remote netip.Addr
}

// Identity is who a session is.
type Identity struct {
	Client      ClientKey
	TokenID     string // jti
	Device      string // bound device; empty: any
	TokenIssued time.Time
	Expires     time.Time // of the token
}

// Admission is a credential that was accepted.
type Admission struct {
	Identity
	// Minted is a new token for welcome: the client was registered on the
	// socket by a connect key.
	Minted string
	// Refreshed is a new token for the refresh-token response header: the
	// one that was sent is past its refresh age.
	Refreshed string
}

// Refusal is why a connection is closed right after its handshake.
type Refusal struct {
	Code   CloseCode
	Reason string
	Cause  error // for logs
}

// Hello is what a client says first.
type Hello struct {
	Device      string
	Cursor      *uint64 // nil: the server's
	Incarnation string
}

// Opened is what welcome is made of, and where the feed starts.
type Opened struct {
	Mailbox
	Start   uint64 // the cursor to replay after
	Renewed bool   // the client's cursor was above the head: a new incarnation was made
}
