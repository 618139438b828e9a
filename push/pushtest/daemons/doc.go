// Package daemons starts real MariaDB and Redis servers of one's own, for tests
// and for the chaos run: each on a free port of the loopback, with its data in a
// folder of its own, and gone with the process that started it.
//
// Read first: [Daemon], which is what can be done to any of them, then
// [StartMariaDB] and [StartRedis]. [StartRedisCluster] and [StartSentinel] put
// several together. Start functions belong to a test: they end it when
// something is missing, and stop the server in its clean-up. Open functions
// answer errors and leave the end to Close.
//
// Everything may be used by several goroutines at once. A daemon has one
// goroutine, which ends with the server process; Kill and Close wait for it.
// That goroutine holds its OS thread: the kernel kills a child with
// PR_SET_PDEATHSIG when the thread that started it ends, not when the process
// does, so the thread has to live as long as the child. Of a test that is killed
// or runs out of time, only folders named sunzi… stay in the temporary folder.
//
// Servers run without the system's configuration files and services, which the
// package never touches. It binds to 127.0.0.1 only and sets no passwords:
// whoever may use this machine may use the servers.
package daemons

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// StartTimeout is how long a server may take to answer after its start, and a
// cluster to form: many times what an idle machine needs.
const StartTimeout = 60 * time.Second

// stopTimeout is how long a server may take to end by itself.
const stopTimeout = 10 * time.Second

// binary finds an installed program. Debian keeps servers in /usr/sbin, which
// is not on every user's path.
func binary(name, debianPackage string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	p := filepath.Join("/usr/sbin", name)
	if _, err := os.Stat(p); err == nil {
		return p, nil
	}
	return "", fmt.Errorf("daemons: %s is not installed: apt-get install %s", name, debianPackage)
}

// folder is a new folder for one test. Not t.TempDir: a test's name in the path
// makes it too long for a Unix socket.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sunzi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing the daemon's folder: %v", err)
		}
	})
	return dir
}

// closer is anything that a test has to close.
type closer interface{ Close() error }

// bound ties what was opened to a test, which ends if it could not be.
func bound[C closer](t testing.TB, c C, err error) C {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// until polls ready until it answers nil, the context ends, or the daemons
// given have one that died.
func until(ctx context.Context, what string, ready func(context.Context) error, of ...*Daemon) error {
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		for _, d := range of {
			if !d.Alive() {
				return fmt.Errorf("daemons: %s: %w", what, errors.Join(d.died(), err))
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("daemons: %s: %w", what, errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}
