package cluster

import (
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

// spendAll asks as often as n says and answers how many were allowed.
func spendAll(t *testing.T, l *Limit, n int) (allowed int) {
	t.Helper()
	for range n {
		ok, retry := l.Allow(t.Context(), "10.0.0.1")
		if ok {
			allowed++
		} else if retry <= 0 {
			t.Fatal("refused without a time to come back")
		}
	}
	return allowed
}

func TestNodesShareOneRate(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	la, lb := a.Limit("connects", 100, 100), b.Limit("connects", 100, 100)
	began := time.Now()
	first := spendAll(t, la, 60)
	rest := spendAll(t, lb, 500)
	most := 100 + int(time.Since(began).Seconds()*100) + 10
	if first != 60 || first+rest > most || first+rest < 90 {
		t.Errorf("%d and %d were allowed, of at most %d", first, rest, most)
	}
	if ok, _ := lb.Allow(t.Context(), "10.0.0.2"); !ok {
		t.Error("another key was refused")
	}
}

func TestLimitGoesOnAloneWithoutRedis(t *testing.T) {
	r := daemons.StartRedis(t)
	a := start(t, r.URL(), "a")
	together(t, a)
	l := a.Limit("connects", 50, 50)
	r.Kill()
	eventually(t, "the node has noticed", func() bool { return !a.lively() })
	if n := spendAll(t, l, 500); n < 50 || n > 100 {
		t.Errorf("%d were allowed", n)
	}
}
