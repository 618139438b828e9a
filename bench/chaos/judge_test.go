package chaos

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// story is evidence that tests take apart: one producer, clients a and b, one
// fault from 10 to 20 s in which half of the pushes are begun.
type story struct {
	ev    Evidence
	terms Terms
	at    int64
}

// tell adds an event at the story's time, which goes on by a microsecond.
func (s *story) tell(log *Party, e Event) {
	s.at += 1000
	e.At = s.at
	log.Events = append(log.Events, e)
}

func (s *story) producer(e Event) {
	e.Producer = 1
	s.tell(&s.ev.Producers[0], e)
}

func (s *story) client(i int, e Event) {
	if e.Kind == Received || e.Kind == Handled {
		e.Producer = 1
		e.ID = fmt.Sprintf("id%d", e.Push)
		if e.Hash == "" && e.Kind == Received {
			e.Hash = fmt.Sprintf("hash%d", e.Push)
		}
	}
	s.tell(&s.ev.Clients[i], e)
}

// push tells of a push to a client (empty: broadcast), attempted once for
// each result, the last of which settles it.
func (s *story) push(n int, client string, results ...Result) {
	for i, r := range results {
		s.producer(Event{Kind: Attempt, Push: n, Client: client, Node: "n1", Hash: fmt.Sprintf("hash%d", n)})
		end := Event{Kind: Outcome, Push: n, Result: r}
		if r == Accepted {
			end.ID = fmt.Sprintf("id%d", n)
		}
		s.producer(end)
		if i == len(results)-1 && (r == Accepted || r == Refused) {
			end.Kind = Settled
			s.producer(end)
		}
	}
}

func (s *story) connect(i, conn int, cursor uint64) {
	s.client(i, Event{Kind: Connected, Conn: conn, Node: "n1", Incarnation: "inc", Cursor: cursor})
}

func (s *story) take(i, conn int, seq uint64, push int) {
	s.client(i, Event{Kind: Received, Conn: conn, Seq: seq, Push: push})
}

func (s *story) handle(i, conn int, seq uint64, push int) {
	s.client(i, Event{Kind: Handled, Conn: conn, Seq: seq, Push: push})
}

func second(n int64) int64 { return n * ns(time.Second) }

// clean is a run with every legal oddity.
func clean() *story {
	s := &story{terms: Terms{MemoryBytes: 1 << 20}}
	s.ev.Producers = []Party{{Name: "producer-1"}}
	s.ev.Clients = []Party{{Name: "a"}, {Name: "b"}}
	s.ev.Conductor = []Event{
		{At: second(10), Kind: FaultBegin, Fault: "kill", Target: "n1"},
		{At: second(11), Kind: Memory, Node: "n1", Bytes: 1 << 19},
		{At: second(20), Kind: FaultEnd, Fault: "kill", Target: "n1"},
		{At: second(30), Kind: Healed},
	}
	s.at = second(10)
	s.connect(0, 1, 0)
	s.push(1, "a", Accepted)
	s.take(0, 1, 1, 1)
	s.handle(0, 1, 1, 1)
	s.push(2, "a", Unknown, Accepted) // the first was accepted
	s.push(3, "a", Unsent, Refused, Unknown, Refused, Accepted)
	s.push(4, "a", Refused) // never delivered
	s.take(0, 1, 2, 2)
	s.handle(0, 1, 2, 2)
	s.client(0, Event{Kind: Killed, Conn: 1, Seq: 2})
	s.connect(0, 2, 1) // saved was 1: 2 comes again, and to the handler
	s.take(0, 2, 2, 2)
	s.handle(0, 2, 2, 2)
	s.connect(0, 3, 1) // while the old socket lives
	s.take(0, 3, 2, 2)
	s.take(0, 2, 3, 3)
	s.handle(0, 2, 3, 3)
	s.take(0, 3, 3, 3)
	s.producer(Event{Kind: Attempt, Push: 5, Client: "a", Node: "n1", Hash: "hash5", MayEnd: "expired"})
	s.producer(Event{Kind: Outcome, Push: 5, Result: Accepted, ID: "id5"})
	s.producer(Event{Kind: Settled, Push: 5, Result: Accepted, ID: "id5"})
	s.client(0, Event{Kind: Gap, Conn: 3, From: 4, To: 4, Reason: "expired"})
	s.at = second(25) // outside the fault
	s.push(6, "", Accepted)
	s.take(0, 3, 5, 6)
	s.handle(0, 3, 5, 6)
	s.connect(1, 1, 0)
	s.take(1, 1, 1, 6)
	s.push(10, "b", Accepted)
	s.take(1, 1, 0, 10) // live alone: delivered, and no place
	return s
}

