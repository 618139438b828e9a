package store

import "time"

// MaxWindow is the longest [Config.Window].
const MaxWindow = time.Second

// window is how long the commit group that is being gathered stays open for
// others: from its first push on, if it has one. What waits in it is not taken
// yet, so that a caller whose deadline ends meanwhile withdraws.
type window struct {
	length time.Duration
	until  time.Time // zero: nothing holds the group open
}

// joined hears of each operation that joins the group.
func (v *window) joined(o *op) {
	if v.length > 0 && o.push && v.until.IsZero() {
		v.until = time.Now().Add(v.length)
	}
}

// linger waits for another operation while the window is open; nil: it is not,
// or the store closes.
func (w *writer) linger(v *window) *op {
	if v.until.IsZero() {
		return nil
	}
	end := time.NewTimer(time.Until(v.until))
	defer end.Stop()
	for {
		select {
		case o := <-w.store.queue:
			return o
		case <-w.mark.due: // no transaction is open
			w.mark.keep(w.store.cfg.Log)
		case <-end.C:
			return nil
		case <-w.store.closing:
			return nil
		}
	}
}

// take takes those of the group whose callers still wait.
func take(group []*op) []*op {
	taken := group[:0]
	for _, o := range group {
		if o.state.CompareAndSwap(opWaiting, opTaken) {
			taken = append(taken, o)
		}
	}
	clear(group[len(taken):])
	return taken
}
