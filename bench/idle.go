package bench

import (
	"context"
	"fmt"
	"time"
)

// IdleOptions shape an idle run.
type IdleOptions struct {
	Low, High int           // connections at the slope's two ends
	Settle    time.Duration // how long memory may take to stop growing before it is read
	Watch     time.Duration // how long to watch the idle CPU
}

// Run measures the memory of idle connections as the slope of the nodes'
// RSS between low and high of them, what they cost in CPU while heartbeats go
// on, and what setting one up costs.
func (o IdleOptions) Run(ctx context.Context, c *Cluster) (*Result, error) {
	low, high := o.Low, o.High
	if high <= low || low <= 0 {
		return nil, fmt.Errorf("the slope needs 0 < low < high, not %d and %d", low, high)
	}
	r := NewResult("idle")
	fleet := NewFleet(c)
	defer fleet.Close()
	clients, err := fleet.Register(ctx, high)
	if err != nil {
		return nil, err
	}
	lowRSS, _, err := o.fill(ctx, c, fleet, clients[:low])
	if err != nil {
		return nil, err
	}
	highRSS, setup, err := o.fill(ctx, c, fleet, clients[low:])
	if err != nil {
		return nil, err
	}
	r.Add(fmt.Sprintf("RSS at %d connections", low), float64(lowRSS)/(1<<20), "MiB")
	r.Add(fmt.Sprintf("RSS at %d connections", high), float64(highRSS)/(1<<20), "MiB")
	r.Add("RSS slope", float64(highRSS-lowRSS)/float64(high-low), "bytes/connection")
	r.Add("set-up, server CPU", setup.cpu, "us/connection")
	r.Add("connections (upgrade to replay_complete)", setup.rate, "per second")

	before, err := c.Usage()
	if err != nil {
		return nil, err
	}
	t0 := time.Now()
	if err := sleep(ctx, o.Watch); err != nil {
		return nil, err
	}
	after, err := c.Usage()
	if err != nil {
		return nil, err
	}
	share := (after.Nodes - before.Nodes).Seconds() / time.Since(t0).Seconds()
	r.Add(fmt.Sprintf("idle CPU at %d connections, heartbeats on", high), share*100, "% of one core")
	r.Add("idle CPU a connection", share/float64(high)*1e6, "us per second")
	return r, nil
}

type setupCost struct {
	cpu  float64 // microseconds a connection
	rate float64 // connections a second
}

// fill connects clients and reads the RSS once it has stopped growing.
func (o IdleOptions) fill(ctx context.Context, c *Cluster, f *Fleet, clients []Client) (int64, setupCost, error) {
	var cost setupCost
	before, err := c.Usage()
	if err != nil {
		return 0, cost, err
	}
	t0 := time.Now()
	if err := f.Connect(ctx, clients); err != nil {
		return 0, cost, err
	}
	took := time.Since(t0)
	after, err := c.Usage()
	if err != nil {
		return 0, cost, err
	}
	n := float64(len(clients))
	cost = setupCost{cpu: (after.Nodes - before.Nodes).Seconds() / n * 1e6, rate: n / took.Seconds()}
	// Two collections (forced by the runtime after two minutes at most) are
	// not waited for: what is measured is what an operator sees.
	if err := sleep(ctx, o.Settle); err != nil {
		return 0, cost, err
	}
	rss, err := c.RSS()
	return rss, cost, err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
