package cluster

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

func TestURLsNameEveryKindOfRedis(t *testing.T) {
	for raw, want := range map[string]struct {
		addrs, master, password string
		db                      int
		cluster, tls            bool
	}{
		"redis://127.0.0.1:6379":                    {addrs: "127.0.0.1:6379"},
		"rediss://u:p%40ss@r.example:6380/3":        {addrs: "r.example:6380", password: "p@ss", db: 3, tls: true},
		"redis+sentinel://:s@a:1,b:2/main/4":        {addrs: "a:1 b:2", master: "main", password: "s", db: 4},
		"rediss+cluster://[::1]:7000,10.0.0.1:7001": {addrs: "[::1]:7000 10.0.0.1:7001", cluster: true, tls: true},
	} {
		o, err := parseURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if strings.Join(o.Addrs, " ") != want.addrs || o.MasterName != want.master || o.Password != want.password ||
			o.DB != want.db || o.IsClusterMode != want.cluster || (o.TLSConfig != nil) != want.tls {
			t.Errorf("%s: %+v", raw, o)
		}
	}
}

func TestBadURLsAreRefusedWithoutTheirPassword(t *testing.T) {
	for _, raw := range []string{
		"", "secret", "http://u:secret@h:1", "redis://u:secret@h", "redis://secret@h:1", "redis://u:secret@h:1/x",
		"redis://u:secret@a:1,b:2", "redis+sentinel://u:secret@a:1", "redis+cluster://u:secret@a:1/1",
		"redis+other://u:secret@a:1", "redis://u:%zzsecret@a:1", "redis://u:secret@a:1?x=1",
	} {
		_, err := parseURL(raw)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func TestConfigTellsAllItsProblems(t *testing.T) {
	err := Config{Prefix: "a{b", Node: ""}.Validate()
	if err == nil || strings.Count(err.Error(), "cluster: ") < 6 {
		t.Errorf("%v", err)
	}
	if _, err := Open(t.Context(), Config{}, Deps{Metrics: prometheus.NewRegistry()}); err == nil {
		t.Error("opened")
	}
}

func TestRedisClusterServesAsOneDoes(t *testing.T) {
	r := daemons.StartRedisCluster(t, 3, 0)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	sessions := map[string]*session{}
	ids := []string{"x", "y", "z", "p", "q", "r"} // of several slots
	for _, id := range ids {
		sessions[id] = b.attach(client(id))
	}
	for _, id := range ids {
		eventually(t, "a sees "+id, func() bool { return a.sees(client(id)) })
		a.hint(client(id), 4)
		eventually(t, "hinted "+id, func() bool { return sessions[id].offered(4) })
	}
	a.attach(client("x"))
	eventually(t, "the newer wins", func() bool { return sessions["x"].closed() == push.CloseReplaced })
	got, err := a.Sessions(t.Context(), []push.ClientKey{client("y"), client("z")})
	if err != nil || len(got[0]) != 1 || len(got[1]) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	recs := a.Records(newBooks(record("t1")))
	for range 2 {
		if _, err := recs.Token(t.Context(), "t1"); err != nil {
			t.Fatal(err)
		}
		if _, err := recs.RevokedBefore(t.Context(), "shop", "x"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := recs.RevokeToken(t.Context(), "t1"); err != nil {
		t.Fatal(err)
	}
	if got, err := recs.Token(t.Context(), "t1"); err != nil || !got.Revoked {
		t.Errorf("%+v, %v", got, err)
	}
	if ok, _ := a.Limit("l", 10, 10).Allow(t.Context(), "k"); !ok {
		t.Error("refused")
	}
}
