package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Server is a Sunzi process that a scenario started and owns.
type Server struct {
	URL    string // http://127.0.0.1:port
	WSURL  string
	APIKey string

	cmd  *exec.Cmd
	dir  string
	done chan struct{} // closed after Wait
}

// ServerOptions say how to start it. Binary is required.
type ServerOptions struct {
	Binary string
	Env    []string // added to the process's environment, KEY=value
}

// StartServer runs `sunzi dev` on a port of its choosing with a data folder of
// its own, and returns when it is ready.
func StartServer(ctx context.Context, o ServerOptions) (*Server, error) {
	dir, err := os.MkdirTemp("", "sunzi-bench-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, done: make(chan struct{})}
	//nolint:gosec,noctx // G204: the caller's binary; Stop ends it in order, ctx would kill it
	s.cmd = exec.Command(o.Binary, "dev", "--listen", "127.0.0.1:0", "--data", dir, "--json")
	s.cmd.Env = append(os.Environ(), o.Env...)
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- text
		_ = s.cmd.Wait() // killed or not: it is gone
		close(s.done)
	}()
	var info struct {
		URL    string `json:"url"`
		WSURL  string `json:"ws_url"`
		APIKey string `json:"api_key"`
	}
	select {
	case text := <-line:
		if err := json.Unmarshal([]byte(text), &info); err != nil {
			return nil, errors.Join(fmt.Errorf("the server did not say where it is: %q", text), s.Stop())
		}
	case <-time.After(30 * time.Second):
		return nil, errors.Join(errors.New("the server was not ready in 30 s"), s.Stop())
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), s.Stop())
	}
	s.URL, s.WSURL, s.APIKey = info.URL, info.WSURL, info.APIKey
	return s, nil
}

// Stop ends the process and removes its data.
func (s *Server) Stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	return os.RemoveAll(s.dir)
}

// RSS is the process's resident memory in bytes (VmRSS).
func (s *Server) RSS() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("no VmRSS")
}

// CPU is the process's user and system time so far.
func (s *Server) CPU() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat is not as expected")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on Linux
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}
