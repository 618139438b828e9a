package chaos

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// echo answers what it is sent, until the test ends.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// call dials the link and says a word, which must come back.
func call(k *Link) (net.Conn, error) {
	c, err := net.Dial("tcp", k.Addr)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	word := make([]byte, 4)
	if _, err = c.Write([]byte("word")); err == nil {
		_, err = io.ReadFull(c, word)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func TestACutLinkResetsWhatItCarriesUntilItIsMended(t *testing.T) {
	k, err := NewLink("l", echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	c, err := call(k)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k.Cut()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v, want a reset", err)
	}
	if c, err := call(k); err == nil {
		_ = c.Close()
		t.Error("a cut link carried a new connection")
	}
	k.Mend()
	again, err := call(k)
	if err != nil {
		t.Fatalf("after mending: %v", err)
	}
	defer again.Close()
	k.ResetAll()
	if _, err := again.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v, want a reset", err)
	}
	last, err := call(k)
	if err != nil {
		t.Fatalf("after a reset of all: %v", err)
	}
	_ = last.Close()
}

func TestAProcessIsStartedKilledAndStartedAgain(t *testing.T) {
	p := NewProcess([]string{"sh", "-c", `echo '{"word":"ready"}'; exec sleep 60`}, nil, io.Discard)
	defer p.Kill()
	for range 2 {
		var said struct{ Word string }
		if err := p.Start(t.Context(), &said); err != nil || said.Word != "ready" {
			t.Fatalf("start: %v, it said %q", err, said.Word)
		}
		if err := p.Start(t.Context(), nil); err == nil {
			t.Error("it was started twice")
		}
		if p.Memory() == 0 {
			t.Error("it takes no memory")
		}
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			t.Error(err)
		}
		p.Kill() // a stopped process as well
		if p.Memory() != 0 || p.Signal(syscall.SIGCONT) == nil {
			t.Error("a killed process is still there")
		}
	}
	mute := NewProcess([]string{"sleep", "60"}, nil, io.Discard)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := mute.Start(ctx, nil); !errors.Is(err, context.Canceled) || mute.Memory() != 0 {
		t.Errorf("a start that was called off: %v", err)
	}
}
