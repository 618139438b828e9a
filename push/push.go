// Package push is Sunzi's domain: it takes a push, resolves its target into
// clients, has it committed to their mailboxes and hands it to their sessions.
//
// Read first, in the order that one push meets them: [Envelope] (what was
// accepted), [Service] (the path of a push), the ports in ports.go (what the
// domain needs of store and hub), and [Feed] (the hand-over from replay to
// live: which message a session may be sent next).
//
// The store is the truth; sessions are hints. A lost hint delays a push, it
// never loses one.
//
// Other nodes stand behind one port, [Elsewhere]; across.go is what the service
// does with them and for them. One node alone has [Alone].
//
// [Service], [Desk] and [Gate] may be called from any goroutine. A [Feed] is
// owned by the goroutine that owns its connection. Messages and envelopes are
// immutable once accepted and are shared without copying.
//
// The package does no I/O of its own: no SQL, no sockets, no net/http.
//
// Locks: none of this package's is held while a port is called, with one
// exception: the lock that lets one flush of gathered acks run at a time is
// held over the store's call, since whoever asks for a flush waits until what
// is being written is durable. It is taken before any other.
package push
