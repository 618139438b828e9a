package chaos

import "time"

// Kind says what an [Event] is, and so which of its fields count.
type Kind string

// What producers write: every push begins with an attempt, each attempt has
// one outcome, the last is followed by settled.
const (
	Attempt Kind = "attempt" // Push, Producer, Client (empty: broadcast), Node, Hash, MayEnd, Seal
	Outcome Kind = "outcome" // Push, Producer, Result; ID where accepted, Code where refused
	Settled Kind = "settled" // as Outcome; Result is accepted or refused
)

// What clients write. Conn numbers the client's connections from 1.
const (
	Connected Kind = "connected" // Conn, Node, Incarnation, Cursor (of the welcome)
	Received  Kind = "received"  // Conn, Seq, ID, Hash, Replayed, Sealed, Producer, Push
	Handled   Kind = "handled"   // Conn, Seq, ID, Producer, Push: the handler has run
	Saved     Kind = "saved"     // Conn, Seq: the cursor is on the device
	Acked     Kind = "acked"     // Conn, Seq
	Gap       Kind = "gap"       // Conn, From, To, Reason
	Closed    Kind = "closed"    // Conn, How, Code where the server closed, Covers
	Killed    Kind = "killed"    // Conn, Seq: between the handler and the save of that place
)

// What clients write that seal.
const (
	Offered    Kind = "offered"     // Conn: a handshake begins
	Sealed     Kind = "sealed"      // Conn, Generation: it is complete
	NotOffered Kind = "not_offered" // Conn, Seal: the server seals otherwise, or has another identity
	Unopened   Kind = "unopened"    // Conn, Sealer, Batch, Lane, How (the mode), Period, Generation (the newest held)
	// Bare is a message with content that came in clear on a connection whose
	// welcome offered sealing: Conn, How (its type).
	Bare Kind = "bare"
	// Framed is a frame that no client of the run has written down before, with
	// a place in it or not: Conn, Sealer, Batch, Lane, How, Hash (of the frame).
	Framed Kind = "framed"
)

// What the conductor writes.
const (
	FaultBegin Kind = "fault_begin" // Fault, Target
	FaultEnd   Kind = "fault_end"   // Fault, Target
	Memory     Kind = "memory"      // Node, Bytes: resident memory of a node
	Healed     Kind = "healed"      // no fault will follow
	Died       Kind = "died"        // Node: it ended unasked
)

// Result is what became of an attempt.
type Result string

// The results. Unsent means that no connection was had, so that nothing can
// have arrived. Unknown is everything else that is no answer, and the answers
// that say themselves that they don't know.
const (
	Accepted Result = "accepted"
	Refused  Result = "refused"
	Unsent   Result = "unsent"
	Unknown  Result = "unknown"
)

// Event is one line of a log. Fields that its kind does not name are zero.
type Event struct {
	At   int64 `json:"at"` // ns since the run's start, monotonic
	Kind Kind  `json:"kind"`

	Producer int    `json:"producer,omitempty"`
	Push     int    `json:"push,omitempty"` // the producer's number, from 1
	Client   string `json:"client,omitempty"`
	Node     string `json:"node,omitempty"`
	Hash     string `json:"hash,omitempty"` // of the data's bytes
	// MayEnd is the reason of a gap that may stand in the push's place
	// (expired, say). Empty: it must be received.
	MayEnd string `json:"may_end,omitempty"`
	Result Result `json:"result,omitempty"`
	ID     string `json:"id,omitempty"`
	Code   int    `json:"code,omitempty"`

	Conn        int    `json:"conn,omitempty"`
	Incarnation string `json:"incarnation,omitempty"`
	Cursor      uint64 `json:"cursor,omitempty"`
	Seq         uint64 `json:"seq,omitempty"`
	Replayed    bool   `json:"replayed,omitempty"`
	From        uint64 `json:"from,omitempty"`
	To          uint64 `json:"to,omitempty"`
	Reason      string `json:"reason,omitempty"`
	How         string `json:"how,omitempty"`

	Seal       string `json:"seal,omitempty"`   // crt or aead, and nothing else; empty: whatever the client does
	Sealed     bool   `json:"sealed,omitempty"` // it was stored so
	Generation uint32 `json:"generation,omitempty"`
	Period     uint32 `json:"period,omitempty"` // of keys
	Sealer     string `json:"sealer,omitempty"`
	Batch      uint64 `json:"batch,omitempty"`
	Lane       int    `json:"lane,omitempty"`
	Covers     int    `json:"covers,omitempty"` // frames without a message, on this connection

	Fault  string `json:"fault,omitempty"`
	Target string `json:"target,omitempty"` // a node's name, Database, Redis or a link's name
	Bytes  int64  `json:"bytes,omitempty"`
}

// Targets of faults that are no node and no link.
const (
	Database = "database"
	Redis    = "redis"
)

func ns(d time.Duration) int64 { return int64(d) }
