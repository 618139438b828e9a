package cluster

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// nodes is who is alive, as of this node's last beat.
type nodes struct {
	living  atomic.Pointer[[]string] // sorted, this node included
	last    atomic.Int64             // last beat that was answered, unix ms here
	score   int64                    // what it left in Redis; owned by beats
	offset  atomic.Int64             // Redis' clock minus ours, ms
	met     atomic.Int64             // when strangers were looked for, unix ms here
	started bool                     // owned by beats
	masters string                   // of a Redis Cluster; owned by beats
}

func (n *nodes) lastBeat() time.Time { return time.UnixMilli(n.last.Load()) }

func (n *nodes) alive(node string) bool {
	_, ok := slices.BinarySearch(*n.living.Load(), node)
	return ok
}

// beat tells that a node lives and answers who does, all by Redis' clock, so
// that nodes need not agree on the time: {previous, now, node…}. What another
// version or a crash left behind goes after ten leases.
var beat = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local lease = tonumber(ARGV[2])
local before = redis.call('ZSCORE', KEYS[1], ARGV[1]) or '0'
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - 10 * lease))
local living = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now - lease), '+inf')
table.insert(living, 1, string.format('%.0f', now))
table.insert(living, 1, before)
return living`)

func (c *Cluster) nodesKey() string { return c.cfg.Prefix + ":nodes" }

// beats tells the others that this node lives, until ctx ends.
func (c *Cluster) beats(ctx context.Context) {
	failing := false
	for {
		err := c.beat(ctx)
		if (err != nil) != failing && ctx.Err() == nil {
			failing = err != nil
			if failing {
				c.deps.Log.Warn("Redis does not answer; this node serves its own clients", "err", err)
			} else {
				c.deps.Log.Info("Redis answers again")
			}
		}
		if !wait(ctx, c.cfg.Beat) {
			return
		}
	}
}

func (c *Cluster) beat(ctx context.Context) error {
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	got, err := beat.Run(ctx, c.rdb, []string{c.nodesKey()}, c.cfg.Node, c.cfg.Lease.Milliseconds()).StringSlice()
	if err != nil {
		c.met.errors.WithLabelValues("beat").Inc()
		c.reloadSlots(ctx)
		return err
	}
	before, now := number(got[0]), number(got[1])
	here := c.deps.Now()
	lapsed := here.Sub(c.nodes.lastBeat()) > c.cfg.Lease
	living := slices.Sorted(slices.Values(got[2:]))
	c.nodes.living.Store(&living)
	c.nodes.offset.Store(int64(now) - here.UnixMilli())
	c.nodes.last.Store(here.UnixMilli())
	c.met.nodes.Set(float64(len(living)))
	// Another mark than the one we left: Redis was emptied, or is an older
	// copy. A lapse: others may have taken our clients for gone.
	if c.nodes.started && (int64(before) != c.nodes.score || lapsed) {
		c.deps.Log.Info("Redis forgot this node, or lost sight of it: registering its clients again")
		c.unsynced.resync()
	}
	c.nodes.started, c.nodes.score = true, int64(now)
	if r, ok := c.rdb.(*redis.ClusterClient); ok {
		c.lookAtMasters(ctx, r)
	}
	return nil
}

// reloadSlots reads the map of slots of a Redis Cluster again, in the
// background. go-redis does that by itself when a server says where a slot has
// gone; of one that is dead, only after a minute.
func (c *Cluster) reloadSlots(ctx context.Context) {
	if r, ok := c.rdb.(*redis.ClusterClient); ok {
		r.ReloadState(ctx)
	}
}

// lookAtMasters registers the clients again where another process is master
// than at the last beat: what it had not heard of the former is lost, and what
// is kept of who lives may be another master's. It reads the map of slots for
// that.
func (c *Cluster) lookAtMasters(ctx context.Context, r *redis.ClusterClient) {
	var mu sync.Mutex
	var masters []string
	err := r.ForEachMaster(ctx, func(ctx context.Context, m *redis.Client) error {
		about, err := m.Info(ctx, "server").Result()
		_, id, _ := strings.Cut(about, "run_id:")
		id, _, _ = strings.Cut(id, "\r\n")
		mu.Lock()
		defer mu.Unlock()
		masters = append(masters, m.Options().Addr+" "+id)
		return err
	})
	if err != nil {
		return // one is away: the next beat that reaches all compares
	}
	slices.Sort(masters)
	now := strings.Join(masters, "\n")
	if c.nodes.masters != "" && c.nodes.masters != now {
		c.deps.Log.Info("the Redis Cluster has another master: registering this node's clients again")
		c.unsynced.resync()
	}
	c.nodes.masters = now
}

// leave takes this node from the living.
func (c *Cluster) leave(ctx context.Context) {
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	if err := c.rdb.ZRem(ctx, c.nodesKey(), c.cfg.Node).Err(); err != nil {
		c.deps.Log.Info("the other nodes will see this one gone when its lease ends", "err", err)
	}
}
