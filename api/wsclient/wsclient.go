// Package wsclient is the Go client of Sunzi's WebSocket: it keeps one
// client's connection up, hands each message to a handler once and in order,
// and acks what was handled. api/CLIENTS.md defines its behaviour; its
// transcripts test it.
//
// Read first: [Config], [Client.Run], [Handler], [CursorStore].
//
// Run is called by one goroutine at a time. It starts three more, which it
// stops and waits for before it returns: one reads the socket, one calls the
// handler, and one asks for a token while it is refreshed. All other methods
// may be called from any goroutine, the handler's included, except Close,
// which waits for the handler.
//
// Lock order: Client.mu and inbox.mu are leaves; neither is held while the
// application's code, a cursor store or a socket is called.
//
// With [Config.Seal] messages come sealed, and are opened with keys that the
// client agrees on with the server and keeps in a [SealKeyStore].
//
// It does not speak SSE, seal what it sends, or push: package pushclient
// pushes.
package wsclient

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
)

// Conditions that callers branch on.
var (
	ErrClosed       = errors.New("wsclient: closed")
	ErrRunning      = errors.New("wsclient: already running")
	ErrNotConnected = errors.New("wsclient: not connected")
	// ErrGiveUp, wrapped by the error of a token callback, ends the client in
	// FAILED instead of being tried again.
	ErrGiveUp = errors.New("wsclient: give up")
)

// State is where a client is (CLIENTS.md section 1).
type State string

// The states.
const (
	Disconnected State = "DISCONNECTED"
	Connecting   State = "CONNECTING"
	Connected    State = "CONNECTED"
	Reconnecting State = "RECONNECTING"
	Failed       State = "FAILED"
	Closed       State = "CLOSED"
)

// Failure is why a connection ended, or why the client gave up.
type Failure struct {
	Code   uint16 // close code; zero: none was received
	Reason string
	Err    error
}

func (f *Failure) Error() string {
	switch {
	case f.Err != nil && f.Code == 0:
		return "wsclient: " + f.Err.Error()
	case f.Err != nil:
		return fmt.Sprintf("wsclient: closed with %d %q: %v", f.Code, f.Reason, f.Err)
	}
	return fmt.Sprintf("wsclient: closed with %d %q", f.Code, f.Reason)
}

// Unwrap is the underlying error.
func (f *Failure) Unwrap() error { return f.Err }

// Handler takes one message. It is called by one goroutine, in order. After
// nil the cursor is saved and the message acked; after an error it is called
// again, and after the last try the message is a dead letter (see [WithCode]).
// ctx ends when the client is closed. m is the handler's to keep.
type Handler func(ctx context.Context, m *Message) error

// Client is one client's connection. Made by [New].
type Client struct {
	cfg    Config
	origin string
	dial   dialFunc
	random func() float64

	poke chan struct{} // something below changed; capacity 1, never closed

	mu       sync.Mutex
	state    State
	running  bool
	closed   bool
	cancel   context.CancelCauseFunc // of the run; nil: none
	done     chan struct{}           // closed by Run at its end
	wake     bool
	typing   []wire.ClientMessage
	read     uint64 // highest, not yet sent
	refresh  RefreshStatus
	clientID string
	realm    string
	learned  bool // ID and token came as the answer to a connect key
	inbox    *inbox

	keys  keyring // owned by Run's goroutine
	seals sealCounts
}

// New checks the configuration and makes a client that is not yet started.
// The error lists all problems.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	u, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg:     cfg,
		origin:  (&url.URL{Scheme: u.Scheme, Host: u.Host}).String(),
		random:  rand.Float64,
		poke:    make(chan struct{}, 1),
		state:   Disconnected,
		refresh: RefreshStatus{Status: RefreshNever},
	}
	c.dial = c.dialWebSocket
	c.realm, c.clientID = identityOf(u)
	if cfg.ClientID != "" {
		c.realm, c.clientID = cfg.Realm, cfg.ClientID
	}
	c.inbox = newInbox(c)
	return c, nil
}

