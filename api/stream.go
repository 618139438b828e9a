package api

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5/middleware"

	"github.com/sunzi-push/sunzi/push"
)

// stream is one session on server-sent events. Its request's goroutine owns
// the feed and the response; the rest of the server reaches it through the
// methods of push.Session, which only fill a bounded queue. A client that does
// not read blocks its own goroutine, for WriteTimeout at most: offers that find
// the queue full are read from the mailbox later, so nothing is lost.
type stream struct {
	// Static after construction.
	a         *api
	adm       push.Admission
	id        string
	remote    string
	connected time.Time
	w         http.ResponseWriter
	rc        *http.ResponseController
	hello     push.Hello
	wake      chan struct{} // one token; never closed
	opened    chan opened   // one answer each, so that done never blocks;
	fetched   chan fetched  // never closed

	// Owned by run.
	generation  uint64 // of the session, from the table
	feed        push.Feed
	out         []byte // events not yet handed to the connection
	incarnation string
	sealer      push.SessionSealer // of what has content; nil: it goes in clear
	err         error              // of the connection: nothing more can be written
	epochs      map[uint64]uint32  // by channel, the epoch whose secret was sent last

	ready    atomic.Bool  // welcome was said
	sealing  atomic.Bool  // sealer is there
	over     atomic.Bool  // run has ended
	lastSent atomic.Int64 // unix ms
	waiting  atomic.Int64 // bytes in out

	mu      sync.Mutex // guards what follows
	queue   []queued
	bytes   int    // of bodies in queue
	missed  uint64 // highest sequence offered without a message, or without room for one
	closing *ending
}

type opened struct {
	push.Opened
	err error
}

type fetched struct {
	push.Page
	err error
}

// queued is an offer (seq set), a store=never message, or a notice.
type queued struct {
	m      *push.Message
	seq    uint64
	notice push.Notice
}

// ending is why a stream ends: what a socket would be closed with.
type ending struct {
	code   push.CloseCode
	reason string
}

func newStream(a *api, w http.ResponseWriter, r *http.Request, adm push.Admission) *stream {
	return &stream{
		a: a, adm: adm, id: newRequestID(), remote: middleware.GetClientIP(r.Context()), connected: a.now(),
		w: w, rc: http.NewResponseController(w),
		wake: make(chan struct{}, 1), opened: make(chan opened, 1), fetched: make(chan fetched, 1),
	}
}

// run serves the stream until the client is gone, the session is closed, its
// token ends or the server drains.
func (s *stream) run(ctx context.Context) {
	defer s.over.Store(true)
	s.head()
	s.a.deps.Backend.Open(s.adm.Identity, s.hello, func(o push.Opened, err error) { s.opened <- opened{o, err} })

	// The first beat comes early by chance, so that streams that were opened
	// together do not stay in step.
	beat := time.NewTimer(time.Duration(rand.Int64N(int64(s.a.cfg.SSE.Heartbeat)) + 1))
	defer beat.Stop()
	expiry := time.NewTimer(s.untilWarning())
	defer expiry.Stop()
	for s.err == nil {
		select {
		case <-ctx.Done():
			s.ended("gone")
			return
		case <-s.a.deps.Draining:
			// The reason is a delay, spread over some seconds (close code 4200).
			s.Close(push.CloseDraining, fmt.Sprint(rand.IntN(5000)))
		case <-s.wake:
		case o := <-s.opened:
			s.open(o)
		case p := <-s.fetched:
			s.page(p)
		case <-beat.C:
			s.out = append(s.out, ":\n\n"...)
			beat.Reset(s.a.cfg.SSE.Heartbeat)
		case <-expiry.C:
			if left := s.untilExpiry(); left > 0 && s.a.cfg.SSE.ExpiryWarning > 0 {
				s.notice(push.Notice{Kind: push.NoticeTokenExpiring, ExpiresInMilli: left.Milliseconds()})
				expiry.Reset(left)
			} else if left > 0 { // clocks disagree by a little
				expiry.Reset(left)
			} else {
				s.Close(push.CloseTokenExpired, push.ReasonBadToken)
			}
		}
		s.deliver()
		if end := s.closed(); end != nil {
			s.goodbye(end)
			return
		}
		s.flush()
	}
	s.ended("write")
}

// head starts the answer. Its deadlines are per write from here on.
func (s *stream) head() {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	// A read deadline of the server's would end the stream when it passes:
	// it also bounds the watch for a client that goes away.
	_ = s.rc.SetReadDeadline(time.Time{})
	s.w.WriteHeader(http.StatusOK)
	s.out = fmt.Appendf(s.out, "retry: %d\n\n", 500+rand.IntN(1500))
	s.flush()
}

func (s *stream) untilExpiry() time.Duration {
	if s.adm.Expires.IsZero() {
		return 1 << 62
	}
	return s.adm.Expires.Sub(s.a.now())
}

func (s *stream) untilWarning() time.Duration {
	left := s.untilExpiry()
	return max(0, left-min(s.a.cfg.SSE.ExpiryWarning, max(left, 0)))
}

