package api

import (
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/sunzi-push/sunzi/push"
)

// limits bound how often and how many at once an API key may ask. Only keys
// that were checked get here, so strangers cost nothing.
type limits struct {
	rate   float64 // static
	burst  int     // static
	perKey int     // static

	mu   sync.Mutex
	keys map[string]*keyLimit // guarded by mu
}

type keyLimit struct {
	bucket  *rate.Limiter
	running int // guarded by limits.mu
}

// maxKeyLimits bounds the table: more keys than anybody has, so that a key
// made and revoked in a loop does not grow it for ever.
const maxKeyLimits = 65536

func newLimits(cfg Config) *limits {
	return &limits{rate: cfg.Rate, burst: cfg.Burst, perKey: cfg.PerKey, keys: map[string]*keyLimit{}}
}

// take counts one request of the key, and says in h what is left
// (draft-ietf-httpapi-ratelimit-headers). done ends the request.
func (l *limits) take(h http.Header, id string, now time.Time) (done func(), err error) {
	if l.rate == 0 && l.perKey == 0 {
		return func() {}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.of(id)
	if l.perKey > 0 && k.running >= l.perKey {
		return nil, &push.Error{
			Code: push.CodeRateLimited, RetryAfter: time.Second,
			Message: fmt.Sprintf("at most %d requests of this API key may run at once", l.perKey),
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

func (l *limits) of(id string) *keyLimit {
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
	h.Set("RateLimit-Policy", fmt.Sprintf(`"key";q=%d;w=%d`, l.burst, int(math.Ceil(full/l.rate))))
	h.Set("RateLimit", fmt.Sprintf(`"key";r=%d;t=%d`, int(left), int(math.Ceil((full-left)/l.rate))))
	if ok {
		return nil
	}
	wait := time.Duration((1 - left) / l.rate * float64(time.Second))
	return &push.Error{
		Code: push.CodeRateLimited, RetryAfter: wait,
		Message: fmt.Sprintf("this API key may make %g requests a second", l.rate),
	}
}
