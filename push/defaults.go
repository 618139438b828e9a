package push

import "time"

// The one table of limits that are part of the contract, not of the
// configuration. What an operator may change is in [Config]; api/openapi.yaml
// and api/wire/SPEC.md quote both and are tested against them.
const (
	MaxNameLen        = 100   // characters in a client ID, realm or group name
	MaxTopicLen       = 200   // bytes
	MaxCollapseKeyLen = 64    // bytes
	MaxIdempotencyLen = 255   // bytes in an Idempotency-Key
	MaxBulk           = 1000  // pushes in one bulk push
	MaxTargets        = 1000  // client IDs named in one push; larger sets are groups
	MaxBulkTargets    = 10000 // client IDs named in all pushes of one bulk push
	MaxFailedPerAck   = 256   // dead letters reported by one ack
	ExpandAbove       = 1000  // targets beyond which a push is expanded by a job (answered 202)
	MaxTTL            = 30 * 24 * time.Hour
	MaxPageLimit      = 1000                 // rows in one page of any listing
	MaxDataDepth      = 64                   // levels of arrays and objects in a push's data
	MaxURLLen         = 2048                 // bytes of an attachment's URL
	MaxDelay          = 365 * 24 * time.Hour // how far ahead not_before may lie
	DefaultPriority   = 3                    // of 1 (lowest) to 5 (highest)
)

// Config is what an operator may set of the domain. See each field for unit,
// meaning of zero and trade-off.
type Config struct {
	// DefaultTTL is how long a push waits for its client when it names no
	// ttl of its own. Zero is refused.
	DefaultTTL time.Duration
	// HistoryRetention is how long an acked entry of a store=always push
	// stays readable as history. Zero keeps none.
	HistoryRetention time.Duration
	// MaxPayload bounds one push's data, in bytes after base64.
	MaxPayload int
	// MailboxEntries and MailboxBytes bound one client's backlog; zero is
	// no bound. Reached, Overflow decides.
	MailboxEntries int
	MailboxBytes   int64
	// Overflow is what a full mailbox does with one more push.
	Overflow OverflowPolicy
	// IdempotencyWindow is how long an Idempotency-Key is remembered.
	IdempotencyWindow time.Duration
	// AckFlush is how long acks are gathered before they are written
	// together: longer saves writes, and lengthens what is redelivered
	// after a crash of the server.
	AckFlush time.Duration
	// RequireSeal has nothing go to a client in clear: sessions that do not ask
	// for an offered kind of seal are closed, pushes are [SealRequired] unless
	// they name a kind, and refused where they say [SealNone].
	RequireSeal bool
	// Readers is the number of goroutines that read mailboxes for replay.
	Readers int
	// HeadSweep is how often the mailboxes of connected clients are compared
	// with what their sessions were told: the bound for a lost hint. Zero
	// is never, which is right where the store's only writer is this process
	// (SQLite): its hints can't get lost.
	HeadSweep time.Duration
}

// OverflowPolicy is what a full mailbox does.
type OverflowPolicy string

const (
	// OverflowReject answers mailbox_full (429): nothing accepted is lost.
	OverflowReject OverflowPolicy = "reject"
	// OverflowDrop drops the entry of lowest priority, the oldest first; it
	// is told to the client as a gap and to the application as dropped.
	OverflowDrop OverflowPolicy = "drop"
)

// DefaultConfig is what runs when nothing is configured.
func DefaultConfig() Config {
	return Config{
		DefaultTTL:        7 * 24 * time.Hour,
		HistoryRetention:  30 * 24 * time.Hour,
		MaxPayload:        256 << 10,
		MailboxEntries:    10_000,
		MailboxBytes:      64 << 20,
		Overflow:          OverflowReject,
		IdempotencyWindow: 24 * time.Hour,
		AckFlush:          20 * time.Millisecond,
		Readers:           4,
	}
}
