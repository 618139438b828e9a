package wsclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/sunzi-push/sunzi/api/wire"
)

// transport is one connection, as messages. Read is called by one goroutine,
// the others by another.
type transport interface {
	// Codec is the encoding that was agreed on.
	Codec() wire.Codec
	// Read blocks for the next message. No bytes: something else arrived
	// that shows life. A close frame is a *Failure with its code.
	Read() ([]byte, error)
	// Write blocks for at most writeDeadline.
	Write(p []byte) error
	// Close sends a close frame and makes Read return soon.
	Close(code uint16, reason string)
}

// dialFunc opens a connection; ctx bounds the handshake alone. A refusal with
// Retry-After is a *retryAfterError.
type dialFunc func(ctx context.Context, url, token string) (transport, error)

type retryAfterError struct {
	status int
	after  time.Duration
}

func (e *retryAfterError) Error() string { return "refused with status " + strconv.Itoa(e.status) }

const (
	writeDeadline = 10 * time.Second
	closeDeadline = time.Second // for the server's close frame
)

type webSocket struct {
	conn  net.Conn
	r     *bufio.Reader
	codec wire.Codec
	max   int64

	mu      sync.Mutex // writes
	closing bool
}

func (c *Client) dialWebSocket(ctx context.Context, url, token string) (transport, error) {
	refused := &retryAfterError{}
	d := ws.Dialer{
		Protocols: c.cfg.protocols(token),
		TLSConfig: c.cfg.TLS,
		NetDial:   c.cfg.NetDial,
		OnStatusError: func(status int, _ []byte, resp io.Reader) {
			refused.read(status, resp)
		},
	}
	conn, r, hs, err := d.Dial(ctx, url)
	if err != nil {
		if refused.status != 0 {
			err = refused
		}
		return nil, fmt.Errorf("connecting: %w", err)
	}
	if r == nil {
		r = bufio.NewReaderSize(conn, 4096)
	}
	w := &webSocket{conn: conn, r: r, max: c.cfg.MaxMessage}
	if hs.Protocol == wire.ProtocolMsgpack {
		w.codec = wire.Msgpack
	}
	return w, nil
}

// read takes Retry-After (RFC 9110 section 10.2.3) from a refusal.
func (e *retryAfterError) read(status int, resp io.Reader) {
	e.status = status
	r, err := http.ReadResponse(bufio.NewReader(io.LimitReader(resp, 64<<10)), nil)
	if err != nil {
		return
	}
	_ = r.Body.Close() // nothing of it is read
	v := r.Header.Get("Retry-After")
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		e.after = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		e.after = max(time.Until(at), 0)
	}
}

func (w *webSocket) Codec() wire.Codec { return w.codec }

// Read joins fragments (RFC 6455 section 5.4), and answers pings and close
// frames. UTF-8 is the decoder's to check.
func (w *webSocket) Read() ([]byte, error) {
	var message []byte
	state := ws.StateClientSide
	for {
		h, err := ws.ReadHeader(w.r)
		if err != nil {
			return nil, err
		}
		if err := ws.CheckHeader(h, state); err != nil {
			return nil, w.violation(1002, err.Error())
		}
		if h.Length < 0 || h.Length > w.max-int64(len(message)) {
			return nil, w.violation(1009, "message is too big")
		}
		if h.OpCode.IsControl() {
			if err := w.control(h); err != nil {
				return nil, err
			}
			if message == nil {
				return nil, nil
			}
			continue
		}
		if message, err = appendFrame(message, w.r, h.Length); err != nil {
			return nil, err
		}
		if h.Fin {
			return message, nil
		}
		state = state.Set(ws.StateFragmented)
	}
}

// appendFrame grows with what arrives, not with what was announced.
func appendFrame(dst []byte, r io.Reader, n int64) ([]byte, error) {
	if dst == nil {
		dst = []byte{} // an empty message is one all the same
	}
	const step = 64 << 10
	for n > 0 {
		k := int(min(n, step))
		from := len(dst)
		dst = append(dst, make([]byte, k)...)
		if _, err := io.ReadFull(r, dst[from:]); err != nil {
			return nil, err
		}
		n -= int64(k)
	}
	return dst, nil
}

func (w *webSocket) control(h ws.Header) error {
	var buf [ws.MaxControlFramePayloadSize]byte
	p := buf[:h.Length]
	if _, err := io.ReadFull(w.r, p); err != nil {
		return err
	}
	switch h.OpCode {
	case ws.OpPing:
		return w.frame(ws.NewPongFrame(p))
	case ws.OpClose:
		code, reason := ws.ParseCloseFrameData(p)
		w.sendClose(uint16(code), "")
		return &Failure{Code: uint16(code), Reason: reason}
	default: // a pong asks for nothing
		return nil
	}
}

func (w *webSocket) violation(code uint16, reason string) error {
	w.sendClose(code, reason)
	return &Failure{Code: 1006, Err: errors.New(reason)}
}

func (w *webSocket) Write(p []byte) error {
	if w.codec == wire.Msgpack || isSealed(p) {
		return w.frame(ws.NewBinaryFrame(p))
	}
	return w.frame(ws.NewTextFrame(p))
}

func (w *webSocket) frame(f ws.Frame) error {
	p, err := ws.CompileFrame(ws.MaskFrame(f))
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing {
		return net.ErrClosed
	}
	if err := w.conn.SetWriteDeadline(time.Now().Add(writeDeadline)); err != nil {
		return err
	}
	_, err = w.conn.Write(p)
	return err
}

// sendClose sends the one close frame of this side. 1005 and 1006 stand in no
// frame (RFC 6455 section 7.4.1).
func (w *webSocket) sendClose(code uint16, reason string) {
	var body []byte
	if code != 1005 && code != 1006 {
		body = ws.NewCloseFrameBody(ws.StatusCode(code), reason)
	}
	// An error means that the connection is gone: the reader finds that out.
	_ = w.frame(ws.NewCloseFrame(body))
	w.mu.Lock()
	w.closing = true
	w.mu.Unlock()
}

// Close leaves the socket to the reader until the server has answered or the
// deadline is over; the reader's end is awaited by the session, which then
// calls shut.
func (w *webSocket) Close(code uint16, reason string) {
	w.sendClose(code, reason)
	_ = w.conn.SetReadDeadline(time.Now().Add(closeDeadline)) // fails only on a dead socket
}

// shut frees the socket, once the reader has ended.
func (w *webSocket) shut() { _ = w.conn.Close() }
