package server

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// serving is an http.Server under a pending, on a port of its own.
func serving(t *testing.T, p *pending) (addr string, srv *http.Server) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv = &http.Server{ConnState: p.watch, ReadHeaderTimeout: time.Minute, Handler: http.NotFoundHandler()}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return ln.Addr().String(), srv
}

func dialed(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConnectionsBeyondTheLimitAreClosed(t *testing.T) {
	p := newPending(2)
	addr, _ := serving(t, p)
	first, _, third := dialed(t, addr), dialed(t, addr), dialed(t, addr)
	if _, err := third.Read(make([]byte, 1)); err == nil {
		t.Fatal("the third connection was answered")
	}
	if _, err := io.WriteString(first, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(first); err != nil || len(b) == 0 {
		t.Fatalf("the first is not served: %q, %v", b, err)
	}
}

func TestConnectionsWithoutARequestAreClosedAtShutdown(t *testing.T) {
	p := newPending(0)
	addr, _ := serving(t, p)
	c := dialed(t, addr)
	deadline := time.Now().Add(20 * time.Second)
	for seen := 0; seen == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the connection was not seen")
		}
		p.mu.Lock()
		seen = len(p.fresh)
		p.mu.Unlock()
	}
	p.closeFresh()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatal("still open")
	}
}
