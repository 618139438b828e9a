package faultproxy

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// chunkSize is the most that is read at once.
	chunkSize = 16 << 10
	// queued is how many chunks a direction may hold back, for latency without
	// a loss of throughput: a megabyte.
	queued = 64
	// pieces is how many writes a second a slow link makes.
	pieces = 20
)

// conn is a client's connection and the one to the server that stands for it.
// Its context ends with it.
type conn struct {
	link   *Link
	ctx    context.Context
	cancel context.CancelFunc
	client *net.TCPConn

	mu     sync.Mutex
	server *net.TCPConn // nil until dialled; guarded by mu
	closed bool         // guarded by mu
}

// run carries both directions until both have ended, or the connection was
// reset.
func (c *conn) run() {
	server, err := c.dial()
	if err != nil {
		c.reset()
		return
	}
	up := &pipe{conn: c, from: c.client, to: server, way: func(f Fault) Flow { return f.Up }, count: &c.link.up}
	down := &pipe{conn: c, from: server, to: c.client, way: func(f Fault) Flow { return f.Down }, count: &c.link.down}
	var both sync.WaitGroup
	for _, p := range []*pipe{up, down} {
		p.queue = make(chan chunk, queued)
		both.Go(p.read)
		both.Go(p.write)
	}
	both.Wait()
	if c.ctx.Err() != nil {
		c.reset()
	}
	c.shut(-1)
}

func (c *conn) dial() (*net.TCPConn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	server, err := dialer.DialContext(c.ctx, "tcp", c.link.target)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = server.Close()
		return nil, net.ErrClosed
	}
	c.server = server.(*net.TCPConn)
	return c.server, nil
}

// reset ends both sides with RST, and what was on its way is lost.
func (c *conn) reset() { c.shut(0) }

// shut ends both sides, with what SO_LINGER says; -1 is in order. Errors say
// that the socket is gone, which is what is wanted.
func (c *conn) shut(linger int) {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	for _, s := range []*net.TCPConn{c.client, c.server} {
		if s != nil {
			_ = s.SetLinger(linger)
			_ = s.Close()
		}
	}
}

// chunk is what was read at once, or the end of it.
type chunk struct {
	data   []byte
	err    error // io.EOF: closed in order; else reset
	read   time.Time
	jitter float64 // its part of the jitter
}

// pipe is one direction of a connection: one goroutine reads, one writes.
type pipe struct {
	*conn
	from, to *net.TCPConn
	way      func(Fault) Flow
	count    *atomic.Int64
	queue    chan chunk // filled by read, emptied by write; never closed

	// Owned by write.
	carried int64 // bytes under the setting
	under   *setting
}

// read reads until the end, which it hands on too. In a blackhole it does not
// read, so that the sender's buffers fill and its end is not noticed.
func (p *pipe) read() {
	buf := make([]byte, chunkSize)
	for {
		for s := p.link.now.Load(); p.way(s.fault).Blackhole; s = p.link.now.Load() {
			if !p.wait(s, -1) {
				return
			}
		}
		n, err := p.from.Read(buf)
		now, jitter := time.Now(), rand.Float64() //nolint:gosec // G404: no secret
		if n > 0 && !p.put(chunk{data: append([]byte(nil), buf[:n]...), read: now, jitter: jitter}) {
			return
		}
		if err != nil {
			p.put(chunk{err: err, read: now, jitter: jitter})
			return
		}
	}
}

func (p *pipe) put(c chunk) bool {
	select {
	case p.queue <- c:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// write hands on what was read when its time has come.
func (p *pipe) write() {
	for {
		var c chunk
		select {
		case c = <-p.queue:
		case <-p.ctx.Done():
			return
		}
		switch {
		case !p.due(c):
			return
		case c.err == nil && !p.forward(c.data):
			return
		case errors.Is(c.err, io.EOF):
			_ = p.to.CloseWrite()
			return
		case c.err != nil:
			p.reset()
			return
		}
	}
}

// due waits out the latency of a chunk, and a blackhole; false means that the
// connection ended meanwhile.
func (p *pipe) due(c chunk) bool {
	for {
		s := p.link.now.Load()
		f := p.way(s.fault)
		rest := time.Until(c.read.Add(f.Latency + time.Duration(c.jitter*float64(f.Jitter))))
		switch {
		case f.Blackhole:
			rest = -1
		case rest <= 0:
			return p.ctx.Err() == nil
		}
		if !p.wait(s, rest) {
			return false
		}
	}
}

// wait waits so long, without end if negative, or until the setting is
// replaced; false means that the connection ended.
func (p *pipe) wait(s *setting, d time.Duration) bool {
	var over <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-over:
	case <-s.replaced:
	case <-p.ctx.Done():
	}
	return p.ctx.Err() == nil
}

// forward writes piece by piece as far as the setting allows; false means that
// the connection ended.
func (p *pipe) forward(data []byte) bool {
	for len(data) > 0 {
		s := p.link.now.Load()
		f := p.way(s.fault)
		if s != p.under {
			p.under, p.carried = s, 0
		}
		if f.Blackhole {
			if !p.wait(s, -1) {
				return false
			}
			continue
		}
		n, err := p.to.Write(data[:f.piece(len(data), p.carried)])
		p.carried += int64(n)
		p.count.Add(int64(n))
		data = data[n:]
		if err != nil || f.CutAfter > 0 && p.carried >= f.CutAfter {
			p.reset()
			return false
		}
		if f.BytesPerSecond > 0 && !p.wait(s, time.Duration(n)*time.Second/time.Duration(f.BytesPerSecond)) {
			return false
		}
	}
	return true
}

// piece is how much of n bytes to write at once.
func (f Flow) piece(n int, carried int64) int {
	if f.BytesPerSecond > 0 {
		n = min(n, max(1, f.BytesPerSecond/pieces))
	}
	if f.CutAfter > 0 {
		n = int(min(int64(n), f.CutAfter-carried))
	}
	return n
}
