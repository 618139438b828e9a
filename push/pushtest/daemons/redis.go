package daemons

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is one Redis server. It writes nothing to disk, so that a Kill costs
// all its data: what sunzi keeps in Redis has to stand that.
type Redis struct {
	*Daemon
	t testing.TB // nil if it belongs to no test
}

// StartRedis starts an empty Redis for a test and closes it when the test ends.
// Further arguments of redis-server come last and so win over the package's.
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	r, err := OpenRedis(t.Context(), folder(t), args...)
	r = bound(t, r, err)
	r.t = t
	return r
}

// OpenRedis starts Redis in a folder. The caller closes it. The context bounds
// the start alone.
func OpenRedis(ctx context.Context, dir string, args ...string) (*Redis, error) {
	path, err := binary("redis-server", "redis-server")
	if err != nil {
		return nil, err
	}
	r := &Redis{Daemon: &Daemon{name: "redis-server", dir: dir, path: path}}
	r.ready = r.pings
	err = r.open(ctx, func(port int) []string { return redisArguments(port, args) })
	if err != nil {
		return nil, err
	}
	return r, nil
}

func redisArguments(port int, more []string) []string {
	return append([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no",
	}, more...)
}

// URL is redis://127.0.0.1:port.
func (r *Redis) URL() string { return "redis://" + r.Addr() }

// FlushAll forgets everything. Where it fails, the test ends; of a server that
// belongs to no test, use [Redis.Do].
func (r *Redis) FlushAll() {
	if _, err := r.Do(context.Background(), "FLUSHALL"); err != nil {
		if r.t == nil {
			panic(err)
		}
		r.t.Helper()
		r.t.Fatal(err)
	}
}

// Do runs one command on a connection of its own, for set-up and faults, within
// two seconds.
func (r *Redis) Do(ctx context.Context, args ...any) (any, error) {
	const timeout = 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := redis.NewClient(&redis.Options{
		Addr: r.Addr(), Protocol: 2, MaxRetries: -1, PoolSize: 1, ContextTimeoutEnabled: true,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, DialerRetries: 1, DisableIdentity: true,
	})
	defer c.Close() //nolint:errcheck // it has answered or not
	answer, err := c.Do(ctx, args...).Result()
	if err != nil {
		return nil, fmt.Errorf("daemons: redis %v: %w", args[0], err)
	}
	return answer, nil
}

// text is Do for commands that answer a string.
func (r *Redis) text(ctx context.Context, args ...any) (string, error) {
	answer, err := r.Do(ctx, args...)
	if err != nil {
		return "", err
	}
	s, ok := answer.(string)
	if !ok {
		return "", fmt.Errorf("daemons: redis %v answered %T", args[0], answer)
	}
	return s, nil
}

// pings says whether the server answers. Without go-redis, which writes to the
// log that it could not connect.
func (d *Daemon) pings(ctx context.Context) error {
	answer, err := d.hears(ctx, "tcp", d.Addr(), "PING\r\n")
	if err == nil && answer != '+' {
		err = fmt.Errorf("daemons: PING was answered with an error")
	}
	return err
}