func TestCleanRunBreaksNoRule(t *testing.T) {
	s := clean()
	if found := Judge(s.ev, s.terms); len(found) > 0 {
		t.Fatalf("found %v", found)
	}
}

// breaches: each makes the clean story break one rule, and no other.
var breaches = []struct {
	name   string
	rule   Rule
	change func(*story)
}{
	{"acknowledged push never received", Lost, func(s *story) { s.push(7, "a", Accepted) }},
	{"broadcast received by one of two", Lost, func(s *story) { s.push(7, "", Accepted); s.take(0, 3, 6, 7) }},
	{"missing push beside a gap with a reason that is not its own", Lost, func(s *story) {
		s.push(7, "a", Accepted)
		s.client(0, Event{Kind: Gap, Conn: 3, From: 6, To: 6, Reason: "expired"})
	}},
	{"received and never pushed", Phantom, func(s *story) { s.take(0, 3, 6, 99) }},
	{"received by whom it was not for", Phantom, func(s *story) { s.take(1, 1, 2, 1) }},
	{"received with another hash", Phantom, func(s *story) {
		s.push(7, "a", Accepted)
		s.client(0, Event{Kind: Received, Conn: 3, Seq: 6, Push: 7, Hash: "torn"})
	}},
	{"received before it was pushed", Phantom, func(s *story) { s.take(0, 3, 6, 7); s.push(7, "a", Accepted) }},
	{"refused and delivered", RefusedDelivered, func(s *story) { s.push(7, "a", Refused); s.take(0, 3, 6, 7) }},
	{"refused, delivered, then accepted", RefusedDelivered, func(s *story) {
		s.push(7, "a", Refused)
		s.take(0, 3, 6, 7)
		s.push(7, "a", Accepted)
	}},
	{"not sent, delivered, then accepted", RefusedDelivered, func(s *story) {
		s.push(7, "a", Unsent)
		s.take(0, 3, 6, 7)
		s.push(7, "a", Accepted)
	}},
	{"second before first", Order, func(s *story) {
		s.push(7, "b", Accepted)
		s.push(8, "b", Accepted)
		s.connect(1, 2, 2)
		s.take(1, 2, 3, 8)
		s.connect(1, 3, 1)
		s.take(1, 3, 2, 7)
	}},
	{"a replay that leaves one out", Hole, func(s *story) {
		s.connect(0, 4, 0)
		s.take(0, 4, 1, 1)
		s.take(0, 4, 3, 3)
	}},
	{"a place that no connection told of", Unannounced, func(s *story) {
		s.push(7, "b", Accepted)
		s.connect(1, 2, 2)
		s.take(1, 2, 3, 7)
	}},
	{"one place with two pushes", Duplicate, func(s *story) {
		s.push(7, "b", Accepted)
		s.connect(1, 2, 0)
		s.take(1, 2, 1, 7)
	}},
	{"one push at two places", Duplicate, func(s *story) { s.take(0, 3, 6, 6) }},
	{"one push accepted under two IDs", Duplicate, func(s *story) {
		s.producer(Event{Kind: Attempt, Push: 6, Node: "n1", Hash: "hash6"})
		s.producer(Event{Kind: Outcome, Push: 6, Result: Accepted, ID: "id6b"})
	}},
	{"handled twice", HandledTwice, func(s *story) { s.handle(0, 3, 3, 3) }},
	{"no outcome", Unsettled, func(s *story) { s.push(7, "a", Unknown) }},
	{"refused late", SlowRefusal, func(s *story) {
		s.unreachable()
		s.producer(Event{Kind: Attempt, Push: 7, Client: "a", Node: "n1", Hash: "hash7"})
		s.at += second(6)
		s.producer(Event{Kind: Outcome, Push: 7, Result: Refused})
		s.producer(Event{Kind: Settled, Push: 7, Result: Refused})
	}},
	{"undelivered rows", NotDrained, func(s *story) { s.ev.Undelivered = 1 }},
	{"a node that ended by itself", DiedUnasked, func(s *story) {
		s.ev.Conductor = append(s.ev.Conductor, Event{At: second(20), Kind: Died, Node: "n1"})
	}},
	{"memory", Unbounded, func(s *story) { s.terms.MemoryBytes = 1 << 18 }},
	{"slow after healing", SlowAfter, func(s *story) { s.timed(second(1), 3) }},
	{"too few latencies", SlowAfter, func(s *story) { s.terms.Clock = WithClock }},
	{"pushes outside fault windows", FewInFaults, func(s *story) {
		for n := range 30 {
			s.push(100+n, "a", Refused)
		}
	}},
	{"few unknown outcomes", FewUnknown, func(s *story) { s.terms.Kindness = 2.5 / minUnknown; s.busy(FewUnknown) }},
	{"few reconnects", FewReconnects, func(s *story) { s.terms.Kindness = 1; s.busy(FewReconnects) }},
	{"few redeliveries", FewRedeliveries, func(s *story) { s.terms.Kindness = 1; s.busy(FewRedeliveries) }},
}

