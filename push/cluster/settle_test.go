package cluster

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

func TestNewestConnectionWinsWhateverTheClocksSay(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	a.table.gen *= 2 // a's clock is far ahead
	older := a.attach(client("x"))
	eventually(t, "the first is registered", func() bool { return b.sees(client("x")) })
	newer := b.attach(client("x"))
	eventually(t, "the older is closed", func() bool { return older.closed() == push.CloseReplaced })
	eventually(t, "a finds the newer", func() bool { return a.sees(client("x")) })
	if b.sees(client("x")) || newer.closed() != 0 {
		t.Error("the newer did not stay alone")
	}
	// The older one's end must not take the newer's entry.
	a.detach(client("x"))
	third := a.attach(client("y"))
	eventually(t, "what a wrote after that is there", func() bool { return b.sees(client("y")) })
	a.hint(client("x"), 3)
	eventually(t, "the newer is still reached", func() bool { return newer.offered(3) })
	if third.closed() != 0 {
		t.Error("another client was closed")
	}
}

func TestUnknownOrderSendsOneBackToReconnect(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	r.Stop()
	b.table.gen += 1 << 20
	low, high := a.attach(client("x")), b.attach(client("x"))
	eventually(t, "neither counts as new any more", func() bool {
		h, ok := a.holds(client("x"))
		return ok && a.deadline(h) == 0
	})
	r.Continue()
	eventually(t, "one is left", func() bool { return (low.closed() != 0) != (high.closed() != 0) })
	for _, s := range []*session{low, high} {
		if code := s.closed(); code != 0 && code.Advice() != push.ReconnectNow {
			t.Errorf("closed with %d: the client would not come back", code)
		}
	}
}

func TestRefreshKeepsEntriesAlive(t *testing.T) {
	r := daemons.StartRedis(t)
	short := func(c *Config) { c.Registered = c.Lease }
	a, b := start(t, r.URL(), "a", short), start(t, r.URL(), "b", short)
	together(t, a, b)
	b.attach(client("x"))
	eventually(t, "registered", func() bool { return a.sees(client("x")) })
	for end := time.Now().Add(2 * a.cfg.Registered); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if !a.sees(client("x")) {
			t.Fatal("the entry ended")
		}
	}
}

func TestSeveralConnectionsStayWhereTheyAreAllowed(t *testing.T) {
	r := daemons.StartRedis(t)
	many := func(c *Config) { c.PerClient = 0 }
	a, b, c := start(t, r.URL(), "a", many), start(t, r.URL(), "b", many), start(t, r.URL(), "c", many)
	together(t, a, b, c)
	one, two := a.attach(client("x")), b.attach(client("x"))
	eventually(t, "both are seen", func() bool {
		o, err := c.owners(t.Context(), []push.ClientKey{client("x")})
		return err == nil && len(o[0]) == 2
	})
	c.hint(client("x"), 5)
	eventually(t, "both are told", func() bool { return one.offered(5) && two.offered(5) })
	if one.closed() != 0 || two.closed() != 0 {
		t.Error("one was closed")
	}
}

func TestClientStaysWhileOneOfItsConnectionsDoes(t *testing.T) {
	r := daemons.StartRedis(t)
	many := func(c *Config) { c.PerClient = 0 }
	a, b := start(t, r.URL(), "a", many), start(t, r.URL(), "b", many)
	together(t, a, b)
	for name, newestFirst := range map[string]bool{"newest first": true, "oldest first": false} {
		key := client(name)
		one, two := &session{}, &session{}
		g1 := b.table.Attach(key, one)
		b.Came(key, one, g1)
		g2 := b.table.Attach(key, two)
		b.Came(key, two, g2)
		eventually(t, "seen", func() bool { return a.sees(key) })
		first, last, left := g1, g2, two
		if newestFirst {
			first, last, left = g2, g1, one
			b.table.Attach(key, one) // which the table falls back to
		}
		b.Went(key, first)
		b.attach(client("after " + name))
		eventually(t, "what came later is seen", func() bool { return a.sees(client("after " + name)) })
		if !a.sees(key) {
			t.Errorf("%s: gone with the first", name)
		}
		b.table.Detach(key, left)
		b.Went(key, last)
		eventually(t, name+": gone with the last", func() bool { return !a.sees(key) })
	}
}

