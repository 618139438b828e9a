package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a server that a run starts, kills, pauses and starts again, always
// with the same command. Its methods may be called from any goroutine; they
// take turns.
type Process struct {
	argv []string
	env  []string
	log  io.Writer

	mu     sync.Mutex
	cmd    *exec.Cmd      // nil: not running
	stdin  io.WriteCloser // of cmd
	done   chan struct{}  // closed once it was waited for
	deaths int            // lives that ended unasked
}

// ready bounds a start: migrations and a recovery included.
const ready = 30 * time.Second

// NewProcess does not start anything. env is added to this process's own;
// what the server writes to its standard error goes to log.
func NewProcess(argv, env []string, log io.Writer) *Process {
	return &Process{argv: argv, env: env, log: log}
}

// Start runs the command and waits for its first line on standard output,
// which is decoded from JSON into info unless that is nil. It blocks for half
// a minute at most.
func (p *Process) Start(ctx context.Context, info any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bury()
	if p.cmd != nil {
		return errors.New("chaos: the process runs already")
	}
	//nolint:gosec,noctx // G204: the caller's command; its life is longer than ctx's
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stderr = p.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.stdin, p.done = cmd, stdin, make(chan struct{})
	first := make(chan []byte, 1)
	go p.wait(cmd, out, first, p.done)
	timer := time.NewTimer(ready)
	defer timer.Stop()
	select {
	case line := <-first:
		if info != nil {
			err = json.Unmarshal(line, info)
		} else if len(line) == 0 {
			err = io.ErrUnexpectedEOF
		}
	case <-timer.C:
		err = fmt.Errorf("not ready in %s", ready)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		_ = cmd.Process.Kill() // it may have ended by itself, which is no death: it never lived
		<-p.done
		p.cmd = nil
		return fmt.Errorf("chaos: %s: %w", p.argv[0], err)
	}
	return nil
}

// wait owns the process until it is gone.
func (p *Process) wait(cmd *exec.Cmd, out io.Reader, first chan<- []byte, done chan<- struct{}) {
	defer close(done)
	r := bufio.NewReader(out)
	line, _ := r.ReadBytes('\n') // what is missing is seen by who decodes it
	first <- line
	_, _ = io.Copy(io.Discard, r)
	_ = cmd.Wait() // killed or not: it is gone
}

// Kill is kill -9, and waits until the process is gone. It need not run.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(syscall.SIGKILL)
}

// Stop is SIGTERM, and kill -9 where that does not end it within a time.
func (p *Process) Stop(within time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	process := p.cmd.Process
	timer := time.AfterFunc(within, func() { _ = process.Kill() }) // it may have ended
	defer timer.Stop()
	p.end(syscall.SIGTERM)
}

func (p *Process) end(sig syscall.Signal) {
	p.bury()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig)             // it may have ended by itself
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // one that is paused hears nothing else
	<-p.done
	p.cmd = nil
}

// bury counts a life that ended by itself. The caller holds mu.
func (p *Process) bury() {
	if p.cmd == nil {
		return
	}
	select {
	case <-p.done:
		p.cmd = nil
		p.deaths++
	default:
	}
}

// Deaths is how many of its lives ended unasked.
func (p *Process) Deaths() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bury()
	return p.deaths
}

// Tell writes a line to the process's standard input. It does not wait for an
// answer.
func (p *Process) Tell(line string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return errors.New("chaos: the process does not run")
	}
	_, err := io.WriteString(p.stdin, line+"\n")
	return err
}

// Signal sends a signal, SIGSTOP or SIGCONT say.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return errors.New("chaos: the process does not run")
	}
	return p.cmd.Process.Signal(sig)
}

// Memory is the resident memory in bytes (VmRSS); zero where it does not run.
func (p *Process) Memory() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64) // the kernel's own number
			return kb << 10
		}
	}
	return 0
}

// FreeAddr is a loopback address that nothing listens on, with a port below
// those that outgoing connections are given (32768 on Linux): while a node is
// down nothing else may come to sit on its port, not even who dials it.
func FreeAddr() (string, error) {
	for range 100 {
		port := 20_000 + rand.IntN(12_000)                                             //nolint:gosec // G404: any will do
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) //nolint:noctx // it returns at once
		if err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", errors.New("chaos: no free port below 32768")
}
