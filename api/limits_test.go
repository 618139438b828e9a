package api

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// allower is the count of all nodes: so many requests are left.
type allower struct {
	mu    sync.Mutex
	left  int
	asked []string
	hangs bool
}

func (a *allower) Take(ctx context.Context, name string, rate float64, burst int) (bool, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, bounded := ctx.Deadline(); !bounded || rate != 100 || burst != 10 {
		panic("not asked as configured")
	}
	a.asked = append(a.asked, name)
	if a.hangs {
		<-ctx.Done()
		return true, 0
	}
	a.left--
	return a.left >= 0, 1500 * time.Millisecond
}

func TestRatesOfAllNodesTogetherAreHeld(t *testing.T) {
	all := &allower{left: 1}
	s := newServer(t, func(c *Config, d *Deps) { c.Rate, c.Burst, c.PerKey, d.Allower = 100, 10, 1, all })
	s.must(200, "GET", "/v1/clients/a", "")
	for range 2 { // the first refused gave its place back
		out := s.mustFail(push.CodeRateLimited, "GET", "/v1/clients/a", "")
		if r, l := out.Header.Get("Retry-After"), out.Header.Get("RateLimit"); r != "2" || l != `"key";r=0;t=2` {
			t.Errorf("Retry-After %q, RateLimit %q", r, l)
		}
	}
	raw, _, _ := s.world.Mint(t.Context(), token.MintRequest{Realm: "shop", Client: "a"})
	s.mustFail(push.CodeRateLimited, "POST", "/v1/ack", `{"seq":"1"}`, "Authorization: Bearer "+raw)
	if d := cmp.Diff([]string{"key:all", "key:all", "key:all", "client:shop/a"}, all.asked); d != "" {
		t.Error(d)
	}
}

func TestANodesOwnLimitSparesTheCountOfAll(t *testing.T) {
	all := &allower{left: 100}
	s := newServer(t, func(c *Config, d *Deps) { c.Rate, c.Burst, d.Allower = 100, 10, all })
	for range 10 {
		s.must(200, "GET", "/v1/clients/a", "")
	}
	s.mustFail(push.CodeRateLimited, "GET", "/v1/clients/a", "")
	if len(all.asked) != 10 {
		t.Errorf("asked %d times", len(all.asked))
	}
}

func TestWithoutARateNobodyCounts(t *testing.T) {
	all := &allower{}
	s := newServer(t, func(_ *Config, d *Deps) { d.Allower = all })
	s.must(200, "GET", "/v1/clients/a", "")
	if len(all.asked) != 0 {
		t.Errorf("asked %d times", len(all.asked))
	}
}

func TestACountThatHangsIsDoneWithoutForAWhile(t *testing.T) {
	all := &allower{left: 100, hangs: true}
	s := newServer(t, func(c *Config, d *Deps) { c.Rate, c.Burst, d.Allower = 100, 10, all })
	for range 3 {
		s.must(200, "GET", "/v1/clients/a", "")
	}
	s.world.now = s.world.now.Add(allowRest)
	s.must(200, "GET", "/v1/clients/a", "")
	if len(all.asked) != 2 {
		t.Errorf("asked %d times", len(all.asked))
	}
}
