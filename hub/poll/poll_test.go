//go:build linux

package poll

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// pair is a detached socket and its peer.
func pair(t *testing.T) (fd int, peer net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	peer, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	fd, err = Detach(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the net.Conn is still open: %v", err)
	}
	return fd, peer
}

func newPoller(t *testing.T) *Poller {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// wait polls until something is reported.
func wait(t *testing.T, p *Poller) []Event {
	t.Helper()
	events, err := p.Wait(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func TestADetachedSocketReadsAndWrites(t *testing.T) {
	p := newPoller(t)
	fd, peer := pair(t)
	defer func() { _ = Close(fd) }()
	if _, err := Read(fd, make([]byte, 8)); !errors.Is(err, ErrAgain) {
		t.Fatalf("reading from a silent peer: %v", err)
	}
	if err := p.Add(fd, 7, Readable); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if ev := wait(t, p); len(ev) != 1 || ev[0] != (Event{Token: 7, Ready: Readable}) {
		t.Fatalf("got %v", ev)
	}
	b := make([]byte, 3)
	if n, err := Read(fd, b); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if ev := wait(t, p); len(ev) != 1 { // level-triggered: the rest is reported again
		t.Fatalf("got %v", ev)
	}
	if n, err := Read(fd, b); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := Write(fd, []byte("answer")); n != 6 || err != nil {
		t.Fatal(n, err)
	}
	if err := CloseWrite(fd); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(peer); err != nil || !bytes.Equal(got, []byte("answer")) {
		t.Fatalf("%q, %v", got, err)
	}
	_ = peer.Close()
	if ev := wait(t, p); len(ev) != 1 || ev[0].Ready&Readable == 0 {
		t.Fatalf("got %v", ev)
	}
	if n, err := Read(fd, b); n != 0 || err != nil {
		t.Fatalf("end of stream: %d, %v", n, err)
	}
}

func TestAFullKernelSaysSo(t *testing.T) {
	p := newPoller(t)
	fd, peer := pair(t)
	defer func() { _ = Close(fd) }()
	chunk := make([]byte, 1<<16)
	sent := 0
	for {
		n, err := Write(fd, chunk)
		if errors.Is(err, ErrAgain) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sent += n
	}
	if err := p.Add(fd, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.Set(fd, 0, Writable); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, peer, int64(sent)); err != nil {
		t.Fatal(err)
	}
	if ev := wait(t, p); len(ev) != 1 || ev[0].Ready != Writable {
		t.Fatalf("got %v", ev)
	}
}

func TestAResetIsReportedWhateverIsAskedFor(t *testing.T) {
	p := newPoller(t)
	fd, peer := pair(t)
	defer func() { _ = Close(fd) }()
	if err := p.Add(fd, 3, 0); err != nil {
		t.Fatal(err)
	}
	if err := peer.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = peer.Close()
	if ev := wait(t, p); len(ev) != 1 || ev[0].Ready&Gone == 0 {
		t.Fatalf("got %v", ev)
	}
}

func TestWakeEndsOneWait(t *testing.T) {
	p := newPoller(t)
	p.Wake()
	p.Wake() // together they are one
	begin := time.Now()
	if ev := wait(t, p); len(ev) != 0 || time.Since(begin) > 5*time.Second {
		t.Fatalf("got %v after %v", ev, time.Since(begin))
	}
	begin = time.Now()
	if ev, err := p.Wait(20 * time.Millisecond); err != nil || len(ev) != 0 || time.Since(begin) < 15*time.Millisecond {
		t.Fatalf("got %v, %v after %v", ev, err, time.Since(begin))
	}
}

func TestDetachRefusesWhatIsNoSocket(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _ = b.Close() }()
	if _, err := Detach(a); !errors.Is(err, ErrNoSocket) {
		t.Fatal(err)
	}
	if _, err := a.Write(nil); err == nil {
		t.Error("the pipe was not closed")
	}
}
