package chaos

import (
	"context"
	"sync"
	"time"
)

// client is one client over all its lives. It keeps cursor and duplicates as
// api/CLIENTS.md section 5 asks, with handler and save of the cursor as two
// steps, so that a kill can fall between them.
type client struct {
	id, token string
	log       *Log
	nodes     []Node
	lives     *Lives

	draining <-chan struct{} // closed by Run when all is healed
	wg       sync.WaitGroup  // sessions and silent sockets that outlast their life

	failures int // to connect, in a row; owned by run

	mu          sync.Mutex
	conns       int    // connections so far
	epoch       int    // of the process: a kill ends all sockets of the one before
	incarnation string // the device's
	saved       uint64 // the cursor on the device
	seen        uint64 // in memory: a kill forgets it
	sealing     sealing
	sessions    map[*session]struct{} // that are being read
}

// Times of clients.
const (
	retryPause  = 200 * time.Millisecond // at least, after a refused connection
	silentFor   = 5 * time.Second        // how long a half-open socket stays
	shakeWithin = 10 * time.Second
	helloWait   = 800 * time.Millisecond // less than a node waits for hello
	killWithin  = 2 * time.Second        // for a handler to strike in
	lookAround  = 100 * time.Millisecond // at most between looks at ctx and the drain
	ackSoon     = 50 * time.Millisecond
	ackLater    = 1500 * time.Millisecond
	ackCount    = 32
	overlapFor  = time.Second // at most, until the next life begins beside it
	closeReturn = 4900        // the client's own code: it will come back
	closeNormal = 1000
)

// run lives until ctx ends. From the drain on it stays connected and acks.
func (c *client) run(ctx context.Context) {
	defer c.wg.Wait()
	for ctx.Err() == nil {
		life := c.lives.Next()
		if c.isDraining() {
			life = Life{Lasts: time.Hour, Node: life.Node, End: CleanClose, Pause: retryPause}
		}
		c.live(ctx, life)
		sleep(ctx, life.Pause)
	}
}

func (c *client) isDraining() bool {
	select {
	case <-c.draining:
		return true
	default:
		return false
	}
}

// live has one connection, or fails to.
func (c *client) live(ctx context.Context, life Life) {
	node := c.nodes[life.Node]
	dialed := time.Now()
	sock, err := dial(ctx, node.WSURL, c.id, c.token, life.End)
	if err != nil {
		sleep(ctx, retryPause+backoff(c.failures))
		c.failures++
		return
	}
	c.failures = 0
	s := c.open(sock, life, node)
	s.dialed = dialed
	if !life.Overlap {
		s.run(ctx)
		return
	}
	c.wg.Go(func() { s.run(ctx) })
	sleep(ctx, min(life.Lasts/2, overlapFor))
}

func (c *client) open(sock *socket, life Life, node Node) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns++
	now := time.Now()
	s := &session{
		c: c, sock: sock, life: life, node: node, conn: c.conns, epoch: c.epoch,
		began: now, until: now.Add(life.Lasts), wasDraining: c.isDraining(),
	}
	c.sessions[s] = struct{}{}
	return s
}

// die is kill -9 of the client's process. Its keys are on the device. The caller
// holds mu.
func (c *client) die() {
	c.epoch++
	clear(c.sessions) // whoever reads one still will see
	c.seen = c.saved
}

// save puts the cursor on the device. The caller holds mu.
func (c *client) save(conn int, seq uint64) {
	c.saved, c.seen = seq, seq
	c.log.Add(Event{Kind: Saved, Conn: conn, Seq: seq})
}
