package cluster

import (
	"context"
	"sync"

	"github.com/sunzi-push/sunzi/push"
)

// A living node may be deaf for a while: its subscription broke, and the next
// does not stand yet, as when it has only just started. Hints that it misses are
// found by the sweep of heads. Nothing sweeps for revoked tokens, and takeovers
// would wait for a look: those are told until they are heard. Both may come late:
// they say which sessions they mean.

// unheard are revocations and takeovers that a node did not hear.
type unheard struct {
	mu sync.Mutex
	of []parcel // guarded by mu; at most Config.OutboxLen
}

// revokes says that a closing means sessions by their token: it ends the same
// ones whenever it comes. Others would end sessions that came later.
func revokes(how push.Closing) bool { return how.TokenID != "" || !how.IssuedBefore.IsZero() }

func (u *unheard) add(limit int, parcels ...parcel) (dropped int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := min(len(parcels), limit-len(u.of))
	u.of = append(u.of, parcels[:n]...)
	return len(parcels) - n
}

func (u *unheard) take() []parcel {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := u.of
	u.of = nil
	return all
}

// tellAgain tells them to those that have not heard them, until ctx
// ends. A node that died needs none.
func (c *Cluster) tellAgain(ctx context.Context) {
	for wait(ctx, c.cfg.Beat) {
		var due, still []parcel
		for _, p := range c.unheard.take() {
			if c.nodes.alive(p.node) {
				due = append(due, p)
			}
		}
		heard, _ := c.publish(ctx, due)
		for i, ok := range heard {
			if !ok {
				still = append(still, due[i])
			}
		}
		c.keepTelling(still)
	}
}

func (c *Cluster) keepTelling(parcels []parcel) {
	if n := c.unheard.add(c.cfg.OutboxLen, parcels...); n > 0 {
		c.deps.Log.Error("too much is left to be told to other nodes: sessions of revoked tokens may be open there", "letters", n)
	}
}
