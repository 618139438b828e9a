package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

func TestANodePausedBeyondItsLeaseComesBackInOrder(t *testing.T) {
	n := together(t, append(quick, "SUNZI_CLUSTER_NUMBER_LEASE=3s")...)
	a := n.start()
	b, admin := n.withAdmin()
	p, _ := arrive(t, b, register(t, a, "ann"), plainHello)
	eventually(t, "online", func() bool { return stateOfClient(t, a, "ann").Online })
	signal(t, b, syscall.SIGSTOP)
	eventually(t, "offline when the lease is over", func() bool { return !stateOfClient(t, a, "ann").Online })
	eventually(t, "and its number is free", func() bool {
		free, err := n.db.Exec(t.Context(), "sunzi", "SELECT COUNT(*) FROM node WHERE until <= UNIX_TIMESTAMP(NOW(3)) * 1000")
		return err == nil && strings.TrimSpace(free) == "1"
	})
	c := n.start() // which may take the number of the paused one
	l := under(t, a, c)
	id := c.push(t, pushTo("ann", "while it was paused"))
	signal(t, b, syscall.SIGCONT)
	if m := p.want("message"); m.ID != id {
		t.Fatalf("got %+v, want %s", m, id)
	}
	wantReady(t, admin, false)
	eventually(t, "online again", func() bool { return stateOfClient(t, a, "ann").Online })
	ids := map[string]bool{id: true}
	for i := range 60 { // by turns at the node that was paused and the one that came
		s := []*server{b, c}[i%2]
		next := ""
		eventually(t, "accepted", func() bool {
			ans, err := s.do(t.Context(), request{method: "POST", path: "/v1/push", key: fmt.Sprint(i), body: pushTo("ann", i)})
			var r struct{ ID string }
			if err != nil || ans.status >= 300 || json.Unmarshal(ans.body, &r) != nil {
				return false // no number yet after the pause
			}
			next = r.ID
			return true
		})
		if ids[next] {
			t.Fatalf("the ID %s was issued twice", next)
		}
		ids[next] = true
		if m := p.want("message"); m.ID != next {
			t.Fatalf("push %d: got %+v, want %s", i, m, next)
		}
	}
	l.judge()
}

func signal(t *testing.T, s *server, sig syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func TestANodeThatEndsSendsItsClientsToTheOther(t *testing.T) {
	n := together(t, quick...)
	a := n.start()
	b, admin := n.withAdmin("SUNZI_HUB_DRAIN=3s", "SUNZI_HUB_COME_BACK=1s")
	tok := register(t, a, "ann")
	p, _ := arrive(t, b, tok, plainHello)
	l := under(t, a, b)
	wantReady(t, admin, false)
	signal(t, b, syscall.SIGTERM)
	unready(t, admin, "drain")
	delay := p.WantClose(4200)
	var ms int
	if _, err := fmt.Sscan(delay, &ms); err != nil || ms < 0 || ms > 1000 {
		t.Errorf("the suggested delay is %q", delay)
	}
	q, _ := arrive(t, a, tok, plainHello)
	id := a.push(t, pushTo("ann", "elsewhere"))
	if m := q.want("message"); m.ID != id {
		t.Fatalf("got %+v, want %s", m, id)
	}
	b.stop(t)
	l.judge()
}
