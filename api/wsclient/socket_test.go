package wsclient

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/crt"
)

// peer is the server's end of one real socket, driven by a test.
type peer struct {
	opens *crt.Receiver // what a client of mode aead sends; nil: it sends in clear
	t     *testing.T
	conn  net.Conn
	r     *bufio.Reader
	codec wire.Codec
	token string
	path  string
}

// server accepts WebSockets and hands each to serve.
func server(t *testing.T, serve func(*peer)) string {
	t.Helper()
	var busy sync.WaitGroup
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		codec, name, token, ok := wire.ParseProtocols(r.Header.Values("Sec-WebSocket-Protocol"))
		if !ok {
			http.Error(w, "no protocol", http.StatusBadRequest)
			return
		}
		up := ws.HTTPUpgrader{Protocol: func(p string) bool { return p == name }}
		conn, rw, _, err := up.Upgrade(r, w)
		if err != nil {
			t.Error(err)
			return
		}
		busy.Add(1)
		defer busy.Done()
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		serve(&peer{t: t, conn: conn, r: rw.Reader, codec: codec, token: token, path: r.URL.EscapedPath()})
	}))
	t.Cleanup(func() { s.Close(); busy.Wait() })
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

func (p *peer) frame(f ws.Frame) {
	if err := ws.WriteFrame(p.conn, f); err != nil {
		p.t.Errorf("server writes: %v", err)
	}
}

func (p *peer) send(b []byte) {
	f := ws.NewTextFrame(b)
	if p.codec == wire.Msgpack {
		f = ws.NewBinaryFrame(b)
	}
	p.frame(f)
}

func (p *peer) next() (ws.OpCode, []byte, error) {
	f, err := ws.ReadFrame(p.r) //nolint:staticcheck // deprecated for want of a limit: here the peer is this test's own client
	if err != nil {
		return 0, nil, err
	}
	if !f.Header.Masked {
		p.t.Error("a client's frame is not masked")
	}
	f = ws.UnmaskFrameInPlace(f)
	return f.Header.OpCode, f.Payload, nil
}

func (p *peer) message(want wire.Type) wire.ClientMessage {
	p.t.Helper()
	var m wire.ClientMessage
	op, b, err := p.next()
	if err == nil && op == ws.OpBinary && isSealed(b) {
		if p.opens == nil {
			p.t.Error("a sealed message from a client without keys for it")
			return m
		}
		_, b, err = p.opens.Open(b)
	} else if err == nil && p.opens != nil && want != wire.TypeSealHello && want != wire.TypeSealConfirm {
		p.t.Errorf("%s in clear", want)
	}
	if err == nil {
		err = wire.DecodeClient(p.codec, b, &m)
	}
	if err != nil || m.Type != want {
		p.t.Errorf("server reads %s %q: %v; want %s", m.Type, b, err, want)
	}
	return m
}

func (p *peer) welcome(cursor uint64) wire.ClientMessage {
	p.t.Helper()
	hello := p.message(wire.TypeHello)
	p.send(wire.AppendWelcome(nil, p.codec, wire.Welcome{ClientID: "alice", Session: "s", Incarnation: "aa", Cursor: cursor, HeartbeatMS: 25000}))
	return hello
}

func (p *peer) pushBytes(seq uint64, data string) []byte {
	tail, err := wire.EncodeBody(p.codec, fmt.Appendf(nil, `{"id":"%d","ts":1,"topic":"t","data":%s}`, 100+seq, data))
	if err != nil {
		p.t.Error(err)
	}
	return wire.AppendMessage(nil, p.codec, wire.Head{Seq: seq}, tail)
}

// closing reads until the client's close frame and answers it.
func (p *peer) closing() uint16 {
	for {
		op, b, err := p.next()
		if err != nil {
			return 0
		}
		if op == ws.OpClose {
			code, _ := ws.ParseCloseFrameData(b)
			_ = ws.WriteFrame(p.conn, ws.NewCloseFrame(b)) // the client may be gone
			return uint16(code)
		}
	}
}

