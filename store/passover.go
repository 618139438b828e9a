package store

// Pushes that wait, for their time or for their expansion, and can't be placed:
// they must not hold up those behind them.

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

const (
	// passedFor is how long a push is passed over before it is tried again.
	passedFor = time.Minute
	// passedMost bounds how many are passed over: beyond it they hold up others,
	// and periodic work says so.
	passedMost = 1000
	// passedAtOnce bounds how many are found to fail in one call: each costs the
	// commit group that it is in another attempt.
	passedAtOnce = 3
)

// passedOver are pushes that could not be placed here, though they may be at
// another time, or by another server. They are looked for by their IDs.
type passedOver struct {
	mu    sync.Mutex
	until map[int64]time.Time // guarded by mu
}

// wanted leaves out those that are passed over now.
func (p *passedOver) wanted(ids []int64, now time.Time) []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := ids[:0]
	for _, id := range ids {
		if until, passed := p.until[id]; !passed || !now.Before(until) {
			wanted = append(wanted, id)
		}
	}
	return wanted
}

// add passes one over; false where there are too many.
func (p *passedOver) add(id int64, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, until := range p.until {
		if !now.Before(until) {
			delete(p.until, k)
		}
	}
	if len(p.until) >= passedMost {
		return false
	}
	if p.until == nil {
		p.until = make(map[int64]time.Time)
	}
	p.until[id] = now.Add(passedFor)
	return true
}

// ofThePush reports whether err, of an operation on one push, is most likely that
// push's own: not the database's, the time's or the queue's.
func (s *Store) ofThePush(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || s.beyond(err) || s.cfg.engine.again(err) {
		return false
	}
	var e *push.Error
	if !errors.As(err, &e) || e.Code == push.CodeTimeout || e.Code == push.CodeOverloaded {
		return false
	}
	return e.Code != push.CodeNoStore || e.Cause != nil
}

// unreadable ends a push that waits and that no server can read: it is told as failed,
// what was placed of it stays. Indexes: primary keys.
func (t *tx) unreadable(id int64, cause error) error {
	t.cfg.Log.Error("a push that waited can't be read by any server, and has failed", "push", id, "err", cause)
	return firstError(
		t.exec(`DELETE FROM envelope WHERE id = ?`, id), t.exec(`DELETE FROM job WHERE id = ?`, id),
		t.exec(`UPDATE push SET state = ? WHERE id = ?`, pushFailed, id),
		t.forgetWrapped(id), t.forgetBody(id))
}