// Run keeps the client connected until ctx ends (its error is returned), until
// [Client.Close] (nil), or until it gives up (a *[Failure]), after which it
// may be run again. h may be nil: then everything is acked.
func (c *Client) Run(ctx context.Context, h Handler) error {
	ctx, err := c.begin(ctx)
	if err != nil {
		return err
	}
	stop := c.inbox.start(ctx, h)
	err = (&run{Client: c}).keep(ctx)
	var f *Failure
	if errors.As(err, &f) && ctx.Err() == nil {
		c.end(Failed, f)
	} else {
		c.end(Closed, nil)
		if err = context.Cause(ctx); errors.Is(err, ErrClosed) {
			err = nil
		}
	}
	stop()
	c.mu.Lock()
	c.running = false
	close(c.done)
	c.mu.Unlock()
	return err
}

// begin claims the client for one run.
func (c *Client) begin(ctx context.Context) (context.Context, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, ErrClosed
	case c.running:
		return nil, ErrRunning
	}
	ctx, c.cancel = context.WithCancelCause(ctx)
	c.running, c.done = true, make(chan struct{})
	return ctx, nil
}

func (c *Client) end(s State, f *Failure) {
	c.mu.Lock()
	c.closed = c.closed || s == Closed
	cancel := c.cancel
	c.mu.Unlock()
	c.setState(s, f, 0)
	cancel(nil) // lets a handler that waits go
}

// Close waits for a handler that is at work, sends the ack that is due, closes
// the connection with 1000 and waits until [Client.Run] has returned. It may be called more than once, but not by
// the handler.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	cancel, done, running := c.cancel, c.done, c.running
	c.mu.Unlock()
	if !running {
		c.setState(Closed, nil, 0)
		return
	}
	cancel(ErrClosed)
	<-done
}

// State is where the client is now.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Identity is the client's ID and realm, empty while unknown.
func (c *Client) Identity() (realm, clientID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.realm, c.clientID
}

// RefreshStatus tells how the last refresh of the token went.
func (c *Client) RefreshStatus() RefreshStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refresh
}

// Wake says that network or device came back: a client that waits tries at
// once, one that is connected makes sure of it (CLIENTS.md section 9).
func (c *Client) Wake() {
	c.mu.Lock()
	c.wake = true
	c.mu.Unlock()
	c.signal()
}

// MarkRead says that a person has seen everything up to seq. It is sent when
// connected; only the highest counts.
func (c *Client) MarkRead(seq uint64) {
	c.mu.Lock()
	c.read = max(c.read, seq)
	c.mu.Unlock()
	c.signal()
}

// Typing tells the group that somebody types. It is never queued:
// [ErrNotConnected] where there is no connection, or too many wait for it.
func (c *Client) Typing(conversationID, senderName string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != Connected || len(c.typing) >= 16 {
		return ErrNotConnected
	}
	c.typing = append(c.typing, wire.ClientMessage{
		Type: wire.TypeTyping, Conversation: conversationID, SenderName: senderName,
	})
	c.signal()
	return nil
}

// Ack says, with [Config.ManualAck], that everything up to seq was handled.
// It blocks for the cursor store.
func (c *Client) Ack(ctx context.Context, seq uint64) { c.inbox.ack(ctx, seq) }

func (c *Client) signal() {
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

func (c *Client) setState(s State, f *Failure, retry time.Duration) {
	c.mu.Lock()
	from := c.state
	c.state = s
	if s != Connected {
		c.typing = nil
	}
	c.mu.Unlock()
	if from != s && c.cfg.OnState != nil {
		c.cfg.OnState(StateChange{From: from, To: s, Cause: f, RetryIn: retry})
	}
}

func (c *Client) notify(e Event) {
	if c.cfg.OnEvent != nil {
		c.cfg.OnEvent(e)
	}
}
