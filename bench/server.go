package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Server is one `sunzi serve` process of a [Cluster], which starts and stops it.
type Server struct {
	process
	URL   string // http://127.0.0.1:port, or https
	WSURL string
	Admin string // http://127.0.0.1:port of the operator's listener

	cmd  *exec.Cmd
	log  string        // file with what it has written to its standard error
	data string        // its data folder
	done chan struct{} // closed once the process was waited for
}

// startTimeout bounds the start of a node, migrations included.
const startTimeout = 30 * time.Second

// startServer runs the binary with the environment given, on ports of the
// loopback and with a data folder of its own below dir, and returns when it is
// ready.
func startServer(ctx context.Context, binary, dir string, env []string) (*Server, error) {
	public, err := freePort()
	if err != nil {
		return nil, err
	}
	admin, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &Server{URL: "http://" + public, WSURL: "ws://" + public + "/ws", Admin: "http://" + admin, log: filepath.Join(dir, "log"), data: filepath.Join(dir, "data"), done: make(chan struct{})}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the process writes to a copy
	//nolint:noctx // stop ends it in order, ctx would kill it
	s.cmd = exec.Command(binary, "serve")
	s.cmd.Env = slices.Concat(env, []string{"SUNZI_LISTEN=" + public, "SUNZI_ADMIN_LISTEN=" + admin, "SUNZI_DATA=" + s.data})
	s.cmd.Dir, s.cmd.Stderr = dir, log
	// It does not outlive a bench that is killed.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go s.live(started)
	if err := <-started; err != nil {
		return nil, err
	}
	s.process = process(s.cmd.Process.Pid)
	if err := s.ready(ctx); err != nil {
		s.stop()
		return nil, fmt.Errorf("%w: %s", err, s.said())
	}
	return s, nil
}

// live owns the process until it is gone. It keeps its thread, with whose end
// the kernel would send the death signal.
func (s *Server) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.done)
	err := s.cmd.Start()
	started <- err
	if err == nil {
		_ = s.cmd.Wait() // killed or not: it is gone
	}
}

func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Admin+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close() // the status is all that was asked for
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.done:
			return errors.New("the server ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("the server was not ready in %s: %w", startTimeout, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// said is what the process has logged, warnings and worse; of much of it the
// first lines.
func (s *Server) said() string {
	const enough = 1000
	b, err := os.ReadFile(s.log)
	switch {
	case err != nil:
		return err.Error()
	case len(b) > enough:
		return fmt.Sprintf("%s… (%d lines)", b[:enough], bytes.Count(b, []byte("\n")))
	}
	return string(bytes.TrimSpace(b))
}

// stop ends the process in order, by force after 20 seconds.
func (s *Server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// freePort is an address of the loopback on which nothing listens, below the
// ports that the kernel gives to the thousands of clients.
func freePort() (string, error) {
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000))) //nolint:gosec // G404: no secret
		if l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("no free port")
}
