package cluster

import (
	"sync"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

const (
	// sightingAge is after which time a look-up is made again, sightingEnd
	// after which it counts for nothing.
	sightingAge = 2 * time.Second
	sightingEnd = 10 * time.Second
	// sightings bounds how many are kept.
	sightings = 1 << 16
)

// recent is what look-ups found lately.
type recent struct {
	mu sync.Mutex
	of map[push.ClientKey]sighting // guarded by mu
}

type sighting struct {
	online bool
	at     time.Time
}

func (r *recent) put(key push.ClientKey, online bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// What is evicted is anybody: a look-up more does no harm.
	for k := range r.of {
		if len(r.of) < sightings {
			break
		}
		delete(r.of, k)
	}
	r.of[key] = sighting{online, now}
}

func (r *recent) get(key push.ClientKey, now time.Time) (online, old bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.of[key]
	age := now.Sub(s.at)
	return ok && s.online && age < sightingEnd, !ok || age > sightingAge
}

// Online implements [push.Elsewhere] from what was looked up lately; what it
// does not know it has looked up for the next time.
func (c *Cluster) Online(key push.ClientKey) bool {
	online, old := c.recent.get(key, c.deps.Now())
	if old {
		c.hints.add(key, 0)
	}
	return online
}
