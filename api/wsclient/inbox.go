package wsclient

import (
	"context"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
)

// inbox is what has arrived and waits for the handler, and how far the client
// has come. The connection's goroutine puts, one goroutine handles; what is
// handled outlives the connection it came on.
type inbox struct {
	c       *Client
	more    chan struct{} // the queue may have grown; capacity 1, never closed
	changed chan struct{} // an ack is due or there is room; capacity 1, never closed
	done    chan struct{} // closed when the handler's goroutine of this run has ended; set before the run

	mu     sync.Mutex
	queue  []item
	bytes  int64
	key    string // of the cursor store; empty: the client is unknown
	loaded bool   // at was read from the store, or told by a welcome
	at     Cursor // as stored, or to be stored: what hello says
	seen   uint64 // highest handled; above at.Seq only with ManualAck
	due    int    // acks due
	failed []wire.Failed
}

// item is a message, or an event in its order.
type item struct {
	m           *Message
	e           Event
	incarnation string // a cursor moves only in the mailbox's life that the item is of
	arrived     time.Time
	size        int64
}

func newInbox(c *Client) *inbox {
	return &inbox{c: c, more: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// start runs the handler's goroutine; the answer stops it and waits.
func (b *inbox) start(ctx context.Context, h Handler) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	b.done = done
	go func() {
		defer close(done)
		for {
			it, ok := b.take()
			if !ok {
				select {
				case <-b.more:
					continue
				case <-ctx.Done():
					return
				}
			}
			if ctx.Err() != nil {
				return
			}
			b.handle(ctx, h, it)
		}
	}()
	return func() { cancel(); <-done; b.clear() }
}

func (b *inbox) put(it item) {
	it.arrived = time.Now()
	b.mu.Lock()
	it.incarnation = b.at.Incarnation
	b.queue = append(b.queue, it)
	b.bytes += it.size
	b.mu.Unlock()
	poke(b.more)
}

func (b *inbox) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue) >= b.c.cfg.MaxQueued || b.bytes >= b.c.cfg.MaxQueuedBytes
}

func (b *inbox) take() (item, bool) {
	b.mu.Lock()
	if len(b.queue) == 0 {
		b.mu.Unlock()
		return item{}, false
	}
	it := b.queue[0]
	b.queue[0] = item{}
	if b.queue = b.queue[1:]; len(b.queue) == 0 {
		b.queue = nil
	}
	b.bytes -= it.size
	b.mu.Unlock()
	poke(b.changed)
	return it, true
}

// drop forgets what waits and comes again by replay, since the connection has
// ended. What has no place in the mailbox stays.
func (b *inbox) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = slices.DeleteFunc(b.queue, item.replayed)
	b.bytes = 0
	for _, it := range b.queue {
		b.bytes += it.size
	}
}

func (it item) replayed() bool {
	if it.m != nil {
		return it.m.Seq != 0
	}
	return it.e.Kind == KindGap || it.e.Kind == KindFailed || it.e.Kind == KindReplayComplete
}

// clear forgets everything that waits.
func (b *inbox) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue, b.bytes = nil, 0
}

func (b *inbox) handle(ctx context.Context, h Handler, it item) {
	if it.m == nil {
		if it.e.Kind == KindFailed {
			b.unopened(ctx, it)
			return
		}
		b.c.notify(it.e)
		if it.e.Kind == KindGap {
			b.moved(ctx, it, it.e.From, it.e.To, needsNone)
		}
		return
	}
	if it.m.Seq == 0 {
		if h != nil && time.Since(it.arrived) < b.c.cfg.UnstoredTTL {
			_ = h(ctx, it.m) // tried once; nobody could be told of a failure
		}
		return
	}
	b.mu.Lock()
	known := it.incarnation == b.at.Incarnation && it.m.Seq <= b.seen
	b.mu.Unlock()
	if known { // handled is not acked: with ManualAck a replay is no word of the application's
		b.moved(ctx, it, it.m.Seq, it.m.Seq, needsWord)
		return
	}
	err := b.call(ctx, h, it.m)
	if ctx.Err() != nil && err != nil {
		return // closing: it stays unseen, and comes again
	}
	if err != nil {
		b.fail(it, err)
		b.moved(ctx, it, it.m.Seq, it.m.Seq, needsNone)
		return
	}
	b.moved(ctx, it, it.m.Seq, it.m.Seq, needsWord)
}

// call tries the handler up to Tries times.
func (b *inbox) call(ctx context.Context, h Handler, m *Message) error {
	if h == nil {
		return nil
	}
	wait := firstRetry
	for try := 1; ; try++ {
		err := h(ctx, m)
		if err == nil || try >= b.c.cfg.Tries || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		wait *= 2
	}
}

func (b *inbox) fail(it item, err error) {
	code := codeOf(err)
	b.mu.Lock()
	if it.incarnation == b.at.Incarnation {
		b.failed = append(b.failed, wire.Failed{Seq: it.m.Seq, Code: code})
	}
	b.mu.Unlock()
	b.c.notify(Event{Kind: KindFailed, ID: it.m.ID, Seq: it.m.Seq, Code: code, Err: err})
}

