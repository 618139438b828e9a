package console

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// allowed says whether the settings, secrets among them, may go to whoever
// asks. Each check stops what the others let through:
//
//   - the peer's address: other machines
//   - the Host header: a name elsewhere that was made to point here (DNS
//     rebinding), whose page the browser takes for this server's own
//   - Sec-Fetch-Site: a page of another origin in a browser of this machine
//   - forwarding headers: a proxy of this machine, behind which anybody may be
func allowed(r *http.Request, listen string) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
	default:
		return false
	}
	for _, name := range []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return false
	}
	return r.Host != "" && (r.Host == listen || loopbackHost(r.Host))
}

// loopbackHost takes a Host header: a name or an address, with a port or not.
func loopbackHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}
