package bench

import (
	"context"
	"time"
)

// meter is where a cluster stood when the measuring began.
type meter struct {
	cluster *Cluster
	usage   Usage
	commits commits
}

func (c *Cluster) meter(ctx context.Context) (*meter, error) {
	now, err := c.commits(ctx)
	if err != nil {
		return nil, err
	}
	u, err := c.Usage()
	return &meter{cluster: c, usage: u, commits: now}, err
}

// report adds what n pushes or deliveries have cost since: the nodes, what
// stands behind them, and the load itself, which has the same processors.
func (m *meter) report(ctx context.Context, r *Result, n float64, unit string) error {
	u, err := m.cluster.Usage()
	if err != nil {
		return err
	}
	now, err := m.cluster.commits(ctx)
	if err != nil {
		return err
	}
	each := func(name string, d time.Duration) { r.Add(name, d.Seconds()/n*1e6, unit) }
	each("server CPU", u.Nodes-m.usage.Nodes)
	if m.cluster.db != nil {
		each("MariaDB CPU", u.Database-m.usage.Database)
	}
	if m.cluster.redis != nil {
		each("Redis CPU", u.Redis-m.usage.Redis)
	}
	each("load generator CPU", u.Load-m.usage.Load)
	now.since(m.commits).report(r)
	return nil
}
