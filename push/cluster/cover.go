package cluster

import (
	"context"
	"sync"

	"github.com/sunzi-push/sunzi/push"
)

// Covers to clients of other nodes: a frame of a shard that has nothing for
// them. They have a queue and a goroutine of their own, so that they hold up no
// hint, and a lost one costs a cover alone.

const (
	coverBytes  = 8 << 20 // of frames that wait; one that is longer never goes
	coverPart   = 1 << 20 // of frames in one pipeline
	coverFrames = 64      // in one pipeline
)

// cover is a frame with the clients that it is to hide among.
type cover struct {
	message *push.Message
	to      []push.ClientKey
}

func (c *cover) size() int { return len(c.message.Sealed.Head) + len(c.message.Sealed.Body) }

type covers struct {
	mu      sync.Mutex
	waiting []cover       // guarded by mu
	bytes   int           // guarded by mu
	wake    chan struct{} // never closed
}

func (q *covers) init() { q.wake = make(chan struct{}, 1) }

func (q *covers) put(c cover) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes+c.size() > coverBytes {
		return false
	}
	q.waiting, q.bytes = append(q.waiting, c), q.bytes+c.size()
	q.ring()
	return true
}

func (q *covers) ring() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take answers what goes in one pipeline, in order.
func (q *covers) take() []cover {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < min(len(q.waiting), coverFrames) && (n == 0 || size+q.waiting[n].size() <= coverPart) {
		size += q.waiting[n].size()
		n++
	}
	part := q.waiting[:n:n]
	if q.waiting, q.bytes = q.waiting[n:], q.bytes-size; len(q.waiting) > 0 {
		q.ring()
	} else {
		q.waiting = nil // nothing that was sent is held
	}
	return part
}

// Cover implements [push.Elsewhere].
func (c *Cluster) Cover(m *push.Message, to []push.ClientKey) {
	if len(*c.nodes.living.Load()) == 0 || len(c.others()) == 0 {
		return
	}
	if c.cfg.PerClient == 1 { // as in Hint
		away := make([]push.ClientKey, 0, len(to))
		for _, key := range to {
			if _, here := c.holds(key); !here {
				away = append(away, key)
			}
		}
		to = away
	}
	if len(to) > 0 && !c.covers.put(cover{m, to}) {
		c.met.covers.WithLabelValues("dropped").Add(float64(len(to)))
	}
}

// sendsCovers carries off the covers that wait, until ctx ends.
func (c *Cluster) sendsCovers(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.covers.wake:
			c.sendCovers(ctx, c.covers.take())
		}
	}
}

// sendCovers looks every client up once, and sends each frame once to each node
// that has some of its clients.
func (c *Cluster) sendCovers(ctx context.Context, part []cover) {
	at := make(map[push.ClientKey]int)
	var keys []push.ClientKey
	for _, f := range part {
		for _, key := range f.to {
			if _, there := at[key]; !there {
				at[key] = len(keys)
				keys = append(keys, key)
			}
		}
	}
	owners, _ := c.owners(ctx, keys) // an error has been counted
	var letters []parcel
	nobody, dropped, sent := 0, 0, 0
	for _, f := range part {
		theirs := make([][]string, len(f.to))
		for i, key := range f.to {
			switch theirs[i] = owners[at[key]]; {
			case theirs[i] == nil:
				dropped++
			case len(theirs[i]) == 0:
				nobody++
			}
		}
		frame := &sealedFrame{Sent: f.message.Sent, Head: f.message.Sealed.Head, Body: f.message.Sealed.Body}
		for node, places := range grouped(f.to, theirs) {
			letters = append(letters, parcel{node: node, letter: letter{Kind: kindCover, Keys: places, Frame: frame}})
		}
	}
	heard, _ := c.publish(ctx, letters) // the same
	for i, ok := range heard {
		if n := len(letters[i].letter.Keys); ok {
			sent += n
		} else {
			dropped += n
		}
	}
	c.met.covers.WithLabelValues("nobody").Add(float64(nobody))
	c.met.covers.WithLabelValues("dropped").Add(float64(dropped))
	c.met.covers.WithLabelValues("sent").Add(float64(sent))
}

// receiveCover hands another node's frame to the clients' sessions here.
func (c *Cluster) receiveCover(l letter) {
	m := &push.Message{Sent: l.Frame.Sent, Sealed: &push.Sealed{Head: l.Frame.Head, Body: l.Frame.Body}}
	c.each(l.Keys, func(_ place, s push.Session) {
		if s.Live(m) {
			c.met.covers.WithLabelValues("received").Inc()
		}
	})
}
