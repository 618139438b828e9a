package cluster

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

// soon looks often, and has nothing else find what is wrong.
func soon(c *Config) { c.Look, c.Registered = 200*time.Millisecond, time.Hour }

// mute makes a user who may write letters to nobody but the node of its name.
func mute(t *testing.T, r *daemons.Redis, name string) (url string) {
	t.Helper()
	_, err := r.Do(t.Context(), "ACL", "SETUSER", name, "on", ">pw", "~*", "+@all", "resetchannels", "&sunzi:{n:"+name+"}")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(r.URL(), "redis://", "redis://"+name+":pw@", 1)
}

func TestAnOlderSessionEndsThoughTheWordOfTheNewerWasLost(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a", soon), start(t, mute(t, r, "b"), "b", soon)
	together(t, a, b)
	older := a.attach(client("x"))
	other := a.attach(client("y"))
	eventually(t, "registered", func() bool { return b.sees(client("x")) && b.sees(client("y")) })
	newer := b.attach(client("x"))
	eventually(t, "the older is closed", func() bool { return older.closed() != 0 })
	if code := older.closed(); code != push.CloseReplaced {
		t.Errorf("closed with %d: the client would come back and take over again", code)
	}
	a.detach(client("x"))
	eventually(t, "a finds the newer", func() bool { return a.sees(client("x")) })
	if newer.closed() != 0 || other.closed() != 0 {
		t.Error("another session was closed")
	}
}

func TestAnEntryThatRedisLostIsThereAgain(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a", soon), start(t, r.URL(), "b", soon)
	together(t, a, b)
	s := b.attach(client("x"))
	eventually(t, "registered", func() bool { return a.sees(client("x")) })
	if err := a.rdb.Del(context.Background(), a.clientKey(client("x"))).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "seen again", func() bool { return a.sees(client("x")) })
	if s.closed() != 0 {
		t.Error("the session was closed")
	}
}

func TestNothingIsLeftOfAClientThatWent(t *testing.T) {
	r := daemons.StartRedis(t)
	a := start(t, r.URL(), "a")
	together(t, a)
	a.attach(client("x"))
	eventually(t, "registered", func() bool { h, _ := a.holds(client("x")); return h.given != 0 })
	a.detach(client("x"))
	eventually(t, "gone", func() bool {
		n, err := a.rdb.Exists(context.Background(), a.clientKey(client("x"))).Result()
		return err == nil && n == 0
	})
}
