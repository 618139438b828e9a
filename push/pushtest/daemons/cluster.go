package daemons

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// RedisCluster is a Redis Cluster of masters with replicas.
type RedisCluster struct {
	// Nodes are the masters in the order of their slots, and then the replicas:
	// at masters + m·replicas + r is the r-th of master m. As the cluster was
	// made, that is; a failover changes who is master.
	Nodes []*Redis
}

// hashSlots is how many slots a cluster has (Redis Cluster specification, "Key
// distribution model").
const hashSlots = 16384

// StartRedisCluster starts a cluster for a test and closes it when the test
// ends. A cluster needs three masters to fail over.
func StartRedisCluster(t testing.TB, masters, replicas int) *RedisCluster {
	t.Helper()
	c, err := OpenRedisCluster(t.Context(), folder(t), masters, replicas)
	c = bound(t, c, err)
	for _, n := range c.Nodes {
		n.t = t
	}
	return c
}

// OpenRedisCluster starts a cluster with a folder per node below dir, and waits
// until every node finds it well and every replica follows. A node counts as
// failed after a second of silence. The caller closes it; the context bounds
// the start alone.
func OpenRedisCluster(ctx context.Context, dir string, masters, replicas int) (*RedisCluster, error) {
	if masters < 1 || replicas < 0 {
		return nil, fmt.Errorf("daemons: no cluster has %d masters with %d replicas each", masters, replicas)
	}
	c := &RedisCluster{}
	err := c.open(ctx, dir, masters, masters*(1+replicas))
	if err == nil {
		err = c.join(ctx, masters, replicas)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *RedisCluster) open(ctx context.Context, dir string, masters, nodes int) error {
	var first int // the bus port of the first node
	for i := range nodes {
		own := filepath.Join(dir, strconv.Itoa(i))
		if err := os.MkdirAll(own, 0o700); err != nil {
			return err
		}
		bus, err := freePort()
		if err != nil {
			return err
		}
		n, err := OpenRedis(ctx, own, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus),
			"--cluster-node-timeout", "1000", "--cluster-announce-ip", "127.0.0.1", "--repl-diskless-sync-delay", "0")
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, n)
		if i < masters {
			err = c.ownSlots(ctx, i, masters)
		}
		if i == 0 {
			first = bus
		} else if err == nil {
			_, err = n.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", c.Nodes[0].port, first)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ownSlots gives master i its share. Each has an epoch of its own from the
// start, else they would have to settle that first.
func (c *RedisCluster) ownSlots(ctx context.Context, i, masters int) error {
	if _, err := c.Nodes[i].Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1); err != nil {
		return err
	}
	_, err := c.Nodes[i].Do(ctx, "CLUSTER", "ADDSLOTSRANGE", i*hashSlots/masters, (i+1)*hashSlots/masters-1)
	return err
}

// join makes the nodes past the masters follow them, once all know each other.
func (c *RedisCluster) join(ctx context.Context, masters, replicas int) error {
	info := "cluster_state:ok\r\ncluster_slots_assigned:" + strconv.Itoa(hashSlots)
	for i, n := range c.Nodes {
		known := "cluster_known_nodes:" + strconv.Itoa(len(c.Nodes)) + "\r\n"
		if err := n.says(ctx, known, "CLUSTER", "INFO"); err != nil {
			return err
		}
		if i < masters {
			continue
		}
		if err := n.follow(ctx, c.Nodes[(i-masters)/replicas]); err != nil {
			return err
		}
	}
	for i, n := range c.Nodes {
		if err := n.says(ctx, info, "CLUSTER", "INFO"); err != nil {
			return err
		}
		if i < masters {
			continue
		}
		if err := n.says(ctx, "master_link_status:up", "INFO", "replication"); err != nil {
			return err
		}
	}
	return nil
}

// follow makes a node the replica of another, as soon as it knows that one.
func (r *Redis) follow(ctx context.Context, master *Redis) error {
	id, err := master.text(ctx, "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	return until(ctx, "becoming a replica", func(ctx context.Context) error {
		_, err := r.Do(ctx, "CLUSTER", "REPLICATE", id)
		return err
	}, r.Daemon)
}

// says waits until a command answers a text that holds another.
func (r *Redis) says(ctx context.Context, want string, command ...any) error {
	return until(ctx, fmt.Sprintf("%s does not say %q", r.Addr(), want), func(ctx context.Context) error {
		got, err := r.text(ctx, command...)
		if err == nil && !strings.Contains(got, want) {
			err = errors.New(got)
		}
		return err
	}, r.Daemon)
}

// URL is redis+cluster://a,b,c with all nodes.
func (c *RedisCluster) URL() string { return "redis+cluster://" + addresses(c.Nodes) }

// Close closes every node.
func (c *RedisCluster) Close() error { return closeAll(c.Nodes) }

func addresses(nodes []*Redis) string {
	addrs := make([]string, len(nodes))
	for i, n := range nodes {
		addrs[i] = n.Addr()
	}
	return strings.Join(addrs, ",")
}

func closeAll(nodes []*Redis) (err error) {
	for _, n := range nodes {
		n.Terminate()
	}
	for _, n := range nodes {
		err = errors.Join(err, n.Close())
	}
	return err
}
