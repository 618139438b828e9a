package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// lockedClients are those whose counter rows a transaction holds.
func (n *nodes) lockedClients(of []*receiver) map[string]bool {
	n.t.Helper()
	free, err := n.db.Exec(n.t.Context(), "sunzi", "SELECT client_id FROM client FOR UPDATE SKIP LOCKED")
	if err != nil {
		n.t.Fatal(err)
	}
	locked := map[string]bool{}
	for _, c := range of {
		locked[c.id] = !strings.Contains(free+"\n", c.id+"\n")
	}
	return locked
}

// pausedInside pauses the node until it stands inside a transaction: a client
// is locked through three looks, between which another node goes on.
func pausedInside(n *nodes, s *server, of []*receiver, goOn func()) {
	n.t.Helper()
	for range 200 {
		signal(n.t, s, syscall.SIGSTOP)
		held := n.lockedClients(of)
		for range 2 {
			goOn()
			for id, locked := range n.lockedClients(of) {
				held[id] = held[id] && locked
			}
		}
		for _, still := range held {
			if still {
				return
			}
		}
		signal(n.t, s, syscall.SIGCONT)
		goOn()
	}
	n.t.Fatal("the node never stood inside a transaction")
}

// What a node holds locked while it is paused is free again after
// store.timeout: MySQL ends its transaction.
func TestANodePausedInsideATransactionHoldsUpTheOthersForSecondsOnly(t *testing.T) {
	n := together(t, append(quick, "SUNZI_STORE_TIMEOUT=2s")...)
	a, b := n.start(), n.start()
	l := under(t, a, b)
	register(t, a, "free") // who has nothing to do with b
	pausedInside(n, b, l.clients, func() { a.push(t, pushTo("free", 1)) })
	t.Cleanup(func() { _ = b.cmd.Process.Signal(syscall.SIGCONT) }) // it may have ended
	for i, c := range l.clients {
		p := accepted{client: c.id, data: numbered{99, i}}
		ends := time.Now().Add(20 * time.Second)
		for !l.tryAt(t.Context(), a, &p) {
			if time.Now().After(ends) {
				t.Fatalf("%s can't be pushed to", c.id)
			}
		}
	}
	signal(t, b, syscall.SIGCONT)
	l.judge()
}