// unopened makes dead letters of places whose messages did not open.
func (b *inbox) unopened(ctx context.Context, it item) {
	for seq := it.e.From; seq <= it.e.To; seq++ {
		b.mu.Lock()
		fresh := it.incarnation == b.at.Incarnation && seq > b.seen
		if fresh {
			b.failed = append(b.failed, wire.Failed{Seq: seq, Code: it.e.Code})
		}
		b.mu.Unlock()
		if fresh {
			b.c.notify(Event{Kind: KindFailed, Seq: seq, Code: it.e.Code, Err: it.e.Err})
		}
	}
	b.moved(ctx, it, it.e.From, it.e.To, needsNone)
}

// moved says that an item's place was dealt with: the cursor is stored, then
// the ack is due. With ManualAck handled messages wait for the application,
// and what needs no word of it (gaps, duplicates, dead letters) moves the
// cursor only where no such message stands before it. What comes again below
// the cursor was acked before: the ack is due once more.
func (b *inbox) moved(ctx context.Context, it item, from, to uint64, word word) {
	b.mu.Lock()
	if it.incarnation != b.at.Incarnation {
		b.mu.Unlock()
		return
	}
	b.seen = max(b.seen, to)
	waits := b.c.cfg.ManualAck && to > b.at.Seq && (word == needsWord || from > b.at.Seq+1)
	b.mu.Unlock()
	if !waits {
		b.advance(ctx, it.incarnation, to)
	}
}

type word uint8

const (
	needsWord word = iota // the application's, with ManualAck
	needsNone
)

// ack is the application's.
func (b *inbox) ack(ctx context.Context, seq uint64) {
	b.mu.Lock()
	seq = min(seq, b.seen)
	incarnation := b.at.Incarnation
	b.mu.Unlock()
	b.advance(ctx, incarnation, seq)
}

// advance stores the cursor where it moves, and makes an ack due.
func (b *inbox) advance(ctx context.Context, incarnation string, seq uint64) {
	b.mu.Lock()
	moves := incarnation == b.at.Incarnation && seq > b.at.Seq
	key := b.key
	b.mu.Unlock()
	if moves {
		b.save(ctx, key, Cursor{incarnation, seq})
	}
	b.mu.Lock()
	if incarnation == b.at.Incarnation {
		b.at.Seq = max(b.at.Seq, seq)
		b.due++
	}
	b.mu.Unlock()
	poke(b.changed)
}

// save outlives the run's end: the message was handled.
func (b *inbox) save(ctx context.Context, key string, at Cursor) {
	if key == "" {
		return
	}
	if err := b.c.cfg.Cursors.Save(context.WithoutCancel(ctx), key, at); err != nil {
		b.c.notify(Event{Kind: KindCursor, Err: err})
	}
}

// storeKey is a client's in the stores of cursors and keys.
func storeKey(origin, realm, clientID string) string {
	return origin + "/" + url.PathEscape(realm) + "/" + url.PathEscape(clientID)
}

// open reads the stored cursor where the client is known, for hello.
func (b *inbox) open(ctx context.Context, realm, clientID string) (Cursor, bool) {
	if clientID == "" {
		return Cursor{}, false
	}
	key := storeKey(b.c.origin, realm, clientID)
	b.mu.Lock()
	ready := b.loaded && b.key == key
	at := b.at
	b.mu.Unlock()
	if ready {
		return at, at.Incarnation != ""
	}
	at, ok, err := b.c.cfg.Cursors.Load(ctx, key)
	if err != nil {
		b.c.notify(Event{Kind: KindCursor, Err: err})
	}
	if !ok || err != nil {
		at = Cursor{}
	}
	b.mu.Lock()
	b.key, b.at, b.seen, b.loaded = key, at, at.Seq, err == nil
	b.mu.Unlock()
	return at, at.Incarnation != ""
}

// welcome takes the server's word on mailbox and cursor.
func (b *inbox) welcome(ctx context.Context, w *wire.Welcome) {
	b.open(ctx, w.Realm, w.ClientID)
	b.mu.Lock()
	b.due, b.loaded = 0, true
	if b.at.Incarnation == w.Incarnation {
		b.seen = max(b.seen, w.Cursor)
		if b.at.Seq > w.Cursor || len(b.failed) > 0 {
			b.due = 1 // came between hello and welcome, or was never sent
		}
		b.at.Seq = max(b.at.Seq, w.Cursor)
		b.mu.Unlock()
		poke(b.changed)
		return
	}
	b.at, b.seen, b.failed = Cursor{w.Incarnation, w.Cursor}, w.Cursor, nil
	at, key := b.at, b.key
	b.mu.Unlock()
	b.save(ctx, key, at)
}

// dueAcks is how many acks are due.
func (b *inbox) dueAcks() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.due
}

// takeAck answers false where none is due. Dead letters above the cursor wait.
func (b *inbox) takeAck() (wire.ClientMessage, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.due == 0 {
		return wire.ClientMessage{}, false
	}
	m := wire.ClientMessage{Type: wire.TypeAck, Seq: b.at.Seq}
	n := 0
	for n < len(b.failed) && n < wire.MaxFailed && b.failed[n].Seq <= b.at.Seq {
		n++
	}
	m.Failed, b.failed = b.failed[:n:n], b.failed[n:]
	if b.due = 0; len(b.failed) > 0 && b.failed[0].Seq <= b.at.Seq {
		b.due = 1
	}
	return m, true
}
