package cluster

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

// What nodes do when another Redis server takes over. None is restarted, and
// what was lost meanwhile is found by the store's sweep, not here.

// pair is two nodes, of which b has clients of many slots.
type pair struct {
	t        *testing.T
	a, b     *node
	sessions map[push.ClientKey]*session
	seq      uint64
}

func startPair(t *testing.T, url string, change ...func(*Config)) *pair {
	t.Helper()
	p := &pair{t: t, a: start(t, url, "a", change...), b: start(t, url, "b", change...), sessions: map[push.ClientKey]*session{}}
	together(t, p.a, p.b)
	for i := range 20 {
		key := client(fmt.Sprint(i))
		p.sessions[key] = p.b.attach(key)
	}
	p.works("before")
	return p
}

// works wants everything that goes between the nodes to pass.
func (p *pair) works(when string) {
	p.t.Helper()
	together(p.t, p.a, p.b)
	p.seq++
	for key, s := range p.sessions {
		eventually(p.t, when+": "+key.String()+" is hinted", func() bool {
			p.a.hint(key, p.seq)
			return s.offered(p.seq)
		})
		body := fmt.Sprintf(`{"n":%d}`, p.seq)
		eventually(p.t, when+": a live push arrives", func() bool {
			_, err := p.a.Live(p.t.Context(), "shop", []string{key.ID}, &push.Message{ID: 1, Body: []byte(body)})
			return err == nil && s.heard(body)
		})
	}
	keys := make([]push.ClientKey, 0, len(p.sessions))
	for key := range p.sessions {
		keys = append(keys, key)
	}
	eventually(p.t, when+": questions are answered", func() bool {
		got, err := p.a.Sessions(p.t.Context(), keys)
		return err == nil && !slices.ContainsFunc(got, func(s []push.RemoteSession) bool { return len(s) != 1 })
	})
	// The registry takes what comes and what goes, on either node.
	mover := client(when)
	first := p.a.attach(mover)
	eventually(p.t, when+": a new client is seen", func() bool { return p.b.sees(mover) })
	p.b.attach(mover)
	eventually(p.t, when+": it is replaced elsewhere", func() bool { return first.closed() == push.CloseReplaced })
	p.b.detach(mover)
	eventually(p.t, when+": it is gone", func() bool { return !p.a.sees(mover) })
	for key, s := range p.sessions {
		if code := s.closed(); code != 0 {
			p.t.Errorf("%s: %s was closed with %d", when, key, code)
		}
	}
}

func TestNodesFollowASentinelsFailover(t *testing.T) {
	s := daemons.StartSentinel(t)
	p := startPair(t, s.URL())
	if err := s.Failover(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica is the master", func() bool {
		addr, err := s.MasterAddr(t.Context())
		return err == nil && addr == s.Replica.Addr()
	})
	p.works("after the command")
}

func TestNodesFollowASentinelWhenTheMasterDies(t *testing.T) {
	s := daemons.StartSentinel(t)
	p := startPair(t, s.URL())
	s.Master.Kill()
	eventually(t, "the replica is the master", func() bool {
		addr, err := s.MasterAddr(t.Context())
		return err == nil && addr == s.Replica.Addr()
	})
	p.works("after the death")
}

// promoted waits until a replica has become master.
func promoted(t *testing.T, r *daemons.Redis) {
	t.Helper()
	eventually(t, "the replica is a master", func() bool {
		role, err := r.Do(context.Background(), "ROLE")
		list, ok := role.([]any)
		return err == nil && ok && list[0] == "master"
	})
}

func TestNodesFollowAReplicaOfARedisClusterThatTakesOver(t *testing.T) {
	for name, takeOver := range map[string]func(t *testing.T, master, replica *daemons.Redis){
		"by command": func(t *testing.T, _, replica *daemons.Redis) {
			if _, err := replica.Do(t.Context(), "CLUSTER", "FAILOVER"); err != nil {
				t.Fatal(err)
			}
		},
		"when the master dies": func(_ *testing.T, master, _ *daemons.Redis) { master.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			c := daemons.StartRedisCluster(t, 3, 1)
			p := startPair(t, c.URL())
			// Each master in turn: that of b's channel, of the nodes, of clients.
			for i := range 3 {
				takeOver(t, c.Nodes[i], c.Nodes[3+i])
				promoted(t, c.Nodes[3+i])
				p.works(fmt.Sprintf("after master %d", i))
				if !c.Nodes[i].Alive() { // two that are dead at a time have no majority
					if err := c.Nodes[i].Start(); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}
