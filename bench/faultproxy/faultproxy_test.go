package faultproxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// long is beyond what anything healthy takes; short is how long a test waits
// for what must not come.
const long, short = 10 * time.Second, 100 * time.Millisecond

// serve runs a server with what it does with each connection, and a link to it.
func serve(t *testing.T, do func(*net.TCPConn)) *Link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				do(c.(*net.TCPConn))
			})
		}
	})
	l := link(t, listener.Addr().String())
	t.Cleanup(func() {
		l.Close()
		listener.Close()
		running.Wait()
	})
	return l
}

func link(t *testing.T, target string) *Link {
	t.Helper()
	l, err := NewLink("link", target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c) }

func dial(t *testing.T, l *Link) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func set(t *testing.T, l *Link, f Fault) {
	t.Helper()
	if err := l.Set(f); err != nil {
		t.Fatal(err)
	}
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c net.Conn, want string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(long))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("%q was heard instead of %q: %v", got, want, err)
	}
}

func hearNothing(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(short))
	got := make([]byte, 10)
	if n, err := c.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%q was heard, %v", got[:n], err)
	}
}

func hearReset(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(long))
	if n, err := c.Read(make([]byte, 10)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("%d bytes and %v instead of a reset", n, err)
	}
}

// eventually polls a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(long); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func TestAHealthyLinkCarriesBytesAndEnds(t *testing.T) {
	l := serve(t, echo)
	c := dial(t, l)
	_ = c.SetDeadline(time.Now().Add(long))
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var writing sync.WaitGroup
	writing.Go(func() {
		if _, err := c.Write(sent); err != nil {
			t.Error(err)
		}
		_ = c.CloseWrite()
	})
	got, err := io.ReadAll(c)
	writing.Wait()
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d of %d bytes came back, %v", len(got), len(sent), err)
	}
	eventually(t, "the connection stays", func() bool { return l.Stats().Open == 0 })
	if s := l.Stats(); s.Accepted != 1 || s.Up != int64(len(sent)) || s.Down != s.Up {
		t.Fatalf("the figures are %+v", s)
	}
}

func TestCutResetsBothEndsOnce(t *testing.T) {
	server := make(chan error, 1)
	l := serve(t, func(c *net.TCPConn) {
		_, err := io.Copy(c, c)
		select {
		case server <- err:
		default:
		}
	})
	c := dial(t, l)
	say(t, c, "a")
	hear(t, c, "a")
	if n := l.Cut(); n != 1 {
		t.Fatalf("%d were cut", n)
	}
	hearReset(t, c)
	if err := <-server; !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the server saw %v", err)
	}
	next := dial(t, l)
	say(t, next, "b")
	hear(t, next, "b")
}

func TestAResetOfOneEndReachesTheOther(t *testing.T) {
	l := serve(t, func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.SetLinger(0)
	})
	c := dial(t, l)
	say(t, c, "a")
	hearReset(t, c)
}

func TestRefusedIsRefusedAndTheRestGoesOn(t *testing.T) {
	l := serve(t, echo)
	c := dial(t, l)
	say(t, c, "a")
	hear(t, c, "a")
	for range 3 {
		set(t, l, Fault{Refuse: true})
		if other, err := net.Dial("tcp", l.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("dialling gave %v %v", other, err)
		}
		say(t, c, "b")
		hear(t, c, "b")
		set(t, l, Fault{})
		next := dial(t, l)
		say(t, next, "c")
		hear(t, next, "c")
	}
}

func TestAPartitionHoldsEverythingUntilItHeals(t *testing.T) {
	l := serve(t, echo)
	c := dial(t, l)
	say(t, c, "a")
	hear(t, c, "a")
	set(t, l, Partition())
	say(t, c, "b")
	next := dial(t, l)
	say(t, next, "c")
	hearNothing(t, c)
	hearNothing(t, next)
	if up := l.Stats().Up; up != 1 {
		t.Fatalf("the server was sent %d bytes", up)
	}
	set(t, l, Fault{})
	hear(t, c, "b")
	hear(t, next, "c")
}

func TestABlackholeOfOneDirectionLeavesTheOther(t *testing.T) {
	l := serve(t, echo)
	c := dial(t, l)
	set(t, l, Fault{Down: Flow{Blackhole: true}})
	say(t, c, "a")
	eventually(t, "the server was sent nothing", func() bool { return l.Stats().Up == 1 })
	hearNothing(t, c)
	set(t, l, Fault{Up: Flow{Blackhole: true}})
	hear(t, c, "a")
	say(t, c, "b")
	hearNothing(t, c)
	if up := l.Stats().Up; up != 1 {
		t.Fatalf("the server was sent %d bytes", up)
	}
}

func TestAnEndIsNotSeenThroughAPartition(t *testing.T) {
	ended := make(chan error, 1)
	l := serve(t, func(c *net.TCPConn) {
		_, err := io.Copy(c, c)
		ended <- err
	})
	c := dial(t, l)
	say(t, c, "a")
	hear(t, c, "a")
	set(t, l, Partition())
	_ = c.Close()
	select {
	case err := <-ended:
		t.Fatalf("the server saw the end: %v", err)
	case <-time.After(short):
	}
	set(t, l, Fault{})
	select {
	case <-ended:
	case <-time.After(long):
		t.Fatal("the server never saw the end")
	}
}

