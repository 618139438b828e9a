package server

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/sunzi-push/sunzi/hub"
)

// proxyListener takes connections of trusted proxies alone, each of which must
// begin with a PROXY header (v1 or v2): whoever else could reach the port
// could name any address as its own. The header is read by the connection's
// first read, or the question for its address, not by Accept, which one silent
// peer would hold up.
type proxyListener struct {
	net.Listener
	trusted []netip.Prefix
	timeout time.Duration // of the header
	log     *slog.Logger
}

// Accept waits for the next connection of a trusted proxy, and closes others.
func (l *proxyListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !l.trusts(nc.RemoteAddr()) {
			l.log.Debug("connection refused: its peer is no trusted proxy", "remote", nc.RemoteAddr())
			_ = nc.Close()
			continue
		}
		below := &stoppable{Conn: nc}
		return &proxied{below: below, Conn: proxyproto.NewConn(below,
			proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(l.timeout))}, nil
	}
}

func (l *proxyListener) trusts(a net.Addr) bool {
	addr, err := netip.ParseAddrPort(a.String())
	return err == nil && slices.ContainsFunc(l.trusted, func(p netip.Prefix) bool { return p.Contains(addr.Addr().Unmap()) })
}

// proxied is a connection whose address the PROXY header tells.
type proxied struct {
	*proxyproto.Conn
	below *stoppable
}

var _ hub.Wrapper = (*proxied)(nil)

// stoppable is a connection that can be kept from reading on.
type stoppable struct {
	net.Conn
	stopped bool // set when nobody reads
}

var errStopped = errors.New("server: reading has ended")

func (s *stoppable) Read(p []byte) (int, error) {
	if s.stopped {
		return 0, errStopped
	}
	return s.Conn.Read(p)
}

// Unwrap implements hub.Wrapper: what was read together with the header, and
// by nobody since, comes out before the stop does.
func (p *proxied) Unwrap() (below net.Conn, read []byte) {
	p.below.stopped = true
	for buf := make([]byte, 512); ; {
		n, err := p.Read(buf)
		read = append(read, buf[:n]...)
		if err != nil {
			return p.below.Conn, read
		}
	}
}
