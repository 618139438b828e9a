package push

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// chore is one piece of periodic work. The table in [Service.chores] is the one
// place that says what runs and when.
type chore struct {
	name  string
	every time.Duration
	limit int // rows a step: small enough not to hold up writers
	step  func(ctx context.Context, now time.Time, limit int) (int, error)
}

const (
	choreTimeout = 10 * time.Second
	headsAtOnce  = 1000 // mailboxes looked up in one call of the store
)

// choreNames labels the metrics; a test holds it equal to the table.
var choreNames = []string{"release", "expand", "expire", "sweep", "heads"}

// chores is the schedule of everything periodic that is not a connection's
// (heartbeats are the hub's, beside the sockets they keep).
func (s *Service) chores() []chore {
	list := []chore{
		// release bounds how late a not_before push may be.
		{"release", 100 * time.Millisecond, 500, s.store.Release},
		// expand goes on at once while a job has members left.
		{"expand", 50 * time.Millisecond, 1000, func(ctx context.Context, _ time.Time, limit int) (int, error) {
			return s.store.Expand(ctx, limit)
		}},
		{"expire", time.Second, 500, s.store.Expire},
		{"sweep", 10 * time.Second, 500, s.store.Sweep},
	}
	if s.cfg.HeadSweep > 0 {
		list = append(list, chore{"heads", s.cfg.HeadSweep, headsAtOnce, s.sweepHeads})
	}
	return list
}

// runChores runs each chore on a goroutine of its own until ctx ends.
func runChores(ctx context.Context, list []chore, now func() time.Time, met *Metrics, log *slog.Logger) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, c := range list {
		wg.Go(func() { c.run(ctx, now, met, log) })
	}
}

// run steps the chore every interval (spread by a tenth), at once again while
// a step did all it was allowed to, and less often while it fails.
func (c chore) run(ctx context.Context, now func() time.Time, met *Metrics, log *slog.Logger) {
	failures := 0
	for {
		wait := c.every + rand.N(c.every/10+1)
		if failures > 0 {
			wait = min(c.every<<min(failures, 8), max(c.every, 10*time.Second))
		}
		if !pause(ctx, wait) {
			return
		}
		for {
			call, cancel := context.WithTimeout(ctx, choreTimeout)
			n, err := c.step(call, now(), c.limit)
			cancel()
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				failures++
				met.chores.WithLabelValues(c.name, "failed").Inc()
				log.Warn("periodic work failed, it is tried again", "chore", c.name, "failures", failures, "err", err)
				break
			}
			failures = 0
			met.chores.WithLabelValues(c.name, "done").Inc()
			if n < c.limit {
				break
			}
		}
	}
}

// sweepHeads compares the mailboxes of connected clients with what their
// sessions were told: the bound for a lost hint.
func (s *Service) sweepHeads(ctx context.Context, _ time.Time, limit int) (int, error) {
	var connected []ClientKey
	s.sessions.Each(nil, func(key ClientKey, _ Session) bool {
		connected = append(connected, key)
		return true
	})
	for keys := range slices.Chunk(connected, limit) {
		if err := s.compareHeads(ctx, keys); err != nil {
			return 0, err
		}
	}
	return 0, nil
}
