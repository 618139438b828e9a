package doctor

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/push/cluster"
)

// What is looked at of the Redis that joins the nodes. Whether it writes to disk
// does not matter: nodes fill it again.

// clockOff is how far clocks may be apart before it shows in tokens and TTLs.
const clockOff = 2 * time.Second

// joined looks at every server of Redis that the configuration leads to.
func joined(ctx context.Context, c *config.Config) Finding {
	switch {
	case c.Cluster.Redis == "" && c.Store.DSN == "":
		return good("none is configured; this node is alone")
	case c.Cluster.Redis == "":
		return good("none is configured; of what other nodes on this database accept, clients here hear within cluster.head_sweep (%s)", c.Cluster.HeadSweep)
	}
	cfg := cluster.DefaultConfig()
	cfg.URL, cfg.Prefix, cfg.Timeout = string(c.Cluster.Redis), c.Cluster.Prefix, c.Cluster.Timeout
	mode, servers, err := cluster.Examine(ctx, cfg)
	if err != nil {
		return unreached(err)
	}
	worst := good("%s: %s", mode, described(servers))
	for _, s := range servers {
		for _, f := range judgeRedis(mode, s) {
			if f.Grade > worst.Grade {
				worst = f
			}
		}
	}
	return worst
}

// unreached says why Redis did not answer. The server starts all the same.
func unreached(err error) Finding {
	f := Finding{Grade: Bad, Text: strings.TrimPrefix(err.Error(), "cluster: "),
		Remedy: "start Redis, or mend cluster.redis: hosts, ports, user and password"}
	switch text := err.Error(); {
	case strings.Contains(text, "cluster support disabled"):
		f.Remedy = "cluster.redis: redis:// instead of redis+cluster://, or start Redis with cluster-enabled yes"
	case strings.Contains(text, "NOPERM"):
		f.Remedy = "give the user of cluster.redis the right to all commands (ACL SETUSER … +@all)"
	}
	return f
}

func described(servers []cluster.Server) string {
	if len(servers) == 1 {
		return servers[0].Addr + ", version " + servers[0].Version
	}
	return fmt.Sprintf("%d masters, version %s", len(servers), servers[0].Version)
}

// judgeRedis answers what is wrong with one server.
func judgeRedis(mode cluster.Mode, s cluster.Server) (found []Finding) {
	wrong := func(g Grade, remedy, format string, args ...any) {
		found = append(found, Finding{Grade: g, Text: s.Addr + " " + fmt.Sprintf(format, args...), Remedy: remedy})
	}
	switch {
	case s.Mode == "sentinel":
		wrong(Bad, "cluster.redis: redis+sentinel://host:26379,host:26379/mymaster", "is a sentinel, not the Redis that it watches")
		return found
	case s.Mode == "cluster" && mode != cluster.ModeCluster:
		wrong(Bad, "cluster.redis: redis+cluster://host:6379,host:6379", "is one of a Redis Cluster, and cluster.redis names it as %s", mode)
	case s.Replica:
		wrong(Bad, "name the master in cluster.redis, or the sentinels with redis+sentinel://", "is a replica, which can't be written")
	}
	if major, _, _ := strings.Cut(s.Version, "."); tooOld(major) {
		wrong(Bad, "run Redis 7 or later, or Valkey", "is version %s, and has no sharded pub/sub", s.Version)
	} else if s.Letters != nil {
		wrong(Bad, "allow SPUBLISH and SSUBSCRIBE, and the channels and keys that begin with cluster.prefix", "takes no letter between nodes: %s", s.Letters)
	}
	if off := s.Clock.Abs(); off > clockOff {
		wrong(Doubt, "run chrony or systemd-timesyncd on both machines", "has a clock that is %s apart from this machine's; tokens and TTLs go by those of machines", off.Round(100*time.Millisecond))
	}
	switch {
	case s.Max == 0:
	case s.Policy != "noeviction":
		wrong(Doubt, "maxmemory-policy noeviction, and a maxmemory that is not reached",
			"throws keys away when %d MiB are full (maxmemory-policy %s): clients are then offline to other nodes until theirs tells again", s.Max>>20, s.Policy)
	case s.Used > s.Max/10*9:
		wrong(Doubt, "raise maxmemory, or give Sunzi a Redis of its own", "uses %d of %d MiB; when they are full nothing can be written", s.Used>>20, s.Max>>20)
	}
	return found
}

func tooOld(major string) bool {
	n, err := strconv.Atoi(major)
	return err == nil && n < 7
}
