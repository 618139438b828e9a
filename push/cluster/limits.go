package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"golang.org/x/time/rate"
)

// Limit is a rate that all nodes share, for each of any number of keys. A node
// takes a tenth of a second's worth at a time, so that a request seldom costs
// a round trip; what a node took and did not use within a second is forgone.
// While Redis is away each node allows the full rate by itself: a limit keeps
// load off, it grants nothing.
//
// Safe for concurrent use.
type Limit struct {
	c       *Cluster
	name    string
	shared  *redis_rate.Limiter
	limit   redis_rate.Limit
	portion int

	mu sync.Mutex
	of map[string]*purse // guarded by mu, purses too
}

// purse is what this node has of one key.
type purse struct {
	left    int
	until   time.Time // what is left ends
	refused time.Time // until then Redis would only refuse
	alone   *rate.Limiter
}

// purses bounds the keys that are known at a time. Any may go: the rate is in
// Redis.
const purses = 1 << 16

// portionEnd is for how long a portion may be spent.
const portionEnd = time.Second

// Limit makes a limit of so many a second, with that burst, under a name of
// its own.
func (c *Cluster) Limit(name string, perSecond, burst int) *Limit {
	perSecond, burst = max(perSecond, 1), max(burst, 1)
	return &Limit{
		c: c, name: name,
		shared:  redis_rate.NewLimiter(c.rdb),
		limit:   redis_rate.Limit{Rate: perSecond, Burst: burst, Period: time.Second},
		portion: max(min(perSecond/10, burst), 1),
		of:      map[string]*purse{},
	}
}

// Allow takes one from the key's rate. Where it refuses it says after which
// time it is worth another try. It waits for Redis once a portion, for at
// most [Config.Timeout].
func (l *Limit) Allow(ctx context.Context, key string) (ok bool, retry time.Duration) {
	now := l.c.deps.Now()
	if ok, retry, known := l.spend(key, now); known {
		return ok, retry
	}
	if !l.c.lively() {
		return l.alone(key, now)
	}
	ctx, cancel := l.c.timeout(ctx)
	defer cancel()
	got, err := l.shared.AllowAtMost(ctx, l.c.cfg.Prefix+":"+l.name+":"+key, l.limit, l.portion)
	if err != nil {
		l.c.met.errors.WithLabelValues("limit").Inc()
		return l.alone(key, now)
	}
	return l.fill(key, now, got)
}

// spend answers from the purse, where it can.
func (l *Limit) spend(key string, now time.Time) (ok bool, retry time.Duration, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.of[key]
	switch {
	case p == nil:
		return false, 0, false
	case p.left > 0 && now.Before(p.until):
		p.left--
		return true, 0, true
	case now.Before(p.refused):
		return false, p.refused.Sub(now), true
	}
	return false, 0, false
}

func (l *Limit) fill(key string, now time.Time, got *redis_rate.Result) (ok bool, retry time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.purse(key)
	if got.Allowed > 0 {
		if !now.Before(p.until) {
			p.left = 0
		}
		p.left, p.until = p.left+got.Allowed-1, now.Add(portionEnd)
		return true, 0
	}
	retry = max(got.RetryAfter, time.Millisecond)
	p.refused = now.Add(min(retry, portionEnd))
	return false, retry
}

func (l *Limit) alone(key string, now time.Time) (ok bool, retry time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.purse(key)
	if p.alone == nil {
		p.alone = rate.NewLimiter(rate.Limit(l.limit.Rate), l.limit.Burst)
	}
	if p.alone.AllowN(now, 1) {
		return true, 0
	}
	return false, time.Second / time.Duration(l.limit.Rate)
}

// purse is the key's, made where there is none. l.mu is held.
func (l *Limit) purse(key string) *purse {
	p := l.of[key]
	if p != nil {
		return p
	}
	for k := range l.of {
		if len(l.of) < purses {
			break
		}
		delete(l.of, k)
	}
	p = &purse{}
	l.of[key] = p
	return p
}
