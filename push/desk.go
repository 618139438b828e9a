package push

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// Credentials are what a connection brought.
type Credentials struct {
	Token  string     // JWT or connect key; empty: none
	Path   *ClientKey // the client that the path names; nil on /ws
	Remote netip.Addr
}

// Identity is who a session is.
type Identity struct {
	Client      ClientKey
	TokenID     string // jti
	Device      string // bound device; empty: any
	TokenIssued time.Time
	Expires     time.Time // of the token
}

// Admission is a credential that was accepted.
type Admission struct {
	Identity
	// Minted is a new token for welcome: the client was registered on the
	// socket by a connect key.
	Minted string
	// Refreshed is a new token for the refresh-token response header: the
	// one that was sent is past its refresh age.
	Refreshed string
}

// Refusal is why a connection is closed right after its handshake.
type Refusal struct {
	Code   CloseCode
	Reason string
	Cause  error // for logs
}

// Hello is what a client says first.
type Hello struct {
	// Unsaid is that of a client which said nothing in time. Nothing in it is the
	// client's word: it may be one whose hello is late.
	Unsaid bool
	// Stream is that of an event stream: a browser opens it again by itself under
	// the address of the first time, which may be of before the client's newest
	// sealing keys. What it says of keys destroys none.
	Stream      bool
	Device      string
	Cursor      *uint64 // nil: the server's
	Incarnation string
	// Seal is what the client wants: [SealCRT], [SealAEAD], or [SealNone], which
	// gives its keys up. Anything else is no word on it.
	Seal SealMode
	// Held are the generations of sealing keys that it holds; nil: it does not
	// say, and none are destroyed.
	Held []uint32
	// Nonce is what it has made for this connection, where Seal is SealCRT or
	// SealAEAD: what it is told opens on no other.
	Nonce []byte
	// Alive tells whether the connection that it was said on still stands; nil:
	// nobody knows. Any goroutine.
	Alive func() bool
}

// Opened is what welcome is made of, and where the feed starts.
type Opened struct {
	Mailbox
	Start uint64 // the cursor to replay after
	// Refusal is why the session can't be served as it said hello; nil: it can.
	// Nothing that hello says was acted on then, and nothing else here counts.
	Refusal *Refusal
	Renewed bool // the client's cursor was above the head: a new incarnation was made
	// Public is the server's identity key where the client wants a kind of
	// sealing that is offered; nil otherwise.
	Public []byte
	// Session seals what the session is sent, where Public is set and the client
	// holds the keys of SealGeneration; nil otherwise: it has to make a handshake
	// first. It is the session's own.
	Session SessionSealer
}

// Desk serves live sessions: it reads mailboxes for them, takes their acks
// and relays what they say to each other. Its methods never block; answers
// come through done, on a goroutine of the desk's. A read that fails because
// the store is away is tried again, with growing pauses, until it succeeds or
// the session is gone: sessions outlive an outage of the store.
type Desk struct {
	store     Mailboxes
	gate      *Gate
	acks      *ackBuffer
	sessions  Sessions
	groups    *groupCache
	elsewhere Elsewhere
	sealing   Sealing // nil: not offered
	require   bool    // [Config.RequireSeal]
	met       *Metrics
	log       *slog.Logger
	recent    *recentTimes

	mu     sync.Mutex
	ready  *sync.Cond // on mu: queue grew, or closed
	queue  []errand   // guarded by mu
	timers map[*time.Timer]struct{}
	closed bool
}

// errand is one piece of work for a session. run answers false to be tried
// again later.
type errand struct {
	run   func(ctx context.Context) bool
	tries int
}

const (
	errandTimeout  = 10 * time.Second
	maxTypingQueue = 4096 // typing is dropped beyond; replays are bounded by the number of sessions
)

