package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

// ghost makes a node that lives by the registry, has a client, and hears
// nothing.
func ghost(t *testing.T, n *node, key push.ClientKey) {
	t.Helper()
	ctx := context.Background()
	later := float64(time.Now().Add(time.Hour).UnixMilli())
	if err := n.rdb.ZAdd(ctx, n.nodesKey(), redis.Z{Score: later, Member: "ghost"}).Err(); err != nil {
		t.Fatal(err)
	}
	if err := n.rdb.HSet(ctx, n.clientKey(key), "ghost", 1).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other counts as living", func() bool { return n.nodes.alive("ghost") })
}

func TestWhatNobodyHearsCountsAsDropped(t *testing.T) {
	r := daemons.StartRedis(t)
	a := start(t, r.URL(), "a", func(c *Config) { c.Ask = time.Hour })
	together(t, a)
	ghost(t, a, client("x"))
	a.hint(client("x"), 1)
	eventually(t, "the hint is counted", func() bool {
		return testutil.ToFloat64(a.met.hints.WithLabelValues("dropped")) == 1
	})
	if n := testutil.ToFloat64(a.met.hints.WithLabelValues("sent")); n != 0 {
		t.Errorf("%v were sent", n)
	}
	reached, err := a.Live(t.Context(), "shop", []string{"x"}, &push.Message{ID: 1, Body: []byte(`1`)})
	if err != nil || len(reached) != 0 {
		t.Errorf("a live push reached %q, %v", reached, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if got, err := a.Sessions(ctx, []push.ClientKey{client("x")}); err != nil || len(got[0]) != 0 || ctx.Err() != nil {
		t.Errorf("asked for sessions: %+v, %v, %v", got, err, ctx.Err())
	}
}

func TestARevocationThatANodeMissedIsToldAgain(t *testing.T) {
	r := daemons.StartRedis(t)
	a := start(t, r.URL(), "a")
	together(t, a)
	key := client("x")
	ghost(t, a, key)
	revoked := push.Closing{Client: key, Code: push.CloseTokenRevoked, TokenID: "t1"}
	if n, err := a.Close(t.Context(), revoked); n != 0 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	any := push.Closing{Client: key, Code: push.CloseReplaced} // would end what comes later
	if n, err := a.Close(t.Context(), any); n != 0 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	// The node hears again.
	g := start(t, r.URL(), "ghost")
	there, other := &session{info: push.SessionInfo{Client: key, TokenID: "t1"}}, &session{info: push.SessionInfo{Client: client("y")}}
	g.Came(key, there, g.table.Attach(key, there))
	g.Came(client("y"), other, g.table.Attach(client("y"), other))
	eventually(t, "the session of the revoked token ends", func() bool { return there.closed() == push.CloseTokenRevoked })
	eventually(t, "nothing is left to be told", func() bool {
		a.unheard.mu.Lock()
		defer a.unheard.mu.Unlock()
		return len(a.unheard.of) == 0
	})
	if other.closed() != 0 {
		t.Errorf("another session was closed with %d", other.closed())
	}
}
