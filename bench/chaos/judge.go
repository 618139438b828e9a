package chaos

import (
	"fmt"
	"slices"
	"time"
)

// Rule names what a [Violation] breaks.
type Rule string

// The rules. The last five say that the run proves too little.
const (
	Lost             Rule = "lost"              // acknowledged, never received, no gap told in its place
	Phantom          Rule = "phantom"           // received, never pushed so to this client
	RefusedDelivered Rule = "refused-delivered" // received though every attempt until then was refused or not sent
	Order            Rule = "order"             // first receipts of an incarnation not ascending
	Hole             Rule = "hole"              // a connection skipped places without a gap
	Unannounced      Rule = "unannounced-gap"   // a place below the highest that no connection ever told of
	Duplicate        Rule = "duplicate"         // one place or push with two IDs, hashes or places
	HandledTwice     Rule = "handled-twice"     // without a kill between handler and cursor
	InClear          Rule = "in-clear"          // not sealed, though it had to be
	Undecryptable    Rule = "decrypt-failed"    // a sealed frame that did not open
	KeyLost          Rule = "key-lost"          // a gap for keys that the client had, in the place of what never came
	SealMissing      Rule = "seal-missing"      // a client was not offered the sealing it asked for
	NonceReused      Rule = "nonce-reused"      // two frames of one sealer, batch and lane
	Unsettled        Rule = "unsettled"         // the producer never learned the outcome
	SlowRefusal      Rule = "slow-refusal"      // no answer in time while the database was unreachable
	NotDrained       Rule = "not-drained"       // undelivered rows at the end
	DiedUnasked      Rule = "died"              // a node ended by itself
	Unbounded        Rule = "memory"            // a node took more than it may
	SlowAfter        Rule = "p99"               // not back to twice the earlier level after healing
	FewInFaults      Rule = "kind-share"        // too few pushes inside fault windows
	FewUnknown       Rule = "kind-unknown"      // too few unknown outcomes
	FewReconnects    Rule = "kind-reconnects"   // too few reconnects
	FewRedeliveries  Rule = "kind-redeliveries" // too few duplicate receipts
	FewSealed        Rule = "kind-sealed"       // too few receipts were sealed
)

// Violation is one breach with what shows it.
type Violation struct {
	Rule     Rule
	Party    string // the client, producer or node it was seen at; may be empty
	Evidence string
}

func (v Violation) String() string { return fmt.Sprintf("%s: %s: %s", v.Rule, v.Party, v.Evidence) }

// Party is one log by the name of who wrote it; for clients, the client ID.
type Party struct {
	Name   string
	Events []Event
}

// Evidence is all that a run is judged by.
type Evidence struct {
	Producers []Party
	Clients   []Party
	Conductor []Event
	// Undelivered is the number of rows that wait in the store after the
	// drain, as the store itself counts them.
	Undelivered int
}

// Clock says whether times are judged.
type Clock uint8

// Short runs on busy machines judge nothing by the clock.
const (
	WithoutClock Clock = iota
	WithClock
)

// Terms are the bounds of a run.
type Terms struct {
	Clock Clock
	// Kindness scales the counts below which a run was too kind: 1 for ten
	// minutes, 0 asks for none. The share in fault windows is never scaled.
	Kindness float64
	// MemoryBytes bounds a node's resident memory; zero judges none.
	MemoryBytes int64
	// Sealed is the least share of receipts that are sealed; zero asks for none.
	Sealed float64
}

// What the long run has to show, and the times it is judged by.
const (
	minShare        = 0.20
	minUnknown      = 200
	minReconnects   = 5000
	minRedeliveries = 100
	refusalWithin   = 5 * time.Second
	healTime        = 30 * time.Second
	minSamples      = 100 // latencies on each side of the p99 rule
)

