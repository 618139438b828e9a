package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// dialTimeout bounds the connection to the server.
const dialTimeout = 5 * time.Second

// Link is a port of the loopback in front of one server.
type Link struct {
	// Static after construction.
	name, addr, target string
	ctx                context.Context // ends with Close
	end                context.CancelFunc

	now atomic.Pointer[setting]

	switching sync.Mutex     // held by Set and Close, taken before mu
	listener  net.Listener   // nil while refusing; guarded by switching
	accepting sync.WaitGroup // the goroutine of listener

	mu       sync.Mutex
	conns    map[*conn]struct{} // guarded by mu
	running  sync.WaitGroup     // one for each of conns
	accepted atomic.Int64
	up, down atomic.Int64
}

// Stats are what a link has carried since it was made.
type Stats struct {
	Accepted int64 // connections
	Open     int   // connections now
	Up, Down int64 // bytes handed on to the server, and to the client
}

// NewLink opens a link to a server on a free port. The server need not be
// there yet: it is dialled once for each connection.
func NewLink(name, target string) (*Link, error) {
	listener, err := listenLow()
	if err != nil {
		return nil, fmt.Errorf("faultproxy: link %s: %w", name, err)
	}
	l := &Link{name: name, addr: listener.Addr().String(), target: target, listener: listener, conns: map[*conn]struct{}{}}
	l.ctx, l.end = context.WithCancel(context.Background())
	l.now.Store(&setting{replaced: make(chan struct{})})
	l.accept(listener)
	return l, nil
}

// listenLow takes a port below those that the kernel gives to outgoing
// connections: one that refuses has to be still free when it heals.
func listenLow() (l net.Listener, err error) {
	for range 100 {
		port := 10_000 + rand.IntN(20_000) //nolint:gosec // G404: no secret
		l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return l, nil
		}
	}
	return nil, err
}

// Name is what the link was called.
func (l *Link) Name() string { return l.name }

// Addr is where it listens, 127.0.0.1:port, and stays so.
func (l *Link) Addr() string { return l.addr }

// Target is the server's address.
func (l *Link) Target() string { return l.target }

// Fault is what is wrong with it now.
func (l *Link) Fault() Fault { return l.now.Load().fault }

// Stats are its figures now.
func (l *Link) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{Accepted: l.accepted.Load(), Open: len(l.conns), Up: l.up.Load(), Down: l.down.Load()}
}

// Set replaces what is wrong with the link, for its connections and new ones.
// It fails if the port was taken while it refused, and then still refuses; and
// with net.ErrClosed after Close. When it returns with Refuse, what Cut then
// ends were all connections there were.
func (l *Link) Set(f Fault) error {
	l.switching.Lock()
	defer l.switching.Unlock()
	if l.ctx.Err() != nil {
		return net.ErrClosed
	}
	if f.Refuse {
		l.refuse()
	} else if l.listener == nil {
		listener, err := (&net.ListenConfig{}).Listen(l.ctx, "tcp", l.addr)
		if err != nil {
			return fmt.Errorf("faultproxy: link %s: %w", l.name, err)
		}
		l.listener = listener
		l.accept(listener)
	}
	before := l.now.Swap(&setting{fault: f, replaced: make(chan struct{})})
	close(before.replaced)
	return nil
}

// Heal makes the link right again; see Set for the errors.
func (l *Link) Heal() error { return l.Set(Fault{}) }

// refuse is called with switching held.
func (l *Link) refuse() {
	if l.listener == nil {
		return
	}
	_ = l.listener.Close()
	l.accepting.Wait()
	l.listener = nil
}

// Cut resets every connection, once, and answers how many. New ones are
// treated as Set said.
func (l *Link) Cut() int {
	l.mu.Lock()
	all := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		c.reset()
	}
	return len(all)
}

// Close resets every connection, closes the port and waits until nothing of
// the link runs. Closing twice is allowed.
func (l *Link) Close() {
	l.switching.Lock()
	defer l.switching.Unlock()
	l.end()
	l.refuse()
	l.Cut()
	l.running.Wait()
}

func (l *Link) accept(listener net.Listener) {
	l.accepting.Go(func() {
		for {
			client, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				// Out of descriptors, or an end that went before it was
				// accepted: neither is better at once.
				l.pause(10 * time.Millisecond)
				continue
			}
			l.accepted.Add(1)
			l.serve(client.(*net.TCPConn))
		}
	})
}

func (l *Link) pause(d time.Duration) {
	ctx, cancel := context.WithTimeout(l.ctx, d)
	defer cancel()
	<-ctx.Done()
}

// serve joins a client with the server in a goroutine of its own.
func (l *Link) serve(client *net.TCPConn) {
	c := &conn{link: l, client: client}
	c.ctx, c.cancel = context.WithCancel(l.ctx)
	l.mu.Lock()
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	l.running.Go(func() {
		c.run()
		l.mu.Lock()
		delete(l.conns, c)
		l.mu.Unlock()
	})
}
