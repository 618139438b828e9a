package cluster

import (
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// The table of the clients that have sessions here, and which of them the
// registry has yet to hear of.

// slots is in how many steps the table is written again.
const slots = 64

// held is one client that has a session here.
type held struct {
	session  push.Session
	proposed uint64    // the table's generation
	came     time.Time // when
	// Guarded by slot.mu:
	given uint64 // the registry's generation; 0: not yet
	tried bool   // has been written once, with whatever outcome
}

type slot struct {
	mu sync.Mutex
	of map[push.ClientKey]*held // guarded by mu
}

var seed = maphash.MakeSeed()

func (c *Cluster) slot(k push.ClientKey) *slot {
	return &c.held[maphash.Comparable(seed, k)%slots]
}

// Came implements [push.Presence].
func (c *Cluster) Came(key push.ClientKey, s push.Session, generation uint64) {
	sl := c.slot(key)
	sl.mu.Lock()
	if old := sl.of[key]; old == nil || old.proposed <= generation {
		sl.of[key] = &held{session: s, proposed: generation, came: c.deps.Now()}
	}
	sl.mu.Unlock()
	c.unsynced.add(key)
}

// Went implements [push.Presence].
func (c *Cluster) Went(key push.ClientKey, generation uint64) {
	if c.cfg.PerClient == 1 {
		if c.drop(key, generation) {
			c.unsynced.add(key)
		}
		return
	}
	// Where a client may have several sessions, any that is left keeps it
	// here, and so does one that comes while this is looked at.
	if len(c.deps.Sessions.Of(key)) > 0 {
		return
	}
	c.drop(key, math.MaxUint64)
	if left := c.deps.Sessions.Of(key); len(left) > 0 {
		c.Came(key, left[0], generation)
	}
	c.unsynced.add(key)
}

// drop takes the client from the table, unless a later session than that of
// the generation has it.
func (c *Cluster) drop(key push.ClientKey, generation uint64) bool {
	sl := c.slot(key)
	sl.mu.Lock()
	defer sl.mu.Unlock()
	h := sl.of[key]
	if h == nil || h.proposed > generation {
		return false
	}
	delete(sl.of, key)
	return true
}

func (c *Cluster) holds(key push.ClientKey) (h held, ok bool) {
	sl := c.slot(key)
	sl.mu.Lock()
	defer sl.mu.Unlock()
	p := sl.of[key]
	if p == nil {
		return held{}, false
	}
	return *p, true
}

// unsynced is the clients whose entry in Redis may differ from the table.
type unsynced struct {
	mu   sync.Mutex
	keys map[push.ClientKey]struct{} // guarded by mu
	all  bool                        // guarded by mu
	wake chan struct{}               // never closed
	max  int
}

func (u *unsynced) init(limit int) {
	u.keys, u.wake, u.max = map[push.ClientKey]struct{}{}, make(chan struct{}, 1), limit
}

// add marks the client; beyond the bound it marks everybody who is here. The
// entry of one that went is then left over until something is sent to it, or
// it ends by itself.
func (u *unsynced) add(key push.ClientKey) {
	u.mu.Lock()
	if len(u.keys) < u.max {
		u.keys[key] = struct{}{}
	} else {
		u.all = true
	}
	u.mu.Unlock()
	u.ring()
}

func (u *unsynced) resync() {
	u.mu.Lock()
	u.all = true
	u.mu.Unlock()
	u.ring()
}

func (u *unsynced) ring() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

func (u *unsynced) take() (keys []push.ClientKey, all bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for k := range u.keys {
		if len(keys) == batch {
			break
		}
		keys = append(keys, k)
		delete(u.keys, k)
	}
	all, u.all = u.all, false
	return keys, all
}
