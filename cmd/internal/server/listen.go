package server

import (
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"sync"

	"github.com/go-chi/chi/v5/middleware"
)

// pending watches the connections that net/http holds: half-done requests and
// upgrades, idle keep-alives. Each costs a goroutine and its buffers. A socket
// that was upgraded is the hub's and no longer counted.
type pending struct {
	limit int // zero: none

	mu    sync.Mutex // guards what follows
	held  int
	fresh map[net.Conn]struct{} // nothing was asked on them yet
}

func newPending(limit int) *pending {
	return &pending{limit: limit, fresh: map[net.Conn]struct{}{}}
}

// watch is the http.Server's ConnState. At the limit a new connection is
// closed; what is there is served.
func (p *pending) watch(c net.Conn, state http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.fresh, c)
	switch state {
	case http.StateNew:
		p.held++
		p.fresh[c] = struct{}{}
		if p.limit > 0 && p.held > p.limit {
			_ = c.Close() // net/http sees it and reports StateClosed
		}
	case http.StateHijacked, http.StateClosed:
		p.held--
	default: // it goes on being held
	}
}

// closeFresh closes connections on which nothing was asked, as browsers open
// them ahead: http.Server.Shutdown waits five seconds for each.
func (p *pending) closeFresh() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.fresh {
		_ = c.Close()
	}
}

// remote is the peer of an upgrade as the API's middleware found it: behind a
// trusted proxy the address that the proxy names.
func remote(r *http.Request) netip.AddrPort {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil { // a Unix socket
		peer = netip.AddrPort{}
	}
	if addr := middleware.GetClientIPAddr(r.Context()); addr.IsValid() && addr.Unmap() != peer.Addr().Unmap() {
		return netip.AddrPortFrom(addr.Unmap(), 0) // the proxy does not say the port
	}
	return netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
}

// pprofHandler serves the runtime's profiles. Importing net/http/pprof also
// registers them on http.DefaultServeMux, which nothing here serves.
func pprofHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
