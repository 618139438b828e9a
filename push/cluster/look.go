package cluster

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"github.com/sunzi-push/sunzi/push"
)

// looks reads the entry of each client once in [Config.Look], a slot of the
// table at a time, and marks those that are not as they were left: Redis lost
// them, or another node took over and the word of that was lost. What is to be
// done is settled where they are written again.
func (c *Cluster) looks(ctx context.Context) {
	every := time.NewTicker(max(c.cfg.Look/slots, time.Millisecond))
	defer every.Stop()
	limit := rate.NewLimiter(rate.Limit(c.cfg.ResyncRate), batch)
	for i := 0; ; i = (i + 1) % slots {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		for keys := c.inSlot(i); len(keys) > 0 && c.lively(); {
			part := keys[:min(len(keys), batch)]
			keys = keys[len(part):]
			if limit.WaitN(ctx, len(part)) != nil {
				return
			}
			c.look(ctx, part)
		}
	}
}

func (c *Cluster) look(ctx context.Context, keys []push.ClientKey) {
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	pipe := c.rdb.Pipeline()
	cmds := make([]*redis.StringCmd, len(keys))
	for i, k := range keys {
		cmds[i] = pipe.HGet(ctx, c.clientKey(k), c.cfg.Node)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		c.met.errors.WithLabelValues("lookup").Inc()
	}
	for i, cmd := range cmds {
		if cmd.Err() != nil && !errors.Is(cmd.Err(), redis.Nil) {
			continue
		}
		if h, ok := c.holds(keys[i]); ok && h.given != 0 && cmd.Val() != strconv.FormatUint(h.given, 10) {
			c.unsynced.add(keys[i])
		}
	}
}
