package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

// Mode is how Redis is run.
type Mode string

// The modes.
const (
	Single  Mode = "single"
	Cluster Mode = "cluster" // three masters with a replica each
)

// Services are the servers that nodes stand on.
type Services struct {
	db    *daemons.MariaDB
	redis []*daemons.Redis
	url   string // of Redis, without links
	dir   string
	disk  string // where a file system of the database's own is mounted; empty: none
	runs  atomic.Int32
}

const (
	diskSize = "1g"
	// appUser has no privilege beyond the databases of runs: root would be
	// above read_only.
	appUser = "app"
)

// OpenServices starts them with their data below dir, whose path has to be
// short (a Unix socket lies in it). The caller closes them. The context bounds
// the start alone.
func OpenServices(ctx context.Context, dir string, mode Mode) (*Services, error) {
	s := &Services{dir: dir}
	if err := s.open(ctx, mode); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Services) open(ctx context.Context, mode Mode) (err error) {
	// The database may run as another user, who has to get to its folder.
	if err := os.Chmod(s.dir, 0o711); err != nil { //nolint:gosec // G302: a folder
		return err
	}
	home, err := s.mount()
	if err != nil {
		return err
	}
	s.db, err = daemons.OpenMariaDB(ctx, home, "--innodb-buffer-pool-size=256M", "--innodb-log-file-size=64M")
	if err != nil {
		return err
	}
	if err := s.sql(ctx, "CREATE USER "+appUser+"@'%'"); err != nil {
		return err
	}
	redis := filepath.Join(s.dir, "redis")
	if err := os.Mkdir(redis, 0o700); err != nil {
		return err
	}
	if mode == Cluster {
		c, err := daemons.OpenRedisCluster(ctx, redis, 3, 1)
		if err != nil {
			return err
		}
		s.redis, s.url = c.Nodes, c.URL()
		return nil
	}
	one, err := daemons.OpenRedis(ctx, redis)
	if err != nil {
		return err
	}
	s.redis, s.url = []*daemons.Redis{one}, one.URL()
	return nil
}

// mount gives the database a file system that can be filled, and answers its
// folder.
func (s *Services) mount() (home string, err error) {
	disk := filepath.Join(s.dir, "disk")
	if err := os.Mkdir(disk, 0o755); err != nil { //nolint:gosec // G301: see open
		return "", err
	}
	if os.Getuid() == 0 && syscall.Mount("tmpfs", disk, "tmpfs", 0, "size="+diskSize+",mode=1777") == nil {
		s.disk = disk
	}
	home = filepath.Join(disk, "db")
	return home, os.Mkdir(home, 0o755) //nolint:gosec // G301: see open
}

// Close ends the servers. What they wrote to their logs stays below dir, but
// for the file system's.
func (s *Services) Close() error {
	var errs []error
	for _, r := range s.redis {
		r.Terminate()
	}
	for _, r := range s.redis {
		errs = append(errs, r.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.disk != "" {
		errs = append(errs, syscall.Unmount(s.disk, 0))
	}
	return errors.Join(errs...)
}

// sqlWithin bounds a word to the database in set-up and faults.
const sqlWithin = 20 * time.Second

func (s *Services) sql(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, sqlWithin)
	defer cancel()
	_, err := s.db.Exec(ctx, "", text)
	return err
}

// database makes one for a run, which starts with an empty Redis as well.
func (s *Services) database(ctx context.Context) (name string, err error) {
	name = fmt.Sprintf("chaos%d", s.runs.Add(1))
	if err := s.db.CreateDatabase(ctx, name); err != nil {
		return "", err
	}
	if err := s.sql(ctx, "GRANT ALL ON "+name+".* TO "+appUser+"@'%'"); err != nil {
		return "", err
	}
	return name, s.flush(ctx)
}

func (s *Services) dropDatabase(ctx context.Context, name string) error {
	return s.sql(ctx, "DROP DATABASE IF EXISTS "+name)
}

// keepLog copies the database's log, which goes with its file system.
func (s *Services) keepLog(name string) error {
	b, err := os.ReadFile(filepath.Join(s.db.Dir(), "log"))
	if err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644) //nolint:gosec // G306: to be read by people
}

// flush empties Redis, every master of it.
func (s *Services) flush(ctx context.Context) error {
	var errs []error
	for _, r := range s.redis {
		if _, err := r.Do(ctx, "FLUSHALL"); err != nil && !strings.Contains(err.Error(), "READONLY") {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
