package hubtest

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/hub/frame"
)

// Client is a [Conn] in a test: whatever goes wrong ends the test. It is
// closed when the test ends.
type Client struct {
	Conn     *Conn
	Response *http.Response // of the upgrade

	tb testing.TB
}

// Dial connects to addr (host:port), upgrades, and fails tb unless the server
// accepts.
func Dial(tb testing.TB, addr string, h Handshake) *Client {
	tb.Helper()
	conn, err := net.DialTimeout("tcp", addr, DefaultTimeout)
	if err != nil {
		tb.Fatal(err)
	}
	return Open(tb, conn, h)
}

// Open upgrades conn, which may be TLS, like [Dial].
func Open(tb testing.TB, conn net.Conn, h Handshake) *Client {
	tb.Helper()
	tb.Cleanup(func() { _ = conn.Close() })
	resp, err := Upgrade(conn, h)
	if err != nil {
		tb.Fatal(err)
	}
	return &Client{Conn: NewConn(conn), Response: resp, tb: tb}
}

// Text sends a text message.
func (c *Client) Text(s string) {
	c.tb.Helper()
	c.Send(frame.Frame{Op: frame.Text, Payload: []byte(s)})
}

// Binary sends a binary message.
func (c *Client) Binary(p []byte) {
	c.tb.Helper()
	c.Send(frame.Frame{Op: frame.Binary, Payload: p})
}

// Ping sends a ping.
func (c *Client) Ping(payload string) {
	c.tb.Helper()
	c.Send(frame.Frame{Op: frame.Ping, Payload: []byte(payload)})
}

// Pong sends a pong.
func (c *Client) Pong(payload []byte) {
	c.tb.Helper()
	c.Send(frame.Frame{Op: frame.Pong, Payload: payload})
}

// Leave sends a close frame; code 1005 leaves its body empty.
func (c *Client) Leave(code uint16, reason string) {
	c.tb.Helper()
	c.Send(frame.Frame{Op: frame.Close, Payload: frame.CloseBody(code, reason)})
}

// Send sends frames in one write, masked, lawful or not.
func (c *Client) Send(frames ...frame.Frame) {
	c.tb.Helper()
	if err := c.Conn.Send(frames...); err != nil {
		c.tb.Fatal(err)
	}
}

// SendRaw sends bytes as they are.
func (c *Client) SendRaw(b []byte) {
	c.tb.Helper()
	if err := c.Conn.SendRaw(b); err != nil {
		c.tb.Fatal(err)
	}
}

// Next waits for the next event, a copy of which it returns.
func (c *Client) Next() frame.Event {
	c.tb.Helper()
	ev, err := c.Conn.Read()
	if err != nil {
		c.tb.Fatal("waiting for an event: ", err)
	}
	ev.Payload = bytes.Clone(ev.Payload)
	return ev
}

// NextMessage waits for the next text or binary message, answers pings that
// come before it and passes over pongs; a close frame fails the test.
func (c *Client) NextMessage() frame.Event {
	c.tb.Helper()
	for {
		switch ev := c.Next(); ev.Op {
		case frame.Ping:
			c.Pong(ev.Payload)
		case frame.Pong:
		case frame.Close:
			c.tb.Fatalf("waiting for a message, got %s", describe(ev))
		default:
			return ev
		}
	}
}

// Want waits for exactly this event.
func (c *Client) Want(op frame.Op, payload string) {
	c.tb.Helper()
	if got, want := c.Next(), (frame.Event{Op: op, Payload: []byte(payload)}); !equal(got, want) {
		c.tb.Fatalf("got %s, want %s", describe(got), describe(want))
	}
}

// WantClose passes over everything up to a close frame, which must have this
// code, answers it, waits for the end of the connection, and returns the
// reason.
func (c *Client) WantClose(code uint16) string {
	c.tb.Helper()
	for {
		ev := c.Next()
		if ev.Op != frame.Close {
			continue
		}
		if ev.Code != code {
			c.tb.Fatalf("got %s, want close %d", describe(ev), code)
		}
		if !c.Conn.closed { // the server may be gone already
			_ = c.Conn.Send(frame.Frame{Op: frame.Close, Payload: frame.CloseBody(code, "")})
		}
		c.WantEnd()
		return string(ev.Payload)
	}
}

// WantEnd waits for the end of the connection, with nothing before it.
func (c *Client) WantEnd() {
	c.tb.Helper()
	if err := c.Conn.WaitEnd(); err != nil {
		c.tb.Fatal(err)
	}
}

// WantSilence fails the test if anything comes within wait.
func (c *Client) WantSilence(wait time.Duration) {
	c.tb.Helper()
	if err := c.Conn.Silent(wait); err != nil {
		c.tb.Fatal(err)
	}
}

func equal(a, b frame.Event) bool {
	return a.Op == b.Op && a.Code == b.Code && bytes.Equal(a.Payload, b.Payload)
}

// describe shows an event, of a long payload its beginning.
func describe(ev frame.Event) string {
	name := map[frame.Op]string{frame.Text: "text", frame.Binary: "binary", frame.Ping: "ping", frame.Pong: "pong", frame.Close: "close"}[ev.Op]
	if ev.Op == frame.Close {
		return fmt.Sprintf("close %d %q", ev.Code, ev.Payload)
	}
	if n := len(ev.Payload); n > 40 {
		return fmt.Sprintf("%s of %d bytes, %q…", name, n, ev.Payload[:40])
	}
	return fmt.Sprintf("%s %q", name, ev.Payload)
}
