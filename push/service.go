package push

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// Storage is all that the domain needs of the store.
type Storage interface {
	Mailboxes
	Pushes
	Clients
	Groups
	Chores
}

// Parts are what a [Service] is made of. All are required unless they say
// otherwise.
type Parts struct {
	Config    Config
	Store     Storage
	Sessions  Sessions
	Elsewhere Elsewhere // nil: [Alone]
	Authority Authority
	Keys      Keyring
	Sealing   Sealing // nil: not offered
	// NewID answers an ID that nobody else has, or that none can be issued
	// now: a lost lease of the node's number.
	NewID   func() (int64, error)
	Now     func() time.Time
	Metrics *Metrics
	Log     *slog.Logger
}

// Service is the path of a push from request to receipt, and the owner of
// what goes on beside it: the desk that serves sessions, the gathering of
// acks, and the periodic work.
type Service struct {
	cfg       Config
	store     Storage
	sessions  Sessions
	elsewhere Elsewhere
	newID     func() (int64, *Error)
	now       func() time.Time
	met       *Metrics
	log       *slog.Logger
	acks      *ackBuffer
	groups    *groupCache
	recent    *recentTimes

	// What live-only pushes do without while it hangs.
	away rest // other nodes
	slow rest // the store

	// Desk and Gate serve connections; set by New.
	Desk *Desk
	Gate *Gate
}

// New makes a service. Nothing runs until Run.
func New(p Parts) *Service {
	s := &Service{
		cfg: p.Config, store: p.Store, sessions: p.Sessions, elsewhere: p.Elsewhere, newID: issuer(p.NewID), now: p.Now, met: p.Metrics, log: p.Log,
		acks:   newAckBuffer(p),
		recent: newRecentTimes(),
	}
	if s.elsewhere == nil {
		s.elsewhere = Alone{}
	}
	s.groups = newGroupCache(p.Store, p.Now, &s.slow)
	s.Gate = newGate(p)
	s.Desk = newDesk(s, p)
	return s
}

// Run does the service's periodic work and answers its sessions until ctx
// ends; then it writes the acks it has gathered and returns. Call it once,
// after the sessions' side is ready, and end it after the sessions are closed.
func (s *Service) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range max(s.cfg.Readers, 1) {
		wg.Go(func() { s.Desk.work(ctx) })
	}
	wg.Go(func() { s.acks.run(ctx, s.cfg.AckFlush) })
	wg.Go(func() { runChores(ctx, s.chores(), s.now, s.met, s.log) })
	<-ctx.Done()
	s.Desk.close()
	wg.Wait()
}

// FormatID is an ID as JSON and paths have it.
func FormatID(id int64) string { return strconv.FormatInt(id, 10) }

// ParseID reads what [FormatID] wrote.
func ParseID(s string) (int64, bool) {
	id, err := strconv.ParseInt(s, 10, 64)
	return id, err == nil && id > 0
}

// Push accepts one push. The error is a *[Error]; without one the push is
// durable (store=never apart, which is handed to live sessions or dropped).
func (s *Service) Push(ctx context.Context, req Request) (Receipt, error) {
	results, err := s.PushBatch(ctx, []Request{req})
	if err != nil {
		return Receipt{}, err
	}
	if results[0].Err != nil {
		return Receipt{}, results[0].Err
	}
	return results[0].Receipt, nil
}

// PushBatch accepts several, each on its own merits, in one commit. Results
// stand in the order of the requests. An error is of the whole batch: then
// none was accepted, or the outcome is unknown ([CodeTimeout]).
func (s *Service) PushBatch(ctx context.Context, reqs []Request) ([]BatchResult, error) {
	start := s.now()
	results := make([]BatchResult, len(reqs))
	envs := make([]*Envelope, 0, len(reqs))
	at := make([]int, 0, len(reqs)) // of each envelope, its request
	named := 0
	for i := range reqs {
		if named += len(reqs[i].Target.Clients); named > MaxBulkTargets {
			s.met.pushes.WithLabelValues("refused").Inc()
			results[i].Err = Errorf(CodeTooLarge, "to: this bulk push names more than %d clients before it; send it in another one, or to a group", MaxBulkTargets)
			named -= len(reqs[i].Target.Clients)
			continue
		}
		env, err := s.envelope(&reqs[i], start)
		if err != nil {
			s.met.pushes.WithLabelValues(refusedOr(err)).Inc()
			results[i].Err = err
			continue
		}
		if env.Store == StoreNever && env.Idempotency == nil {
			results[i].Receipt, results[i].Err = s.live(ctx, env)
			continue
		}
		envs = append(envs, env)
		at = append(at, i)
	}
	if len(envs) == 0 {
		return results, nil
	}
	outcomes, err := s.store.Accept(ctx, envs)
	if err != nil {
		s.met.pushes.WithLabelValues("unavailable").Add(float64(len(envs)))
		return nil, err
	}
	for i, o := range outcomes {
		results[at[i]] = s.settle(ctx, envs[i], o)
	}
	s.met.accept.Observe(s.now().Sub(start).Seconds())
	return results, nil
}

