// Package e2e runs the whole server as its users run it: the built binary, in
// a process of its own, on real sockets and a real disk, killed and restarted.
// It holds the promises of GUARANTEES.md that no package can hold alone.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the server under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sunzi-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "sunzi")
	build := exec.Command("go", "build", "-o", binary, "github.com/sunzi-push/sunzi/cmd/sunzi")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		return 1
	}
	return m.Run()
}

// server is one life of a server process.
type server struct {
	URL      string `json:"url"`
	WSURL    string `json:"ws_url"`
	APIKey   string `json:"api_key"`
	ClientID string `json:"client_id"`
	Token    string `json:"token"`
	SealKey  string `json:"seal_key"`

	cmd    *exec.Cmd
	stderr *lockedBuffer
	done   chan struct{} // closed once the process was waited for
}

// start runs `sunzi dev` on dir and waits until it says where it is.
func start(t *testing.T, dir, listen string) *server {
	t.Helper()
	s := &server{stderr: &lockedBuffer{}, done: make(chan struct{})}
	s.cmd = exec.Command(binary, "dev", "--listen", listen, "--data", dir, "--json")
	s.cmd.Stderr = s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	line := make(chan []byte, 1)
	go func() {
		defer close(s.done)
		r := bufio.NewReader(out)
		first, _ := r.ReadBytes('\n')
		line <- first
		_, _ = io.Copy(io.Discard, r)
		_ = s.cmd.Wait()
	}()
	select {
	case text := <-line:
		if err := json.Unmarshal(text, s); err != nil {
			t.Fatalf("the server said %q; stderr:\n%s", text, s.stderr.String())
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("the server was not ready in 30 s; stderr:\n%s", s.stderr.String())
	}
	return s
}

// addr is the host and port that the server listens on.
func (s *server) addr() string { return strings.TrimPrefix(s.URL, "http://") }

// kill ends the process with SIGKILL and waits until it is gone.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// stop asks it to end, as an operator would.
func (s *server) stop(t *testing.T) {
	t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-s.done:
	case <-time.After(30 * time.Second):
		t.Fatal("the server did not end in 30 s after SIGTERM")
	}
}

// request is one call of the open API. A transport error means that the
// outcome is unknown.
type request struct {
	method, path, key string // key: Idempotency-Key
	body              any
}

type answer struct {
	status int
	body   []byte
	header http.Header
}

var httpClient = &http.Client{
	Timeout:   20 * time.Second,
	Transport: &http.Transport{MaxIdleConnsPerHost: 32},
}

func (s *server) do(ctx context.Context, r request) (answer, error) {
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return answer{}, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, s.URL+r.path, body)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+s.APIKey)
	req.Header.Set("Content-Type", "application/json")
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	return answer{resp.StatusCode, b, resp.Header}, err
}

// must is do for calls that have to succeed; it decodes the answer.
func (s *server) must(t *testing.T, r request, into any) {
	t.Helper()
	a, err := s.do(t.Context(), r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	if a.status >= 300 {
		t.Fatalf("%s %s: %d %s", r.method, r.path, a.status, a.body)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("%s %s: %v in %s", r.method, r.path, err, a.body)
	}
}

// pushTo is the body of a push to one client.
func pushTo(client string, data any) map[string]any {
	return map[string]any{"to": map[string]any{"client": client}, "topic": "test", "data": data}
}

// eventually waits for a condition; the deadline only ends a hanging test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in 60 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// lockedBuffer is a bytes.Buffer for a process's stderr.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
