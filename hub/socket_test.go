package hub

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
	"github.com/sunzi-push/sunzi/push"
)

var tlsVersions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// secure gives the rig's hub a second listener, over TLS, and answers its
// address.
func (r *rig) secure() string {
	r.tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.tb.Fatal(err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{certificate(r.tb)}, MinVersion: tls.VersionTLS12}
	srv := &http.Server{Handler: routes(r.hub), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ListenTLS(ln, cfg)) }()
	r.tb.Cleanup(func() { _ = srv.Close(); <-done })
	return ln.Addr().String()
}

func certificate(tb testing.TB) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func clientTLS(version uint16) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
}

// dialTLS opens a connection of that version over what wrap makes of the
// socket.
func dialTLS(tb testing.TB, addr string, version uint16, wrap func(net.Conn) net.Conn) *tls.Conn {
	tb.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	if wrap != nil {
		nc = wrap(nc)
	}
	return tls.Client(nc, clientTLS(version))
}

func echoOver(tb testing.TB, addr string, version uint16, wrap func(net.Conn) net.Conn) *hubtest.Client {
	tb.Helper()
	return hubtest.Open(tb, dialTLS(tb, addr, version, wrap), hubtest.Handshake{Path: "/echo"})
}

func sessionOver(tb testing.TB, addr string, version uint16, token string) *peer {
	tb.Helper()
	return &peer{hubtest.Open(tb, dialTLS(tb, addr, version, nil), hubtest.Handshake{Path: "/ws",
		Protocols: []string{wire.ProtocolJSON, wire.BearerPrefix + token}}), tb}
}

func TestEchoOverTLSConformsToRFC6455(t *testing.T) {
	addr := start(t, testConfig()).secure()
	dial := func(version uint16) hubtest.Dialer {
		return func(t *testing.T) net.Conn {
			t.Helper()
			conn := dialTLS(t, addr, version, nil)
			if _, err := hubtest.Upgrade(conn, hubtest.Handshake{Path: "/echo"}); err != nil {
				_ = conn.Close()
				t.Fatal(err)
			}
			return conn
		}
	}
	for name, version := range tlsVersions {
		t.Run(name, func(t *testing.T) { hubtest.Conformance(t, dial(version)) })
	}
	t.Run("large", func(t *testing.T) {
		hubtest.ConformanceLimits(t, dial(tls.VersionTLS13), frame.Limits{Frame: echoMessage, Message: echoMessage})
	})
}

func TestASessionOverTLSGetsWhatIsPushed(t *testing.T) {
	r := start(t, testConfig())
	addr := r.secure()
	for name, version := range tlsVersions {
		t.Run(name, func(t *testing.T) {
			p := sessionOver(t, addr, version, "alice"+name)
			p.hello()
			p.live()
			for seq := range uint64(20) {
				r.office.commit(r.hub, "over TLS", "alice"+name)
				if m := p.next(wire.TypeMessage); m.Delivery.Seq != seq+1 {
					t.Fatalf("sequence %d, want %d", m.Delivery.Seq, seq+1)
				}
			}
			p.say(`{"type":"ack","seq":20}`)
			until(t, "the ack is heard", func() bool {
				r.office.mu.Lock()
				defer r.office.mu.Unlock()
				return r.office.box(key("alice"+name)).cursor == 20
			})
		})
	}
}

// dribble writes one byte at a time.
type dribble struct{ net.Conn }

func (d dribble) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := d.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

func TestRecordsMayArriveByteByByte(t *testing.T) {
	addr := start(t, testConfig()).secure()
	for name, version := range tlsVersions {
		t.Run(name, func(t *testing.T) {
			c := echoOver(t, addr, version, func(nc net.Conn) net.Conn { return dribble{nc} })
			for _, s := range []string{"a", strings.Repeat("b", 3000), ""} {
				c.Text(s)
				c.Want(frame.Text, s)
			}
		})
	}
}

