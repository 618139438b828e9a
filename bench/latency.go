package bench

import (
	"context"
	"errors"
	"sync"
	"time"
)

// LatencyOptions shape a run at a fixed rate.
type LatencyOptions struct {
	Clients int           // connected receivers, pushed to in turn
	Rate    int           // pushes a second, over all nodes
	Payload int           // bytes of data
	Ack     bool          // whether receivers ack
	Warm    time.Duration // how long to push before it counts
	For     time.Duration // how long
}

// Run measures how long a durable push takes to its receiver at a rate
// that does not wait for answers: a server that stalls is pushed to all the
// same, and each push counts from the moment at which it was due, not from
// when the load came to send it. So no stall is left out because the load
// stalled with it (coordinated omission).
func (o LatencyOptions) Run(ctx context.Context, c *Cluster) (*Result, error) {
	if o.Rate <= 0 {
		return nil, errors.New("the rate must be above 0")
	}
	r := NewResult("latency")
	fleet := NewFleet(c)
	defer fleet.Close()
	clients, err := fleet.Register(ctx, o.Clients)
	if err != nil {
		return nil, err
	}
	p := &pacer{LatencyOptions: o, fleet: fleet, clients: clients, late: newHistogram(), answered: newHistogram()}
	received := newHistogram()
	fleet.OnMessage, fleet.Ack = received.message, o.Ack
	if err := fleet.Connect(ctx, clients); err != nil {
		return nil, err
	}
	if _, err := p.run(ctx, o.Warm); err != nil {
		return nil, err
	}
	for _, h := range []*histogram{received, p.late, p.answered} {
		h.reset()
	}
	m, err := c.meter(ctx)
	if err != nil {
		return nil, err
	}
	took, err := p.run(ctx, o.For)
	if err != nil {
		return nil, err
	}
	r.Note("%d B at %d/s whatever the answers, times from when a push was due; %d clients connected, every push received%s",
		o.Payload, o.Rate, o.Clients, acked(o.Ack))
	n := float64(o.Rate) * o.For.Seconds()
	r.Add("pushes answered", n/took.Seconds(), "per second")
	received.report(r, "push to receive", 50, 99, 99.9, 100)
	p.answered.report(r, "request", 50, 99)
	p.late.report(r, "begun late by", 50, 99)
	return r, m.report(ctx, r, n, "us/push")
}

// pacer is the load of [LatencyOptions].
type pacer struct {
	LatencyOptions
	fleet          *Fleet
	clients        []Client
	late, answered *histogram
	sent           int // owned by run
}

// run pushes at the rate for a while. It returns, with the time until the last
// answer, when all pushes have arrived.
func (p *pacer) run(ctx context.Context, during time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	n := int(float64(p.Rate) * during.Seconds())
	start := time.Now()
	for i := range n {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(p.Rate))
		if sleep(ctx, time.Until(due)) != nil {
			break
		}
		to := p.clients[p.sent%len(p.clients)]
		p.sent++
		wg.Go(func() {
			p.late.record(time.Since(due))
			if err := p.fleet.Post(ctx, "/v1/push", []byte(item(to, "always", p.Payload, due)), nil); err != nil {
				cancel(err)
			}
			p.answered.record(time.Since(due))
		})
	}
	wg.Wait()
	took := time.Since(start)
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	return took, p.fleet.waitFor(ctx, int64(p.sent))
}
