package snowflake

import (
	"errors"
	"sync/atomic"
	"time"
)

// ErrLeaseOver is the answer where the lease of the node number has ended, or
// was given back. It may be extended yet; an ended one stays so.
var ErrLeaseOver = errors.New("snowflake: the lease of the node number is over")

// Lease says until when a node number is ours, by the clock of whoever leases
// it. The lessor must hold to two things: it gives a number to somebody else,
// a restarted process included, only when its clock has reached Until; and an
// Until that it once gave for a number never moves back, whatever its clock
// does, unless the number is given back after [Leased.End].
type Lease struct {
	Now   time.Time // the lessor's clock when it answered
	Until time.Time
}

// Leased issues IDs under a leased node number. Every ID's time is before the
// lease's end, however late it is issued: a process that was paused past the
// end and goes on repeats nothing of a successor, whose IDs begin there.
//
// Its clock is the lessor's at the last [Lease] plus what has passed since by
// the monotonic clock, so that steps of this machine's clock change nothing.
// Where the monotonic clock stands still (a suspended machine) it lags behind
// the lessor's until the next extension, which costs no more than the time in
// the IDs.
//
// Safe for concurrent use.
type Leased struct {
	node  *Node
	mono  func() time.Duration
	start int64 // of node.last, before the first ID
	lease atomic.Pointer[anchor]
}

// anchor is a lease in milliseconds since the origin, with when we heard of it.
type anchor struct {
	heard    time.Duration
	now, end int64
}

var processStart = time.Now()

// NewLeased checks the configuration and makes a node of it. Of cfg, Now is
// not used: IDs follow the lease's clock and cfg.Mono.
func NewLeased(cfg Config, l Lease) (*Leased, error) {
	cfg.Now = func() time.Time { return l.Now }
	n, err := New(cfg)
	if err != nil {
		return nil, err
	}
	// Whatever the lessor's clock does later: what lies before this lease may
	// be a predecessor's.
	n.last.Store(max(n.last.Load(), n.since(l.Now)<<stepBits-1))
	g := &Leased{node: n, mono: cfg.Mono, start: n.last.Load()}
	if g.mono == nil {
		g.mono = func() time.Duration { return time.Since(processStart) }
	}
	g.Extend(l)
	return g, nil
}

// TryNext issues an ID, greater than every earlier one of this node, or
// answers [ErrLeaseOver]. It never waits.
func (g *Leased) TryNext() (int64, error) {
	a := g.lease.Load()
	id, ok := g.node.issue(g.clock(a), a.end)
	if !ok {
		return 0, ErrLeaseOver
	}
	return id, nil
}

func (g *Leased) clock(a *anchor) int64 { return a.now + (g.mono() - a.heard).Milliseconds() }

// Extend takes the lessor's newest word, also after the lease was over: then
// IDs go on. Call it in the order in which the lessor spoke.
func (g *Leased) Extend(l Lease) {
	g.lease.Store(&anchor{
		heard: g.mono(), now: g.node.since(l.Now),
		end: min(g.node.since(l.Until), maxMS+1), // the millisecond of the end is the successor's
	})
}

// Left is for how long IDs can still be issued; zero where they can't.
func (g *Leased) Left() time.Duration {
	if g.node.last.Load() == ended {
		return 0
	}
	a := g.lease.Load()
	return max(0, time.Duration(a.end-g.clock(a))*time.Millisecond)
}

// End stops issuing for good, and answers the last ID that was issued, or zero
// for none. Once it has returned the number may be given back, free from that
// ID's next millisecond on.
func (g *Leased) End() int64 {
	last := g.node.last.Swap(ended)
	if last == g.start || last == ended {
		return 0
	}
	return g.node.id(last>>stepBits, last&maxStep)
}