func TestManyFramesInOneRecordAreAllServed(t *testing.T) {
	addr := start(t, testConfig()).secure()
	for name, version := range tlsVersions {
		t.Run(name, func(t *testing.T) {
			c := echoOver(t, addr, version, nil)
			const n = 1000
			frames := make([]frame.Frame, n)
			for i := range frames {
				frames[i] = frame.Frame{Op: frame.Text, Payload: fmt.Append(nil, i)}
			}
			c.Send(frames...)
			for i := range n {
				c.Want(frame.Text, fmt.Sprint(i))
			}
		})
	}
}

// gather holds writes back until release, then sends them as one.
type gather struct {
	net.Conn
	hold bool
	held []byte
}

func (g *gather) Write(p []byte) (int, error) {
	if g.hold {
		g.held = append(g.held, p...)
		return len(p), nil
	}
	return g.Conn.Write(p)
}

func (g *gather) release() error {
	g.hold = false
	_, err := g.Conn.Write(g.held)
	return err
}

// Records that follow the request in one segment are read by crypto/tls before
// the hijack; what stands decrypted in net/http's reader or encrypted in
// tls.Conn must not be lost.
func TestFramesThatCameWithTheRequestAreServed(t *testing.T) {
	addr := start(t, testConfig()).secure()
	const request = "GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	hello := frame.AppendMasked(nil, frame.Text, [4]byte{1, 2, 3, 4}, []byte("hello"))
	for name, pieces := range map[string][]string{
		"one record":     {request + string(hello) + string(hello)},
		"three records":  {request, string(hello), string(hello)},
		"a split record": {request + string(hello[:3]), string(hello[3:]) + string(hello[:4]), string(hello[4:])},
	} {
		t.Run(name, func(t *testing.T) {
			g := new(gather)
			tc := dialTLS(t, addr, tls.VersionTLS13, func(nc net.Conn) net.Conn { g.Conn = nc; return g })
			defer func() { _ = tc.Close() }()
			if err := tc.Handshake(); err != nil {
				t.Fatal(err)
			}
			g.hold = true
			for _, p := range pieces {
				if _, err := io.WriteString(tc, p); err != nil {
					t.Fatal(err)
				}
			}
			if err := g.release(); err != nil {
				t.Fatal(err)
			}
			if err := tc.SetReadDeadline(time.Now().Add(hubtest.DefaultTimeout)); err != nil {
				t.Fatal(err)
			}
			var got []byte
			for buf := make([]byte, 4096); strings.Count(string(got), "hello") < 2; {
				n, err := tc.Read(buf)
				if got = append(got, buf[:n]...); err != nil {
					t.Fatalf("%q, %v", got, err)
				}
			}
		})
	}
}

func TestASlowReaderOverTLSStaysInItsBound(t *testing.T) {
	cfg := testConfig()
	cfg.Outbound = 64 << 10
	r := start(t, cfg)
	p := sessionOver(t, r.secure(), tls.VersionTLS13, "slow")
	p.hello()
	p.live()
	const n, size = 600, 32 << 10
	body := strings.Repeat("x", size)
	for range n {
		r.office.commit(r.hub, body, "slow")
	}
	until(t, "it is known as slow", func() bool { return r.value("sunzi_slow_sessions") == 1 })
	if got := r.session("slow").Info().Outbound; got == 0 || got > 2*(64<<10) {
		t.Errorf("%d bytes wait for the slow reader", got)
	}
	for i := range uint64(n) {
		if m := p.next(wire.TypeMessage); m.Delivery.Seq != i+1 {
			t.Fatalf("sequence %d, want %d", m.Delivery.Seq, i+1)
		}
	}
	until(t, "nothing waits", func() bool {
		return r.value("sunzi_slow_sessions") == 0 && r.value("sunzi_outbound_queue_bytes") == 0
	})
}

// tap keeps what is read.
type tap struct {
	net.Conn
	seen []byte
}

func (n *tap) Read(p []byte) (int, error) {
	got, err := n.Conn.Read(p)
	n.seen = append(n.seen, p[:got]...)
	return got, err
}

// lastRecord is the type of the last TLS record that came (RFC 5246 section
// 6.2.1; in TLS 1.3 alerts look like data).
func (n *tap) lastRecord() (kind byte) {
	for p := n.seen; len(p) >= 5; p = p[min(len(p), 5+int(p[3])<<8+int(p[4])):] {
		kind = p[0]
	}
	return kind
}

