package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/push/cluster"
	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

func lookAt(t *testing.T, url string) Finding {
	t.Helper()
	c := config.Default()
	c.Cluster.Redis = config.Secret(url)
	return joined(t.Context(), &c)
}

// wantFinding wants a grade, a remedy with it unless it is good, and a word of
// the text or of the remedy.
func wantFinding(t *testing.T, what string, f Finding, g Grade, word string) {
	t.Helper()
	if f.Grade != g || (f.Remedy == "") != (g == Good) || !strings.Contains(f.Text+f.Remedy, word) {
		t.Errorf("%s: %+v", what, f)
	}
	if strings.Contains(f.Text+f.Remedy, "secret") {
		t.Errorf("%s tells the password: %+v", what, f)
	}
}

func do(t *testing.T, r *daemons.Redis, args ...any) {
	t.Helper()
	if _, err := r.Do(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

func TestRedisIsToldWithItsRemedy(t *testing.T) {
	r := daemons.StartRedis(t)
	wantFinding(t, "none", lookAt(t, ""), Good, "alone")
	wantFinding(t, "one server", lookAt(t, r.URL()), Good, "one server")
	wantFinding(t, "a single one as a cluster", lookAt(t, "redis+cluster://"+r.Addr()), Bad, "redis:// instead")
	wantFinding(t, "a user who is none", lookAt(t, "redis://nobody:secret@"+r.Addr()), Bad, "password")

	do(t, r, "CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
	wantFinding(t, "eviction", lookAt(t, r.URL()), Doubt, "noeviction")
	do(t, r, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	wantFinding(t, "room enough", lookAt(t, r.URL()), Good, "")
	do(t, r, "CONFIG", "SET", "maxmemory", "2") // which it has long reached
	wantFinding(t, "full", lookAt(t, r.URL()), Doubt, "raise maxmemory")
	do(t, r, "CONFIG", "SET", "maxmemory", "0")

	do(t, r, "ACL", "SETUSER", "silent", "on", ">secret", "~*", "+@all", "resetchannels")
	wantFinding(t, "no channels", lookAt(t, "redis://silent:secret@"+r.Addr()), Bad, "SPUBLISH")
	do(t, r, "ACL", "SETUSER", "blind", "on", ">secret", "~*", "-@all", "+ping")
	wantFinding(t, "no commands", lookAt(t, "redis://blind:secret@"+r.Addr()), Bad, "+@all")

	do(t, r, "REPLICAOF", "127.0.0.1", "1")
	wantFinding(t, "a replica", lookAt(t, r.URL()), Bad, "replica")
	r.Stop()
	wantFinding(t, "one that hangs", lookAt(t, "redis://:secret@"+r.Addr()), Bad, "timeout")
	r.Continue()
	r.Kill()
	wantFinding(t, "none there", lookAt(t, "redis://:secret@"+r.Addr()), Bad, "start Redis")
}

func TestRedisOfSeveralServersIsToldByItsKind(t *testing.T) {
	s := daemons.StartSentinel(t)
	wantFinding(t, "Sentinel", lookAt(t, s.URL()), Good, "Sentinel")
	wantFinding(t, "a sentinel taken for Redis", lookAt(t, s.Sentinels[0].URL()), Bad, "redis+sentinel://")
	c := daemons.StartRedisCluster(t, 3, 0)
	wantFinding(t, "a cluster", lookAt(t, c.URL()), Good, "3 masters")
	wantFinding(t, "one of a cluster", lookAt(t, c.Nodes[0].URL()), Bad, "redis+cluster://")
	do(t, c.Nodes[2], "CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "volatile-ttl")
	wantFinding(t, "one master that evicts", lookAt(t, c.URL()), Doubt, c.Nodes[2].Addr())
}

func TestWhatNoServerHereHasIsTold(t *testing.T) {
	well := cluster.Server{Addr: "r:6379", Version: "7.2.4", Mode: "standalone"}
	if found := judgeRedis(cluster.ModeSingle, well); len(found) != 0 {
		t.Errorf("a good one: %+v", found)
	}
	old, late := well, well
	old.Version, late.Clock = "6.2.14", -3*time.Second
	for _, tc := range []struct {
		s    cluster.Server
		want Grade
		word string
	}{{old, Bad, "sharded"}, {late, Doubt, "3s apart"}} {
		found := judgeRedis(cluster.ModeSingle, tc.s)
		if len(found) != 1 {
			t.Fatalf("%+v: %+v", tc.s, found)
		}
		wantFinding(t, tc.s.Version, found[0], tc.want, tc.word)
	}
}