// running runs a client and collects what is handled.
type running struct {
	c       *Client
	handled chan *Message
	done    chan error
}

func runClient(t *testing.T, cfg Config) *running {
	t.Helper()
	cfg.Token = or(cfg.Token, "tok")
	cfg.MinBackoff, cfg.MaxBackoff = time.Millisecond, 5*time.Millisecond
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{c: c, handled: make(chan *Message, 64), done: make(chan error, 1)}
	go func() {
		r.done <- c.Run(t.Context(), func(_ context.Context, m *Message) error { r.handled <- m; return nil })
	}()
	t.Cleanup(c.Close)
	return r
}

func (r *running) wait(t *testing.T) *Message {
	t.Helper()
	select {
	case m := <-r.handled:
		return m
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was handled")
		return nil
	}
}

func TestRealSocketBothCodecs(t *testing.T) {
	for _, msgpack := range []bool{false, true} {
		t.Run(fmt.Sprint(msgpack), func(t *testing.T) {
			acked, closed := make(chan uint64, 1), make(chan uint16, 1)
			base := server(t, func(p *peer) {
				if p.token != "tok" || p.path != "/ws/alice" || (p.codec == wire.Msgpack) != msgpack {
					t.Errorf("token %q, path %q, codec %d", p.token, p.path, p.codec)
				}
				p.welcome(0)
				p.send(p.pushBytes(1, `{"n":1}`))
				acked <- p.message(wire.TypeAck).Seq
				closed <- p.closing()
			})
			r := runClient(t, Config{URL: base + "/ws/alice", Msgpack: msgpack})
			if m := r.wait(t); m.ID != "101" || string(m.Data) != `{"n":1}` || m.Priority != 3 {
				t.Errorf("%+v", m)
			}
			if got := <-acked; got != 1 {
				t.Errorf("acked %d", got)
			}
			r.c.Close()
			if got := <-closed; got != 1000 {
				t.Errorf("closed with %d", got)
			}
			if err := <-r.done; err != nil || r.c.State() != Closed {
				t.Errorf("%v in %s", err, r.c.State())
			}
		})
	}
}

func TestFragmentsAndPingsBetweenThem(t *testing.T) {
	pong := make(chan string, 1)
	base := server(t, func(p *peer) {
		p.welcome(0)
		b := p.pushBytes(1, `"孙子"`)
		cut := bytes.IndexByte(b, 0xe5) + 1 // inside a character
		p.frame(ws.NewFrame(ws.OpText, false, b[:cut]))
		p.frame(ws.NewPingFrame([]byte("x")))
		p.frame(ws.NewFrame(ws.OpContinuation, false, nil))
		p.frame(ws.NewFrame(ws.OpContinuation, true, b[cut:]))
		if op, b, err := p.next(); err != nil || op != ws.OpPong {
			t.Errorf("%v %q %v", op, b, err)
		} else {
			pong <- string(b)
		}
		p.closing()
	})
	r := runClient(t, Config{URL: base + "/ws/alice"})
	if m := r.wait(t); string(m.Data) != `"孙子"` {
		t.Errorf("%s", m.Data)
	}
	if got := <-pong; got != "x" {
		t.Errorf("pong %q", got)
	}
}

func TestReconnectsWithItsCursor(t *testing.T) {
	var mu sync.Mutex
	visits := 0
	cursors := NewFileCursors(filepath.Join(t.TempDir(), "cursors.json"))
	base := server(t, func(p *peer) {
		mu.Lock()
		visits++
		visit := visits
		mu.Unlock()
		if visit == 1 {
			p.welcome(0)
			p.send(p.pushBytes(1, `1`))
			p.message(wire.TypeAck)
			return // drops the socket without a word
		}
		hello := p.welcome(1)
		if hello.Cursor == nil || *hello.Cursor != 1 || hello.Incarnation != "aa" {
			t.Errorf("%+v", hello)
		}
		p.send(p.pushBytes(2, `2`))
		p.closing()
	})
	r := runClient(t, Config{URL: base + "/ws/alice", Cursors: cursors})
	if a, b := r.wait(t), r.wait(t); a.Seq != 1 || b.Seq != 2 {
		t.Errorf("%d, %d", a.Seq, b.Seq)
	}
}

