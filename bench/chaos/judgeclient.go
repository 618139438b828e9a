package chaos

import "slices"

// place is one sequence of one incarnation.
type place struct {
	incarnation string
	seq         uint64
}

// receipt is the first receipt of a place or push.
type receipt struct {
	place
	id, hash string
	push     pushKey
}

// line is one connection as the client saw it.
type line struct {
	at          int64
	incarnation string
	last        uint64
}

// witness reads one client's log once.
type witness struct {
	c    *trial
	name string

	lines   map[int]*line
	places  map[place]receipt
	byPush  map[pushKey]receipt
	highest map[string]uint64 // received or told of, by incarnation
	first   map[string]uint64 // highest first receipt, by incarnation
	told    map[place]string  // gaps' reasons
	handled map[place]bool    // true: handled, and not killed since
	skipped map[place]bool    // already told as a hole
	sealed  int64             // when the first handshake was complete; -1: never
}

// judgeClient holds one client's log against what was pushed.
func (c *trial) judgeClient(p Party) {
	w := &witness{
		c: c, name: p.Name, lines: map[int]*line{}, places: map[place]receipt{}, byPush: map[pushKey]receipt{},
		highest: map[string]uint64{}, first: map[string]uint64{}, told: map[place]string{}, handled: map[place]bool{},
		skipped: map[place]bool{}, sealed: -1,
	}
	connected := 0
	for _, e := range p.Events {
		if e.Kind == Connected {
			connected++
		}
		w.see(e)
	}
	c.reconnects += max(connected-1, 0)
	w.judgeLost()
	w.judgeUnannounced()
}

func (w *witness) see(e Event) {
	if e.Kind == Connected {
		w.lines[e.Conn] = &line{at: e.At, incarnation: e.Incarnation, last: e.Cursor}
		return
	}
	l := w.lines[e.Conn]
	if l == nil { // closed before its welcome
		return
	}
	at := place{l.incarnation, e.Seq}
	switch e.Kind {
	case Received:
		if e.Seq == 0 {
			w.live(e)
			return
		}
		w.next(l, e.Seq, e.Seq)
		w.received(l, e)
	case Gap:
		w.next(l, e.From, e.To)
		for s := e.From; s <= e.To; s++ {
			at := place{l.incarnation, s}
			w.told[at] = e.Reason
			w.judgeKeyLost(at, e)
		}
	case Handled:
		if w.handled[at] {
			w.c.breach(HandledTwice, w.name, "%s, sequence %d, at %d ns", keyOf(e), e.Seq, e.At)
		}
		w.handled[at] = true
	case Killed:
		w.handled[at] = false
	case Sealed:
		if w.sealed < 0 {
			w.sealed = e.At
		}
	case NotOffered:
		w.c.breach(SealMissing, w.name, "connection %d was offered %q, or another identity", e.Conn, e.Seal)
	case Bare:
		w.c.breach(InClear, w.name, "a %s on connection %d at %d ns", e.How, e.Conn, e.At)
	case Unopened:
		w.c.breach(Undecryptable, w.name, "%s, key period %d, on connection %d at %d ns; the newest keys were of generation %d",
			nonceOf(e), e.Period, e.Conn, e.At, e.Generation)
	default:
	}
}

// next holds a connection to its sequence.
func (w *witness) next(l *line, from, to uint64) {
	if from != l.last+1 {
		w.c.breach(Hole, w.name, "after %d came %d on one connection", l.last, from)
		for s := l.last + 1; s < from; s++ {
			w.skipped[place{l.incarnation, s}] = true
		}
	}
	l.last = max(to, l.last)
	w.highest[l.incarnation] = max(w.highest[l.incarnation], to)
}

func (w *witness) received(l *line, e Event) {
	r := receipt{place{l.incarnation, e.Seq}, e.ID, e.Hash, keyOf(e)}
	w.judgePushed(e, r)
	if before, ok := w.places[r.place]; ok {
		w.c.redeliveries++
		if before != r {
			w.c.breach(Duplicate, w.name, "sequence %d was %s (%s), then %s (%s)", e.Seq, before.id, before.push, r.id, r.push)
			w.byPush[r.push] = r
		}
		return
	}
	w.places[r.place] = r
	if e.Seq < w.first[l.incarnation] {
		w.c.breach(Order, w.name, "sequence %d was first received after %d", e.Seq, w.first[l.incarnation])
	}
	w.first[l.incarnation] = max(w.first[l.incarnation], e.Seq)
	if before, ok := w.byPush[r.push]; ok && before.incarnation == r.incarnation {
		w.c.breach(Duplicate, w.name, "%s stood at %d (%s), then at %d (%s)", r.push, before.seq, before.id, r.seq, r.id)
		return
	}
	w.byPush[r.push] = r
	w.c.measure(l, e)
}

// live takes a receipt without a place: whoever sent it so has delivered it
// all the same.
func (w *witness) live(e Event) {
	r := receipt{id: e.ID, hash: e.Hash, push: keyOf(e)}
	w.judgePushed(e, r)
	if _, ok := w.byPush[r.push]; !ok {
		w.byPush[r.push] = r
	}
}

// judgePushed holds a receipt against the attempts that were begun before it.
func (w *witness) judgePushed(e Event, r receipt) {
	p := w.c.pushes[r.push]
	if p == nil || !p.isFor(w.name) || p.hash != e.Hash || p.id != "" && p.id != e.ID && p.otherID != e.ID {
		w.c.breach(Phantom, w.name, "sequence %d, %s, id %s, hash %s was not pushed so", e.Seq, r.push, e.ID, e.Hash)
		return
	}
	w.judgeClear(e, p)
	begun, refused := 0, 0
	for _, t := range p.tries {
		if t.At > e.At {
			break
		}
		begun++
		if t.Result == Refused || t.Result == Unsent {
			refused++
		}
	}
	switch begun {
	case 0:
		w.c.breach(Phantom, w.name, "%s was received at %d ns, before it was pushed", r.push, e.At)
	case refused:
		w.c.breach(RefusedDelivered, w.name, "%s was received at %d ns; each of %d attempts was refused or not sent", r.push, e.At, begun)
	}
}

// judgeLost counts for each reason the places that gaps told against the
// pushes that may have ended so: which of them stood where is not known.
func (w *witness) judgeLost() {
	excuses := map[string]int{}
	for at, reason := range w.told {
		if _, ok := w.places[at]; !ok {
			excuses[reason]++
		}
	}
	for _, k := range w.c.order {
		p := w.c.pushes[k]
		if p.settled != Accepted || !p.isFor(w.name) {
			continue
		}
		if _, ok := w.byPush[k]; ok {
			continue
		}
		if p.mayEnd != "" && excuses[p.mayEnd] > 0 {
			excuses[p.mayEnd]--
			continue
		}
		w.c.breach(Lost, w.name, "%s, id %s, was acknowledged and never received", k, p.id)
	}
}

// judgeUnannounced looks at the whole life of each mailbox: what no
// connection ever brought, because each began behind it.
func (w *witness) judgeUnannounced() {
	names := make([]string, 0, len(w.highest))
	for inc := range w.highest {
		names = append(names, inc)
	}
	slices.Sort(names)
	for _, inc := range names {
		for s := uint64(1); s <= w.highest[inc]; s++ {
			at := place{inc, s}
			_, got := w.places[at]
			if _, told := w.told[at]; !got && !told && !w.skipped[at] {
				w.c.breach(Unannounced, w.name, "sequence %d of %s was neither received nor told of", s, inc)
			}
		}
	}
}
