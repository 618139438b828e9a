package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
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
	groups   map[string]*push.Group
	members  map[string][]string
	sessions map[push.ClientKey][]push.Session
	keys     map[string]token.Key    // by text
	tokens   map[string]token.Record // by text
	pushed   []push.Request
	seen     map[[32]byte]seenPush
	acks     []push.Ack
	nextID   int64

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
		boxes: map[push.ClientKey]*box{}, groups: map[string]*push.Group{}, members: map[string][]string{},
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

func (w *world) Attach(key push.ClientKey, s push.Session) {
	w.mu.Lock()
	old := w.sessions[key]
	w.sessions[key] = []push.Session{s}
	w.mu.Unlock()
	for _, o := range old {
		o.Close(push.CloseReplaced, "a newer connection took over")
	}
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

// Keyring: a name of its own, since Check means two things.

type keyring struct{ *world }

func (k keyring) Check(ctx context.Context, raw string) (token.Key, error) {
	if err := k.enter(ctx, "Keys.Check"); err != nil {
		return token.Key{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.keys[raw]
	if !ok || key.Revoked {
		return token.Key{}, token.ErrInvalid
	}
	return key, nil
}

func (k keyring) Create(ctx context.Context, name string, scopes []token.Scope, realm *string) (string, token.Key, error) {
	if err := k.enter(ctx, "Keys.Create"); err != nil {
		return "", token.Key{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	key := token.Key{ID: fmt.Sprintf("key%09d", k.id()), Name: name, Scopes: scopes, Realm: realm, Created: k.now}
	raw := "sk_" + key.ID + "_secret"
	k.keys[raw] = key
	return raw, key, nil
}

func (k keyring) List(ctx context.Context) ([]token.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []token.Key
	for _, key := range k.keys {
		out = append(out, key)
	}
	return out, nil
}

func (k keyring) Revoke(ctx context.Context, id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for raw, key := range k.keys {
		if key.ID == id {
			key.Revoked = true
			k.keys[raw] = key
			return nil
		}
	}
	return token.ErrNotFound
}

// Authority and TokenRecords.

func (w *world) Mint(ctx context.Context, m token.MintRequest) (string, token.Record, error) {
	if err := w.enter(ctx, "Mint"); err != nil {
		return "", token.Record{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.TTL == 0 {
		m.TTL = time.Hour
	}
	rec := token.Record{ID: fmt.Sprint("jti", w.id()), Realm: m.Realm, Client: m.Client, Device: m.Device, Issued: w.now, Expires: w.now.Add(m.TTL)}
	raw := "jwt." + rec.ID + ".sig"
	w.tokens[raw] = rec
	return raw, rec, nil
}

func (w *world) Token(ctx context.Context, jti string) (token.Record, error) {
	if err := w.enter(ctx, "Token"); err != nil {
		return token.Record{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, rec := range w.tokens {
		if rec.ID == jti {
			return rec, nil
		}
	}
	return token.Record{}, token.ErrNotFound
}

func (w *world) RevokeID(ctx context.Context, jti string) (token.Record, error) {
	return w.Token(ctx, jti)
}

func (w *world) RevokeClient(ctx context.Context, realm, client string, before time.Time) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, rec := range w.tokens {
		if rec.Realm == realm && rec.Client == client && rec.Issued.Before(before) {
			n++
		}
	}
	return n, nil
}

// Backend.

type backend struct{ *world }

func (b backend) Check(ctx context.Context, raw string) (push.Identity, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rec, ok := b.tokens[raw]
	switch {
	case raw == "":
		return push.Identity{}, push.Errorf(push.CodeNotSignedIn, push.ReasonMissingToken)
	case !ok:
		return push.Identity{}, push.Errorf(push.CodeBadCredentials, push.ReasonBadToken)
	}
	return push.Identity{
		Client:  push.ClientKey{Realm: rec.Realm, ID: rec.Client},
		TokenID: rec.ID, Device: rec.Device, TokenIssued: rec.Issued, Expires: rec.Expires,
	}, nil
}

func (b backend) Admit(ctx context.Context, c push.Credentials) (push.Admission, *push.Refusal) {
	if err := b.enter(ctx, "Admit"); err != nil {
		return push.Admission{}, &push.Refusal{Code: push.CloseAuthDown, Reason: "credentials can't be checked now", Cause: err}
	}
	if strings.HasPrefix(c.Token, "ck_") {
		raw, rec, _ := b.Mint(ctx, token.MintRequest{Client: "new"})
		b.Register(ctx, push.ClientKey{ID: "new"})
		return push.Admission{Identity: push.Identity{Client: push.ClientKey{ID: "new"}, TokenID: rec.ID, Expires: rec.Expires}, Minted: raw}, nil
	}
	id, err := b.Check(ctx, c.Token)
	if push.HasCode(err, push.CodeNotSignedIn) {
		return push.Admission{}, &push.Refusal{Code: push.CloseUnauthorized, Reason: push.ReasonMissingToken}
	}
	if err != nil {
		return push.Admission{}, &push.Refusal{Code: push.CloseUnauthorized, Reason: push.ReasonBadToken}
	}
	return push.Admission{Identity: id, Refreshed: "fresh"}, nil
}

func (b backend) Open(id push.Identity, h push.Hello, done func(push.Opened, error)) {
	b.work.Go(func() {
		m := b.mailbox(id.Client)
		if m == nil {
			done(push.Opened{}, push.Errorf(push.CodeNoClient, "gone"))
			return
		}
		o := push.Opened{Mailbox: *m, Start: m.Cursor}
		if h.Cursor != nil && (h.Incarnation == "" || h.Incarnation == m.Incarnation) && *h.Cursor <= m.Head {
			o.Start = *h.Cursor
			b.Ack(id.Client, *h.Cursor, nil)
		}
		done(o, nil)
	})
}

func (b backend) Fetch(key push.ClientKey, after uint64, room int, alive func() bool, done func(push.Page, error)) {
	b.work.Go(func() {
		if !alive() {
			return
		}
		if err := b.enter(context.Background(), "Fetch"); err != nil {
			done(push.Page{}, err)
			return
		}
		b.mu.Lock()
		items := b.boxes[key].items
		p := push.Page{Through: after, Head: uint64(len(items))}
		for _, it := range items[after:] {
			p.Items = append(p.Items, it)
			p.Through++
			if it.Message != nil {
				room -= len(it.Message.Body)
			}
			if room <= 0 {
				break
			}
		}
		b.mu.Unlock()
		done(p, nil)
	})
}

func (b backend) Ack(key push.ClientKey, seq uint64, failed []push.FailedEntry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acks = append(b.acks, push.Ack{Client: key, Seq: seq, Failed: failed})
	if m := b.boxes[key]; m != nil {
		m.cursor = max(m.cursor, seq)
	}
}

func (b backend) Read(key push.ClientKey, seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acks = append(b.acks, push.Ack{Client: key, Read: seq})
}

// commit places a message in the mailbox and offers it, as the service does.
func (w *world) commit(key push.ClientKey, data string) uint64 {
	w.mu.Lock()
	id := w.id()
	m := &push.Message{ID: id, Sent: w.now, Body: push.BuildBody(push.BodyFields{ID: id, Sent: w.now, Topic: "t", Data: []byte(data)})}
	b := w.boxes[key]
	seq := uint64(len(b.items)) + 1
	b.items = append(b.items, push.Item{Seq: seq, Message: m})
	w.mu.Unlock()
	for _, s := range w.Of(key) {
		s.Offer(m, seq)
	}
	return seq
}
