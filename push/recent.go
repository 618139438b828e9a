package push

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// recentTimes remembers when recent entries were accepted, so that an ack can
// be timed without a read. A fixed table of 64 Ki places (1 MiB): a newer
// entry takes an older one's place, and its time is then not observed. The
// histogram it feeds is a sample, not a ledger.
type recentTimes struct {
	seed  maphash.Seed
	slots [1 << 16]struct{ hash, milli atomic.Uint64 }
}

func newRecentTimes() *recentTimes { return &recentTimes{seed: maphash.MakeSeed()} }

func (r *recentTimes) hash(key ClientKey, seq uint64) uint64 {
	return maphash.Comparable(r.seed, Placement{key, seq}) | 1
}

func (r *recentTimes) put(key ClientKey, seq uint64, at time.Time) {
	h := r.hash(key, seq)
	s := &r.slots[h>>48]
	s.milli.Store(uint64(at.UnixMilli()))
	s.hash.Store(h)
}

// take answers the entry's time once.
func (r *recentTimes) take(key ClientKey, seq uint64) (time.Time, bool) {
	h := r.hash(key, seq)
	s := &r.slots[h>>48]
	milli := s.milli.Load()
	if !s.hash.CompareAndSwap(h, 0) {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(milli)), true
}