// Judge answers every breach that the evidence shows, in the order of rules
// above within each party. It is a pure function: the same evidence has the
// same answer, and no clock or randomness is asked.
func Judge(ev Evidence, t Terms) []Violation {
	c := newCase(ev, t)
	for _, p := range ev.Producers {
		c.judgeProducer(p)
	}
	clients := slices.SortedFunc(slices.Values(ev.Clients), func(a, b Party) int { return compare(a.Name, b.Name) })
	for _, p := range clients {
		c.judgeClient(p)
		c.judgeFrames(p)
	}
	c.judgeServer()
	c.judgeKindness()
	return c.found
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// pushKey names a push by who made it.
type pushKey struct{ producer, n int }

func (k pushKey) String() string { return fmt.Sprintf("push %d of producer %d", k.n, k.producer) }

func keyOf(e Event) pushKey { return pushKey{e.Producer, e.Push} }

// try is one attempt with its outcome; End is -1 while it has none.
type try struct {
	At, End int64
	Node    string
	Result  Result
}

// pushed is what producers wrote about one push.
type pushed struct {
	client  string // empty: broadcast
	seal    string // required
	hash    string
	mayEnd  string
	tries   []try
	settled Result // empty: not
	id      string
	otherID string // a second one that it was accepted under
}

// window is a fault with its time.
type window struct {
	from, to      int64
	fault, target string
}

// trial is one judgement at work.
type trial struct {
	Evidence
	terms   Terms
	pushes  map[pushKey]*pushed
	order   []pushKey // of first attempts, by producer
	windows []window
	healed  int64 // -1: never
	found   []Violation

	reconnects, redeliveries int
	receipts, sealed         int
	frames                   map[nonce]Event // the first of each
	latencies                []latency
}

// latency is from the accepted attempt's begin to the first receipt, on a
// connection that was there before.
type latency struct{ at, took int64 }

func (c *trial) breach(r Rule, party, format string, args ...any) {
	c.found = append(c.found, Violation{r, party, fmt.Sprintf(format, args...)})
}

func newCase(ev Evidence, t Terms) *trial {
	c := &trial{Evidence: ev, terms: t, pushes: map[pushKey]*pushed{}, healed: -1, frames: map[nonce]Event{}}
	for _, p := range ev.Producers {
		for _, e := range p.Events {
			c.note(e)
		}
	}
	open := map[[2]string]int{}
	for _, e := range ev.Conductor {
		at := [2]string{e.Fault, e.Target}
		switch e.Kind {
		case FaultBegin:
			open[at] = len(c.windows)
			c.windows = append(c.windows, window{e.At, 1<<63 - 1, e.Fault, e.Target})
		case FaultEnd:
			if i, ok := open[at]; ok {
				c.windows[i].to = e.At
			}
		case Healed:
			c.healed = e.At
		default:
		}
	}
	return c
}

// note gathers a producer's events by push. Attempts of one push follow one
// another, so that an outcome belongs to the last.
func (c *trial) note(e Event) {
	k := keyOf(e)
	p := c.pushes[k]
	if p == nil {
		p = &pushed{client: e.Client, hash: e.Hash, mayEnd: e.MayEnd, seal: e.Seal}
		c.pushes[k] = p
		c.order = append(c.order, k)
	}
	switch e.Kind {
	case Attempt:
		p.tries = append(p.tries, try{At: e.At, End: -1, Node: e.Node})
	case Outcome:
		if n := len(p.tries); n > 0 {
			p.tries[n-1].End, p.tries[n-1].Result = e.At, e.Result
		}
		p.noteID(e)
	case Settled:
		p.settled = e.Result
		p.noteID(e)
	default:
	}
}

func (p *pushed) noteID(e Event) {
	switch {
	case e.Result != Accepted:
	case p.id == "":
		p.id = e.ID
	case p.id != e.ID:
		p.otherID = e.ID
	}
}

// isFor reports whether the push was for that client.
func (p *pushed) isFor(client string) bool { return p.client == "" || p.client == client }
