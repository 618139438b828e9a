package daemons

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestAClusterServesAndSurvivesAMaster(t *testing.T) {
	t.Parallel()
	c := StartRedisCluster(t, 3, 1)
	addrs := strings.Split(strings.TrimPrefix(c.URL(), "redis+cluster://"), ",")
	if len(c.Nodes) != 6 || len(addrs) != 6 {
		t.Fatalf("%d nodes at %s", len(c.Nodes), c.URL())
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	defer client.Close()
	for _, k := range []string{"a", "b", "c", "d", "e", "f"} {
		if err := client.Set(t.Context(), k, k, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c.Nodes[0].Kill()
	if err := c.Nodes[3].says(t.Context(), "role:master", "INFO", "replication"); err != nil {
		t.Fatal(err)
	}
	if err := c.Nodes[0].Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Nodes[0].says(t.Context(), "role:slave", "INFO", "replication"); err != nil {
		t.Fatal(err)
	}
}

func TestAClusterWithoutReplicas(t *testing.T) {
	t.Parallel()
	c := StartRedisCluster(t, 3, 0)
	if err := c.Nodes[2].says(t.Context(), "cluster_size:3", "CLUSTER", "INFO"); err != nil {
		t.Fatal(err)
	}
}

func TestSentinelsReplaceAKilledMaster(t *testing.T) {
	t.Parallel()
	s := StartSentinel(t)
	if !strings.HasPrefix(s.URL(), "redis+sentinel://127.0.0.1:") || !strings.HasSuffix(s.URL(), "/"+MasterName) {
		t.Fatalf("the URL is %s", s.URL())
	}
	if at, err := s.MasterAddr(t.Context()); err != nil || at != s.Master.Addr() {
		t.Fatalf("the master is at %s, %v", at, err)
	}
	s.Master.Kill()
	replaced(t, s)
}

func TestAFailoverOnDemand(t *testing.T) {
	t.Parallel()
	s := StartSentinel(t)
	if err := s.Failover(t.Context()); err != nil {
		t.Fatal(err)
	}
	replaced(t, s)
}

func replaced(t *testing.T, s *Sentinel) {
	t.Helper()
	err := until(t.Context(), "no new master", func(ctx context.Context) error {
		at, err := s.MasterAddr(ctx)
		if err == nil && at != s.Replica.Addr() {
			err = errors.New("it is " + at)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
