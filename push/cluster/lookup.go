package cluster

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/sunzi-push/sunzi/push"
)

// owners looks up which living nodes other than this have the clients, in
// the order of keys, in one pipeline a batch.
func (c *Cluster) owners(ctx context.Context, keys []push.ClientKey) ([][]string, error) {
	owners := make([][]string, 0, len(keys))
	for len(keys) > 0 {
		n := min(len(keys), perLetter)
		if err := c.lookUp(ctx, keys[:n], &owners); err != nil {
			c.met.errors.WithLabelValues("lookup").Inc()
			return nil, err
		}
		keys = keys[n:]
	}
	return owners, nil
}

func (c *Cluster) lookUp(ctx context.Context, keys []push.ClientKey, owners *[][]string) error {
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	pipe := c.rdb.Pipeline()
	cmds := make([]*redis.StringSliceCmd, len(keys))
	for i, k := range keys {
		cmds[i] = pipe.HKeys(ctx, c.clientKey(k))
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	for i, cmd := range cmds {
		var there []string
		for _, node := range cmd.Val() {
			if node != c.cfg.Node && c.nodes.alive(node) {
				there = append(there, node)
			}
		}
		*owners = append(*owners, there)
		c.recent.put(keys[i], len(there) > 0, c.deps.Now())
	}
	return nil
}
