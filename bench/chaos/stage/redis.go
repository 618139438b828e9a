package stage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sunzi-push/sunzi/bench/chaos"
	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

// redisFaults are those of Redis itself; of a cluster, of one of its servers.
func (s *Services) redisFaults() map[string]begin {
	faults := map[string]begin{
		"redis-kill":  s.killRedis,
		"redis-halt":  s.haltRedis,
		"redis-flush": again(s.flush),
		"redis-drop-subscribers": again(func(ctx context.Context) error {
			for _, r := range s.redis {
				if _, err := r.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub"); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	if len(s.redis) > 1 {
		faults["redis-failover"] = s.failover
	}
	return faults
}

// one is the server that the fault strikes, which its time decides.
func (s *Services) one(f chaos.Fault) *daemons.Redis {
	return s.redis[int(f.At/time.Millisecond)%len(s.redis)]
}

// killRedis: it keeps nothing on disk, so that this is FLUSHALL as well unless
// a replica takes over.
func (s *Services) killRedis(_ context.Context, f chaos.Fault) (heal, error) {
	r := s.one(f)
	r.Kill()
	return func(context.Context) error { return r.Start() }, nil
}

func (s *Services) haltRedis(_ context.Context, f chaos.Fault) (heal, error) {
	r := s.one(f)
	r.Stop()
	return func(context.Context) error { r.Continue(); return nil }, nil
}

// failover has a replica take its master's place. Which servers are replicas
// changes with each one, so they are asked.
func (s *Services) failover(ctx context.Context, f chaos.Fault) (heal, error) {
	first := int(f.At/time.Millisecond) % len(s.redis)
	var errs []error
	for i := range s.redis {
		_, err := s.redis[(first+i)%len(s.redis)].Do(ctx, "CLUSTER", "FAILOVER")
		if err == nil {
			return nil, nil
		}
		errs = append(errs, err) // a master, most likely
	}
	return nil, fmt.Errorf("stage: no replica takes over: %w", errors.Join(errs...))
}
