package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// world stands in for everything behind the API: one mutex, plain maps. fail,
// where set for a method, is what it answers; hook runs before it.
type world struct {
	now time.Time

	mu       sync.Mutex
	fail     map[string]error
	hook     map[string]func(context.Context)
	boxes    map[push.ClientKey]*box
	public   []byte       // of sealing; nil: not offered
	sealed   *push.Sealed // of what is committed next
	groups   map[string]*push.Group
	members  map[string][]string
	sessions map[push.ClientKey][]push.Session
	keys     map[string]token.Key    // by text
	tokens   map[string]token.Record // by text
	pushed   []push.Request
	seen     map[[32]byte]seenPush
	acks     []push.Ack
	nextID   int64
	silent   bool // Fetch does not answer

	elsewhere    map[push.ClientKey][]push.RemoteSession // on other nodes
	disconnected []push.Closing                          // as they were told

	work sync.WaitGroup // what the backend does on goroutines of its own
}

type box struct {
	incarnation string
	cursor      uint64
	items       []push.Item // seq i+1, or a gap of one place
}

type seenPush struct {
	body [32]byte
	id   int64
}

func newWorld() *world {
	return &world{
		now:  time.UnixMilli(1_700_000_000_000),
		fail: map[string]error{}, hook: map[string]func(context.Context){},
		boxes: map[push.ClientKey]*box{}, elsewhere: map[push.ClientKey][]push.RemoteSession{}, groups: map[string]*push.Group{}, members: map[string][]string{},
		sessions: map[push.ClientKey][]push.Session{}, keys: map[string]token.Key{}, tokens: map[string]token.Record{},
		seen: map[[32]byte]seenPush{}, nextID: 1000,
	}
}

func (w *world) enter(ctx context.Context, method string) error {
	w.mu.Lock()
	hook, err := w.hook[method], w.fail[method]
	w.mu.Unlock()
	if hook != nil {
		hook(ctx)
	}
	return err
}

func (w *world) id() int64 { w.nextID++; return w.nextID }

// Pusher.

