package push

import "time"

// StoreMode says what of a push is kept.
type StoreMode string

// The store modes.
const (
	StoreAlways  StoreMode = "always"  // until acked or expired, then as history
	StoreOffline StoreMode = "offline" // until acked or expired; no history
	StoreNever   StoreMode = "never"   // live or nothing: no sequence, no entry
)

// SealMode says how a push is sealed: as each client has chosen (auto), not at
// all, or in a way that it requires: by CRT, by AEAD, or whichever the client has
// chosen (required). Who has no keys of that kind is refused then, by name
// ([CodeNoSealKey]); a store=never push is missed by it. Of a client it says what
// it wants: [SealNone], [SealCRT] or [SealAEAD].
type SealMode string

// The seal modes.
const (
	SealAuto     SealMode = "auto"
	SealNone     SealMode = "none"
	SealRequired SealMode = "required"
	SealCRT      SealMode = "crt"
	SealAEAD     SealMode = "aead"
)

// Allows reports whether what requires a mode (empty: nothing is required) may go
// to a session that seals by the other; empty: it does not seal.
func (m SealMode) Allows(session SealMode) bool {
	switch m {
	case "":
		return true
	case SealRequired:
		return session != ""
	default:
		return session == m
	}
}

// Target is whom a push is for: exactly one of Clients, Group and All.
type Target struct {
	Realm   string
	Clients []string // client IDs, no duplicates, at most [MaxTargets]
	Group   string
	All     bool
}

// Attachment is a link that a push carries: the bytes stay where they are.
type Attachment struct {
	URL  string `json:"url"`
	Type string `json:"type,omitempty"` // media type
	Size int64  `json:"size,omitempty"` // bytes
	Name string `json:"name,omitempty"`
}

// Idempotency identifies a repeated request. Only hashes are kept.
type Idempotency struct {
	Key [32]byte // SHA-256 of API key ID, a zero byte and the Idempotency-Key
	// Body is HMAC-SHA256 of a label and the request body (of the item, in a bulk
	// push), keyed by the Idempotency-Key: its hash says nothing without that.
	Body [32]byte
}

// Envelope is a push once accepted: validated, with ID and times. It is
// immutable from then on.
type Envelope struct {
	ID          int64     // Snowflake
	Accepted    time.Time // millisecond precision
	Target      Target
	Topic       string
	Body        []byte // the message's JSON object, as [BuildBody] makes it
	Size        int    // bytes of data, for quotas
	Expires     time.Time
	Priority    int // 1 to 5
	CollapseKey string
	Store       StoreMode
	Seal        SealMode
	NotBefore   time.Time    // zero: at once
	Idempotency *Idempotency // nil: none was sent
}

// Placement is one entry made: the client's place for this push.
type Placement struct {
	Client ClientKey
	Seq    uint64
}

// Rejection names a target that was not served, and why.
type Rejection struct {
	Client ClientKey
	Code   Code
}

// Outcome is what the store made of one envelope. Err set means that nothing
// of this envelope was kept.
type Outcome struct {
	Err       *Error
	ID        int64 // the first push's ID where Duplicate
	Duplicate bool
	Placed    []Placement
	Rejected  []Rejection
	Scheduled bool // waits for not_before
	Expanding bool // a job expands it
	Members   int  // targets known at acceptance
}

// Receipt is the answer to an accepted push.
type Receipt struct {
	ID        int64
	Accepted  time.Time
	Duplicate bool
	Online    int // targets with a live session when it was answered
	Stored    int // entries committed
	Scheduled bool
	Expanding bool
	Rejected  []Rejection
}