// Open answers where the session starts, which must be in the table by then.
// An ack that the client's cursor implies is taken. Errors are [CodeNoClient]
// and, for a token that was revoked meanwhile, [CodeBadCredentials].
// done is not called once h.Alive answers false: what was said on a connection
// that is gone may be out of date, and must not be acted on when the store comes
// back.
func (d *Desk) Open(id Identity, h Hello, done func(Opened, error)) {
	d.enqueue(errand{run: func(ctx context.Context) bool {
		if h.Alive != nil && !h.Alive() {
			return true
		}
		var o Opened
		err := d.gate.standing(ctx, id)
		if err == nil {
			o, err = d.open(ctx, id.Client, h)
		}
		if err == nil && o.Refusal == nil {
			err = d.offer(ctx, id.Client, h, &o)
		}
		if HasCode(err, CodeNoStore) || HasCode(err, CodeTimeout) || HasCode(err, CodeNoAuth) {
			return false
		}
		if err == nil && o.Refusal != nil {
			done(o, nil)
			return true
		}
		if err == nil {
			d.met.opened.WithLabelValues(o.kind(h)).Inc()
		}
		done(o, err)
		return true
	}})
}

// kind tells a client that was here before from a new one.
func (o *Opened) kind(h Hello) string {
	if h.Cursor != nil || h.Incarnation != "" || o.Cursor > 0 {
		return "returning"
	}
	return "new"
}

func (d *Desk) open(ctx context.Context, key ClientKey, h Hello) (Opened, error) {
	// Before the store is read: an ack that is written in between shows in the
	// one or in the other.
	turn, acked := d.acks.seen(), d.acks.cursor(key)
	m, err := d.store.Open(ctx, key)
	if err != nil {
		return Opened{}, err
	}
	if r := d.refuse(h, &m); r != nil {
		return Opened{Refusal: r}, nil
	}
	o, err := d.start(ctx, key, h, m, turn, acked)
	want, held, said := h.keys()
	if err != nil || !said || d.sealing == nil || m.SealLast == 0 {
		return o, err
	}
	// The cursor counts first: what the client has is not to be told as lost.
	changed, err := d.sealing.Hold(ctx, key, want, held, o.Cursor)
	if err != nil || !changed {
		return o, err
	}
	renewed := o.Renewed
	turn, acked = d.acks.seen(), d.acks.cursor(key)
	if m, err = d.store.Open(ctx, key); err != nil {
		return Opened{}, err
	}
	o, err = d.start(ctx, key, h, m, turn, acked)
	o.Renewed = o.Renewed || renewed
	return o, err
}

// start takes the hello's cursor: the same again changes nothing more.
func (d *Desk) start(ctx context.Context, key ClientKey, h Hello, m Mailbox, turn, acked uint64) (o Opened, err error) {
	if turn == d.acks.seen() { // else it may be of a client that was deleted
		m.Cursor = max(m.Cursor, min(acked, m.Head))
	}
	o = Opened{Mailbox: m, Start: m.Cursor}
	known := h.Incarnation == m.Incarnation
	switch {
	case h.Cursor == nil, h.Incarnation != "" && !known:
		return o, nil
	case *h.Cursor <= m.Head:
		o.Start = *h.Cursor
		if o.Start > m.Cursor {
			d.acks.addSince(turn, Ack{Client: key, Seq: o.Start})
			o.Cursor = o.Start
		}
		return o, nil
	case known:
		// The client has seen more than the mailbox holds: a restored
		// database. Under a new incarnation it forgets its cursor, and
		// drops nothing new as old.
		d.log.Warn("a client is ahead of its mailbox: new incarnation", "client", key, "cursor", *h.Cursor, "head", m.Head)
		m, err = d.store.Renew(ctx, key)
		if err != nil {
			return Opened{}, err
		}
		return Opened{Mailbox: m, Start: m.Cursor, Renewed: true}, nil
	}
	return o, nil
}

// Fetch reads what follows a sequence, up to room bytes. done is not called
// once alive answers false.
func (d *Desk) Fetch(key ClientKey, after uint64, room int, alive func() bool, done func(Page, error)) {
	d.enqueue(errand{run: func(ctx context.Context) bool {
		if !alive() {
			return true
		}
		p, err := d.store.Read(ctx, key, after, replayPage, max(room, 1))
		if HasCode(err, CodeNoStore) || HasCode(err, CodeTimeout) {
			return false
		}
		d.met.replayPages.Inc()
		done(p, err)
		return true
	}})
}

