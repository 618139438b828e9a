package chaos

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"
)

// Link is a named path to a node: it listens on a port of its own and passes
// bytes on. Cut and Mend may be called from any goroutine.
type Link struct {
	Name string
	Addr string // host:port that it listens on

	to       string
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]struct{} // both ends; nil once closed
}

// NewLink listens on a free port of the loopback interface for what is meant
// for the address to. Close ends it.
func NewLink(name, to string) (*Link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it returns at once
	if err != nil {
		return nil, err
	}
	k := &Link{Name: name, Addr: l.Addr().String(), to: to, listener: l, conns: map[net.Conn]struct{}{}}
	k.wg.Go(k.accept)
	return k, nil
}

// Cut resets all connections. Until Mend, new ones are reset as well.
func (k *Link) Cut() { k.drop(true) }

// ResetAll resets all connections and takes new ones.
func (k *Link) ResetAll() { k.drop(false) }

// Mend ends a cut.
func (k *Link) Mend() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = false
}

func (k *Link) drop(down bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = down
	for c := range k.conns {
		abort(c)
	}
}

// Close ends the link with its connections and waits for their goroutines.
func (k *Link) Close() error {
	err := k.listener.Close()
	k.mu.Lock()
	for c := range k.conns {
		abort(c)
	}
	k.conns = nil
	k.mu.Unlock()
	k.wg.Wait()
	return err
}

// abort closes with RST.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // closed already, perhaps
	}
	_ = c.Close() // closed already, perhaps
}

func (k *Link) accept() {
	for {
		near, err := k.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if k.keep(near) {
			k.wg.Go(func() { k.carry(near) })
		}
	}
}

// keep aborts a connection that comes to a link that is down or closed.
func (k *Link) keep(c net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down || k.conns == nil {
		abort(c)
		return false
	}
	k.conns[c] = struct{}{}
	return true
}

func (k *Link) forget(c net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.conns, c)
}

// carry passes bytes both ways until either end is done, and then resets what
// is left. A peer's RST arrives as RST. Its end of sending alone, too, ends
// the connection: neither HTTP nor WebSocket needs half of one.
func (k *Link) carry(near net.Conn) {
	defer k.forget(near)
	far, err := net.DialTimeout("tcp", k.to, dialWithin) //nolint:noctx // bounded by the timeout
	if err != nil || !k.keep(far) {
		abort(near)
		return
	}
	defer k.forget(far)
	var back sync.WaitGroup
	back.Go(func() { pass(near, far) })
	pass(far, near)
	back.Wait()
}

func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err != nil {
		abort(to)
		abort(from)
		return
	}
	_ = to.SetDeadline(time.Now().Add(time.Second)) // what is in flight still goes
	_ = to.Close()
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
