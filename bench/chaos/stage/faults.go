package stage

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sunzi-push/sunzi/bench/chaos"
	"github.com/sunzi-push/sunzi/bench/faultproxy"
)

// heal ends a fault.
type heal func(context.Context) error

// begin breaks something.
type begin func(context.Context, chaos.Fault) (heal, error)

// kind is one kind of fault with its means, by target.
type kind struct {
	chaos.FaultKind
	means map[string]begin
}

// Lengths of faults: a run cuts them to its own measure.
const (
	brief = 500 * time.Millisecond
	long  = 6 * time.Second
)

// allKinds is every kind of fault that this stage has.
func (s *Stage) allKinds() []kind {
	var kinds []kind
	add := func(name string, means map[string]begin) {
		targets := make([]string, 0, len(means))
		for t := range means {
			targets = append(targets, t)
		}
		slices.Sort(targets)
		kinds = append(kinds, kind{chaos.FaultKind{Kind: name, Targets: targets, Least: brief, Most: long}, means})
	}
	each := func(name string, of func(*node) (target string, b begin)) {
		means := map[string]begin{}
		for _, n := range s.nodes {
			target, b := of(n)
			means[target] = b
		}
		add(name, means)
	}
	each("kill", func(n *node) (string, begin) { return n.name, n.kill })
	each("terminate", func(n *node) (string, begin) { return n.name, n.terminate })
	each("halt", func(n *node) (string, begin) { return n.name, n.halt })
	each("clock", func(n *node) (string, begin) { return n.name, n.stepClock })
	// A front is its node's target: whoever can't be reached owes no answer.
	each("front-reset", func(n *node) (string, begin) { return n.name, resets(n.front) })
	each("front-partition", func(n *node) (string, begin) { return n.name, spoiled(faultproxy.Partition(), n.front) })
	for name, b := range s.services.databaseFaults() {
		add(name, map[string]begin{chaos.Database: b})
	}
	dbs := s.behind(func(n *node) []*faultproxy.Link { return []*faultproxy.Link{n.db} })
	add("db-reset", map[string]begin{chaos.Database: resets(dbs...)})
	add("db-latency", map[string]begin{chaos.Database: spoiled(slow, dbs...)})
	each("db-partition", func(n *node) (string, begin) { return n.name + "-db", spoiled(faultproxy.Partition(), n.db) })
	// What was said last arrives; that it did is never heard.
	each("db-deaf", func(n *node) (string, begin) {
		return n.name + "-db", spoiled(faultproxy.Fault{Down: faultproxy.Flow{Blackhole: true}}, n.db)
	})
	for name, b := range s.services.redisFaults() {
		add(name, map[string]begin{chaos.Redis: b})
	}
	all := s.behind(func(n *node) []*faultproxy.Link { return n.redis })
	add("redis-latency", map[string]begin{chaos.Redis: spoiled(slow, all...)})
	each("redis-partition", func(n *node) (string, begin) {
		return n.name + "-redis", spoiled(faultproxy.Partition(), n.redis...)
	})
	slices.SortFunc(kinds, func(a, b kind) int { // maps have no order, and a seed's schedule has one
		switch {
		case a.Kind < b.Kind:
			return -1
		case a.Kind > b.Kind:
			return 1
		}
		return 0
	})
	return kinds
}

// behind gathers links of all nodes.
func (s *Stage) behind(of func(*node) []*faultproxy.Link) (links []*faultproxy.Link) {
	for _, n := range s.nodes {
		links = append(links, of(n)...)
	}
	return links
}

// Kinds are the faults that can be drawn: those of these names, nil for all.
func (s *Stage) Kinds(names []string) (kinds []chaos.FaultKind) {
	for _, k := range s.kinds {
		if names == nil || slices.Contains(names, k.Kind) {
			kinds = append(kinds, k.FaultKind)
		}
	}
	return kinds
}

// Execute is the [chaos.Executor]. It waits for its target's turn.
func (s *Stage) Execute(ctx context.Context, f chaos.Fault) (func(context.Context) error, error) {
	i := slices.IndexFunc(s.kinds, func(k kind) bool { return k.Kind == f.Kind && k.means[f.Target] != nil })
	if i < 0 {
		return nil, fmt.Errorf("stage: there is no %s of %s", f.Kind, f.Target)
	}
	turn := s.turns[f.Target]
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	end, err := s.kinds[i].means[f.Target](ctx, f)
	if err != nil {
		<-turn
		return nil, err
	}
	return func(ctx context.Context) error {
		defer func() { <-turn }()
		if end == nil {
			return nil
		}
		return end(ctx)
	}, nil
}

// slow is a far and uneven network.
var slow = faultproxy.Both(faultproxy.Flow{Latency: 30 * time.Millisecond, Jitter: 30 * time.Millisecond})

// spoiled sets a fault on links.
func spoiled(fault faultproxy.Fault, links ...*faultproxy.Link) begin {
	return func(context.Context, chaos.Fault) (heal, error) {
		for _, l := range links {
			if err := l.Set(fault); err != nil {
				return nil, err
			}
		}
		return func(context.Context) error {
			for _, l := range links {
				if err := l.Heal(); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}
}

// resets ends the links' connections again and again.
func resets(links ...*faultproxy.Link) begin {
	return again(func(context.Context) error {
		for _, l := range links {
			l.Cut()
		}
		return nil
	})
}

// betweenBlows is how often what is done again is done.
const betweenBlows = 150 * time.Millisecond

// again does something until it is healed. The first time has to succeed.
func again(blow func(context.Context) error) begin {
	return func(ctx context.Context, _ chaos.Fault) (heal, error) {
		ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		if err := blow(ctx); err != nil {
			stop()
			return nil, err
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for pause(ctx, betweenBlows); ctx.Err() == nil; pause(ctx, betweenBlows) {
				_ = blow(ctx) // another fault may be in its way
			}
		}()
		return func(context.Context) error {
			stop()
			<-ended
			return nil
		}, nil
	}
}
