package cluster

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sunzi-push/sunzi/push"
)

// owners looks up which living nodes other than this have the clients, in
// the order of keys, in one pipeline a batch. Where Redis answered for some
// only, as while a master of a Redis Cluster is away, the error comes with what
// is known: nil are those of whom nothing is.
func (c *Cluster) owners(ctx context.Context, keys []push.ClientKey) ([][]string, error) {
	owners := make([][]string, 0, len(keys))
	var first error
	for len(keys) > 0 {
		n := min(len(keys), perLetter)
		if err := c.lookUp(ctx, keys[:n], &owners); err != nil {
			c.met.errors.WithLabelValues("lookup").Inc()
			first = errors.Join(first, err)
		}
		keys = keys[n:]
	}
	return owners, first
}

func (c *Cluster) lookUp(ctx context.Context, keys []push.ClientKey, owners *[][]string) error {
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	pipe := c.rdb.Pipeline()
	cmds := make([]*redis.StringSliceCmd, len(keys))
	for i, k := range keys {
		cmds[i] = pipe.HKeys(ctx, c.clientKey(k))
	}
	_, err := pipe.Exec(ctx)
	c.meetStrangers(ctx, cmds)
	for i, cmd := range cmds {
		if cmd.Err() != nil {
			*owners = append(*owners, nil)
			continue
		}
		there := []string{}
		for _, node := range cmd.Val() {
			if node != c.cfg.Node && c.nodes.alive(node) {
				there = append(there, node)
			}
		}
		*owners = append(*owners, there)
		c.recent.put(keys[i], len(there) > 0, c.deps.Now())
	}
	return err
}

// meetStrangers reads who lives where an entry names a node that this one has
// not heard of: it may have started since the last beat. What a crashed node
// left looks the same, so it is done at most every meetEvery.
func (c *Cluster) meetStrangers(ctx context.Context, cmds []*redis.StringSliceCmd) {
	stranger := func(node string) bool { return node != c.cfg.Node && node != mark && !c.nodes.alive(node) }
	if !slices.ContainsFunc(cmds, func(cmd *redis.StringSliceCmd) bool { return slices.ContainsFunc(cmd.Val(), stranger) }) {
		return
	}
	here, last := c.deps.Now().UnixMilli(), c.nodes.met.Load()
	if here >= last && here-last < meetEvery.Milliseconds() || !c.nodes.met.CompareAndSwap(last, here) {
		return
	}
	since := here + c.nodes.offset.Load() - c.cfg.Lease.Milliseconds()
	living, err := c.rdb.ZRangeByScore(ctx, c.nodesKey(), &redis.ZRangeBy{Min: "(" + strconv.FormatInt(since, 10), Max: "+inf"}).Result()
	if err != nil {
		c.met.errors.WithLabelValues("lookup").Inc()
		return
	}
	slices.Sort(living)
	c.nodes.living.Store(&living)
}

// meetEvery bounds how often nodes are read for a stranger's sake.
const meetEvery = 100 * time.Millisecond