func TestLatencyDelaysEachWayAndNotTheNextByte(t *testing.T) {
	l := serve(t, echo)
	c := dial(t, l)
	set(t, l, Both(Flow{Latency: short, Jitter: short / 10}))
	start := time.Now()
	const n = 40
	for range n {
		say(t, c, "a")
	}
	hear(t, c, "a")
	if took := time.Since(start); took < 2*short {
		t.Fatalf("a round trip took %v", took)
	}
	hear(t, c, string(bytes.Repeat([]byte("a"), n-1)))
	if took := time.Since(start); took > n*short/2 {
		t.Fatalf("%d bytes at once took %v", n, took)
	}
	set(t, l, Both(Flow{Latency: time.Hour}))
	say(t, c, "b")
	hearNothing(t, c)
	set(t, l, Fault{})
	hear(t, c, "b")
}

func TestASlowLinkIsSlow(t *testing.T) {
	l := serve(t, echo)
	c := dial(t, l)
	set(t, l, Fault{Up: Flow{BytesPerSecond: 10_000}})
	text := string(bytes.Repeat([]byte("x"), 3000))
	start := time.Now()
	say(t, c, text)
	hear(t, c, text)
	if took := time.Since(start); took < 200*time.Millisecond || took > 5*time.Second {
		t.Fatalf("3,000 bytes at 10,000 a second took %v", took)
	}
	set(t, l, Fault{Up: Flow{BytesPerSecond: 1}})
	say(t, c, text)
	hear(t, c, "x")
	set(t, l, Fault{})
	hear(t, c, text[1:])
}

func TestCutAfterLetsExactlySoMuchThrough(t *testing.T) {
	l := serve(t, echo)
	c := dial(t, l)
	say(t, c, "before")
	hear(t, c, "before")
	set(t, l, Fault{Down: Flow{CutAfter: 10}})
	for range 2 { // a new connection too
		say(t, c, "0123456789abcdef")
		hear(t, c, "0123456789")
		hearReset(t, c)
		c = dial(t, l)
	}
	set(t, l, Fault{})
	say(t, c, "0123456789abcdef")
	hear(t, c, "0123456789abcdef")
}

func TestWithoutItsServerALinkResets(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	c, err := net.Dial("tcp", link(t, gone.Addr().String()).Addr())
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	// The reset may come before dialling has looked.
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("%v instead of a reset", err)
	}
}

func TestCloseEndsWhatAFaultHolds(t *testing.T) {
	l := serve(t, echo)
	c := dial(t, l)
	say(t, c, "a")
	hear(t, c, "a")
	set(t, l, Partition())
	say(t, c, "b")
	l.Close()
	hearReset(t, c)
	if err := l.Set(Fault{}); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("a closed link was set: %v", err)
	}
	l.Close()
}

func TestFaultsSwitchedUnderLoadCorruptNothing(t *testing.T) {
	l := serve(t, echo)
	faults := []Fault{
		{}, {Refuse: true}, Partition(), {Up: Flow{Blackhole: true}}, {Down: Flow{CutAfter: 5000}},
		Both(Flow{Latency: time.Millisecond, Jitter: 3 * time.Millisecond}), Both(Flow{BytesPerSecond: 100_000}),
	}
	stop := make(chan struct{})
	var clients, switches sync.WaitGroup
	for range 4 {
		clients.Go(func() { talk(t, l, stop) })
		switches.Go(func() {
			for range 10 {
				for _, f := range faults {
					if err := l.Set(f); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Millisecond)
				}
				l.Cut()
				l.Stats()
			}
		})
	}
	switches.Wait()
	close(stop)
	l.Cut()
	set(t, l, Fault{})
	clients.Wait()
	if l.Stats().Down == 0 {
		t.Fatal("nothing was said")
	}
	c := dial(t, l)
	say(t, c, "a")
	hear(t, c, "a")
}

// talk connects again and again, and checks that what comes back is what was
// sent, as far as it comes.
func talk(t *testing.T, l *Link, stop <-chan struct{}) {
	text := bytes.Repeat([]byte("0123456789"), 3000)
	for {
		select {
		case <-stop:
			return
		default:
		}
		c, err := net.Dial("tcp", l.Addr())
		if err != nil {
			continue
		}
		_ = c.SetDeadline(time.Now().Add(50 * time.Millisecond))
		_, _ = c.Write(text)
		got, _ := io.ReadAll(io.LimitReader(c, int64(len(text))))
		if !bytes.HasPrefix(text, got) {
			t.Errorf("what came back differs: %.40q", got)
		}
		_ = c.Close()
	}
}

func TestAProxyKnowsItsLinks(t *testing.T) {
	var p Proxy
	defer p.Close()
	a, err := p.Add("a", "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Add("a", "127.0.0.1:2"); err == nil {
		t.Fatal("a name was taken twice")
	}
	if p.Link("a") != a || p.Link("b") != nil || a.Name() != "a" || a.Target() != "127.0.0.1:1" {
		t.Fatal("the links are confused")
	}
	set(t, a, Fault{Refuse: true, Up: Flow{CutAfter: 1}})
	if got := a.Fault().String(); got != "refuse up:cut-after(1 B) down:none" {
		t.Fatalf("the fault is %s", got)
	}
	if err := p.Heal(); err != nil || a.Fault() != (Fault{}) {
		t.Fatalf("healed to %s, %v", a.Fault(), err)
	}
}
