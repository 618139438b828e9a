package chaos

import "time"

// Figure is one number about a run.
type Figure struct {
	Name  string
	Value float64
	Unit  string
}

// Figures are what a run went through, for the record.
func Figures(ev Evidence) []Figure {
	c := newCase(ev, Terms{})
	for _, p := range ev.Clients {
		c.judgeClient(p)
		c.judgeFrames(p)
	}
	count, results := counts(ev)
	inside := 0
	for _, k := range c.order {
		if p := c.pushes[k]; len(p.tries) > 0 && c.faulty(p.tries[0].At) {
			inside++
		}
	}
	memory := int64(0)
	for _, e := range ev.Conductor {
		memory = max(memory, e.Bytes)
	}
	figures := []Figure{
		{"faults", float64(count[FaultBegin]), "faults"},
		{"pushes settled", float64(count[Settled]), "pushes"},
		{"pushes begun inside faults", 100 * float64(inside) / float64(max(len(c.order), 1)), "%"},
		{"attempts", float64(count[Attempt]), "requests"},
		{"attempts refused", float64(results[Refused]), "requests"},
		{"attempts not sent", float64(results[Unsent]), "requests"},
		{"attempts with unknown outcome", float64(results[Unknown]), "requests"},
		{"connections", float64(count[Connected]), "connections"},
		{"receipts", float64(count[Received]), "messages"},
		{"redeliveries", float64(c.redeliveries), "messages"},
		{"handled", float64(count[Handled]), "messages"},
		{"clients killed between handler and cursor", float64(count[Killed]), "times"},
		{"receipts sealed", float64(c.sealed), "messages"},
		{"share of receipts sealed", 100 * float64(c.sealed) / float64(max(c.receipts, 1)), "%"},
		{"frames sealed and sent", float64(len(c.frames)), "frames"},
		{"covers received", float64(covers(ev)), "frames"},
		{"handshakes begun", float64(count[Offered]), "handshakes"},
		{"handshakes complete", float64(count[Sealed]), "handshakes"},
		{"frames that did not open", float64(count[Unopened]), "frames"},
		{"most memory of a node", float64(memory) / (1 << 20), "MiB"},
		{"undelivered at the end", float64(ev.Undelivered), "entries"},
	}
	before, after := c.beforeAndAfter()
	if len(before) > 0 && len(after) > 0 {
		ms := float64(time.Millisecond)
		figures = append(figures, Figure{"p99 before the faults", float64(p99(before)) / ms, "ms"},
			Figure{"p99 after healing", float64(p99(after)) / ms, "ms"})
	}
	return figures
}

func covers(ev Evidence) (n int) {
	for _, p := range ev.Clients {
		for _, e := range p.Events {
			n += e.Covers
		}
	}
	return n
}

// counts are events by kind, and outcomes by result.
func counts(ev Evidence) (map[Kind]int, map[Result]int) {
	kinds, results := map[Kind]int{}, map[Result]int{}
	for _, parties := range [][]Party{ev.Producers, ev.Clients, {{Events: ev.Conductor}}} {
		for _, p := range parties {
			for _, e := range p.Events {
				kinds[e.Kind]++
				if e.Kind == Outcome {
					results[e.Result]++
				}
			}
		}
	}
	return kinds, results
}
