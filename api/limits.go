package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/sunzi-push/sunzi/push"
)

// limits bound how often and how many at once an API key, or a client with its
// token, may ask: on this node, and where all is set also on all nodes together.
// Only credentials that were checked get here, so strangers
// cost nothing.
type limits struct {
	name   string  // of the policy; static
	of     string  // as errors call who is limited; static
	rate   float64 // static
	burst  int     // static
	perKey int     // static
	all    Allower // static; nil: rates are this node's

	mu   sync.Mutex
	keys map[string]*keyLimit // guarded by mu
	rest time.Time            // guarded by mu; until then all is not asked: it hung
}

type keyLimit struct {
	bucket  *rate.Limiter
	running int // guarded by limits.mu
}

// maxKeyLimits bounds the table: more keys than anybody has, so that a key
// made and revoked in a loop does not grow it for ever; clients may be more,
// and get their burst anew when the table is full.
const maxKeyLimits = 65536

// allowPatience bounds the wait for the count of all nodes; where it did not
// come by then, it is done without for allowRest.
const (
	allowPatience = 250 * time.Millisecond
	allowRest     = 2 * time.Second
)

func newLimits(cfg Config, all Allower, name, of string) *limits {
	return &limits{name: name, of: of, rate: cfg.Rate, burst: cfg.Burst, perKey: cfg.PerKey, all: all, keys: map[string]*keyLimit{}}
}

// take counts one request of the key or client, and says in h what is left on
// this node (draft-ietf-httpapi-ratelimit-headers). done ends the request.
func (l *limits) take(ctx context.Context, h http.Header, id string, now time.Time) (done func(), err error) {
	if l.rate == 0 && l.perKey == 0 {
		return func() {}, nil
	}
	done, err = l.takeHere(h, id, now)
	if err != nil || l.all == nil || l.rate == 0 || l.resting(now) {
		return done, err
	}
	ctx, cancel := context.WithTimeout(ctx, allowPatience)
	defer cancel()
	// The IDs of clients are whatever applications chose: the name tells the
	// kinds apart.
	if ok, wait := l.all.Take(ctx, l.name+":"+id, l.rate, l.burst); !ok {
		done()
		h.Set("RateLimit", fmt.Sprintf(`"%s";r=0;t=%d`, l.name, int(math.Ceil(wait.Seconds()))))
		return nil, l.tooMany(wait)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		l.mu.Lock()
		l.rest = now.Add(allowRest)
		l.mu.Unlock()
	}
	return done, nil
}

func (l *limits) resting(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Before(l.rest)
}

func (l *limits) takeHere(h http.Header, id string, now time.Time) (done func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.entry(id)
	if l.perKey > 0 && k.running >= l.perKey {
		return nil, &push.Error{
			Code: push.CodeRateLimited, RetryAfter: time.Second,
			Message: fmt.Sprintf("at most %d requests of this %s may run at once", l.perKey, l.of),
		}
	}
	if err := l.spend(h, k, now); err != nil {
		return nil, err
	}
	k.running++
	return func() {
		l.mu.Lock()
		k.running--
		l.mu.Unlock()
	}, nil
}

func (l *limits) tooMany(wait time.Duration) *push.Error {
	return &push.Error{
		Code: push.CodeRateLimited, RetryAfter: wait,
		Message: fmt.Sprintf("this %s may make %g requests a second", l.of, l.rate),
	}
}

func (l *limits) entry(id string) *keyLimit {
	k := l.keys[id]
	if k == nil {
		if len(l.keys) >= maxKeyLimits {
			clear(l.keys) // those that run keep their own; the rest start afresh
		}
		k = &keyLimit{bucket: rate.NewLimiter(rate.Limit(l.rate), l.burst)}
		l.keys[id] = k
	}
	return k
}

func (l *limits) spend(h http.Header, k *keyLimit, now time.Time) error {
	if l.rate == 0 {
		return nil
	}
	full := float64(l.burst)
	ok := k.bucket.AllowN(now, 1)
	left := max(0, k.bucket.TokensAt(now))
	h.Set("RateLimit-Policy", fmt.Sprintf(`"%s";q=%d;w=%d`, l.name, l.burst, int(math.Ceil(full/l.rate))))
	h.Set("RateLimit", fmt.Sprintf(`"%s";r=%d;t=%d`, l.name, int(left), int(math.Ceil((full-left)/l.rate))))
	if ok {
		return nil
	}
	return l.tooMany(time.Duration((1 - left) / l.rate * float64(time.Second)))
}