func TestEntryWrittenAgainNeverBeatsAHigherGeneration(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	key := client("x")
	high := b.attach(key)
	eventually(t, "the higher is registered", func() bool { return a.sees(key) })
	low := &session{}
	a.table.Attach(key, low)
	a.slot(key).mu.Lock()
	a.slot(key).of[key] = &held{session: low, proposed: 5} // came at no time: not just now
	a.slot(key).mu.Unlock()
	a.unsynced.add(key)
	eventually(t, "the lower is sent back", func() bool { return low.closed() == closeUnsettled })
	if !a.sees(key) || high.closed() != 0 {
		t.Error("the higher did not stay")
	}
}

// A node that was cut off hears late of a takeover that has long had its day:
// the client came back to it meanwhile, unseen by the registry.
func TestALateLetterDoesNotEndALaterSession(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	key := client("x")
	a.table.gen *= 2 // a gives higher numbers
	a.attach(key)
	eventually(t, "registered at a", func() bool { return b.sees(key) })
	taken, _ := a.holds(key)
	a.detach(key)
	eventually(t, "gone from a", func() bool { return !b.sees(key) })
	back := &session{}
	b.table.Attach(key, back)
	b.slot(key).mu.Lock()
	b.slot(key).of[key] = &held{session: back, proposed: 5} // came at no time: not just now
	b.slot(key).mu.Unlock()
	b.unsynced.add(key)
	eventually(t, "registered at b", func() bool { return a.sees(key) })
	a.post(parcel{node: "b", letter: letter{Kind: kindBelow, Closing: &push.Closing{Code: push.CloseReplaced},
		Keys: []place{{Realm: key.Realm, ID: key.ID, Seq: taken.given}}}})
	a.hint(key, 9)
	a.Notify([]push.ClientKey{key}, push.Notice{})
	eventually(t, "what came after the letter is there", func() bool { return back.offered(9) && back.noticed() == 1 })
	if code := back.closed(); code != 0 {
		t.Errorf("closed with %d", code)
	}
}

func TestASessionThatWentWhileItWasWrittenClosesNobody(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	key := client("x")
	newer := a.attach(key)
	eventually(t, "registered at a", func() bool { return b.sees(key) })
	went := &held{session: &session{}, proposed: 5, came: time.Now()} // no longer in b's table
	e := entry{key: key, held: went, copy: *went}
	entries := []entry{e}
	if err := b.write(t.Context(), entries, (*redis.Script).Eval); err != nil {
		t.Fatal(err)
	}
	told := tellings{}
	if b.settle(&entries[0], told) || len(told) != 0 || newer.closed() != 0 {
		t.Errorf("told %v", told)
	}
}

func TestATakeoverIsToldAgainToANodeThatDidNotHear(t *testing.T) {
	r := daemons.StartRedis(t)
	b := start(t, r.URL(), "b")
	together(t, b)
	key := client("x")
	ghost(t, b, key)
	b.attach(key) // takes over from the ghost
	eventually(t, "what was not heard is kept", func() bool {
		b.unheard.mu.Lock()
		defer b.unheard.mu.Unlock()
		return len(b.unheard.of) > 0
	})
	g := start(t, r.URL(), "ghost")
	eventually(t, "and told", func() bool {
		b.unheard.mu.Lock()
		defer b.unheard.mu.Unlock()
		return len(b.unheard.of) == 0 && g.Healthy() == nil
	})
}

func TestAClientIsInABatchOnce(t *testing.T) {
	x, y, z := client("x"), client("y"), client("z")
	if got := union([]push.ClientKey{x, y}, []push.ClientKey{y, z}); !slices.Equal(got, []push.ClientKey{x, y, z}) {
		t.Errorf("%v", got)
	}
}
