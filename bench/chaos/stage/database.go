package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sunzi-push/sunzi/bench/chaos"
)

// databaseFaults are those of the server itself.
func (s *Services) databaseFaults() map[string]begin {
	faults := map[string]begin{
		"db-kill":     s.killDatabase,
		"db-halt":     s.haltDatabase,
		"db-readonly": s.readOnly,
		// Each connection that nodes have at the moment.
		"db-killed-connections": again(func(ctx context.Context) error {
			return s.sql(ctx, "KILL USER "+appUser+"@'%'")
		}),
	}
	if s.disk != "" {
		faults["db-full"] = s.fillDisk
	}
	return faults
}

func (s *Services) killDatabase(context.Context, chaos.Fault) (heal, error) {
	s.db.Kill()
	return func(context.Context) error { return s.db.Start() }, nil
}

func (s *Services) haltDatabase(context.Context, chaos.Fault) (heal, error) {
	s.db.Stop()
	return func(context.Context) error { s.db.Continue(); return nil }, nil
}

func (s *Services) readOnly(ctx context.Context, _ chaos.Fault) (heal, error) {
	err := s.sql(ctx, "SET GLOBAL read_only = 1")
	return func(ctx context.Context) error { return s.sql(ctx, "SET GLOBAL read_only = 0") }, err
}

// fillDisk takes the room that is left on the database's file system. What
// MariaDB does about that is its own business, up to its end: so healing makes
// room, and starts it again unless it takes writes at once.
func (s *Services) fillDisk(context.Context, chaos.Fault) (heal, error) {
	name := filepath.Join(s.disk, "full")
	return func(ctx context.Context) error {
		if err := os.Remove(name); err != nil {
			return err
		}
		if s.writable(ctx) {
			return nil
		}
		s.db.Kill()
		return s.db.Start()
	}, fill(name)
}

// fill writes until nothing more fits.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	for _, size := range []int{1 << 20, 512} {
		block := make([]byte, size)
		for err = nil; err == nil; {
			_, err = f.Write(block)
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return errors.Join(fmt.Errorf("stage: the disk is not full: %w", err), f.Close())
	}
	return f.Close()
}

// writable tells whether the database takes a write soon.
func (s *Services) writable(ctx context.Context) bool {
	if !s.db.Alive() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, err := s.db.Exec(ctx, "", "CREATE DATABASE IF NOT EXISTS room; CREATE OR REPLACE TABLE room.room (i int); INSERT INTO room.room VALUES (1)")
	return err == nil
}
