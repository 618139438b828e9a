package bench

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// PushOptions shape a push run.
type PushOptions struct {
	Clients     int           // connected receivers, pushed to in turn
	Connections int           // concurrent HTTP connections, each of which waits for its answers
	Bulk        int           // pushes a request; 1 is POST /v1/push
	Payload     int           // bytes of data
	Store       string        // always, offline or never
	Ack         bool          // whether receivers ack
	Warm        time.Duration // how long to push before it counts
	For         time.Duration // how long
}

// Run measures pushes through HTTP, each to one client and on any node,
// committed before the answer, and waits until every one of them has arrived.
func (o PushOptions) Run(ctx context.Context, c *Cluster) (*Result, error) {
	r := NewResult("push")
	fleet := NewFleet(c)
	defer fleet.Close()
	clients, err := fleet.Register(ctx, o.Clients)
	if err != nil {
		return nil, err
	}
	p := &pusher{PushOptions: o, fleet: fleet, clients: clients, answered: newHistogram()}
	received := newHistogram()
	fleet.OnMessage, fleet.Ack = received.message, o.Ack
	if err := fleet.Connect(ctx, clients); err != nil {
		return nil, err
	}
	if _, _, err := p.run(ctx, o.Warm); err != nil {
		return nil, err
	}
	received.reset()
	p.answered.reset()
	m, err := c.meter(ctx)
	if err != nil {
		return nil, err
	}
	n, took, err := p.run(ctx, o.For)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("store=%s, %d B, %d connections, %d a request", o.Store, o.Payload, o.Connections, o.Bulk)
	r.Note("%s; %d clients connected, every push received%s", name, o.Clients, acked(o.Ack))
	r.Add("pushes answered", float64(n)/took.Seconds(), "per second")
	if err := m.report(ctx, r, float64(n), "us/push"); err != nil {
		return nil, err
	}
	p.answered.report(r, "request", 50, 99)
	received.report(r, "push to receive", 50, 99)
	return r, nil
}

// pusher is the load of [PushOptions].
type pusher struct {
	PushOptions
	fleet    *Fleet
	clients  []Client
	answered *histogram
	turn     atomic.Int64
	sent     atomic.Int64
}

// run pushes for a while, and answers how many pushes it made in what time
// once all of them have arrived.
func (p *pusher) run(ctx context.Context, during time.Duration) (int64, time.Duration, error) {
	start, before := time.Now(), p.sent.Load()
	err := Parallel(p.Connections, p.Connections, func(int) error {
		for time.Since(start) < during && ctx.Err() == nil {
			t0 := time.Now()
			if err := p.push(ctx); err != nil {
				return err
			}
			p.answered.record(time.Since(t0))
			p.sent.Add(int64(p.Bulk))
		}
		return ctx.Err()
	})
	took := time.Since(start)
	if err != nil {
		return 0, 0, err
	}
	return p.sent.Load() - before, took, p.fleet.waitFor(ctx, p.sent.Load())
}

func (p *pusher) push(ctx context.Context) error {
	next := func() string {
		c := p.clients[int(p.turn.Add(1))%len(p.clients)]
		return item(c, p.Store, p.Payload, time.Now())
	}
	if p.Bulk == 1 {
		return p.fleet.Post(ctx, "/v1/push", []byte(next()), nil)
	}
	var b bytes.Buffer
	b.WriteString(`{"pushes":[`)
	for i := range p.Bulk {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(next())
	}
	b.WriteString(`]}`)
	var answer struct {
		Results []struct {
			Status int `json:"status"`
		} `json:"results"`
	}
	if err := p.fleet.Post(ctx, "/v1/push/batch", b.Bytes(), &answer); err != nil {
		return err
	}
	for i, item := range answer.Results {
		if item.Status >= 300 {
			return fmt.Errorf("item %d of a bulk push: status %d", i, item.Status)
		}
	}
	return nil
}
