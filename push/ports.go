package push

import (
	"context"
	"time"
)

// The ports: what the domain needs of others. Every call may block for at
// most its context's deadline, and answers a *Error with CodeNoStore where the
// store can't be reached. Implementations keep no argument.

// Mailboxes is the durable truth about messages. Implemented by store.
type Mailboxes interface {
	// Accept commits envelopes in one transaction with everything else that
	// waits, and returns only when that is durable. Outcomes stand in the
	// order of the envelopes. In the transaction, per envelope:
	// idempotency is claimed (a known key with the same body answers the
	// first push's ID with Duplicate; another body is CodeKeyReused), the
	// target is resolved (unknown clients are rejected; a single unknown
	// client is CodeNoClient), quotas are applied, the next sequence of each
	// client is taken without gaps, older entries of the same collapse key
	// are collapsed. NotBefore in the future schedules; more than
	// [ExpandAbove] targets become a job bound to the group's epoch.
	// Of a store=never envelope only the idempotency key is claimed.
	// The error is of the whole call: then nothing was accepted, or the
	// outcome is unknown (CodeTimeout).
	Accept(ctx context.Context, envs []*Envelope) ([]Outcome, error)

	// Open reads the mailbox's state. CodeNoClient where there is none.
	Open(ctx context.Context, key ClientKey) (Mailbox, error)

	// Read returns what follows sequence after, in order, without holes:
	// every place in (after, Through] is either an entry or in a gap. It
	// stops at maxEntries or after the entry that passes maxBytes of body.
	Read(ctx context.Context, key ClientKey, after uint64, maxEntries, maxBytes int) (Page, error)

	// Ack moves cursors, never back, never past the head, and marks the
	// failed entries as dead letters. Unknown clients are passed over.
	Ack(ctx context.Context, acks []Ack) error

	// Renew gives the mailbox a new incarnation and returns its state.
	Renew(ctx context.Context, key ClientKey) (Mailbox, error)
}

// Mailbox is the state of one.
type Mailbox struct {
	Incarnation string // 16 hex digits
	Head        uint64 // highest sequence given out
	Cursor      uint64 // highest acked
	ReadCursor  uint64 // highest the client said was read
	Count       int    // backlog: entries waiting, gone ones not counted
	Bytes       int64  // of their data
	Oldest      time.Time
	// Seal is how pushes to the client are sealed unless they say otherwise,
	// and SealGeneration the newest generation of its keys, 0: none.
	Seal           SealMode // empty: none
	SealGeneration uint32
	// Sealed is how many of Count are sealed, under whichever keys.
	Sealed int
	// SealLast is the highest generation that was ever given out, 0: none, so
	// that there is nothing to be held.
	SealLast uint32
}

// Page is a run of a mailbox.
type Page struct {
	Items   []Item
	Through uint64 // last place covered
	Head    uint64 // the mailbox's head as of this read
}

// Item is one entry (Message set), or a gap from Seq to To.
type Item struct {
	Seq     uint64
	Message *Message
	To      uint64
	Reason  GapReason
}

// GapReason says why places of a mailbox hold nothing.
type GapReason string

// The gap reasons.
const (
	GapExpired   GapReason = "expired"   // its TTL ended, or retention removed it
	GapCancelled GapReason = "cancelled" // by the application
	GapCollapsed GapReason = "collapsed" // replaced by a newer one of its collapse key
	GapDropped   GapReason = "dropped"   // by a full mailbox
	GapAcked     GapReason = "acked"     // store=offline and already acked, or a dead letter
	GapKeyLost   GapReason = "key_lost"  // sealed under keys that the client does not hold
)

// Ack is a client's word: it has everything up to Seq; Failed are entries it
// could not handle (dead letters), Read is how far a person has seen. Zero
// fields say nothing.
type Ack struct {
	Client ClientKey
	Seq    uint64
	Read   uint64
	Failed []FailedEntry
	At     time.Time
}

// FailedEntry is one entry that a client gave up on.
type FailedEntry struct {
	Seq  uint64 `json:"seq,string"`
	Code int    `json:"code"` // the client's own
}

// CommitListener hears of what a commit placed: after the commit, before the
// answer, in commit order, from one goroutine at a time. It must not block.
type CommitListener interface {
	Placed(m *Message, to []Placement)
}

// State of a push for one client. Derived, never written per message for an
// ack.
type State string

// The states.
const (
	StateAccepted  State = "accepted" // scheduled or being expanded
	StateStored    State = "stored"
	StateAcked     State = "acked"
	StateRead      State = "read"
	StateExpired   State = "expired"
	StateCancelled State = "cancelled"
	StateDropped   State = "dropped"
	StateFailed    State = "failed"
)

// ClientState is one row of a push's status.
type ClientState struct {
	Client ClientKey
	Seq    uint64
	State  State
	Reason string    // of dropped and failed
	At     time.Time // of the ack, where known
}

// PushStatus is what became of a push.
type PushStatus struct { //nolint:revive // not what a Status might be: one client's is a [ClientState]
	ID       int64
	Accepted time.Time
	State    State // of the push as a whole: accepted until expanded, then the least advanced of its clients
	Counts   map[State]int
	Clients  []ClientState
	Next     string // page token, empty at the end
}

// Pushes is what is known of pushes after acceptance. Implemented by store.
// A realm of nil means any.
type Pushes interface {
	Status(ctx context.Context, realm *string, id int64, page PageQuery) (PushStatus, error)
	// Cancel ends what is not yet acked, dead letters too, and returns those
	// entries.
	// CodeNotCancellable where nothing was left to cancel.
	Cancel(ctx context.Context, realm *string, id int64) ([]Placement, error)
	History(ctx context.Context, key ClientKey, q HistoryQuery) (HistoryPage, error)
	// Redrive places the dead letters again, at new sequences; no seqs
	// means all. It answers how many; CodeMailboxFull where none fits. Sealed
	// ones stay, since their place is inside the seal: CodeInvalidField where
	// there are no others.
	Redrive(ctx context.Context, key ClientKey, seqs []uint64) (int, error)
}