// refusedOr is the outcome of a push that got no further than its request.
func refusedOr(err *Error) string {
	if err.Code == CodeNoStore {
		return "unavailable"
	}
	return "refused"
}

// issuer answers [CodeNoStore] where no ID can be issued: the store leases the
// node's number, and once it is reached again so is the ID.
func issuer(newID func() (int64, error)) func() (int64, *Error) {
	return func() (int64, *Error) {
		id, err := newID()
		if err != nil {
			return 0, &Error{Code: CodeNoStore, Message: "no ID can be issued now; nothing was accepted", RetryAfter: time.Second, Cause: err}
		}
		return id, nil
	}
}

// envelope validates a request and gives it its ID and times.
func (s *Service) envelope(r *Request, now time.Time) (*Envelope, *Error) {
	if err := r.Validate(s.cfg); err != nil {
		return nil, err
	}
	id, idErr := s.newID()
	if idErr != nil {
		return nil, idErr
	}
	now = now.Truncate(time.Millisecond)
	if r.NotBefore.After(now.Add(MaxDelay)) {
		return nil, Errorf(CodeInvalidField, "not_before: may lie at most %d hours ahead", int(MaxDelay.Hours()))
	}
	env := &Envelope{
		ID: id, Accepted: now, Target: r.Target, Topic: r.Topic,
		Size: max(len(r.Data), len(r.Bytes)), Priority: r.Priority, CollapseKey: r.CollapseKey,
		Store: r.Store, Seal: r.Seal, Idempotency: r.Idempotency,
	}
	from := now
	if r.NotBefore.After(now) {
		env.NotBefore = r.NotBefore
		from = r.NotBefore
	}
	if r.TTL != nil && *r.TTL > 0 {
		env.Expires = from.Add(*r.TTL)
	}
	env.Body = BuildBody(BodyFields{
		ID: env.ID, Sent: from, Topic: r.Topic, Data: r.Data, Bytes: r.Bytes,
		Priority: r.Priority, CollapseKey: r.CollapseKey, Attachment: r.Attachment, Expires: env.Expires,
	})
	return env, nil
}

// settle turns the store's outcome into a receipt, and counts it.
func (s *Service) settle(ctx context.Context, env *Envelope, o Outcome) BatchResult {
	if o.Err != nil {
		s.met.pushes.WithLabelValues("refused").Inc()
		return BatchResult{Err: o.Err}
	}
	if env.Store == StoreNever && !o.Duplicate {
		r, err := s.live(ctx, env)
		return BatchResult{Receipt: r, Err: err}
	}
	r := Receipt{
		ID: o.ID, Accepted: env.Accepted, Duplicate: o.Duplicate, Stored: len(o.Placed),
		Scheduled: o.Scheduled, Expanding: o.Expanding, Rejected: o.Rejected,
	}
	for _, p := range o.Placed {
		if s.online(p.Client) {
			r.Online++
		}
	}
	outcome := "accepted"
	switch {
	case o.Duplicate:
		outcome = "duplicate"
	case o.Scheduled:
		outcome = "scheduled"
	case o.Expanding:
		outcome = "expanding"
	}
	s.met.pushes.WithLabelValues(outcome).Inc()
	s.met.targets.WithLabelValues("rejected").Add(float64(len(o.Rejected)))
	return BatchResult{Receipt: r}
}

// Placed hears of commits from the store, and hints them to the sessions, those
// here first: in commit order, before the pushes are answered. Implements [CommitListener].
func (s *Service) Placed(m *Message, to []Placement) {
	s.met.targets.WithLabelValues("stored").Add(float64(len(to)))
	for _, p := range to {
		s.recent.put(p.Client, p.Seq, m.Sent)
	}
	s.sessions.Placed(m, to)
	s.elsewhere.Hint(to)
}

// Cancel ends what of the push is not yet acked, tells the clients that may
// have it already, and answers how many entries that were. A scheduled push
// that was cancelled in time answers 0.
func (s *Service) Cancel(ctx context.Context, realm *string, id int64) (int, error) {
	if err := s.acks.flush(ctx); err != nil {
		return 0, err
	}
	ended, err := s.store.Cancel(ctx, realm, id) // with an error too: what was ended until then stays so
	s.met.targets.WithLabelValues("cancelled").Add(float64(len(ended)))
	for _, p := range ended {
		s.notify(p.Client, Notice{Kind: NoticeTombstone, PushID: id, Seq: p.Seq})
	}
	return len(ended), err
}
