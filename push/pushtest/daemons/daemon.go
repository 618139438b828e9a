package daemons

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Daemon is one server process and what can be done to it. It keeps its port
// and its folder through Kill and Start.
type Daemon struct {
	// Static after construction.
	name  string
	dir   string
	port  int
	path  string
	args  []string
	as    *syscall.Credential // nil: as this process
	ready func(context.Context) error

	mu  sync.Mutex
	run *run // nil before the first start; guarded by mu
}

// run is one life of the process.
type run struct {
	pid  int
	done chan struct{} // closed once the process was waited for
	err  error         // how it ended; read after done
}

func (r *run) signal(s syscall.Signal) {
	select {
	case <-r.done:
	default:
		// Its own process group: what it forked goes with it. The only error
		// is that it is gone, which done is about to say.
		_ = syscall.Kill(-r.pid, s)
	}
}

// Addr is where the server listens, 127.0.0.1:port.
func (d *Daemon) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port)) }

// Dir is the folder with its data and its log.
func (d *Daemon) Dir() string { return d.dir }

// PID is the server's process ID, that of its last life if it is dead, and 0 if
// it never ran.
func (d *Daemon) PID() int {
	if r := d.last(); r != nil {
		return r.pid
	}
	return 0
}

// Alive says whether the process exists. One that is stopped does.
func (d *Daemon) Alive() bool {
	r := d.last()
	if r == nil {
		return false
	}
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

func (d *Daemon) last() *run {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run
}

// Start starts the server again on the same port and data, and waits until it
// answers, [StartTimeout] at most. One that is alive is left alone.
func (d *Daemon) Start() error { return d.start(context.Background()) }

func (d *Daemon) start(ctx context.Context) error {
	if err := d.launch(); err != nil {
		return err
	}
	return until(ctx, d.name+" does not answer", d.ready, d)
}

// Kill ends the server at once (SIGKILL) and returns when it is gone.
func (d *Daemon) Kill() {
	if r := d.last(); r != nil {
		r.signal(syscall.SIGKILL)
		<-r.done
	}
}

// Stop halts the server (SIGSTOP): its connections stay, and nothing answers.
func (d *Daemon) Stop() { d.signal(syscall.SIGSTOP) }

// Continue lets a stopped server go on (SIGCONT).
func (d *Daemon) Continue() { d.signal(syscall.SIGCONT) }

// Terminate asks the server to end (SIGTERM) and does not wait.
func (d *Daemon) Terminate() { d.signal(syscall.SIGTERM) }

func (d *Daemon) signal(s syscall.Signal) {
	if r := d.last(); r != nil {
		r.signal(s)
	}
}

// Close ends the server in order, by force after ten seconds, and returns when
// it is gone. Its folder stays. Closing twice is allowed.
func (d *Daemon) Close() error {
	r := d.last()
	if r == nil {
		return nil
	}
	r.signal(syscall.SIGTERM)
	r.signal(syscall.SIGCONT)
	late := time.NewTimer(stopTimeout)
	defer late.Stop()
	select {
	case <-r.done:
	case <-late.C:
		d.Kill()
	}
	return nil
}

// hears connects, says what is given, and answers the first byte that comes
// back, within a second.
func (d *Daemon) hears(ctx context.Context, network, addr, say string) (byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return 0, err
	}
	defer c.Close() //nolint:errcheck // it has answered or not
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return 0, err
	}
	if _, err := c.Write([]byte(say)); err != nil {
		return 0, err
	}
	first := make([]byte, 1)
	_, err = c.Read(first)
	return first[0], err
}

// Log is what the server wrote to its log in all its lives.
func (d *Daemon) Log() string {
	text, err := os.ReadFile(d.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (d *Daemon) logFile() string { return filepath.Join(d.dir, "log") }

// died says how the process ended, with the end of its log.
func (d *Daemon) died() error {
	const tail = 2000
	text := d.Log()
	if len(text) > tail {
		text = "…" + text[len(text)-tail:]
	}
	err := errors.New("killed or closed")
	if r := d.last(); r != nil && r.err != nil {
		err = r.err
	}
	return fmt.Errorf("%s ended (%w): %s", d.name, err, text)
}

// launch starts the process unless it is alive.
func (d *Daemon) launch() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.run != nil {
		select {
		case <-d.run.done:
		default:
			return nil
		}
	}
	log, err := os.OpenFile(d.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("daemons: opening the log of %s: %w", d.name, err)
	}
	defer log.Close()                      //nolint:errcheck // the process writes to a copy
	cmd := exec.Command(d.path, d.args...) //nolint:gosec // G204: what binary has found
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: d.as}
	r := &run{done: make(chan struct{})}
	started := make(chan error, 1)
	go r.live(cmd, started)
	if err := <-started; err != nil {
		return fmt.Errorf("daemons: starting %s: %w", d.name, err)
	}
	d.run = r
	return nil
}

// live is the goroutine of one life. It keeps the thread that starts the
// process until the process has ended, for the sake of Pdeathsig.
func (r *run) live(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(r.done)
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	r.pid = cmd.Process.Pid
	started <- nil
	r.err = cmd.Wait()
}

// attempts is how often a server is tried on another port: between the choice
// of a port and its use, somebody else may take it.
const attempts = 3

// freePort is a port on which nothing listens. It is below those that the
// kernel gives to outgoing connections, so that it is still free when a killed
// server comes back.
func freePort() (int, error) {
	for range 100 {
		port := 10_000 + rand.IntN(20_000) //nolint:gosec // G404: no secret
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("daemons: no free port found")
}

// open starts a daemon on a free port; with answers its arguments for the port.
func (d *Daemon) open(ctx context.Context, with func(port int) []string) (err error) {
	for range attempts {
		if d.port, err = freePort(); err != nil {
			return err
		}
		d.args = with(d.port)
		if err = d.start(ctx); err == nil {
			return nil
		}
		alive := d.Alive()
		d.Kill()
		if alive {
			return err // It runs and does not answer: the port is not why.
		}
	}
	return err
}
