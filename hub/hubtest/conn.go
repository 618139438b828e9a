package hubtest

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 section 4.2.2 asks for it; nothing is kept secret by it
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/sunzi-push/sunzi/hub/frame"
)

// DefaultTimeout is how long a [Conn] waits for anything that must come.
const DefaultTimeout = 10 * time.Second

// maxHead bounds the head of an HTTP response, in bytes.
const maxHead = 64 << 10

// Conn is a client's end of an upgraded connection. Its methods return
// errors; [Client] is the same for tests that end at the first.
type Conn struct {
	Timeout time.Duration // for each read and write; zero is DefaultTimeout

	raw       net.Conn
	reader    frame.Reader
	buf, rest []byte
	frames    uint32 // masked so far: gives each frame another key
	closed    bool   // a close frame was sent
}

// NewConn takes over an upgraded connection.
func NewConn(raw net.Conn) *Conn {
	return &Conn{raw: raw, reader: frame.Reader{Role: frame.Client}, buf: make([]byte, 64<<10)}
}

// Send writes frames in one write, each masked.
func (c *Conn) Send(frames ...frame.Frame) error {
	return c.SendRaw(c.encode(nil, frames))
}

// encode masks with keys that differ but are the same in every run.
func (c *Conn) encode(dst []byte, frames []frame.Frame) []byte {
	for _, f := range frames {
		c.frames++
		n := c.frames * 0x9e3779b1
		f.Masked, f.Key = true, [4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
		c.closed = c.closed || f.Op == frame.Close
		dst = f.Append(dst)
	}
	return dst
}

// SendRaw writes b as it is.
func (c *Conn) SendRaw(b []byte) error {
	if err := c.raw.SetWriteDeadline(time.Now().Add(c.timeout())); err != nil {
		return err
	}
	_, err := c.raw.Write(b)
	return err
}

// Read waits for the next event. Its payload is valid until the next call.
// The error is io.EOF where the server ended the connection, in whatever way,
// and a [*frame.Violation] where it broke the rules itself.
func (c *Conn) Read() (frame.Event, error) { return c.readFor(c.timeout()) }

func (c *Conn) readFor(wait time.Duration) (frame.Event, error) {
	lim := frame.Limits{Frame: 64 << 20, Message: 64 << 20}
	for {
		ev, rest, err := c.reader.Next(c.rest, lim)
		c.rest = rest
		if !errors.Is(err, frame.ErrMore) {
			return ev, err
		}
		if err := c.raw.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return frame.Event{}, err
		}
		n, err := c.raw.Read(c.buf)
		c.rest = c.buf[:n]
		switch {
		case n > 0:
		case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
			return frame.Event{}, io.EOF
		case err != nil:
			return frame.Event{}, err
		}
	}
}

// Silent waits, and returns an error if anything comes, or the end.
func (c *Conn) Silent(wait time.Duration) error {
	ev, err := c.readFor(wait)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case err != nil:
		return fmt.Errorf("nothing should have come, got %w", err)
	}
	return fmt.Errorf("nothing should have come, got %s", describe(ev))
}

// WaitEnd waits until the server has ended the connection. Anything that it
// still sends is an error; after a close frame nothing may come.
func (c *Conn) WaitEnd() error {
	if len(c.rest) > 0 {
		return fmt.Errorf("%d bytes after the close frame", len(c.rest))
	}
	if err := c.raw.SetReadDeadline(time.Now().Add(c.timeout())); err != nil {
		return err
	}
	n, err := c.raw.Read(c.buf)
	switch {
	case n > 0:
		return fmt.Errorf("%d bytes after the close frame", n)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("the server did not end the connection")
	}
	return err
}

// Close ends the connection without a word.
func (c *Conn) Close() error { return c.raw.Close() }

func (c *Conn) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return DefaultTimeout
}

// Handshake is a client's upgrade request (RFC 6455 section 4.1).
type Handshake struct {
	Path      string      // with its query; empty is "/"
	Protocols []string    // sub-protocols offered, in order
	Header    http.Header // added, or put in the place of what is sent else
}

// Upgrade sends the request on conn and reads the response, not a byte more.
// It returns the response with an error when that refuses or is wrong (then
// its body can be read, from conn), and blocks up to [DefaultTimeout].
func Upgrade(conn net.Conn, h Handshake) (*http.Response, error) {
	if err := conn.SetDeadline(time.Now().Add(DefaultTimeout)); err != nil {
		return nil, err
	}
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails
	key := base64.StdEncoding.EncodeToString(nonce)
	if _, err := conn.Write(h.request(conn.RemoteAddr().String(), key)); err != nil {
		return nil, err
	}
	resp, err := readResponse(conn)
	if err != nil {
		return nil, err
	}
	if err := checkResponse(resp, key); err != nil {
		return resp, err
	}
	return resp, conn.SetDeadline(time.Time{})
}

func (h Handshake) request(host, key string) []byte {
	path := h.Path
	if path == "" {
		path = "/"
	}
	header := http.Header{
		"Host":                  {host},
		"Upgrade":               {"websocket"},
		"Connection":            {"Upgrade"},
		"Sec-Websocket-Key":     {key},
		"Sec-Websocket-Version": {"13"},
	}
	if len(h.Protocols) > 0 {
		header.Set("Sec-WebSocket-Protocol", strings.Join(h.Protocols, ", "))
	}
	for name, values := range h.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\n", path)
	_ = header.Write(&b) // a Buffer takes all
	b.WriteString("\r\n")
	return b.Bytes()
}

// readResponse reads the head byte by byte: what follows a 101 are frames,
// which must stay in conn.
func readResponse(conn net.Conn) (*http.Response, error) {
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		if len(head) == maxHead {
			return nil, errors.New("hubtest: endless response head")
		}
		if _, err := io.ReadFull(conn, b); err != nil {
			return nil, fmt.Errorf("hubtest: reading the response after %q: %w", head, err)
		}
		head = append(head, b[0])
	}
	return http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader(head), conn)), nil)
}

func checkResponse(resp *http.Response, key string) error {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see import
	accept := base64.StdEncoding.EncodeToString(sum[:])
	switch {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Errorf("hubtest: the server answered %s", resp.Status)
	case !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket"):
		return fmt.Errorf("hubtest: Upgrade is %q", resp.Header.Get("Upgrade"))
	case !strings.EqualFold(resp.Header.Get("Connection"), "upgrade"):
		return fmt.Errorf("hubtest: Connection is %q", resp.Header.Get("Connection"))
	case resp.Header.Get("Sec-WebSocket-Accept") != accept:
		return errors.New("hubtest: Sec-WebSocket-Accept does not fit the key")
	}
	return nil
}
