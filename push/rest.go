package push

import (
	"sync/atomic"
	"time"
)

// rest keeps live-only pushes from waiting, one after the other, for something
// that hangs: after a call that failed slowly it is left alone for a while.
// What would have been asked meanwhile is done without, which live-only pushes
// may. Safe for concurrent use.
type rest struct{ until atomic.Int64 } // nanoseconds since 1970

// patience bounds what a live-only push waits for one thing that it could do
// without.
const patience = 250 * time.Millisecond

const (
	restFor   = 2 * time.Second
	restAbove = 100 * time.Millisecond // what fails faster costs nobody much
)

func (r *rest) resting(now time.Time) bool { return now.UnixNano() < r.until.Load() }

// failed says that a call which began at start has failed.
func (r *rest) failed(start, now time.Time) {
	if now.Sub(start) > restAbove {
		r.until.Store(now.Add(restFor).UnixNano())
	}
}
