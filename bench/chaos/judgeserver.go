package chaos

import (
	"slices"
	"time"
)

// judgeProducer holds one producer's log to what servers owe producers.
func (c *trial) judgeProducer(p Party) {
	seen := map[pushKey]bool{}
	for _, e := range p.Events {
		k := keyOf(e)
		if seen[k] {
			continue
		}
		seen[k] = true
		push := c.pushes[k]
		if push.settled == "" {
			c.breach(Unsettled, p.Name, "%s: no outcome after %d attempts", k, len(push.tries))
		}
		if push.otherID != "" {
			c.breach(Duplicate, p.Name, "%s was accepted as %s and as %s", k, push.id, push.otherID)
		}
		if c.terms.Clock == WithClock {
			c.judgeRefusals(p.Name, k, push)
		}
	}
}

// judgeRefusals looks for attempts that waited too long for an answer while
// the database was unreachable. A node that had a fault of its own owes none.
func (c *trial) judgeRefusals(producer string, k pushKey, p *pushed) {
	for _, t := range p.tries {
		due := t.At + ns(refusalWithin)
		if !c.during(Database, t.At, due) || c.touched(t.Node, t.At, due) {
			continue
		}
		if t.End < 0 || t.End > due {
			c.breach(SlowRefusal, producer, "%s at %d ns had no answer of %s within %s", k, t.At, t.Node, refusalWithin)
		}
	}
}

// during reports whether one fault of target covers all of from..to.
func (c *trial) during(target string, from, to int64) bool {
	return slices.ContainsFunc(c.windows, func(w window) bool {
		return w.target == target && w.from <= from && to <= w.to
	})
}

// touched reports whether a fault of target overlaps from..to.
func (c *trial) touched(target string, from, to int64) bool {
	return slices.ContainsFunc(c.windows, func(w window) bool {
		return w.target == target && w.from <= to && from <= w.to
	})
}

// measure keeps the latency of a first receipt whose client was connected
// when its push was begun: others waited for their client.
func (c *trial) measure(l *line, e Event) {
	p := c.pushes[keyOf(e)]
	if p == nil || len(p.tries) == 0 || l.at > p.tries[0].At {
		return
	}
	c.latencies = append(c.latencies, latency{p.tries[0].At, e.At - p.tries[0].At})
}

// judgeServer looks at the nodes and the store.
func (c *trial) judgeServer() {
	if c.Undelivered > 0 {
		c.breach(NotDrained, "", "%d undelivered rows", c.Undelivered)
	}
	top := map[string]int64{}
	for _, e := range c.Conductor {
		switch e.Kind {
		case Memory:
			top[e.Node] = max(top[e.Node], e.Bytes)
		case Died:
			c.breach(DiedUnasked, e.Node, "ended by itself")
		default:
		}
	}
	nodes := make([]string, 0, len(top))
	for n := range top {
		nodes = append(nodes, n)
	}
	slices.Sort(nodes)
	for _, n := range nodes {
		if most := c.terms.MemoryBytes; most > 0 && top[n] > most {
			c.breach(Unbounded, n, "%d bytes, of %d allowed", top[n], most)
		}
	}
	if c.terms.Clock == WithClock {
		c.judgeLatency()
	}
}

// judgeLatency compares pushes begun before the first fault with those begun
// well after the last.
func (c *trial) judgeLatency() {
	before, after := c.beforeAndAfter()
	if len(before) < minSamples || len(after) < minSamples {
		c.breach(SlowAfter, "", "%d latencies before the faults and %d after healing: %d are needed", len(before), len(after), minSamples)
		return
	}
	if b, a := p99(before), p99(after); a > 2*b {
		c.breach(SlowAfter, "", "p99 was %s before the faults and %s after healing", time.Duration(b), time.Duration(a))
	}
}

func (c *trial) beforeAndAfter() (before, after []int64) {
	first := int64(1<<63 - 1)
	for _, w := range c.windows {
		first = min(first, w.from)
	}
	for _, l := range c.latencies {
		switch {
		case l.at < first:
			before = append(before, l.took)
		case c.healed >= 0 && l.at >= c.healed+ns(healTime):
			after = append(after, l.took)
		}
	}
	return before, after
}

// p99 sorts what it is given.
func p99(took []int64) int64 {
	slices.Sort(took)
	return took[(len(took)*99+99)/100-1]
}

// judgeKindness fails a run that proves too little.
func (c *trial) judgeKindness() {
	inside, unknown := 0, 0
	for _, k := range c.order {
		p := c.pushes[k]
		for _, t := range p.tries {
			if t.Result == Unknown {
				unknown++
			}
		}
		if len(p.tries) > 0 && c.faulty(p.tries[0].At) {
			inside++
		}
	}
	if float64(inside) < minShare*float64(len(c.order)) || len(c.order) == 0 {
		c.breach(FewInFaults, "", "%d of %d pushes were begun inside fault windows", inside, len(c.order))
	}
	c.atLeast(FewUnknown, unknown, minUnknown, "unknown outcomes")
	c.atLeast(FewReconnects, c.reconnects, minReconnects, "reconnects")
	if float64(c.sealed) < c.terms.Sealed*float64(c.receipts) {
		c.breach(FewSealed, "", "%d of %d receipts were sealed, of at least %.0f %%", c.sealed, c.receipts, 100*c.terms.Sealed)
	}
	c.atLeast(FewRedeliveries, c.redeliveries, minRedeliveries, "redeliveries")
}

func (c *trial) faulty(at int64) bool {
	return slices.ContainsFunc(c.windows, func(w window) bool { return w.from <= at && at <= w.to })
}

func (c *trial) atLeast(r Rule, got, want int, what string) {
	if need := c.terms.Kindness * float64(want); float64(got) < need {
		c.breach(r, "", "%d %s, of at least %.1f", got, what, need)
	}
}