// open starts the feed where the backend says.
func (s *stream) open(o opened) {
	if o.err != nil {
		s.broken("mailbox not opened", o.err)
		return
	}
	if no := o.Refusal; no != nil { // its events would move the cursor over what the page can't read
		s.Close(no.Code, no.Reason)
		return
	}
	if o.Public != nil && o.Session == nil {
		s.Close(push.CloseHelloTimeout, "this client has no sealing keys: make a handshake on a WebSocket, and say seal_held")
		return
	}
	s.incarnation = o.Incarnation
	s.welcome(o.Opened, s.hello.Seal)
	if o.Session != nil {
		s.sealer = o.Session
		s.sealing.Store(true)
	}
	s.ready.Store(true)
	s.feed.Open(s, o.Start, o.Head)
}

func (s *stream) page(p fetched) {
	if p.err != nil {
		s.broken("mailbox not read", p.err)
		return
	}
	s.deliver() // what was cancelled since the page was read, first
	s.feed.Fetched(s, p.Page)
}

// broken ends the stream for an error of the backend's.
func (s *stream) broken(what string, err error) {
	code, reason := push.CloseFor(err)
	if code == push.CloseTryLater {
		s.a.log.Warn(what, "session", s.id, "client", s.adm.Client, "err", err)
	}
	s.Close(code, reason)
}

// deliver takes what others queued to the feed.
func (s *stream) deliver() {
	s.mu.Lock()
	queue, missed := s.queue, s.missed
	s.queue, s.bytes, s.missed = nil, 0, 0
	s.mu.Unlock()
	for _, q := range queue {
		switch {
		case q.m == nil && s.unready(): // about what was not sent yet
		case q.m == nil:
			s.notice(q.notice)
		case q.seq == 0 && q.m.Sealed != nil && !s.feed.Live(): // a cover, or as good as one: never stored
		case q.seq == 0:
			s.message(q.m, 0, false)
		case s.lacks(q.m.Sealed):
			s.feed.Offer(s, nil, q.seq)
		default:
			s.feed.Offer(s, q.m, q.seq)
		}
	}
	if missed > 0 {
		s.feed.Offer(s, nil, missed)
	}
}

func (s *stream) closed() *ending {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// ended counts why the stream ended.
func (s *stream) ended(why string) { s.a.met.ended.WithLabelValues(why).Inc() }

// goodbye is the last event.
func (s *stream) goodbye(e *ending) {
	s.last(e)
	s.flush()
	switch e.code {
	case push.CloseDraining:
		s.ended("draining")
	case push.CloseTokenExpired:
		s.ended("expired")
	case push.CloseTryLater:
		s.ended("store")
	default:
		s.ended("closed")
	}
}

// push.Session: from any goroutine, never blocking.

// Offer hints that m was committed at seq; a nil m, that the mailbox reaches
// seq.
func (s *stream) Offer(m *push.Message, seq uint64) {
	if m == nil || !s.enqueue(queued{m: m, seq: seq}, s.a.cfg.SSE.Queue) {
		s.mu.Lock()
		s.missed = max(s.missed, seq)
		s.mu.Unlock()
		s.signal()
	}
}

// unready reports whether it is not known yet what the stream may be sent, and
// whether sealed: whatever the client asks for, it may be refused.
func (s *stream) unready() bool { return !s.ready.Load() }

// seals is how what the stream sends is sealed; empty: it is not, or not yet.
func (s *stream) seals() push.SealMode {
	if s.sealing.Load() {
		return s.hello.Seal
	}
	return ""
}

// Live hands over a store=never message; false where the queue is full, the
// stream is not open yet, or does not seal as it requires.
func (s *stream) Live(m *push.Message) bool {
	if s.unready() || !m.Require.Allows(s.seals()) {
		return false
	}
	return s.enqueue(queued{m: m}, s.a.cfg.SSE.Queue)
}

// Notify queues a notice. A stream that does not even take notices is closed.
func (s *stream) Notify(n push.Notice) {
	if !s.enqueue(queued{notice: n}, 2*s.a.cfg.SSE.Queue) {
		s.Close(push.CloseSlow, "the client does not read")
	}
}

// enqueue answers false where limit is reached, or the bodies that wait
// would pass a page's bytes.
func (s *stream) enqueue(q queued, limit int) bool {
	size := 0
	if q.m != nil {
		size = len(q.m.Body)
		if sealed := q.m.Sealed; sealed != nil {
			size = len(sealed.Head) + len(sealed.Body)
		}
	}
	s.mu.Lock()
	full := len(s.queue) >= limit || size > 0 && s.bytes > 0 && s.bytes+size > s.a.cfg.SSE.PageBytes
	if !full {
		s.queue = append(s.queue, q)
		s.bytes += size
	}
	s.mu.Unlock()
	if !full {
		s.signal()
	}
	return !full && !s.over.Load()
}

// Close ends the session; only the first call counts.
func (s *stream) Close(code push.CloseCode, reason string) {
	s.mu.Lock()
	if s.closing == nil {
		s.closing = &ending{code, reason}
	}
	s.mu.Unlock()
	s.signal()
}

func (s *stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Info describes the session. On this transport nothing is heard of a client,
// so there is no last heartbeat.
func (s *stream) Info() push.SessionInfo {
	i := push.SessionInfo{
		Client: s.adm.Client, ID: s.id, Transport: "sse", Remote: s.remote, Connected: s.connected,
		TokenID: s.adm.TokenID, TokenIssued: s.adm.TokenIssued, Outbound: int(s.waiting.Load()),
		Seal: s.seals(),
	}
	if ms := s.lastSent.Load(); ms != 0 {
		i.LastMessage = time.UnixMilli(ms)
	}
	return i
}
