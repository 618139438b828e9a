package daemons

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// MasterName is what the sentinels call the master that they watch.
const MasterName = "mymaster"

// Sentinel is a master with a replica, and three sentinels that watch them and
// agree by two.
type Sentinel struct {
	Master, Replica *Redis // as it was made; a failover swaps them
	Sentinels       []*Redis
}

// StartSentinel starts a watched pair for a test and closes it when the test
// ends.
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	s, err := OpenSentinel(t.Context(), folder(t))
	s = bound(t, s, err)
	for _, n := range s.all() {
		n.t = t
	}
	return s
}

// OpenSentinel starts a watched pair with a folder per server below dir, and
// waits until the sentinels know each other and the replica. The master counts
// as down after a second of silence. The caller closes it; the context bounds
// the start alone.
func OpenSentinel(ctx context.Context, dir string) (*Sentinel, error) {
	s := &Sentinel{}
	err := s.open(ctx, dir)
	if err == nil {
		err = s.agree(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Sentinel) open(ctx context.Context, dir string) (err error) {
	pair := func(name string, args ...string) (*Redis, error) {
		own := filepath.Join(dir, name)
		if err := os.MkdirAll(own, 0o700); err != nil {
			return nil, err
		}
		return OpenRedis(ctx, own, append(args, "--repl-diskless-sync-delay", "0")...)
	}
	if s.Master, err = pair("master"); err != nil {
		return err
	}
	port := strconv.Itoa(s.Master.port)
	if s.Replica, err = pair("replica", "--replicaof", "127.0.0.1 "+port); err != nil {
		return err
	}
	if err := s.Replica.says(ctx, "master_link_status:up", "INFO", "replication"); err != nil {
		return err
	}
	for i := range 3 {
		n, err := openSentinel(ctx, filepath.Join(dir, "sentinel"+strconv.Itoa(i)), port)
		if err != nil {
			return err
		}
		s.Sentinels = append(s.Sentinels, n)
	}
	return nil
}

// openSentinel starts one sentinel. It keeps what it learns in its
// configuration file, which therefore has to exist.
func openSentinel(ctx context.Context, dir, master string) (*Redis, error) {
	path, err := binary("redis-server", "redis-server")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "sentinel.conf")
	text := "sentinel monitor " + MasterName + " 127.0.0.1 " + master + " 2\n" +
		"sentinel down-after-milliseconds " + MasterName + " 1000\n" +
		"sentinel failover-timeout " + MasterName + " 5000\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	r := &Redis{Daemon: &Daemon{name: "redis-sentinel", dir: dir, path: path}}
	r.ready = r.pings
	err = r.open(ctx, func(port int) []string {
		return []string{file, "--sentinel", "--bind", "127.0.0.1", "--port", strconv.Itoa(port)}
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// agree waits until every sentinel knows the two others and the replica: no
// failover comes about before.
func (s *Sentinel) agree(ctx context.Context) error {
	want := fmt.Sprintf("slaves=1,sentinels=%d", len(s.Sentinels))
	for _, n := range s.Sentinels {
		if err := n.says(ctx, want, "INFO", "sentinel"); err != nil {
			return err
		}
	}
	return nil
}

// URL is redis+sentinel://a,b,c/mymaster with the three sentinels.
func (s *Sentinel) URL() string {
	return "redis+sentinel://" + addresses(s.Sentinels) + "/" + MasterName
}

// Failover makes the sentinels swap master and replica now, as if the master
// had failed. It returns when that has begun.
func (s *Sentinel) Failover(ctx context.Context) error {
	_, err := s.Sentinels[0].Do(ctx, "SENTINEL", "FAILOVER", MasterName)
	return err
}

// MasterAddr is whom the sentinels now hold for the master.
func (s *Sentinel) MasterAddr(ctx context.Context) (string, error) {
	answer, err := s.Sentinels[0].Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName)
	if err != nil {
		return "", err
	}
	at, ok := answer.([]any)
	if !ok || len(at) != 2 {
		return "", fmt.Errorf("daemons: a sentinel answered %v", answer)
	}
	return fmt.Sprintf("%v:%v", at[0], at[1]), nil
}

// all are the servers that run, the sentinels first, so that none of them sees
// the others end.
func (s *Sentinel) all() []*Redis {
	all := append([]*Redis(nil), s.Sentinels...)
	for _, n := range []*Redis{s.Master, s.Replica} {
		if n != nil {
			all = append(all, n)
		}
	}
	return all
}

// Close closes every server.
func (s *Sentinel) Close() error { return closeAll(s.all()) }
