// Package poll is what the hub needs of the kernel: readiness of sockets by
// epoll, a wake-up by eventfd, and reading and writing of raw descriptors
// without Go's own poller.
//
// Read [Poller] first, then [Detach], which takes a socket out of net.Conn.
// One goroutine calls a Poller's methods, except [Poller.Wake], which any may
// call until [Poller.Close]. The functions on descriptors may be called by
// whoever owns the descriptor; none of them blocks.
//
// Readiness is level-triggered. An event loop then reads once per report and
// leaves the rest of a fast sender's bytes in the kernel for its next turn,
// which is fair without a list of its own; nothing is ever stranded, and to
// stop reading is to ask for no reports. Edge-triggering would save the
// epoll_ctl calls around a full socket, which is rare, and cost a second read
// per report, which is not.
//
// The package is a leaf: it imports nothing of ours. It serves Linux; on other
// systems [New] and [Detach] answer [ErrUnsupported].
package poll

import "errors"

var (
	// ErrUnsupported is every answer on systems other than Linux.
	ErrUnsupported = errors.New("poll: the hub needs Linux (epoll)")
	// ErrAgain says that the kernel has nothing to read, or no room to
	// write, now.
	ErrAgain = errors.New("poll: try again")
	// ErrNoSocket is Detach's answer for a connection that is no plain
	// socket (TLS, a pipe).
	ErrNoSocket = errors.New("poll: not a plain TCP connection")
)

// Interest is what readiness is asked for or reported, a set.
type Interest uint8

// The interests. Gone is always reported, never asked for: the peer reset the
// connection, or both directions are shut.
const (
	Readable Interest = 1 << iota
	Writable
	Gone
)

// Event is one report.
type Event struct {
	Token int32 // as given to Add
	Ready Interest
}

// batch is how many reports one Wait takes: enough that the call's cost is
// spread, few enough that they stay in the cache.
const batch = 512
