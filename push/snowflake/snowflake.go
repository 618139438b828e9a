// Package snowflake makes the 64-bit IDs of pushes and clients: 41 bits of
// milliseconds since the ID origin, 10 bits of node, 12 bits of step, the
// layout of bwmarrin/snowflake.
//
// Read first: [Node], which issues IDs, [Leased], which issues them for as long
// as its number is its own, and [Explain], which takes an ID apart. All may be
// used from any goroutine; nothing here blocks or starts a goroutine. IDs of one node grow strictly; IDs of several nodes are only
// roughly ordered by time, and their order says nothing about the order of
// commits: sequences do that.
//
// Layout and parsing are bwmarrin/snowflake's; issuing is our own, for three
// reasons. Its generator reads the machine's clock and takes no other, so it
// can't be tested against a clock that steps back. Its epoch is a variable of
// the package, shared by everything in the process: it is left alone here, and
// the origin belongs to each [Node]. And it spins on the clock when 4,096 IDs
// were issued in a millisecond, under its lock.
//
// The package takes no leases: where two nodes run at the same time under one
// number without one, they issue the same IDs.
package snowflake

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	bw "github.com/bwmarrin/snowflake"
)

const (
	nodeBits = 10
	stepBits = 12
	timeBits = 63 - nodeBits - stepBits

	// MaxNode is the highest node number.
	MaxNode = 1<<nodeBits - 1

	maxStep = 1<<stepBits - 1
	maxMS   = 1<<timeBits - 1
)

// DefaultOrigin is the ID origin unless configured otherwise. An origin must
// never change once IDs were issued: new ones would meet old ones.
var DefaultOrigin = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// Lifetime is how long after the origin IDs can be issued: 2^41 ms, a little
// more than 69 years.
const Lifetime = time.Duration(maxMS) * time.Millisecond

// Config is what a [Node] is made of.
type Config struct {
	// Node is the number of this node, 0 to [MaxNode]. No two nodes that run
	// at the same time, or within a clock error of each other, may share one.
	Node int64
	// Origin is the time that IDs count from, in whole milliseconds. Zero
	// means [DefaultOrigin].
	Origin time.Time
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Mono is the monotonic clock of a [Leased] node: what has passed since
	// some moment, whatever is done to the machine's clock. Nil means the
	// system's.
	Mono func() time.Duration
	// After is an ID already issued under this origin: what is issued from
	// now on is later than its time. It keeps a restart from repeating IDs
	// where the clock stepped back meanwhile. Zero means that none is known.
	After int64
}

// Node issues IDs under a number that is its own for good. Safe for concurrent
// use.
type Node struct {
	last   atomic.Int64 // ms << stepBits | step of the last ID; -1: none, ended: no more
	node   int64
	origin time.Time
	now    func() time.Time
}

// New checks the configuration and makes a node. It refuses a clock that is
// before the origin or past [Lifetime].
func New(cfg Config) (*Node, error) {
	if cfg.Node < 0 || cfg.Node > MaxNode {
		return nil, fmt.Errorf("snowflake: node %d is not in 0..%d", cfg.Node, MaxNode)
	}
	if cfg.Origin.IsZero() {
		cfg.Origin = DefaultOrigin
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Origin.Nanosecond()%int(time.Millisecond) != 0 {
		return nil, fmt.Errorf("snowflake: origin %s is not a whole millisecond", cfg.Origin.Format(time.RFC3339Nano))
	}
	n := &Node{node: cfg.Node, origin: cfg.Origin, now: cfg.Now}
	if err := n.canBe(cfg.Now()); err != nil {
		return nil, err
	}
	n.last.Store(-1)
	if cfg.After > 0 {
		n.last.Store(cfg.After>>(nodeBits+stepBits)<<stepBits | maxStep)
	}
	return n, nil
}

// canBe refuses a time that no ID can hold.
func (n *Node) canBe(t time.Time) error {
	if ms := n.since(t); ms < 0 || ms > maxMS {
		return fmt.Errorf("snowflake: the clock says %s, IDs of origin %s can be issued for 69 years after it",
			t.UTC().Format(time.RFC3339), n.origin.UTC().Format(time.RFC3339))
	}
	return nil
}

// since is in whole milliseconds since the origin.
func (n *Node) since(t time.Time) int64 { return t.UnixMilli() - n.origin.UnixMilli() }

// Next issues an ID, greater than every earlier one of this node. It never
// waits: where the clock stands still, steps back or gave 4,096 IDs within a
// millisecond, it goes on from the last ID and thereby runs ahead of the
// clock until that catches up.
func (n *Node) Next() int64 {
	id, _ := n.issue(n.since(n.now()), maxMS+1)
	return id
}

// TryNext is [Node.Next] in the form of [Leased.TryNext]. It never fails.
func (n *Node) TryNext() (int64, error) { return n.Next(), nil }

// ended stands in last once no more IDs may be issued.
const ended = math.MaxInt64

// issue gives an ID of the time ms or later, but before end; both in
// milliseconds since the origin. False where there is none.
func (n *Node) issue(ms, end int64) (int64, bool) {
	for {
		last := n.last.Load()
		if last == ended {
			return 0, false
		}
		// Time and step are one counter, so that a full step carries into
		// the time, and one compare-and-swap issues the ID.
		next := max(ms<<stepBits, last+1)
		at, step := next>>stepBits, next&maxStep
		if at >= end {
			return 0, false
		}
		if n.last.CompareAndSwap(last, next) {
			return n.id(at, step), true
		}
	}
}

func (n *Node) id(ms, step int64) int64 {
	return ms<<(nodeBits+stepBits) | n.node<<stepBits | step
}

// Parts is what an ID is made of.
type Parts struct {
	Time time.Time // when it was issued, UTC, in milliseconds
	Node int64
	Step int64 // number within the node's millisecond
}

// Explain takes an ID apart. The origin must be the one it was issued under;
// zero means [DefaultOrigin]. Any number has parts: an ID that was never
// issued can't be told from one that was.
func Explain(id int64, origin time.Time) Parts {
	if origin.IsZero() {
		origin = DefaultOrigin
	}
	ms := id >> (nodeBits + stepBits)
	return Parts{
		Time: time.UnixMilli(origin.UnixMilli() + ms).UTC(),
		Node: bw.ID(id).Node(),
		Step: bw.ID(id).Step(),
	}
}
