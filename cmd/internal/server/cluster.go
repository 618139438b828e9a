package server

import (
	"context"
	"math"
	"time"

	"github.com/sunzi-push/sunzi/api"
	"github.com/sunzi-push/sunzi/cmd/internal/logging"
	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/cluster"
	"github.com/sunzi-push/sunzi/push/snowflake"
)

// What a node has to do with the others: its number, and Redis.

// presence is where the hub tells who comes and goes. What stands behind it is
// set before the first connection is served.
type presence struct{ push.Presence }

// newIDs is who issues IDs: this node under its configured number, or under
// one that it leases where nodes share a database.
func (s *Server) newIDs(ctx context.Context) (func() (int64, error), error) {
	last, err := s.store.LastID(ctx)
	if err != nil {
		return nil, err
	}
	if s.cfg.Store.DSN != "" {
		if s.number, err = leaseNumber(ctx, s, last); err != nil {
			return nil, err
		}
		return s.number.TryNext, nil
	}
	node, err := snowflake.New(snowflake.Config{Node: s.cfg.Snowflake.Node, Origin: s.cfg.Snowflake.Origin, After: last, Now: s.seams.Clock})
	if err != nil {
		return nil, err
	}
	return node.TryNext, nil
}

func (s *Server) clusterConfig() cluster.Config {
	c, k := cluster.DefaultConfig(), s.cfg.Cluster
	c.URL, c.Prefix, c.Lease, c.Beat, c.Timeout = string(k.Redis), k.Prefix, k.Lease, k.Lease/3, k.Timeout
	c.PerClient, c.Dial = s.cfg.Hub.PerClient, s.seams.DialRedis
	s.node = c.Node
	return c
}

// clusterDeps are called once the cluster runs, when there is a service.
func (s *Server) clusterDeps() cluster.Deps {
	d := cluster.Deps{
		Sessions: s.hub, Log: logging.Named(s.log, logging.ServerLog), Now: s.seams.Clock, Metrics: s.registry,
		GroupChanged: func(realm, group string) { s.service.GroupChanged(realm, group) },
		CloseHere:    func(c push.Closing) int { return s.service.CloseHere(c) },
		Registered:   func(keys []push.ClientKey) { s.service.Registered(keys) },
	}
	if s.sealing != nil {
		d.Wrapping = s.sealing
	}
	return d
}

// degraded are the checks that leave the node ready: without Redis it serves
// its own clients, and sweeps.
func (s *Server) degraded() map[string]func(context.Context) error {
	if s.cluster == nil {
		return nil
	}
	return map[string]func(context.Context) error{
		"redis": func(context.Context) error { return s.cluster.Healthy() },
	}
}

// shared counts the API's rates for all nodes together.
type shared struct{ limit *cluster.Limit }

// Take implements [api.Allower]. The rate was given when the limit was made: the
// API has one.
func (l shared) Take(ctx context.Context, name string, _ float64, _ int) (bool, time.Duration) {
	return l.limit.Allow(ctx, name)
}

// allower is nil where there is nothing to count together. Redis counts whole
// requests a second; a node's own limit is exact.
func (s *Server) allower() api.Allower {
	if s.cluster == nil || s.cfg.HTTP.Rate == 0 {
		return nil
	}
	return shared{s.cluster.Limit("api", int(math.Ceil(s.cfg.HTTP.Rate)), s.cfg.HTTP.Burst)}
}
