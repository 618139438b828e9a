package hub

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/sunzi-push/sunzi/hub/poll"
)

// TLS on the loops. crypto/tls wants a net.Conn that blocks; a loop must not.
// Until the hijack a socket is that net.Conn, so that net/http does handshake,
// ALPN and request as ever. At the hijack the descriptor moves to the loop and
// the socket becomes two slices: Read hands out the ciphertext that the loop
// has just read and then says "again", Write appends ciphertext to the loop's
// buffer and never fails, so that crypto/tls never sees half a write.
//
// Since tls.Conn takes all that Read offers before it asks for more, a loop
// that reads once and decrypts until "again" leaves nothing behind: what is an
// incomplete record stands in tls.Conn, what is complete was served. That
// keeps TLS as fair as plain connections: one read of the kernel a turn.

// Wrapper is a connection that stands in front of another and may have read
// beyond what it needed, as one does that takes a PROXY header off.
type Wrapper interface {
	net.Conn
	// Unwrap ends the wrapper: the connection below is the caller's, with
	// the bytes that were read from it and handed to nobody. No Read may be
	// under way.
	Unwrap() (below net.Conn, read []byte)
}

// ListenTLS is ln with TLS, for an http.Server whose upgrades this package
// takes over: WebSockets of another TLS listener are closed. The
// connections do their handshake at the first read or write, as those of
// [tls.NewListener].
func ListenTLS(ln net.Listener, cfg *tls.Config) net.Listener { return &tlsListener{ln, cfg} }

type tlsListener struct {
	net.Listener
	cfg *tls.Config
}

// Accept waits for the next connection.
func (l *tlsListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(&socket{Conn: nc}, l.cfg), nil
}

// socket is what crypto/tls reads and writes. It is net/http's until the
// hijack, the loop's after.
type socket struct {
	net.Conn        // nil after detach
	in       []byte // ciphertext not yet taken
	loop     *loop  // nil before the hijack
}

// errAgain says that all ciphertext was taken. crypto/tls keeps every error
// for ever but temporary ones.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "hub: no more ciphertext now" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

func (s *socket) Read(p []byte) (int, error) {
	if s.loop == nil {
		return s.Conn.Read(p)
	}
	if len(s.in) == 0 {
		return 0, errAgain
	}
	n := copy(p, s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *socket) Write(p []byte) (int, error) {
	if s.loop == nil {
		return s.Conn.Write(p)
	}
	s.loop.sealed = append(s.loop.sealed, p...)
	return len(p), nil
}

// SetWriteDeadline is called by crypto/tls around a close_notify.
func (s *socket) SetWriteDeadline(t time.Time) error {
	if s.loop == nil {
		return s.Conn.SetWriteDeadline(t)
	}
	return nil
}

// errForeignTLS is the answer to a TLS connection that ListenTLS did not make.
var errForeignTLS = errors.New("hub: TLS of another listener")

// overTLS finds the socket below nc, nil for a plain connection.
func overTLS(nc net.Conn) (*tls.Conn, *socket, error) {
	tc, ok := nc.(*tls.Conn)
	if !ok {
		return nil, nil, nil
	}
	s, ok := tc.NetConn().(*socket)
	if !ok {
		return nil, nil, errForeignTLS
	}
	return tc, s, nil
}

// moveIn gives the descriptor of nc to c. early is what was read from it and
// served by nobody: of a plain connection. Of a TLS connection it stands in
// the tls.Conn and in its socket.
func (c *conn) moveIn(nc net.Conn) (early []byte, err error) {
	tc, s, err := overTLS(nc)
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	below := nc
	if s != nil {
		below = s.Conn
	}
	if w, ok := below.(Wrapper); ok {
		below, early = w.Unwrap()
	}
	fd, err := poll.Detach(below)
	if err != nil {
		return nil, err
	}
	c.fd = int32(fd)
	if s != nil {
		if c.rare == nil {
			c.rare = new(rare)
		}
		c.rare.tls = tc
		c.flags |= flagTLS
		s.Conn, s.loop, s.in = nil, c.loop, early
		return nil, nil
	}
	return early, nil
}

// decrypt serves the frames in ciphertext that was read, and in what tls.Conn
// kept. The loop's turn has one read of ciphertext, so it is bounded.
func (c *conn) decrypt(p []byte) {
	l := c.loop
	s, _ := c.rare.tls.NetConn().(*socket)
	if len(p) > 0 {
		s.in = p
	}
	if l.plain == nil {
		l.plain = make([]byte, recordSize)
	}
	for c.phase != phaseDead && !c.has(flagDeaf) {
		n, err := c.rare.tls.Read(l.plain)
		if n > 0 {
			c.take(l.plain[:n])
		}
		if err == errAgain { //nolint:errorlint // ours, handed through as it is
			break
		}
		if err != nil { // close_notify, or a broken record, for which an alert stands in sealed
			c.farewell()
			c.end(codeAbnormal)
		}
	}
	s.in = nil
}

// recordSize is the most plaintext of one record (RFC 8446 section 5.1).
const recordSize = 16 << 10

// seal encrypts p, which may be empty, behind what crypto/tls had to say for
// itself (a key update, an alert). The result is good until the next call.
func (c *conn) seal(p []byte) ([]byte, error) {
	l := c.loop
	if len(p) > 0 {
		if _, err := c.rare.tls.Write(p); err != nil {
			l.sealed = l.sealed[:0]
			return nil, err
		}
	}
	out := l.sealed
	l.sealed = l.sealed[:0]
	return out, nil
}

// farewell ends our direction of TLS where the kernel has room for the few
// bytes: without a close_notify a peer can't tell an end from a cut.
func (c *conn) farewell() {
	if !c.has(flagTLS) || c.phase == phaseDead {
		return
	}
	_ = c.rare.tls.CloseWrite() // refused after a fatal alert, which then says it all
	out, err := c.seal(nil)
	if err == nil && c.out == nil && len(out) > 0 {
		_, _ = c.write(out) // the socket is closed next, whatever comes of it
	}
}
