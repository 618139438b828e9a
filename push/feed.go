package push

// The hand-over from replay to live. This file is the only place that knows
// it.
//
// Invariant: a session is sent exactly the places next, next+1, next+2 … of
// its mailbox, each once, as an entry or in a gap. An entry is sent either
// because it was read from the store, or because it was offered after its
// commit and is the very next one. Nothing is queued in between: while a page
// is being read, an offer only raises head, and a feed goes live only when a
// page has reached head under the same owner that takes offers. So
//
//   - no gap: an entry committed after the page was read was offered (head is
//     above the page, so it is read again), or its hint was lost (the next
//     offer shows a hole, which is read; a sweep of heads finds the last one);
//   - no reorder: only next is ever sent;
//   - a bounded queue: the store is the queue; what a feed holds is one page
//     at most, and that only while its line has room.
//
// A line that is full stops the feed. Drained starts it again by reading from
// the mailbox, so a slow reader costs its outbound limit and nothing more.

// Line is what a feed needs of the connection it feeds. All methods are called
// by the goroutine that owns both; none may call back into the feed before it
// returns. Send methods answer false when the line has no room for more: what
// was handed over is still sent.
type Line interface {
	Message(m *Message, seq uint64, replayed bool) bool
	Gap(from, to uint64, reason GapReason) bool
	ReplayComplete(seq uint64) bool
	// Fetch asks for the places after a sequence. Feed.Fetched is called
	// later, by the owner, with what came.
	Fetch(after uint64)
}

type feedState uint8

const (
	feedOpening feedState = iota // the mailbox's state is being read
	feedReading                  // a page was asked for
	feedFull                     // the line has no room
	feedLive                     // everything up to head was sent
)

// Feed decides what one session may be sent next. The zero Feed is opening.
// Owned by the goroutine that owns the connection; not safe otherwise.
type Feed struct {
	next  uint64 // the place to send next
	head  uint64 // highest place known to be committed
	mark  uint64 // head when the session opened: up to here is replay
	state feedState
	told  bool // replay_complete was sent
	stale bool // the page under way may hold what has ended since it was read
}

// Open starts the feed after cursor, with the mailbox's head as it was read
// (offers may have told of later ones). cursor must not be above head.
func (f *Feed) Open(l Line, cursor, head uint64) {
	f.Hold(cursor, head)
	f.Release(l)
}

// Hold is Open for a line that may be sent nothing yet: what is offered raises
// the head alone, until Release.
func (f *Feed) Hold(cursor, head uint64) {
	f.next = cursor + 1
	f.mark = head
	f.head = max(f.head, head)
}

// Release starts a feed that was held.
func (f *Feed) Release(l Line) {
	if f.state == feedOpening {
		f.proceed(l)
	}
}

// Offer is the hint that m was committed at seq. A nil m says only that the
// mailbox reaches seq (another node's hint, or a sweep of heads).
func (f *Feed) Offer(l Line, m *Message, seq uint64) {
	f.head = max(f.head, seq)
	if f.state != feedLive || seq < f.next {
		return
	}
	if m == nil || seq > f.next { // a hole: a hint was lost or came out of order
		f.read(l)
		return
	}
	f.next++
	if !l.Message(m, seq, false) {
		f.state = feedFull
	}
}

// Fetched takes the page that Line.Fetch asked for.
func (f *Feed) Fetched(l Line, p Page) {
	if f.state != feedReading {
		return
	}
	if f.stale {
		f.stale = false
		f.read(l)
		return
	}
	f.head = max(f.head, p.Head)
	for _, it := range p.Items {
		if !f.item(l, it) {
			f.state = feedFull
			return
		}
	}
	f.next = max(f.next, p.Through+1)
	f.proceed(l)
}

// Withdraw says that the entry at seq was cancelled before it was sent. A page
// that is on its way may have been read before that: it is read again.
func (f *Feed) Withdraw(seq uint64) {
	if f.state == feedReading && seq >= f.next {
		f.stale = true
	}
}

// item sends one item of a page, from next on; false when the line is full.
func (f *Feed) item(l Line, it Item) bool {
	if it.Message != nil {
		if it.Seq < f.next {
			return true
		}
		f.next = it.Seq + 1
		return l.Message(it.Message, it.Seq, it.Seq <= f.mark)
	}
	if it.To < f.next {
		return true
	}
	from := max(it.Seq, f.next)
	f.next = it.To + 1
	return l.Gap(from, it.To, it.Reason)
}

// Drained says that a line which was full has room again.
func (f *Feed) Drained(l Line) {
	if f.state == feedFull {
		f.proceed(l)
	}
}

// proceed tells the end of the replay where it was reached, and goes on
// reading or live.
func (f *Feed) proceed(l Line) {
	if !f.told && f.next > f.mark {
		f.told = true
		if !l.ReplayComplete(f.mark) {
			f.state = feedFull
			return
		}
	}
	if f.head >= f.next {
		f.read(l)
		return
	}
	f.state = feedLive
}

func (f *Feed) read(l Line) {
	f.state = feedReading
	l.Fetch(f.next - 1)
}

// Sent is the highest place that was handed to the line: an ack above it is
// a client's error.
func (f *Feed) Sent() uint64 {
	if f.next == 0 {
		return 0
	}
	return f.next - 1
}

// Live reports whether everything known to be committed was sent.
func (f *Feed) Live() bool { return f.state == feedLive }
