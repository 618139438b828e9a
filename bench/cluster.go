package bench

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

// ClusterOptions say what is measured.
type ClusterOptions struct {
	Binary string   // of sunzi; required
	Env    []string // added to the nodes' environment, KEY=value
	MySQL  bool     // on MariaDB and Redis; else on SQLite
	Nodes  int      // more than one needs MySQL
	TLS    bool     // https and wss on the public listener
}

// ParseCluster reads ENGINE[:NODES][+tls][@BINARY], as in sqlite, mysql:3,
// sqlite+tls or sqlite@bin/sunzi-before.
func ParseCluster(text string) (ClusterOptions, error) {
	o := ClusterOptions{Nodes: 1}
	bad := fmt.Errorf("%q is no cluster: write ENGINE[:NODES][+tls][@BINARY], as in sqlite, mysql:3 or sqlite+tls", text)
	text, o.Binary, _ = strings.Cut(text, "@")
	text, o.TLS = strings.CutSuffix(text, "+tls")
	engine, nodes, several := strings.Cut(text, ":")
	if several {
		n, err := strconv.Atoi(nodes)
		if err != nil || n < 1 {
			return o, bad
		}
		o.Nodes = n
	}
	o.MySQL = engine == "mysql"
	if !o.MySQL && (engine != "sqlite" || o.Nodes > 1) {
		return o, bad
	}
	return o, nil
}

// String is what ParseCluster reads, without the binary.
func (o ClusterOptions) String() string {
	s := "sqlite"
	if o.MySQL {
		s = fmt.Sprintf("mysql:%d", o.Nodes)
	}
	if o.TLS {
		s += "+tls"
	}
	return s
}

// Cluster is the system under test: nodes with an empty store that is theirs
// alone, each in a process of its own. On MySQL that is a MariaDB which flushes
// each commit, and a Redis.
type Cluster struct {
	Nodes  []*Server
	APIKey string // with every scope

	dirs  []string
	db    *daemons.MariaDB // nil on SQLite
	redis *daemons.Redis   // nil on SQLite
	roots *x509.CertPool   // nil without TLS
}

// database is what MariaDB gets beside the defaults of the package daemons,
// which flush the log at every commit and write no binary log: room for the
// data of a run, and a log that does not make it stop for checkpoints.
var database = []string{"--innodb-buffer-pool-size=512M", "--innodb-log-file-size=512M"}

// tokenSecret is a setting that every command of the binary asks for.
const tokenSecret = "SUNZI_TOKENS_SECRET=only for this run, and for the loopback alone" //nolint:gosec // G101: it guards nothing

