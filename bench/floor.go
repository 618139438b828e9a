package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"
)

// Floor is what a push can't be cheaper than with net/http: requests of the
// same size to a server that reads the body and answers 202, in a process of
// its own, run with the same client as a push run. Figures of pushes are to be read
// as multiples of it, since machines differ by more than servers do.
func Floor(ctx context.Context, o PushOptions) (*Result, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "floor", "--serve") //nolint:gosec // G204: this very program
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var addr string
	_, scanErr := fmt.Fscanln(out, &addr)
	c := &Cluster{Nodes: []*Server{{process: process(cmd.Process.Pid), URL: "http://" + addr}}}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed: its error says so
	}()
	if scanErr != nil {
		return nil, scanErr
	}
	return floor(ctx, c, o)
}

func floor(ctx context.Context, c *Cluster, o PushOptions) (*Result, error) {
	r := NewResult("floor")
	fleet := NewFleet(c)
	defer fleet.Close()
	body := make([]byte, o.Payload+90) // with the envelope's fields
	for i := range body {
		body[i] = 'x'
	}
	before, err := c.Usage()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	counts := make([]int, o.Connections)
	err = Parallel(o.Connections, o.Connections, func(i int) error {
		for time.Since(start) < o.For && ctx.Err() == nil {
			if err := fleet.Post(ctx, "/v1/push", body, nil); err != nil {
				return err
			}
			counts[i]++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	after, err := c.Usage()
	if err != nil {
		return nil, err
	}
	n := 0
	for _, c := range counts {
		n += c
	}
	r.Note("net/http that reads %d bytes and answers 202; %d connections", len(body), o.Connections)
	r.Add("requests answered", float64(n)/took.Seconds(), "per second")
	r.Add("server CPU", (after.Nodes-before.Nodes).Seconds()/float64(n)*1e6, "us/request")
	return r, nil
}

// ServeFloor is the floor's server: it prints its address and runs until it is
// killed.
func ServeFloor(w io.Writer) error {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w, ln.Addr()); err != nil {
		return err
	}
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a request that breaks is the client's to tell
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"id":"1"}`)
	})}
	return srv.Serve(ln)
}
