package server

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
	"github.com/sunzi-push/sunzi/push"
)

const told = "192.0.2.7:5555" // the client's address, as the proxy tells it

// header is a PROXY header of that version.
func header(t *testing.T, version byte) []byte {
	t.Helper()
	b, err := proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(told)),
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}).Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// behind asks for PROXY headers from that prefix.
func behind(prefix string, others ...func(*node, *config.Config)) func(*node, *config.Config) {
	return func(n *node, cfg *config.Config) {
		cfg.HTTP.ProxyProtocol, cfg.HTTP.TrustedProxies = true, []string{prefix}
		for _, other := range others {
			other(n, cfg)
		}
	}
}

// first writes what stands in front of the connection's own first bytes, in
// one piece with them.
type first struct {
	net.Conn
	front []byte
}

func (f *first) Write(p []byte) (int, error) {
	if len(f.front) == 0 {
		return f.Conn.Write(p)
	}
	_, err := f.Conn.Write(append(f.front, p...))
	f.front = nil
	return len(p), err
}

func TestASessionHasTheAddressThatThePROXYHeaderTells(t *testing.T) {
	plain, secure := running(t, behind("127.0.0.0/8")), running(t, behind("127.0.0.0/8", overTLS(t)))
	for name, c := range map[string]struct {
		n       *node
		version byte
	}{
		"v1, plain": {plain, 1}, "v2, plain": {plain, 2}, "v1, TLS": {secure, 1}, "v2, TLS": {secure, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var nc net.Conn = &first{dialed(t, c.n.Addr()), header(t, c.version)}
			if c.n == secure {
				nc = tls.Client(nc, &tls.Config{RootCAs: c.n.ca.pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12})
			}
			p := hubtest.Open(t, nc, hubtest.Handshake{Path: "/ws", Protocols: []string{wire.ProtocolJSON, wire.BearerPrefix + c.n.Dev().Token}})
			p.Text(`{"type":"hello"}`)
			p.NextMessage()
			list := c.n.hub.Of(push.ClientKey{ID: c.n.Dev().ClientID})
			if len(list) != 1 || list[0].Info().Remote != told {
				t.Fatalf("%d sessions, want one of %s", len(list), told)
			}
			p.Leave(1000, "")
			until(t, "it is gone", func() bool { return len(c.n.hub.Of(push.ClientKey{ID: c.n.Dev().ClientID})) == 0 })
		})
	}
}

// All in one segment: what the header's reader took along must reach the loop.
func TestFramesBehindThePROXYHeaderAndTheRequestAreServed(t *testing.T) {
	n := running(t, behind("127.0.0.0/8"))
	const request = "GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	all := append(header(t, 1), request...)
	for range 2 {
		all = frame.AppendMasked(all, frame.Text, [4]byte{1, 2, 3, 4}, []byte("hello"))
	}
	nc := dialed(t, n.Addr())
	if _, err := nc.Write(all); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for buf := make([]byte, 4096); strings.Count(string(got), "hello") < 2; {
		k, err := nc.Read(buf)
		if got = append(got, buf[:k]...); err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func TestUnwrapHandsOutWhatWasReadWithTheHeader(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	nc := dialed(t, ln.Addr().String())
	if _, err := nc.Write(append(header(t, 2), strings.Repeat("x", 100)...)); err != nil {
		t.Fatal(err)
	}
	got, err := (&proxyListener{Listener: ln, trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, timeout: time.Minute}).Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Close() }()
	if _, err := io.ReadFull(got, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	below, read := got.(*proxied).Unwrap()
	if len(read) != 90 {
		t.Errorf("%d bytes, want the 90 that nobody read", len(read))
	}
	if _, ok := below.(*net.TCPConn); !ok {
		t.Errorf("below it is %T", below)
	}
}

func TestAPROXYHeaderOfAnybodyElseIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		prefix string
		front  []byte
	}{
		"an untrusted peer":          {"10.0.0.0/8", header(t, 1)},
		"an untrusted peer, without": {"10.0.0.0/8", nil},
		"a proxy without a header":   {"127.0.0.0/8", nil},
		"a damaged header":           {"127.0.0.0/8", []byte("PROXY TCP4 nonsense\r\n")},
	} {
		t.Run(name, func(t *testing.T) {
			n := running(t, behind(c.prefix))
			nc := dialed(t, n.Addr())
			_, _ = nc.Write(append(c.front, "GET / HTTP/1.0\r\n\r\n"...)) // it may be closed already
			if b, _ := io.ReadAll(nc); len(b) != 0 {
				t.Errorf("answered: %q", b)
			}
		})
	}
}
