package chaos

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/gobwas/ws"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
)

// Times and sizes of sockets.
const (
	dialWithin    = 5 * time.Second
	writeWithin   = 2 * time.Second
	welcomeWithin = 10 * time.Second
	smallBuffer   = 4 << 10 // receive buffer of a client that will stop reading
	maxMessage    = 1 << 20
)

// socket is one raw connection: nothing is retried or hidden. It belongs to
// one goroutine, but for close.
type socket struct {
	conn   net.Conn
	tcp    *net.TCPConn
	reader frame.Reader
	buf    []byte
	rest   []byte
}

// dial connects and upgrades.
func dial(ctx context.Context, url, client, token string, end End) (*socket, error) {
	var tcp *net.TCPConn
	d := ws.Dialer{
		Protocols: []string{wire.ProtocolJSON, wire.BearerPrefix + token},
		Timeout:   dialWithin,
		NetDial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			nd := net.Dialer{Control: control(end)}
			c, err := nd.DialContext(ctx, network, addr)
			if err == nil {
				tcp, _ = c.(*net.TCPConn)
			}
			return c, err
		},
	}
	conn, br, _, err := d.Dial(ctx, url+"/"+client)
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, tcp: tcp, reader: frame.Reader{Role: frame.Client}, buf: make([]byte, 16<<10)}
	if br != nil && br.Buffered() > 0 {
		s.rest = make([]byte, br.Buffered())
		if _, err := io.ReadFull(br, s.rest); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return s, nil
}

// control makes the window of a client small that will let it run full: it
// has to be so before the connection is made.
func control(end End) func(string, string, syscall.RawConn) error {
	if end != ZeroWindow {
		return nil
	}
	return func(_, _ string, raw syscall.RawConn) error {
		var inner error
		err := raw.Control(func(fd uintptr) {
			inner = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, smallBuffer)
		})
		return errors.Join(err, inner)
	}
}

// next waits for one event, until the deadline. Its payload is valid until
// the next call. os.ErrDeadlineExceeded leaves the socket as it was.
func (s *socket) next(deadline time.Time) (frame.Event, error) {
	lim := frame.Limits{Frame: maxMessage, Message: maxMessage}
	for {
		ev, rest, err := s.reader.Next(s.rest, lim)
		s.rest = rest
		if !errors.Is(err, frame.ErrMore) {
			return ev, err
		}
		if err := s.conn.SetReadDeadline(deadline); err != nil {
			return frame.Event{}, err
		}
		n, err := s.conn.Read(s.buf)
		s.rest = s.buf[:n]
		if n == 0 && err != nil {
			return frame.Event{}, err
		}
	}
}

func (s *socket) send(op frame.Op, payload []byte) error {
	var key [4]byte
	rand.Read(key[:]) // never fails
	if err := s.conn.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	_, err := s.conn.Write(frame.AppendMasked(nil, op, key, payload))
	return err
}

func (s *socket) say(m wire.ClientMessage) error {
	return s.send(frame.Text, wire.EncodeClient(wire.JSON, &m))
}

// reset ends the connection with RST: what was sent to it is thrown away.
func (s *socket) reset() {
	if s.tcp != nil {
		_ = s.tcp.SetLinger(0) // a closed socket has none
	}
	_ = s.conn.Close() // it is gone either way
}

// closeCleanly says goodbye and waits for the answer, a second at most.
func (s *socket) closeCleanly(code uint16) {
	defer s.conn.Close() //nolint:errcheck // it is gone either way
	if s.send(frame.Close, frame.CloseBody(code, "")) != nil {
		return
	}
	deadline := time.Now().Add(time.Second)
	for {
		if ev, err := s.next(deadline); err != nil || ev.Op == frame.Close {
			return
		}
	}
}