// unreachable is a database that is gone for twelve seconds, in a run that is
// judged by the clock and otherwise passes.
func (s *story) unreachable() {
	s.timed(1000, 1)
	s.ev.Conductor = append(s.ev.Conductor,
		Event{At: s.at, Kind: FaultBegin, Fault: "stop", Target: Database},
		Event{At: s.at + second(12), Kind: FaultEnd, Fault: "stop", Target: Database})
}

// timed adds latencies before and after the faults, the latter so many times
// the former, and judges by the clock.
func (s *story) timed(took, times int64) {
	s.terms.Clock = WithClock
	s.ev.Clients = append(s.ev.Clients, Party{Name: "c"})
	broadcast := func(e Event) bool { return e.Push == 6 && e.Client == "" }
	s.ev.Producers[0].Events = slices.DeleteFunc(s.ev.Producers[0].Events, broadcast)
	s.ev.Clients[0].Events = slices.DeleteFunc(s.ev.Clients[0].Events, broadcast)
	s.ev.Clients[1].Events = slices.DeleteFunc(s.ev.Clients[1].Events, broadcast)
	s.at = 0
	s.connect(2, 1, 0)
	for i := range 2 * minSamples {
		s.at = second(9) / 200 * int64(i%minSamples) / 10
		wait := took
		if i >= minSamples {
			s.at, wait = second(100)+int64(i), took*times
		}
		s.push(1000+i, "c", Accepted)
		s.at += wait
		s.take(2, 1, uint64(i+1), 1000+i)
	}
	// Enough of the others are inside the window.
	for i := range minSamples {
		s.at = second(12)
		s.push(2000+i, "c", Refused)
	}
	s.at = second(200)
}

// busy makes the run unkind in all but one way.
func (s *story) busy(but Rule) {
	s.at = second(12)
	for n := range minUnknown {
		if but != FewUnknown {
			s.push(500+n, "a", Unknown, Refused)
		}
	}
	if but != FewReconnects {
		for n := range minReconnects {
			s.connect(0, 10+n, 4)
		}
	}
	if but != FewRedeliveries {
		for n := range minRedeliveries {
			s.connect(0, 6000+n, 2)
			s.take(0, 6000+n, 3, 3)
		}
	}
}

func TestEachBreachIsFoundAndNothingElse(t *testing.T) {
	for _, b := range breaches {
		t.Run(b.name, func(t *testing.T) {
			s := clean()
			b.change(s)
			found := Judge(s.ev, s.terms)
			if len(found) == 0 {
				t.Fatalf("%s was not found", b.rule)
			}
			for _, v := range found {
				if v.Rule != b.rule {
					t.Errorf("found %s", v)
				}
			}
		})
	}
}