func TestBreachesAreAnsweredAndLeft(t *testing.T) {
	for _, tc := range []struct {
		name  string
		bytes []byte
		code  uint16
	}{
		{"masked", []byte{0x81, 0x80, 1, 2, 3, 4}, 1002},
		{"reserved bit", []byte{0xc1, 0x00}, 1002},
		{"reserved opcode", []byte{0x83, 0x00}, 1002},
		{"continuation of nothing", []byte{0x80, 0x00}, 1002},
		{"long ping", []byte{0x89, 0x7e, 0x00, 0x7e}, 1002},
		{"too big", []byte{0x81, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 1009},
		{"not UTF-8", []byte{0x81, 0x01, 0xff}, codeComeBack},
		{"not of the protocol", []byte{0x81, 0x02, '{', '}'}, codeComeBack},
	} {
		t.Run(tc.name, func(t *testing.T) {
			codes, back := make(chan uint16, 1), make(chan struct{})
			var visits atomic.Int32
			base := server(t, func(p *peer) {
				p.welcome(0)
				if visits.Add(1) == 1 {
					_, _ = p.conn.Write(tc.bytes)
					codes <- p.closing()
				} else { // the client stays until the test has seen it back
					close(back)
				}
				p.closing()
			})
			runClient(t, Config{URL: base + "/ws/alice"})
			if got := <-codes; got != tc.code {
				t.Errorf("closed with %d, want %d", got, tc.code)
			}
			select {
			case <-back:
			case <-time.After(10 * time.Second):
				t.Error("the client did not come back")
			}
		})
	}
}

func TestCloseCodesReachTheCaller(t *testing.T) {
	base := server(t, func(p *peer) {
		p.message(wire.TypeHello)
		p.frame(ws.NewCloseFrame(ws.NewCloseFrameBody(4001, "wrong realm")))
		p.closing()
	})
	r := runClient(t, Config{URL: base + "/ws/alice"})
	var f *Failure
	if err := <-r.done; !errors.As(err, &f) || f.Code != 4001 || f.Reason != "wrong realm" || r.c.State() != Failed {
		t.Errorf("%v in %s", err, r.c.State())
	}
}

func TestRetryAfterOfARefusal(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "17")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer s.Close()
	states := make(chan StateChange, 8)
	runClient(t, Config{URL: "ws" + strings.TrimPrefix(s.URL, "http") + "/ws/alice", OnState: func(c StateChange) { states <- c }})
	for c := range states {
		if c.To == Reconnecting {
			if c.RetryIn != 17*time.Second {
				t.Errorf("waits %v", c.RetryIn)
			}
			return
		}
	}
}

func TestABusyHandlerStopsTheReading(t *testing.T) {
	const n = 40
	base := server(t, func(p *peer) {
		p.welcome(0)
		for i := uint64(1); i <= n; i++ {
			p.send(p.pushBytes(i, `0`))
		}
		p.closing()
	})
	c, err := New(Config{URL: base + "/ws/alice", Token: "t", MaxQueued: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	most, got := 0, make(chan uint64, n)
	go func() {
		_ = c.Run(t.Context(), func(_ context.Context, m *Message) error {
			c.inbox.mu.Lock()
			most = max(most, len(c.inbox.queue))
			c.inbox.mu.Unlock()
			got <- m.Seq
			return nil
		})
	}()
	for i := uint64(1); i <= n; i++ {
		if seq := <-got; seq != i {
			t.Fatalf("%d in place of %d", seq, i)
		}
	}
	c.Close()
	if most > 4 {
		t.Errorf("%d were queued", most)
	}
}
