package hub

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// gatekeeper counts connections and lets new ones in. Safe for all goroutines.
type gatekeeper struct {
	maxTotal, perAddress int // static
	interval, burst      time.Duration

	total atomic.Int64

	mu        sync.Mutex
	byAddress map[netip.Addr]int32 // guarded by mu; kept only where perAddress is set
	next      time.Time            // guarded by mu: theoretical arrival time of the next connection
}

func newGatekeeper(cfg Config) *gatekeeper {
	g := &gatekeeper{maxTotal: cfg.MaxConnections, perAddress: cfg.PerAddress, byAddress: map[netip.Addr]int32{}}
	if cfg.ConnectRate > 0 {
		g.interval = time.Duration(float64(time.Second) / cfg.ConnectRate)
		g.burst = time.Duration(cfg.ConnectBurst) * g.interval
	}
	return g
}

// admit takes a place for a connection; each true is followed by one release.
// The rate is a generic cell rate algorithm: a single time that runs ahead by
// one interval a connection, and may do so by the burst.
func (g *gatekeeper) admit(addr netip.Addr, now time.Time) bool {
	if n := g.total.Add(1); g.maxTotal > 0 && n > int64(g.maxTotal) {
		g.total.Add(-1)
		return false
	}
	if g.interval == 0 && g.perAddress == 0 {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	block := addressBlock(addr)
	if g.perAddress > 0 && int(g.byAddress[block]) >= g.perAddress {
		g.total.Add(-1)
		return false
	}
	if g.interval > 0 {
		next := g.next
		if next.Before(now) {
			next = now
		}
		if next = next.Add(g.interval); next.Sub(now) > g.burst {
			g.total.Add(-1)
			return false
		}
		g.next = next
	}
	if g.perAddress > 0 {
		g.byAddress[block]++
	}
	return true
}

func (g *gatekeeper) release(addr netip.Addr) {
	g.total.Add(-1)
	if g.perAddress == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	block := addressBlock(addr)
	if g.byAddress[block]--; g.byAddress[block] <= 0 {
		delete(g.byAddress, block)
	}
}

// addressBlock is what counts as one address: of IPv6 the /64 that a
// subscriber gets, or one machine would be as many as it likes.
func addressBlock(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	if addr.Is6() {
		if p, err := addr.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

// meter counts one inbound message or control frame, and stops reading from a
// connection that is beyond its rate: the peer's own socket fills, and nothing
// is lost. The same algorithm as for connections, in eight bytes.
func (c *conn) meter() {
	l := c.loop
	if l.hub.msgInterval == 0 || c.has(flagEcho) || c.phase >= phaseClosing {
		return
	}
	c.quota = max(c.quota, l.mono) + l.hub.msgInterval
	if !c.withinRate() {
		if !c.has(flagRateStop) {
			l.count.rateStops.Add(1)
		}
		c.flags |= flagRateStop
		c.pongAt = 0 // an answer would not be read
		c.watched()
	}
}

// resume reads on. What was begun before the stop gets its time anew: it was
// not the peer who held it up.
func (c *conn) resume(flag uint16) {
	c.flags &^= flag
	if c.frameAt != 0 && !c.stopped() {
		c.frameAt = c.loop.after(c.loop.hub.cfg.MessageTimeout)
	}
}

// stopped reports whether c is not read from, for its rate or its queue.
func (c *conn) stopped() bool { return c.has(flagRateStop | flagFullStop) }

func (c *conn) withinRate() bool { return c.quota-c.loop.mono <= c.loop.hub.msgBurst }

// origins is the allow-list of Origin headers (RFC 6455 section 10.2).
type origins struct {
	all   bool
	exact map[string]bool
	below []wildcard
}

// wildcard is "https://*.app.example" as the parts around the star.
type wildcard struct{ prefix, suffix string }

func newOrigins(list []string) origins {
	o := origins{exact: map[string]bool{}}
	for _, s := range list {
		s = strings.ToLower(s)
		prefix, suffix, star := strings.Cut(s, "*")
		switch {
		case s == "*":
			o.all = true
		case star:
			o.below = append(o.below, wildcard{prefix, suffix})
		default:
			o.exact[s] = true
		}
	}
	return o
}

// allows decides about an Origin header. The server's own host is allowed
// under any scheme, since a proxy may end TLS; so are requests without one,
// which no browser sends across origins.
func (o origins) allows(origin, host string) bool {
	if origin == "" || o.all {
		return true
	}
	origin = strings.ToLower(origin)
	if o.exact[origin] {
		return true
	}
	if _, own, ok := strings.Cut(origin, "://"); ok && own == strings.ToLower(host) {
		return true
	}
	for _, w := range o.below {
		if len(origin) > len(w.prefix)+len(w.suffix) && strings.HasPrefix(origin, w.prefix) && strings.HasSuffix(origin, w.suffix) {
			return true
		}
	}
	return false
}
