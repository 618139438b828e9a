package hubtest

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/sunzi-push/sunzi/hub/frame"
)

// echo is the plainest server that passes all cases: a goroutine a connection,
// blocking. wrong breaks it in one way.
type echo struct {
	lim   frame.Limits
	wrong fault

	ln   net.Listener
	done sync.WaitGroup
}

// fault says what an echo does wrong; the zero value is right.
type fault struct {
	silent     bool   // answers no ping
	binary     bool   // echoes all as binary
	rude       bool   // ends connections without a close frame
	clings     bool   // never ends a connection
	chatty     bool   // sends one more message after its close frame
	code       uint16 // closes with this, whatever happened
	deflates   bool   // accepts any extension
	late       bool   // echoes pongs only between messages
	slowUTF8   bool   // looks at bytes only frame by frame
	unlimited  bool
	twice      bool // echoes each message twice
	badHeaders bool // a wrong Sec-WebSocket-Accept
}

func startEcho(t *testing.T, lim frame.Limits, wrong fault) *echo {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{lim: lim, wrong: wrong, ln: ln}
	e.done.Go(e.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		e.done.Wait()
	})
	return e
}

func (e *echo) accept() {
	for {
		conn, err := e.ln.Accept()
		if err != nil {
			return
		}
		e.done.Go(func() { e.serve(conn) })
	}
}

// dial is a Dialer to e before the upgrade.
func (e *echo) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", e.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// dialUpgraded is a Dialer to e.
func (e *echo) dialUpgraded(t *testing.T) net.Conn {
	t.Helper()
	conn := e.dial(t)
	if _, err := Upgrade(conn, Handshake{Path: "/echo"}); err != nil {
		t.Fatal(err)
	}
	return conn
}

func (e *echo) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	req, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	if err := e.accepted(conn, req); err != nil {
		return
	}
	e.converse(conn, in)
	// Ended with input unread, the kernel would send a reset, which can
	// overtake the close frame: so say that nothing follows, and read on.
	if tcp, ok := conn.(*net.TCPConn); ok && !e.wrong.clings {
		_ = tcp.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, in)
}

func (e *echo) accepted(conn net.Conn, req *http.Request) error {
	sum := sha1.Sum([]byte(req.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if e.wrong.badHeaders {
		sum[0]++
	}
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	if e.wrong.deflates {
		head += "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	}
	_, err := io.WriteString(conn, head+"\r\n")
	return err
}

func (e *echo) converse(conn net.Conn, in io.Reader) {
	lim := e.lim
	if e.wrong.unlimited {
		lim = frame.Limits{Frame: 1 << 40, Message: 1 << 40}
	}
	var r frame.Reader
	buf := make([]byte, 64<<10)
	var pending []byte
	for {
		n, err := in.Read(buf)
		if err != nil {
			return
		}
		rest := buf[:n]
		if e.wrong.slowUTF8 {
			if pending = append(pending, rest...); !endsWithFrame(pending) {
				continue
			}
			rest, pending = pending, nil
		}
		for {
			ev, left, err := r.Next(rest, lim)
			if errors.Is(err, frame.ErrMore) {
				break
			}
			rest = left
			out, last := e.answer(ev, err, r.Started())
			if _, err := conn.Write(out); err != nil || last {
				return
			}
		}
	}
}

// answer is what e sends for an event or a violation, and whether it is the
// last thing.
func (e *echo) answer(ev frame.Event, err error, open bool) (out []byte, last bool) {
	var v *frame.Violation
	if errors.As(err, &v) {
		return e.closing(v.Code), true
	}
	switch ev.Op {
	case frame.Close:
		return e.closing(ev.Code), true
	case frame.Ping:
		if e.wrong.silent || e.wrong.late && open {
			return nil, false
		}
		return frame.AppendFrame(nil, frame.Pong, ev.Payload), false
	case frame.Pong:
		return nil, false
	default: // data
	}
	if e.wrong.binary {
		ev.Op = frame.Binary
	}
	out = frame.AppendFrame(nil, ev.Op, ev.Payload)
	if e.wrong.twice {
		out = append(out, out...)
	}
	return out, false
}

func (e *echo) closing(code uint16) []byte {
	if e.wrong.rude {
		return nil
	}
	if e.wrong.code != 0 {
		code = e.wrong.code
	}
	out := frame.AppendClose(nil, code, "")
	if e.wrong.chatty {
		out = frame.AppendFrame(out, frame.Text, []byte("one more thing"))
	}
	return out
}

// endsWithFrame reports whether p is whole frames of short lengths.
func endsWithFrame(p []byte) bool {
	for len(p) >= 2 {
		n := 6 + int(p[1]&0x7f)
		if len(p) < n {
			return false
		}
		p = p[n:]
	}
	return len(p) == 0
}
