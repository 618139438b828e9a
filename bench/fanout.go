package bench

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// FanoutOptions shape a fan-out run.
type FanoutOptions struct {
	Receivers int // connected clients
	Pushes    int // one after the other
	Payload   int // bytes of data
}

// Run measures one push to everybody, again and again, store=never.
func (o FanoutOptions) Run(ctx context.Context, c *Cluster) (*Result, error) {
	r := NewResult("fanout")
	fleet := NewFleet(c)
	defer fleet.Close()
	clients, err := fleet.Register(ctx, o.Receivers)
	if err != nil {
		return nil, err
	}
	if err := fleet.Connect(ctx, clients); err != nil {
		return nil, err
	}
	body := fmt.Appendf(nil, `{"to":{"all":true},"topic":"bench","data":%q}`, strings.Repeat("x", o.Payload))
	m, err := c.meter(ctx)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	for i := range o.Pushes {
		if err := fleet.Post(ctx, "/v1/push", body, nil); err != nil {
			return nil, err
		}
		if err := fleet.waitFor(ctx, int64(o.Receivers)*int64(i+1)); err != nil {
			return nil, err
		}
	}
	took := time.Since(start)
	n := float64(o.Receivers) * float64(o.Pushes)
	r.Add("deliveries", n/took.Seconds(), "per second")
	r.Note("%d receivers, %d pushes, %d B, each waited for", o.Receivers, o.Pushes, o.Payload)
	return r, m.report(ctx, r, n, "us/delivery")
}
