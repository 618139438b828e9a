package cluster

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/sunzi-push/sunzi/push"
)

// What is sent to other nodes. One goroutine gathers what waits: one pipeline
// of look-ups, one of letters. So a push costs no round trip of its own, and
// nobody who pushes waits for Redis.

// hints are the clients whose owners are to be told, with the highest
// sequence; 0 only looks them up.
type hints struct {
	mu   sync.Mutex
	of   map[push.ClientKey]uint64 // guarded by mu
	wake chan struct{}             // never closed
}

func (h *hints) init() {
	h.of, h.wake = map[push.ClientKey]uint64{}, make(chan struct{}, 1)
}

func (h *hints) put(key push.ClientKey, seq uint64, limit int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	known, ok := h.of[key]
	if !ok && len(h.of) >= limit {
		return false
	}
	h.of[key] = max(known, seq)
	return true
}

func (h *hints) ring() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *hints) add(key push.ClientKey, seq uint64) {
	if h.put(key, seq, sightings) {
		h.ring()
	}
}

func (h *hints) take() (places []push.Placement) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, seq := range h.of {
		if len(places) == perLetter {
			h.ring()
			break
		}
		places = append(places, push.Placement{Client: k, Seq: seq})
		delete(h.of, k)
	}
	return places
}

// Hint implements [push.Elsewhere].
func (c *Cluster) Hint(to []push.Placement) {
	for _, p := range to {
		// Where a client has one session, and it is here, nobody else has it.
		if c.cfg.PerClient == 1 {
			if _, here := c.holds(p.Client); here {
				continue
			}
		}
		if !c.hints.put(p.Client, p.Seq, c.cfg.QueueLen) {
			c.met.hints.WithLabelValues("dropped").Inc()
		}
	}
	c.hints.ring()
}

// parcel is a letter on its way: to a node, to the owners of clients, or with
// neither to all others.
type parcel struct {
	node    string
	clients []push.ClientKey
	letter  letter
}

// post queues the parcel, and drops it where there is no room.
func (c *Cluster) post(p parcel) {
	select {
	case c.outbox <- p:
	default:
		c.met.letters.WithLabelValues("dropped").Inc()
	}
}

// Notify implements [push.Elsewhere].
func (c *Cluster) Notify(clients []push.ClientKey, n push.Notice) {
	for len(clients) > 0 {
		part := clients[:min(len(clients), perLetter)]
		clients = clients[len(part):]
		c.post(parcel{clients: append([]push.ClientKey(nil), part...), letter: letter{Kind: kindNotify, Notice: &n}})
	}
}

// GroupChanged implements [push.Elsewhere].
func (c *Cluster) GroupChanged(realm, group string) {
	c.post(parcel{letter: letter{Kind: kindGroup, Realm: realm, Group: group}})
}

// sends sends what waits, until ctx ends.
func (c *Cluster) sends(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.hints.wake:
			c.sendHints(ctx, c.hints.take())
		case p := <-c.outbox:
			c.sendParcels(ctx, p)
		}
	}
}

func (c *Cluster) sendHints(ctx context.Context, places []push.Placement) {
	keys := make([]push.ClientKey, len(places))
	for i, p := range places {
		keys[i] = p.Client
	}
	owners, err := c.owners(ctx, keys)
	if err != nil {
		c.met.hints.WithLabelValues("dropped").Add(float64(len(places)))
		return
	}
	byNode := map[string][]place{}
	told := 0
	for i, p := range places {
		if p.Seq == 0 || len(owners[i]) == 0 {
			continue
		}
		told++
		for _, node := range owners[i] {
			byNode[node] = append(byNode[node], place{Realm: p.Client.Realm, ID: p.Client.ID, Seq: p.Seq})
		}
	}
	c.met.hints.WithLabelValues("nobody").Add(float64(len(places) - told))
	letters := make([]parcel, 0, len(byNode))
	for node, to := range byNode {
		letters = append(letters, parcel{node: node, letter: letter{Kind: kindHint, Keys: to}})
	}
	if c.publish(ctx, letters) != nil {
		c.met.hints.WithLabelValues("dropped").Add(float64(told))
		return
	}
	c.met.hints.WithLabelValues("sent").Add(float64(told))
}

// sendParcels sends the parcel with what else waits, up to some.
func (c *Cluster) sendParcels(ctx context.Context, first parcel) {
	ready := c.addressed(ctx, first, nil)
	for range 63 {
		select {
		case p := <-c.outbox:
			ready = c.addressed(ctx, p, ready)
			continue
		default:
		}
		break
	}
	// An error has been counted; what is sent here may be lost.
	_ = c.publish(ctx, ready)
}

// addressed appends the parcel, once for each node that it is for.
func (c *Cluster) addressed(ctx context.Context, p parcel, to []parcel) []parcel {
	switch {
	case p.node != "":
		return append(to, p)
	case p.clients == nil:
		for _, node := range c.others() {
			to = append(to, parcel{node: node, letter: p.letter})
		}
		return to
	}
	owners, err := c.owners(ctx, p.clients)
	if err != nil {
		c.met.letters.WithLabelValues("dropped").Inc()
		return to
	}
	for node, places := range grouped(p.clients, owners) {
		l := p.letter
		l.Keys = places
		to = append(to, parcel{node: node, letter: l})
	}
	return to
}

// grouped is the clients by the nodes that have them; Seq is the client's
// index.
func grouped(keys []push.ClientKey, owners [][]string) map[string][]place {
	byNode := map[string][]place{}
	for i, k := range keys {
		for _, node := range owners[i] {
			byNode[node] = append(byNode[node], place{Realm: k.Realm, ID: k.ID, Seq: uint64(i)})
		}
	}
	return byNode
}

// others are the living nodes but this.
func (c *Cluster) others() (nodes []string) {
	for _, node := range *c.nodes.living.Load() {
		if node != c.cfg.Node {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// publish sends letters to nodes in one pipeline. What fails is counted.
func (c *Cluster) publish(ctx context.Context, parcels []parcel) error {
	if len(parcels) == 0 {
		return nil
	}
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	pipe := c.rdb.Pipeline()
	var cmds []*redis.IntCmd
	for i := range parcels {
		l := &parcels[i].letter
		l.From = c.cfg.Node
		b, err := l.encode()
		if err != nil {
			c.deps.Log.Error("a letter to another node was dropped", "err", err)
			continue
		}
		cmds = append(cmds, pipe.SPublish(ctx, c.channel(parcels[i].node), b))
	}
	_, err := pipe.Exec(ctx)
	if err != nil {
		c.met.errors.WithLabelValues("publish").Inc()
		c.met.letters.WithLabelValues("dropped").Add(float64(len(parcels)))
		return err
	}
	c.met.letters.WithLabelValues("sent").Add(float64(len(cmds)))
	return nil
}