func (w *world) Push(ctx context.Context, req push.Request) (r push.Receipt, err error) {
	if err := w.enter(ctx, "Push"); err != nil {
		return push.Receipt{}, err
	}
	if err := req.Validate(push.DefaultConfig()); err != nil {
		return push.Receipt{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pushed = append(w.pushed, req)
	r = push.Receipt{ID: w.id(), Accepted: w.now, Scheduled: !req.NotBefore.IsZero(), Expanding: req.Target.All && req.Store != push.StoreNever}
	if idem := req.Idempotency; idem != nil {
		if first, ok := w.seen[idem.Key]; ok {
			if first.body != idem.Body {
				return r, push.Errorf(push.CodeKeyReused, "another body")
			}
			r.ID, r.Duplicate = first.id, true
			return r, nil
		}
		defer func() {
			if err == nil {
				w.seen[idem.Key] = seenPush{idem.Body, r.ID}
			}
		}()
	}
	for _, id := range req.Target.Clients {
		key := push.ClientKey{Realm: req.Target.Realm, ID: id}
		switch {
		case w.boxes[key] != nil:
			r.Stored++
			if len(w.sessions[key]) > 0 {
				r.Online++
			}
		case len(req.Target.Clients) == 1:
			return r, push.Errorf(push.CodeNoClient, "client %s does not exist", key)
		default:
			r.Rejected = append(r.Rejected, push.Rejection{Client: key, Code: push.CodeNoClient})
		}
	}
	return r, nil
}

func (w *world) PushBatch(ctx context.Context, reqs []push.Request) ([]push.BatchResult, error) {
	if err := w.enter(ctx, "PushBatch"); err != nil {
		return nil, err
	}
	out := make([]push.BatchResult, len(reqs))
	for i, r := range reqs {
		receipt, err := w.Push(ctx, r)
		out[i] = push.BatchResult{Receipt: receipt, Err: push.AsError(err)}
	}
	return out, nil
}

func (w *world) Cancel(ctx context.Context, realm *string, id int64) (int, error) {
	return 2, w.enter(ctx, "Cancel")
}

func (w *world) Status(ctx context.Context, realm *string, id int64, page push.PageQuery) (push.PushStatus, error) {
	return push.PushStatus{
		ID: id, Accepted: w.now, State: push.StateStored, Counts: map[push.State]int{push.StateStored: 1, push.StateFailed: 1}, Next: "more",
		Clients: []push.ClientState{
			{Client: push.ClientKey{ID: "a"}, Seq: 7, State: push.StateStored},
			{Client: push.ClientKey{Realm: "r", ID: "b"}, Seq: 1 << 60, State: push.StateFailed, Reason: "code 5", At: w.now},
		},
	}, w.enter(ctx, "Status")
}

func (w *world) History(ctx context.Context, key push.ClientKey, q push.HistoryQuery) (push.HistoryPage, error) {
	body := push.BuildBody(push.BodyFields{ID: 9, Sent: w.now, Topic: "t", Data: []byte(`{"a":1}`)})
	return push.HistoryPage{Next: "n", Entries: []push.HistoryEntry{
		{Seq: q.After + 1, State: push.StateAcked, Sent: w.now, ID: 9, Body: body},
		{Seq: q.After + 2, State: push.StateExpired, Reason: "ttl", Sent: w.now, ID: 10},
	}}, w.enter(ctx, "History")
}

func (w *world) Redrive(ctx context.Context, key push.ClientKey, seqs []uint64) (int, error) {
	return len(seqs), w.enter(ctx, "Redrive")
}

// Clients.

func (w *world) Register(ctx context.Context, key push.ClientKey) (push.ClientKey, error) {
	if err := w.enter(ctx, "Register"); err != nil {
		return key, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if key.ID == "" {
		key.ID = push.FormatID(w.id())
	}
	if w.boxes[key] != nil {
		return key, push.Errorf(push.CodeClientExists, "client %s exists", key)
	}
	w.boxes[key] = &box{incarnation: "00000000000000aa"}
	return key, nil
}

func (w *world) Mailboxes(ctx context.Context, keys []push.ClientKey) ([]*push.Mailbox, error) {
	if err := w.enter(ctx, "Mailboxes"); err != nil {
		return nil, err
	}
	out := make([]*push.Mailbox, len(keys))
	for i, k := range keys {
		out[i] = w.mailbox(k)
	}
	return out, nil
}

func (w *world) mailbox(key push.ClientKey) *push.Mailbox {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.boxes[key]
	if b == nil {
		return nil
	}
	head := uint64(len(b.items))
	return &push.Mailbox{Incarnation: b.incarnation, Head: head, Cursor: b.cursor, Count: int(head - b.cursor), Bytes: 1, Oldest: w.now}
}

func (w *world) Forget(ctx context.Context, key push.ClientKey) error {
	if err := w.enter(ctx, "Forget"); err != nil {
		return err
	}
	for _, s := range w.Of(key) {
		s.Close(push.CloseDeleted, "the client was deleted")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.boxes, key)
	return nil
}

func (w *world) Connections(ctx context.Context, keys []push.ClientKey) ([]push.ClientSessions, error) {
	err := w.enter(ctx, "Connections")
	out := make([]push.ClientSessions, len(keys))
	for i, key := range keys {
		for _, s := range w.Of(key) {
			out[i].Sessions = append(out[i].Sessions, push.RemoteSession{SessionInfo: s.Info()})
		}
		if err == nil {
			out[i].Sessions = append(out[i].Sessions, w.elsewhere[key]...)
		}
		out[i].Online = len(out[i].Sessions)+len(w.elsewhere[key]) > 0
	}
	return out, err
}

func (w *world) Disconnect(ctx context.Context, c push.Closing) (n int, err error) {
	for _, s := range w.Of(c.Client) {
		if c.Matches(s.Info()) {
			s.Close(c.Code, c.Reason)
			n++
		}
	}
	if err := w.enter(ctx, "Disconnect"); err != nil {
		return n, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disconnected = append(w.disconnected, c)
	for _, s := range w.elsewhere[c.Client] {
		if c.Matches(s.SessionInfo) {
			n++
		}
	}
	return n, nil
}

// Groups.

func (w *world) group(ctx context.Context, method, realm, group string) (push.Group, error) {
	if err := w.enter(ctx, method); err != nil {
		return push.Group{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.groups[realm+"/"+group]
	if g == nil {
		return push.Group{}, push.Errorf(push.CodeNoGroup, "group %s does not exist", group)
	}
	g.Members = len(w.members[realm+"/"+group])
	return *g, nil
}

func (w *world) Join(ctx context.Context, realm, group, client string) (push.Group, error) {
	w.mu.Lock()
	if w.groups[realm+"/"+group] == nil {
		w.groups[realm+"/"+group] = &push.Group{Realm: realm, Name: group}
	}
	w.groups[realm+"/"+group].Epoch++
	w.members[realm+"/"+group] = append(w.members[realm+"/"+group], client)
	w.mu.Unlock()
	return w.group(ctx, "Join", realm, group)
}

func (w *world) Leave(ctx context.Context, realm, group, client string) (push.Group, error) {
	w.mu.Lock()
	w.members[realm+"/"+group] = slices.DeleteFunc(w.members[realm+"/"+group], func(s string) bool { return s == client })
	w.mu.Unlock()
	return w.group(ctx, "Leave", realm, group)
}

func (w *world) SetEvents(ctx context.Context, realm, group string, on bool) (push.Group, error) {
	g, err := w.group(ctx, "SetEvents", realm, group)
	g.Events = on
	return g, err
}

func (w *world) Group(ctx context.Context, realm, group string) (push.Group, error) {
	return w.group(ctx, "Group", realm, group)
}

func (w *world) Members(ctx context.Context, realm, group string, page push.PageQuery) ([]string, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.members[realm+"/"+group]), "", nil
}

// Sessions.

func (w *world) Attach(key push.ClientKey, s push.Session) uint64 {
	w.mu.Lock()
	old := w.sessions[key]
	w.sessions[key] = []push.Session{s}
	w.mu.Unlock()
	for _, o := range old {
		o.Close(push.CloseReplaced, "a newer connection took over")
	}
	return 7
}

func (w *world) Detach(key push.ClientKey, s push.Session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions[key] = slices.DeleteFunc(w.sessions[key], func(o push.Session) bool { return o == s })
}

func (w *world) Of(key push.ClientKey) []push.Session {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sessions[key])
}