// PageQuery asks for one page: Token is the earlier page's Next, or empty.
type PageQuery struct {
	Token string
	Limit int // 1 to [MaxPageLimit]
}

// HistoryQuery asks for part of a mailbox. Zero fields do not restrict.
type HistoryQuery struct {
	PageQuery
	After, Before uint64 // sequences, exclusive
	From, To      time.Time
	Status        State
}

// HistoryEntry is one entry with what became of it.
type HistoryEntry struct {
	Seq    uint64
	State  State
	Reason string
	Sent   time.Time
	ID     int64
	Body   []byte // nil where the content is gone
}

// HistoryPage is a page of entries, ascending.
type HistoryPage struct {
	Entries []HistoryEntry
	Next    string
}

// Clients is the register of clients. Implemented by store.
type Clients interface {
	// Register makes a client with an empty mailbox; CodeClientExists where
	// there is one.
	Register(ctx context.Context, key ClientKey, at time.Time) error
	Mailboxes(ctx context.Context, keys []ClientKey) ([]*Mailbox, error) // nil for the unknown
	// Forget deletes client, mailbox, memberships and tokens.
	Forget(ctx context.Context, key ClientKey) error
}

// Group is a named set of clients in a realm.
type Group struct {
	Realm, Name string
	Epoch       uint64 // grows with each change of membership
	Members     int
	Events      bool // members are told of joins and leaves
}

// Groups is membership, kept as intervals of epochs. Implemented by store.
type Groups interface {
	// Join and Leave answer whether anything changed. Join makes the group;
	// CodeNoClient where the client is unknown. SetEvents makes the group too.
	Join(ctx context.Context, realm, group, client string) (Group, bool, error)
	Leave(ctx context.Context, realm, group, client string) (Group, bool, error)
	SetEvents(ctx context.Context, realm, group string, on bool) (Group, error)
	Group(ctx context.Context, realm, group string) (Group, error)
	Members(ctx context.Context, realm, group string, page PageQuery) (ids []string, next string, err error)
	IsMember(ctx context.Context, realm, group, client string) (bool, error)
}

// Chores is periodic work on the store, each in steps that do not hold up
// writers. Each answers how much it did; less than limit means nothing is
// left for now.
type Chores interface {
	// Release places scheduled pushes that are due.
	Release(ctx context.Context, now time.Time, limit int) (int, error)
	// Expand places the next entries of the oldest unfinished job.
	Expand(ctx context.Context, limit int) (int, error)
	// Expire marks entries whose TTL ended; Sweep deletes what retention
	// ended (entries, idempotency keys, tokens, ack log).
	Expire(ctx context.Context, now time.Time, limit int) (int, error)
	Sweep(ctx context.Context, now time.Time, limit int) (int, error)
}

// Session is one authenticated stay of a client on one connection, WebSocket
// or SSE. All methods may be called from any goroutine and never block.
type Session interface {
	// Offer hints that m was committed at seq; a nil m says only that the
	// mailbox reaches seq.
	Offer(m *Message, seq uint64)
	// Live hands over a store=never message; false where it was dropped, as
	// where the session does not seal as the message requires.
	Live(m *Message) bool
	Notify(n Notice)
	// Close ends the session with that code; only the first call counts.
	Close(code CloseCode, reason string)
	Info() SessionInfo
}

// SessionInfo is one session as the status API tells of it.
type SessionInfo struct {
	Client        ClientKey
	ID            string // of the session
	Transport     string // "websocket" or "sse"
	Remote        string
	Connected     time.Time
	LastMessage   time.Time // last message in or out, heartbeats apart
	LastHeartbeat time.Time // last ping, pong or JSON ping heard
	TokenID       string    // jti
	TokenIssued   time.Time
	Outbound      int    // bytes waiting
	Generation    uint64 // as Attach answered it; the higher is the newer
	// Seal is how everything with content is sealed that the session is sent;
	// empty: it is not, or there are no keys for it yet.
	Seal SealMode
}

// Sessions is the table of live sessions, by client. Implemented by hub; SSE
// registers through it.
type Sessions interface {
	// Placed hints a commit to the sessions of its clients.
	CommitListener
	// Attach puts the session in the table. Where one connection a client
	// is the rule, older ones are closed with [CloseReplaced].
	// It answers the session's generation, which grows.
	Attach(key ClientKey, s Session) uint64
	Detach(key ClientKey, s Session)
	Online(key ClientKey) bool
	Of(key ClientKey) []Session
	// Each calls f for every session of the realm (nil: all) until it
	// returns false.
	Each(realm *string, f func(ClientKey, Session) bool)
	Len() int
}

// Notice is something told to a client outside its mailbox: never stored.
type Notice struct {
	Kind           NoticeKind
	PushID         int64  // tombstone
	Seq            uint64 // tombstone
	Group          string // member events; typing: the conversation
	ClientID       string // member events: who; typing: the sender
	SenderName     string // typing
	SenderType     string // typing: "client"
	ExpiresInMilli int64  // token_expiring
}

// NoticeKind is the kind of a [Notice].
type NoticeKind uint8

// The notices, named as on the wire.
const (
	NoticeTombstone NoticeKind = iota + 1
	NoticeMemberJoined
	NoticeMemberLeft
	NoticeTyping
	NoticeTokenExpiring
)