// tapped is an upgraded TLS 1.2 connection.
func tapped(t *testing.T, addr string, h hubtest.Handshake) (*tls.Conn, *tap) {
	t.Helper()
	n := new(tap)
	tc := dialTLS(t, addr, tls.VersionTLS12, func(nc net.Conn) net.Conn { n.Conn = nc; return n })
	t.Cleanup(func() { _ = tc.Close() })
	if _, err := hubtest.Upgrade(tc, h); err != nil {
		t.Fatal(err)
	}
	return tc, n
}

// readEnd reads to the end of the stream, which must be told by close_notify:
// crypto/tls itself reads a cut between records as an end.
func readEnd(t *testing.T, tc *tls.Conn, n *tap) {
	t.Helper()
	if err := tc.SetReadDeadline(time.Now().Add(hubtest.DefaultTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, tc); err != nil {
		t.Errorf("the end came as %v", err)
	}
	const alert = 21
	if kind := n.lastRecord(); kind != alert {
		t.Errorf("the last record is of type %d, want an alert", kind)
	}
}

func TestEndsOverTLSAreToldByCloseNotify(t *testing.T) {
	r := start(t, testConfig())
	addr := r.secure()
	for name, bytes := range map[string][]byte{
		"a close of the peer": frame.AppendMasked(nil, frame.Close, [4]byte{1, 2, 3, 4}, frame.CloseBody(1000, "")),
		"a violation":         {0xf1, 0x80, 1, 2, 3, 4},
	} {
		t.Run(name, func(t *testing.T) {
			tc, n := tapped(t, addr, hubtest.Handshake{Path: "/echo"})
			if _, err := tc.Write(bytes); err != nil {
				t.Fatal(err)
			}
			readEnd(t, tc, n)
		})
	}
	t.Run("close_notify alone", func(t *testing.T) {
		tc, n := tapped(t, addr, hubtest.Handshake{Path: "/ws", Protocols: []string{"bearer.bob"}})
		until(t, "the session is there", func() bool { return r.hub.Online(key("bob")) })
		if err := tc.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		readEnd(t, tc, n)
		until(t, "the session is gone", func() bool { return !r.hub.Online(key("bob")) })
	})
}

func TestADamagedRecordEndsTheConnectionWithAnAlert(t *testing.T) {
	addr := start(t, testConfig()).secure()
	var below net.Conn
	tc := dialTLS(t, addr, tls.VersionTLS13, func(nc net.Conn) net.Conn { below = nc; return nc })
	defer func() { _ = tc.Close() }()
	if _, err := hubtest.Upgrade(tc, hubtest.Handshake{Path: "/echo"}); err != nil {
		t.Fatal(err)
	}
	if _, err := below.Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32))); err != nil {
		t.Fatal(err)
	}
	_, err := tc.Read(make([]byte, 1))
	if op := new(net.OpError); !errors.As(err, &op) || op.Op != "remote error" {
		t.Errorf("got %v, want an alert", err)
	}
}

func TestTheServerClosesASessionOverTLS(t *testing.T) {
	r := start(t, testConfig())
	p := sessionOver(t, r.secure(), tls.VersionTLS13, "carol")
	p.hello()
	p.live()
	r.session("carol").Close(push.CloseReplaced, "enough")
	if reason := p.WantClose(uint16(push.CloseReplaced)); reason != "enough" {
		t.Errorf("reason %q", reason)
	}
}

func TestIdleTLSConnectionsHoldNoGoroutine(t *testing.T) {
	r := start(t, testConfig())
	addr := r.secure()
	const n = 200
	before := runtime.NumGoroutine()
	for i := range n {
		p := sessionOver(t, addr, tls.VersionTLS13, fmt.Sprint("idle", i))
		p.hello()
		p.live()
	}
	until(t, "the handshakes' goroutines are gone", func() bool { return runtime.NumGoroutine() < before+n/20 })
	if r.hub.Len() != n {
		t.Errorf("%d sessions", r.hub.Len())
	}
}
