package wsclient

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/crt"
)

// Config is what a client is made of. Zero fields have the defaults of
// CLIENTS.md section 11, where they have one.
type Config struct {
	// URL is ws:// or wss://, with the path /ws, /ws/{client_id} or
	// /ws/{realm}/{client_id}. Required.
	URL string
	// Token is the client's token, or a connect key. One of Token and
	// TokenFunc is required.
	Token string
	// TokenFunc answers a token. It is called with a context of 30 s, by
	// another goroutine than Run's while the client is connected. Without
	// it the client ends with its token.
	TokenFunc func(ctx context.Context, why Why) (string, error)
	// ClientID and Realm name the client where the URL does not; needed to
	// send a cursor on the first connection to plain /ws.
	ClientID, Realm string
	// Device is the device ID to which the token is bound, if it is.
	Device string
	// Msgpack asks for sunzi.v1.msgpack: smaller, but data that came as
	// JSON is written as JSON again for the handler.
	Msgpack bool
	// Cursors keeps the cursor; nil is memory, which replays from the
	// server's cursor after a restart. See [NewFileCursors].
	Cursors CursorStore
	// Seal asks that what is pushed to the client come sealed, [SealCRT] or
	// [SealAEAD]; empty is not. A client that has sealing keys from before is
	// not served without it ([ErrSaySeal]): [SealNone] gives them up, and what
	// waits under them is lost. It needs ServerKey: the server's public
	// identity key, 32 bytes, as its operator tool prints it. A server that
	// does not seal, or has another key, ends the run.
	Seal      string
	ServerKey []byte
	// SealKeys keeps the keys; nil is memory: after a restart what was sealed
	// before is lost. See [NewFileSealKeys].
	SealKeys SealKeyStore
	// AllowPlain goes on with a server that does not seal for this client, in
	// clear, although Seal is set. Where it does, nothing is taken in clear.
	AllowPlain bool
	// ManualAck leaves acks to [Client.Ack].
	ManualAck bool

	// MinBackoff and MaxBackoff are base and cap of the reconnect delay.
	MinBackoff, MaxBackoff time.Duration
	// MaxFailures in a row end the client; zero tries for ever.
	MaxFailures int
	// Tries is how often a handler is called with one message.
	Tries int
	// MaxMessage bounds one message from the server, in bytes; it must hold
	// the server's largest push.
	MaxMessage int64
	// MaxQueued and MaxQueuedBytes bound what waits for the handler; beyond
	// either the socket is not read until there is room.
	MaxQueued      int
	MaxQueuedBytes int64
	// UnstoredTTL is how long a message that was never stored may wait.
	UnstoredTTL time.Duration
	// RefreshEvery and RefreshRetry time the token's refresh.
	RefreshEvery, RefreshRetry time.Duration

	// OnState and OnEvent are told of changes. They must not block. OnState
	// is called by Run's goroutine, OnEvent by that and the handler's.
	OnState func(StateChange)
	OnEvent func(Event)

	// TLS and NetDial are for the connection; nil is the usual. HTTP proxies
	// are not asked.
	TLS     *tls.Config
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Why a token is asked for.
type Why string

// The reasons.
const (
	WhyConnect  Why = "connect"
	WhyExpired  Why = "expired"
	WhyRejected Why = "rejected"
)

// StateChange is one step of the state machine.
type StateChange struct {
	From, To State
	Cause    *Failure      // of RECONNECTING and FAILED
	RetryIn  time.Duration // of RECONNECTING
}

// RefreshStatus is how the last refresh of the token went.
type RefreshStatus struct {
	Last     time.Time // when it ended; zero: never
	Status   string    // one of the Refresh… constants
	Failures int       // in a row
}

// How a refresh can have ended.
const (
	RefreshNever  = "never"
	RefreshOK     = "ok"
	RefreshFailed = "failed"
)

// Times that are part of the specification and of no interest to change.
const (
	stableAfter     = 5 * time.Second
	attemptDeadline = 10 * time.Second
	tokenDeadline   = 30 * time.Second
	refreshDeadline = 10 * time.Second
	ackDelay        = 50 * time.Millisecond
	ackCount        = 32
	silence         = 30 * time.Second
	pongDeadline    = 5 * time.Second
	wakeSilence     = 5 * time.Second
	wakeDeadline    = 2500 * time.Millisecond
	firstRetry      = 100 * time.Millisecond
	maxAdvised      = 60 * time.Second
)

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (c Config) withDefaults() Config {
	c.MinBackoff = or(c.MinBackoff, 250*time.Millisecond)
	c.MaxBackoff = or(c.MaxBackoff, 5*time.Second)
	c.Tries = or(c.Tries, 3)
	c.MaxMessage = or(c.MaxMessage, 16<<20)
	c.MaxQueued = or(c.MaxQueued, 1024)
	c.MaxQueuedBytes = or(c.MaxQueuedBytes, 4<<20)
	c.UnstoredTTL = or(c.UnstoredTTL, 300*time.Second)
	c.RefreshEvery = or(c.RefreshEvery, 72_000*time.Second)
	c.RefreshRetry = or(c.RefreshRetry, 7_200*time.Second)
	if c.Cursors == nil {
		c.Cursors = NewMemoryCursors()
	}
	if c.SealKeys == nil {
		c.SealKeys = NewMemorySealKeys()
	}
	return c
}

func (c Config) validate() (*url.URL, error) {
	var problems []error
	wrong := func(what string) { problems = append(problems, errors.New("wsclient: "+what)) }
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		wrong("URL can't be read") // its error would quote what may hold a token
		u = &url.URL{}
	case (u.Scheme != "ws" && u.Scheme != "wss") || u.Host == "":
		wrong("URL must be ws://host/ws or wss://host/ws")
	}
	if c.Token == "" && c.TokenFunc == nil {
		wrong("one of Token and TokenFunc is needed")
	}
	if strings.ContainsAny(c.Token, " \t\r\n,") {
		wrong("Token has characters that no token has")
	}
	if c.MinBackoff < 0 || c.MaxBackoff < c.MinBackoff {
		wrong("MinBackoff must be above zero and not above MaxBackoff")
	}
	if c.MaxFailures < 0 || c.Tries < 0 || c.MaxMessage < 0 || c.MaxQueued < 0 || c.MaxQueuedBytes < 0 {
		wrong("limits must not be below zero")
	}
	if c.UnstoredTTL < 0 || c.RefreshEvery < 0 || c.RefreshRetry < 0 {
		wrong("times must not be below zero")
	}
	switch c.Seal {
	case "", SealNone:
	case SealCRT, SealAEAD:
		if len(c.ServerKey) != crt.KeySize {
			wrong("Seal needs ServerKey, the server's identity key of 32 bytes")
		}
	default:
		wrong("Seal must be crt, aead or none")
	}
	return u, errors.Join(problems...)
}

// identityOf is the client that the path names.
func identityOf(u *url.URL) (realm, clientID string) {
	parts := strings.Split(strings.Trim(u.EscapedPath(), "/"), "/")
	i := slices.Index(parts, "ws")
	if i < 0 {
		return "", ""
	}
	names := parts[i+1:]
	for i, p := range names {
		if s, err := url.PathUnescape(p); err == nil {
			names[i] = s
		}
	}
	switch len(names) {
	case 1:
		return "", names[0]
	case 2:
		return names[0], names[1]
	}
	return "", ""
}

// withIdentity is the URL that names the client.
func withIdentity(raw, realm, clientID string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	base, _, _ := strings.Cut(strings.TrimSuffix(u.EscapedPath(), "/")+"/", "/ws/")
	path := base + "/ws/"
	if realm != "" {
		path += url.PathEscape(realm) + "/"
	}
	path += url.PathEscape(clientID)
	u.RawPath = path
	if u.Path, err = url.PathUnescape(path); err != nil {
		return raw
	}
	return u.String()
}

func (c Config) protocols(token string) []string {
	name := wire.ProtocolJSON
	if c.Msgpack {
		name = wire.ProtocolMsgpack
	}
	return []string{name, wire.BearerPrefix + token}
}
