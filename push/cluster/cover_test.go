package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

func coverOf(head, body string) *push.Message {
	m := &push.Message{Sent: time.Now(), Sealed: &push.Sealed{Head: []byte(head)}}
	if body != "" {
		m.Sealed.Body = []byte(body)
	}
	return m
}

func (n *node) counted(outcome string) int {
	return int(testutil.ToFloat64(n.met.covers.WithLabelValues(outcome)))
}

func TestCoversReachTheClientsOfAllNodes(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b, c := start(t, r.URL(), "a"), start(t, r.URL(), "b"), start(t, r.URL(), "c")
	together(t, a, b, c)
	here := a.attach(client("here"))
	x, y, z, other := b.attach(client("x")), b.attach(client("y")), c.attach(client("z")), c.attach(client("other"))
	keys := []push.ClientKey{client("x"), client("y"), client("z")}
	eventually(t, "a sees them", func() bool { return !slices.ContainsFunc(keys, func(k push.ClientKey) bool { return !a.sees(k) }) })
	want := []string{"CB1|", "CB2|body"}
	a.Cover(coverOf("CB1", ""), append(keys, client("here"), client("nobody")))
	a.Cover(coverOf("CB2", "body"), append(keys, client("here"), client("nobody")))
	for _, s := range []*session{x, y, z} {
		eventually(t, s.info.Client.ID+" gets both", func() bool { return slices.Equal(s.covered(), want) })
	}
	if len(other.covered())+len(here.covered()) > 0 {
		t.Error("somebody got what was not for them, or is handed over by its own node")
	}
	eventually(t, "all are counted", func() bool { return a.counted("sent") == 6 && a.counted("nobody") == 2 })
	if n := a.counted("dropped"); n > 0 {
		t.Errorf("%d dropped", n)
	}
	eventually(t, "what was handed over is counted", func() bool { return b.counted("received") == 4 && c.counted("received") == 2 })
}

// A frame goes once to a node, however many of its clients get it.
func TestACoverIsOneLetterANode(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	var keys []push.ClientKey
	var last *session
	for i := range 16 {
		keys = append(keys, client(fmt.Sprint(i)))
		last = b.attach(keys[i])
	}
	eventually(t, "a sees them", func() bool { return !slices.ContainsFunc(keys, func(k push.ClientKey) bool { return !a.sees(k) }) })
	before := testutil.ToFloat64(a.met.letters.WithLabelValues("sent"))
	a.Cover(coverOf("CB", ""), keys)
	eventually(t, "it arrives", func() bool { return len(last.covered()) == 1 && a.counted("sent") == 16 })
	if n := testutil.ToFloat64(a.met.letters.WithLabelValues("sent")) - before; n != 1 {
		t.Errorf("%g letters", n)
	}
}

func TestCoversThatFindNoRoomAreDroppedAndHoldUpNobody(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a", longLease), start(t, r.URL(), "b", longLease)
	together(t, a, b)
	s := b.attach(client("x"))
	eventually(t, "a sees it", func() bool { return a.sees(client("x")) })
	r.Stop()
	frame := string(make([]byte, 64<<10))
	const frames = 1000
	for range frames {
		a.Cover(coverOf("CB", frame), []push.ClientKey{client("x")})
	}
	a.Cover(coverOf("CB", string(make([]byte, coverBytes))), []push.ClientKey{client("x")})
	if n := a.counted("dropped"); n < frames-2*coverBytes/len(frame) {
		t.Errorf("%d dropped of %d", n, frames)
	}
	r.Continue()
	eventually(t, "every one is accounted for", func() bool { return a.counted("dropped")+a.counted("sent") == frames+1 })
	a.Cover(coverOf("CBlast", ""), []push.ClientKey{client("x")})
	eventually(t, "later ones arrive", func() bool { return slices.Contains(s.covered(), "CBlast|") })
}

func TestOneNodeAloneSendsNoCovers(t *testing.T) {
	r := daemons.StartRedis(t)
	a := start(t, r.URL(), "a")
	eventually(t, "a has told that it lives", func() bool { return a.Healthy() == nil })
	a.Cover(coverOf("CB", ""), []push.ClientKey{client("x")})
	q := &a.covers
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes != 0 || len(q.waiting) != 0 {
		t.Error("a cover waits for nobody")
	}
}
