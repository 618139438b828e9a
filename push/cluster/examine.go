package cluster

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Mode is which kind of Redis a URL names.
type Mode string

// The modes.
const (
	ModeSingle   Mode = "one server"
	ModeSentinel Mode = "Sentinel"
	ModeCluster  Mode = "Redis Cluster"
)

// Server is what one server of Redis says of itself; each master of a cluster
// is one.
type Server struct {
	Addr    string
	Version string // redis_version; compatible servers tell the one that they are like
	Mode    string // redis_mode: standalone, sentinel or cluster
	Replica bool
	// Memory that is used, and its bound in bytes; 0: none. Policy says what
	// goes where the bound is reached.
	Used, Max int64
	Policy    string
	// Clock is how far the server's clock is ahead of this machine's, to about
	// the time of a round trip.
	Clock time.Duration
	// Letters is nil where a letter can be sent by way of this server.
	Letters error
}

// Examine looks at the Redis that a configuration names, as far as it can be
// reached; of the configuration URL, Dial, Prefix and Timeout count. It changes
// nothing there. Errors hold addresses, and no password.
func Examine(ctx context.Context, cfg Config) (Mode, []Server, error) {
	opts, err := parseURL(cfg.URL)
	if err != nil {
		return "", nil, err
	}
	mode := ModeSingle
	switch {
	case opts.IsClusterMode:
		mode = ModeCluster
	case opts.MasterName != "":
		mode = ModeSentinel
	}
	rdb := newClient(opts, cfg.Timeout, cfg.Dial)
	defer rdb.Close() //nolint:errcheck // nothing was written
	c := Cluster{cfg: cfg, rdb: rdb}
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		name := opts.Addrs[0]
		if mode == ModeSentinel {
			name = "the master " + opts.MasterName
		}
		s, err := c.examine(ctx, rdb, name)
		return mode, []Server{s}, err
	}
	var mu sync.Mutex
	var servers []Server
	err = cluster.ForEachMaster(ctx, func(ctx context.Context, m *redis.Client) error {
		s, err := c.examine(ctx, m, m.Options().Addr)
		mu.Lock()
		defer mu.Unlock()
		servers = append(servers, s)
		return err
	})
	return mode, servers, err
}

func (c *Cluster) examine(ctx context.Context, r redis.Cmdable, addr string) (Server, error) {
	s := Server{Addr: addr}
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	about, err := r.Info(ctx).Result()
	if err != nil {
		return s, fmt.Errorf("cluster: asking %s: %w", addr, err)
	}
	of := map[string]string{}
	for line := range strings.Lines(about) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		of[key] = value
	}
	s.Version, s.Mode, s.Replica, s.Policy = of["redis_version"], of["redis_mode"], of["role"] == "slave", of["maxmemory_policy"]
	s.Used, _ = strconv.ParseInt(of["used_memory"], 10, 64) // 0: not told
	s.Max, _ = strconv.ParseInt(of["maxmemory"], 10, 64)
	if s.Mode == "sentinel" {
		return s, nil // it has no data
	}
	before := time.Now()
	there, err := r.Time(ctx).Result()
	if err != nil {
		return s, fmt.Errorf("cluster: asking %s for its time: %w", addr, err)
	}
	s.Clock = there.Sub(before.Add(time.Since(before) / 2))
	// To a node that does not exist; in a cluster by whoever has its slot.
	s.Letters = c.rdb.SPublish(ctx, c.channel("doctor"), "").Err()
	return s, nil
}
