package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tracer is an strace attached to a running server. kill -9 keeps the page
// cache, so only this shows whether an answer waited for the disk.
type tracer struct {
	cmd *exec.Cmd
	log string
}

// attach runs strace with args on all threads of the server, and returns once
// it is in effect.
func attach(t *testing.T, s *server, args ...string) *tracer {
	t.Helper()
	tr := &tracer{log: filepath.Join(t.TempDir(), "strace.log")}
	args = append([]string{"-f", "-o", tr.log, "-p", fmt.Sprint(s.cmd.Process.Pid)}, args...)
	tr.cmd = exec.Command("strace", args...)
	said := &lockedBuffer{}
	tr.cmd.Stderr = said
	if err := tr.cmd.Start(); err != nil {
		t.Fatalf("strace: %v (make test installs it)", err)
	}
	t.Cleanup(func() { tr.detach(t) })
	eventually(t, "strace attached to all threads: "+said.String(), func() bool { return traced(s.cmd.Process.Pid) })
	return tr
}

// traced reports whether every thread of the process has a tracer.
func traced(pid int) bool {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) == 0 {
		return false
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err == nil && strings.Contains(string(b), "TracerPid:\t0\n") {
			return false
		}
	}
	return true
}

// detach ends strace; the server runs on.
func (tr *tracer) detach(t *testing.T) {
	t.Helper()
	if tr.cmd.ProcessState != nil {
		return
	}
	_ = tr.cmd.Process.Signal(syscall.SIGINT)
	_ = tr.cmd.Wait()
}

var (
	flushed  = regexp.MustCompile(`f(data)?sync(\([0-9]+\)| resumed>.*)\s*= 0`)
	answered = regexp.MustCompile(`write\([0-9]+, "HTTP/1\.1 20[12]`)
	asked    = regexp.MustCompile(`"POST /v1/push`)
)

func TestTheFlushPrecedesTheAnswer(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	tr := attach(t, s, "-e", "trace=read,write,fsync,fdatasync", "-s", "64")
	for i := range 5 {
		s.must(t, request{method: "POST", path: "/v1/push", body: pushTo(s.ClientID, i)}, nil)
	}
	tr.detach(t)
	log, err := os.ReadFile(tr.log)
	if err != nil {
		t.Fatal(err)
	}
	answers, flushes := 0, 0
	for line := range strings.Lines(string(log)) {
		switch {
		case asked.MatchString(line):
			flushes = 0
		case flushed.MatchString(line):
			flushes++
		case answered.MatchString(line):
			answers++
			if flushes == 0 {
				t.Fatalf("answer %d went out before a flush:\n%s", answers, log)
			}
		}
	}
	if answers != 5 {
		t.Fatalf("%d answers in the trace, want 5:\n%s", answers, log)
	}
}

func TestASlowFlushHoldsTheAnswer(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	const delay = 400 * time.Millisecond
	attach(t, s, "-e", "trace=fsync,fdatasync", "-e", fmt.Sprintf("inject=fsync,fdatasync:delay_enter=%d", delay.Microseconds()))
	begin := time.Now()
	s.must(t, request{method: "POST", path: "/v1/push", body: pushTo(s.ClientID, "slow")}, nil)
	if took := time.Since(begin); took < delay {
		t.Fatalf("answered after %v, the flush took %v", took, delay)
	}
}

func TestAFailedFlushIsNotAnswered(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	push := func(key string) answer {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		a, err := s.do(ctx, request{method: "POST", path: "/v1/push", key: key, body: pushTo(s.ClientID, key)})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := push("before"); a.status >= 300 {
		t.Fatalf("before: %d %s", a.status, a.body)
	}
	tr := attach(t, s, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO")
	a := push("during")
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), "store_unavailable") {
		t.Fatalf("while flushes fail: %d %v %s", a.status, a.header, a.body)
	}
	tr.detach(t)
	// The same request again, with its key, is accepted exactly once.
	var again answer
	eventually(t, "accepted again after the disk is well", func() bool {
		again = push("during")
		return again.status < 300
	})
	var history struct {
		Messages []struct {
			Message struct {
				Data any `json:"data"`
			} `json:"message"`
		} `json:"messages"`
	}
	s.must(t, request{method: "GET", path: "/v1/clients/" + s.ClientID + "/messages"}, &history)
	var got []any
	for _, m := range history.Messages {
		got = append(got, m.Message.Data)
	}
	if fmt.Sprint(got) != "[before during]" {
		t.Fatalf("the mailbox holds %v, want each push once", got)
	}
}
