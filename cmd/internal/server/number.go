package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sunzi-push/sunzi/push/snowflake"
	"github.com/sunzi-push/sunzi/store"
)

// number is this node's number among those that share a database: leased there,
// kept while run runs, given back at its end. IDs are issued under it, and none
// once the lease is over: pushes are refused until it could be renewed.
type number struct {
	// static
	store  *store.Store
	ttl    time.Duration // of the lease
	every  time.Duration // it is renewed; a lost one is noticed within that
	origin time.Time
	log    *slog.Logger

	ids   atomic.Pointer[snowflake.Leased]
	lease store.Lease // owned by run
}

// leaseNumber takes a number. It blocks for as long as the store does.
func leaseNumber(ctx context.Context, s *Server, after int64) (*number, error) {
	n := &number{store: s.store, ttl: s.cfg.Cluster.NumberLease, every: s.cfg.Cluster.Lease / 3, origin: s.cfg.Snowflake.Origin, log: s.log}
	return n, n.take(ctx, after)
}

func (n *number) take(ctx context.Context, after int64) error {
	var holder [16]byte
	rand.Read(holder[:]) // never fails (crypto/rand)
	lease, err := n.store.LeaseNode(ctx, hex.EncodeToString(holder[:]), n.ttl)
	if err != nil {
		return err
	}
	ids, err := snowflake.NewLeased(snowflake.Config{Node: lease.Node, Origin: n.origin, After: after},
		snowflake.Lease{Now: lease.Now, Until: lease.Until})
	if err != nil {
		return err
	}
	n.lease = lease
	n.ids.Store(ids)
	n.log.Info("node number leased", "node", lease.Node, "fence", lease.Fence)
	return nil
}

// TryNext issues an ID, or answers that the lease is over.
func (n *number) TryNext() (int64, error) { return n.ids.Load().TryNext() }

// run renews the lease, and takes another number where it was lost, until ctx
// ends; then it gives the number back. The lease is long, so that IDs go on while
// the database takes no writes, and is renewed often all the same: a database
// that forgot the number, as one that failed over may, gives it to another.
func (n *number) run(ctx context.Context) {
	tick := time.NewTicker(n.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			n.giveBack()
			return
		case <-tick.C:
			n.renew(ctx)
		}
	}
}

func (n *number) renew(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, n.every)
	defer cancel()
	lease, err := n.store.RenewLease(ctx, n.lease, n.ttl)
	switch {
	case err == nil:
		n.lease = lease
		n.ids.Load().Extend(snowflake.Lease{Now: lease.Now, Until: lease.Until})
	case errors.Is(err, store.ErrLeaseLost):
		last := n.ids.Load().End()
		n.log.Warn("the node's number was lost, as after a long pause; taking another", "node", n.lease.Node)
		if err := n.take(ctx, last); err != nil {
			n.log.Error("no number for this node: pushes are refused until there is one", "err", err)
		}
	case ctx.Err() == nil || n.ids.Load().Left() < n.ttl/2:
		n.log.Warn("the node's number could not be renewed", "left_ms", n.ids.Load().Left().Milliseconds(), "err", err)
	}
}

// giveBackTimeout bounds the last word to the database.
const giveBackTimeout = 2 * time.Second

// giveBack frees the number, for IDs after the last one issued; where that
// fails it is free when the lease ends.
func (n *number) giveBack() {
	lease := n.lease
	lease.Until = lease.Now
	if last := n.ids.Load().End(); last != 0 {
		lease.Until = snowflake.Explain(last, n.origin).Time.Add(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), giveBackTimeout)
	defer cancel()
	if err := n.store.ReleaseLease(ctx, lease); err != nil {
		n.log.Debug("the node's number was not given back", "err", err)
	}
}