// StartCluster starts it and returns when all nodes are ready.
func StartCluster(ctx context.Context, o ClusterOptions) (c *Cluster, err error) {
	c = &Cluster{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	if o.Binary, err = filepath.Abs(o.Binary); err != nil {
		return c, err
	}
	dir, err := c.folder()
	if err != nil {
		return c, err
	}
	env := append(os.Environ(),
		"SUNZI_LOG_LEVEL=warn", "SUNZI_HUB_DRAIN=0s", tokenSecret)
	if o.MySQL {
		more, err := c.services(ctx)
		if err != nil {
			return c, err
		}
		env = append(env, more...)
	}
	if o.TLS {
		more, err := c.certify(dir)
		if err != nil {
			return c, err
		}
		env = append(env, more...)
	}
	if err := c.nodes(ctx, o, dir, append(env, o.Env...)); err != nil {
		return c, err
	}
	return c, c.meet(ctx)
}

// folder is a new one, removed at the end. Not below another: MariaDB may run
// as a user who can't look into ours.
func (c *Cluster) folder() (string, error) {
	dir, err := os.MkdirTemp("", "sunzi-bench-")
	if err == nil {
		c.dirs = append(c.dirs, dir)
	}
	return dir, err
}

// services starts MariaDB and Redis and answers how nodes reach them.
func (c *Cluster) services(ctx context.Context) ([]string, error) {
	dir, err := c.folder()
	if err != nil {
		return nil, err
	}
	if c.db, err = daemons.OpenMariaDB(ctx, dir, database...); err != nil {
		return nil, err
	}
	if err := c.db.CreateDatabase(ctx, "sunzi"); err != nil {
		return nil, err
	}
	if dir, err = c.folder(); err != nil {
		return nil, err
	}
	if c.redis, err = daemons.OpenRedis(ctx, dir); err != nil {
		return nil, err
	}
	return []string{"SUNZI_STORE_DSN=" + c.db.DSN("sunzi"), "SUNZI_CLUSTER_REDIS=" + c.redis.URL()}, nil
}

// nodes makes the key, which makes the tables too, and starts the nodes.
func (c *Cluster) nodes(ctx context.Context, o ClusterOptions, dir string, env []string) error {
	for i := range o.Nodes {
		own := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(own, 0o700); err != nil {
			return err
		}
		if i == 0 {
			//nolint:gosec // G204: the caller's binary
			cmd := exec.CommandContext(ctx, o.Binary, "key", "create", "bench", "--local", "--scopes", "push,read,clients,groups,tokens,admin")
			cmd.Env, cmd.Dir = slices.Concat(env, []string{"SUNZI_DATA=" + filepath.Join(own, "data")}), own
			key, err := cmd.Output()
			if err != nil {
				return fmt.Errorf("no API key: %w: %s", err, complaint(err))
			}
			c.APIKey = strings.TrimSpace(string(key))
		}
		s, err := startServer(ctx, o.Binary, own, env)
		if err != nil {
			return err
		}
		if o.TLS {
			s.URL, s.WSURL = "https"+strings.TrimPrefix(s.URL, "http"), "wss"+strings.TrimPrefix(s.WSURL, "ws")
		}
		c.Nodes = append(c.Nodes, s)
	}
	return nil
}

// meet waits until every node knows of all others, which takes a beat: a push
// that is not stored passes by a node that is not known yet.
func (c *Cluster) meet(ctx context.Context) error {
	if len(c.Nodes) == 1 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, s := range c.Nodes {
		for {
			var known float64
			if err := s.metrics(ctx, map[string]*float64{"sunzi_cluster_nodes": &known}); err != nil {
				return err
			}
			if int(known) == len(c.Nodes) {
				break
			}
			if err := sleep(ctx, 50*time.Millisecond); err != nil {
				return fmt.Errorf("a node knows %g of %d: %w", known, len(c.Nodes), err)
			}
		}
	}
	return nil
}

// complaint is what a command that failed wrote to its standard error.
func complaint(err error) string {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return strings.TrimSpace(string(exit.Stderr))
	}
	return ""
}

// Stop ends the processes, the nodes first, and removes all data.
func (c *Cluster) Stop() error {
	var wg sync.WaitGroup
	for _, s := range c.Nodes {
		wg.Go(s.stop)
	}
	wg.Wait()
	var errs []error
	if c.db != nil {
		c.db.Kill() // its data goes with it: no reason to wait for an orderly end
	}
	if c.redis != nil {
		errs = append(errs, c.redis.Close())
	}
	for _, dir := range c.dirs {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// Usage is the processor time that the parts of a cluster, and who loads it,
// have taken so far.
type Usage struct {
	Nodes, Database, Redis, Load time.Duration
}

// Usage reads it.
func (c *Cluster) Usage() (u Usage, err error) {
	add := func(to *time.Duration, p process) {
		d, e := p.CPU()
		*to += d
		err = errors.Join(err, e)
	}
	for _, s := range c.Nodes {
		add(&u.Nodes, s.process)
	}
	if c.db != nil {
		add(&u.Database, process(c.db.PID()))
	}
	if c.redis != nil {
		add(&u.Redis, process(c.redis.PID()))
	}
	add(&u.Load, process(os.Getpid()))
	return u, err
}

// RSS is the resident memory of all nodes, in bytes.
func (c *Cluster) RSS() (sum int64, err error) {
	for _, s := range c.Nodes {
		rss, e := s.RSS()
		sum += rss
		err = errors.Join(err, e)
	}
	return sum, err
}

// tmpfs is the magic number of a file system in memory (linux/magic.h).
const tmpfs = 0x01021994

// inMemory reports whether the data lies where a flush costs nothing, so that
// no figure of a durable push means anything.
func (c *Cluster) inMemory() bool {
	for _, dir := range c.dirs {
		var fs syscall.Statfs_t
		if syscall.Statfs(dir, &fs) == nil && fs.Type == tmpfs {
			return true
		}
	}
	return false
}
