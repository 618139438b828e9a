package e2e

import (
	"strings"
	"testing"

	"github.com/sunzi-push/sunzi/bench/faultproxy"
	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

func TestWhileRedisHangsNothingIsLost(t *testing.T) {
	n := together(t, quick...)
	a, admin := n.withAdmin()
	b := n.start()
	tok := register(t, a, "ann")
	l := under(t, a, b)
	n.redis.Stop()
	t.Cleanup(n.redis.Continue)
	wantReady(t, admin, true)
	p, _ := arrive(t, b, tok, plainHello) // let in by the database
	id := a.push(t, pushTo("ann", "by the sweep"))
	if m := p.want("message"); m.ID != id {
		t.Fatalf("got %+v, want %s", m, id)
	}
	l.more(50)
	n.redis.Continue()
	wantReady(t, admin, false)
	eventually(t, "the nodes see each other again", func() bool { return stateOfClient(t, a, "ann").Online })
	l.judge()
}

func TestAnEmptiedRedisLosesNothing(t *testing.T) {
	n := together(t, quick...)
	a, admin := n.withAdmin()
	b := n.start()
	_, _ = arrive(t, b, register(t, a, "ann"), plainHello)
	l := under(t, a, b)
	for range 20 {
		n.redis.FlushAll()
		l.more(5)
	}
	wantReady(t, admin, false)
	eventually(t, "registered again", func() bool { return stateOfClient(t, a, "ann").Online })
	l.judge()
}

func TestANodeCutOffFromRedisServesItsClients(t *testing.T) {
	n := together(t, quick...)
	link := behind(t, "redis", n.redis.Addr())
	a, adminA := n.withAdmin()
	b, adminB := n.withAdmin("SUNZI_CLUSTER_REDIS=redis://" + link.Addr())
	p, _ := arrive(t, b, register(t, a, "ann"), plainHello)
	eventually(t, "online", func() bool { return stateOfClient(t, a, "ann").Online })
	l := under(t, a, b)
	set(t, link, faultproxy.Partition())
	wantReady(t, adminB, true)
	wantReady(t, adminA, false)
	liveOnly(t, b, "ann", p)
	id := a.push(t, pushTo("ann", "by the sweep"))
	if m := p.want("message"); m.ID != id {
		t.Fatalf("got %+v, want %s", m, id)
	}
	eventually(t, "taken for offline elsewhere", func() bool { return !stateOfClient(t, a, "ann").Online })
	set(t, link, faultproxy.Fault{})
	wantReady(t, adminB, false)
	eventually(t, "online again", func() bool { return stateOfClient(t, a, "ann").Online })
	l.judge()
}

// Redis that is more than one server: a master ends, or hands over, under load.

// goesOn wants that the other node's client is reached through Redis again.
func goesOn(t *testing.T, a *server, admins []string, client string, p *peer) {
	t.Helper()
	for _, admin := range admins {
		wantReady(t, admin, false)
	}
	// Asked of the other node: what was seen lately also counts as online.
	eventually(t, "the other node answers for its client", func() bool { return len(stateOfClient(t, a, client).Connections) == 1 })
	liveOnly(t, a, client, p)
}

func TestASentinelsFailoverLosesNothing(t *testing.T) {
	s := daemons.StartSentinel(t)
	n := together(t, append(quick, "SUNZI_CLUSTER_REDIS="+s.URL())...)
	a, adminA := n.withAdmin()
	b, adminB := n.withAdmin()
	p, _ := arrive(t, b, register(t, a, "ann"), plainHello)
	l := under(t, a, b)
	goesOn(t, a, []string{adminA, adminB}, "ann", p)
	before := l.refused.Load()
	s.Master.Kill()
	id := a.push(t, pushTo("ann", "by the sweep"))
	if m := p.want("message"); m.ID != id {
		t.Fatalf("got %+v, want %s", m, id)
	}
	eventually(t, "the replica is the master", func() bool {
		addr, err := s.MasterAddr(t.Context())
		return err == nil && addr == s.Replica.Addr()
	})
	goesOn(t, a, []string{adminA, adminB}, "ann", p)
	if more := l.refused.Load() - before; more > 0 {
		t.Errorf("%d pushes were refused", more)
	}
	l.judge()
}

// masterOf is the index of the server that has the slot of a key.
func masterOf(t *testing.T, c *daemons.RedisCluster, key string) int {
	t.Helper()
	for i, r := range c.Nodes {
		if _, err := r.Do(t.Context(), "EXISTS", key); err == nil {
			return i
		} else if !strings.Contains(err.Error(), "MOVED") {
			t.Fatal(err)
		}
	}
	t.Fatalf("no server has the slot of %s", key)
	return 0
}

func TestAFailoverInARedisClusterLosesNothing(t *testing.T) {
	c := daemons.StartRedisCluster(t, 3, 1)
	n := together(t, append(quick, "SUNZI_CLUSTER_REDIS="+c.URL())...)
	a, adminA := n.withAdmin()
	b, adminB := n.withAdmin()
	p, _ := arrive(t, b, register(t, a, "ann"), plainHello)
	l := under(t, a, b)
	goesOn(t, a, []string{adminA, adminB}, "ann", p)
	before := l.refused.Load()
	// What others send to b goes by this slot, first to its replica by command.
	channel := "sunzi:{n:" + stateOfClient(t, a, "ann").Connections[0].Node + "}"
	master := masterOf(t, c, channel)
	if _, err := c.Nodes[3+master].Do(t.Context(), "CLUSTER", "FAILOVER"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica has the slot", func() bool { return masterOf(t, c, channel) == 3+master })
	goesOn(t, a, []string{adminA, adminB}, "ann", p)
	c.Nodes[3+master].Kill()
	id := a.push(t, pushTo("ann", "by the sweep"))
	if m := p.want("message"); m.ID != id {
		t.Fatalf("got %+v, want %s", m, id)
	}
	eventually(t, "the former master has it back", func() bool {
		_, err := c.Nodes[master].Do(t.Context(), "EXISTS", channel)
		return err == nil
	})
	goesOn(t, a, []string{adminA, adminB}, "ann", p)
	if more := l.refused.Load() - before; more > 0 {
		t.Errorf("%d pushes were refused", more)
	}
	l.judge()
}
