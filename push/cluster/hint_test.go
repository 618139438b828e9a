package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

func TestHintReachesTheOwner(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b, c := start(t, r.URL(), "a"), start(t, r.URL(), "b"), start(t, r.URL(), "c")
	together(t, a, b, c)
	s, other := b.attach(client("x{}y")), c.attach(client("z"))
	eventually(t, "a sees both", func() bool { return a.sees(client("x{}y")) && a.sees(client("z")) })
	a.hint(client("x{}y"), 7)
	eventually(t, "the owner is told", func() bool { return s.offered(7) })
	if other.offered(7) {
		t.Error("another client was told")
	}
	if !a.Online(client("x{}y")) {
		t.Error("what was just looked up is not known to be online")
	}
	b.detach(client("x{}y"))
	eventually(t, "the client is gone", func() bool { return !a.sees(client("x{}y")) })
}

func TestANodeThatStartedSinceTheLastBeatIsHinted(t *testing.T) {
	r := daemons.StartRedis(t)
	a := start(t, r.URL(), "a", func(c *Config) { c.Lease, c.Beat, c.Registered = time.Hour, 20*time.Minute, 2*time.Hour })
	eventually(t, "a has told that it lives", func() bool { return a.Healthy() == nil })
	b := start(t, r.URL(), "b")
	eventually(t, "b has told that it lives", func() bool { return b.Healthy() == nil })
	s := b.attach(client("x"))
	eventually(t, "b has registered its client", func() bool { h, ok := b.holds(client("x")); return ok && h.given != 0 })
	a.hint(client("x"), 7)
	eventually(t, "the owner is told", func() bool { return s.offered(7) })
}

func TestHintsOfManyClientsArrive(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	sessions := map[push.ClientKey]*session{}
	var to []push.Placement
	for i := range 3000 {
		k := client(fmt.Sprint(i))
		sessions[k] = b.attach(k)
		to = append(to, push.Placement{Client: k, Seq: uint64(i + 1)})
	}
	for _, p := range to {
		eventually(t, "registered", func() bool { return a.sees(p.Client) })
	}
	a.Hint(to)
	for _, p := range to {
		eventually(t, "hinted", func() bool { return sessions[p.Client].offered(p.Seq) })
	}
}

func TestCrashedNodesClientsAreOfflineAfterTheLease(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	b.attach(client("x"))
	eventually(t, "a sees it", func() bool { return a.sees(client("x")) })
	b.leaves = false
	b.stop()
	if !a.sees(client("x")) {
		t.Error("offline before the lease ended")
	}
	eventually(t, "offline once it has", func() bool { return !a.sees(client("x")) })
}

func TestLeavingNodesClientsAreOfflineAtOnce(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a", longLease), start(t, r.URL(), "b", longLease)
	together(t, a, b)
	b.attach(client("x"))
	eventually(t, "a sees it", func() bool { return a.sees(client("x")) })
	b.stop()
	eventually(t, "offline long before the lease ends", func() bool { return !a.sees(client("x")) })
}

func longLease(c *Config) { c.Lease = 10 * time.Minute }

func TestFlushedAndRestartedRedisIsFilledAgain(t *testing.T) {
	for name, lose := range map[string]func(*daemons.Redis){
		"FLUSHALL":       func(r *daemons.Redis) { r.FlushAll() },
		"kill and start": func(r *daemons.Redis) { r.Kill(); r.Start() },
	} {
		t.Run(name, func(t *testing.T) {
			r := daemons.StartRedis(t)
			a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
			together(t, a, b)
			s := b.attach(client("x"))
			eventually(t, "a sees it", func() bool { return a.sees(client("x")) })
			lose(r)
			if a.sees(client("x")) {
				t.Fatal("nothing was lost")
			}
			eventually(t, "it is registered again", func() bool { return a.sees(client("x")) })
			together(t, a, b)
			a.hint(client("x"), 9)
			eventually(t, "and reached", func() bool { return s.offered(9) })
		})
	}
}

func TestStoppedRedisHoldsUpNobody(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	r.Stop()
	began := time.Now()
	for i := range 1000 {
		k := client(fmt.Sprint(i))
		b.attach(k)
		a.hint(k, 1)
		a.Notify([]push.ClientKey{k}, push.Notice{})
		a.GroupChanged("shop", "g")
		a.Online(k)
		if i%2 == 0 {
			b.detach(k)
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %s", took)
	}
	eventually(t, "readyz says so", func() bool { return a.Healthy() != nil && b.Healthy() != nil })
	r.Continue()
	eventually(t, "what came meanwhile is seen", func() bool { return a.sees(client("999")) && a.Healthy() == nil })
	eventually(t, "what went is not", func() bool { return !a.sees(client("998")) })
}