// replayPage bounds the entries of one page of replay; room bounds its bytes.
const replayPage = 512

// Ack takes a client's word: everything up to seq, failed ones apart.
func (d *Desk) Ack(key ClientKey, seq uint64, failed []FailedEntry) {
	d.acks.add(Ack{Client: key, Seq: seq, Failed: failed})
	if at, ok := d.recent.take(key, seq); ok {
		d.met.acceptToAck.Observe(d.acks.now().Sub(at).Seconds())
	}
	d.met.acks.Inc()
	d.met.failed.Add(float64(len(failed)))
}

// Read takes how far a person has seen.
func (d *Desk) Read(key ClientKey, seq uint64) {
	d.acks.add(Ack{Client: key, Read: seq})
}

// Typing relays to the other online members of the conversation, which is a
// group that the sender belongs to. Never stored; dropped under load.
func (d *Desk) Typing(from ClientKey, conversation, senderName string) {
	if senderName == "" {
		senderName = from.ID
	}
	d.mu.Lock()
	full := len(d.queue) > maxTypingQueue
	d.mu.Unlock()
	if full {
		return
	}
	d.enqueue(errand{tries: lastTry, run: func(ctx context.Context) bool {
		members, err := d.groups.members(ctx, from.Realm, conversation)
		if err != nil || !members.has(from.ID) {
			return true
		}
		n := Notice{Kind: NoticeTyping, Group: conversation, ClientID: from.ID, SenderName: senderName, SenderType: "client"}
		d.notifyMembers(members, from.Realm, from.ID, n)
		return true
	}})
}

// Refresh exchanges the session's token for the one the client brought, which
// must be the same client's.
func (d *Desk) Refresh(id Identity, token string, done func(Identity, error)) {
	d.enqueue(errand{run: func(ctx context.Context) bool {
		next, err := d.gate.Check(ctx, token)
		if HasCode(err, CodeNoAuth) {
			return false
		}
		if err == nil && (next.Client != id.Client || next.Device != id.Device) {
			err = Errorf(CodeBadCredentials, ReasonMismatch)
		}
		done(next, err)
		return true
	}})
}

// lastTry marks an errand that is not tried again.
const lastTry = 1 << 30

func (d *Desk) enqueue(e errand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.queue = append(d.queue, e)
	d.ready.Signal()
}

// retry puts an errand back after a pause that grows to five seconds.
func (d *Desk) retry(e errand) {
	wait := min(100*time.Millisecond<<min(e.tries, 6), 5*time.Second)
	e.tries++
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(wait, func() {
		d.mu.Lock()
		delete(d.timers, t)
		d.mu.Unlock()
		d.enqueue(e)
	})
	d.timers[t] = struct{}{}
}

// work is one reader; run it n times. It ends when close was called.
func (d *Desk) work(ctx context.Context) {
	for {
		d.mu.Lock()
		for len(d.queue) == 0 && !d.closed {
			d.ready.Wait()
		}
		if d.closed {
			d.mu.Unlock()
			return
		}
		e := d.queue[0]
		d.queue[0] = errand{}
		d.queue = d.queue[1:]
		d.mu.Unlock()

		call, cancel := context.WithTimeout(ctx, errandTimeout)
		ok := e.run(call)
		cancel()
		if !ok && e.tries < lastTry {
			d.retry(e)
		}
	}
}

// close ends the readers; errands that wait are forgotten.
func (d *Desk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.queue = nil
	for t := range d.timers {
		t.Stop()
	}
	clear(d.timers)
	d.ready.Broadcast()
}

func newDesk(s *Service, p Parts) *Desk {
	d := &Desk{
		store: p.Store, gate: s.Gate, acks: s.acks, sessions: p.Sessions, groups: s.groups, elsewhere: s.elsewhere, sealing: p.Sealing,
		require: p.Config.RequireSeal,
		met:     p.Metrics, log: p.Log, recent: s.recent, timers: map[*time.Timer]struct{}{},
	}
	d.ready = sync.NewCond(&d.mu)
	return d
}
