package cluster

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"

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
	l := letter{Kind: kindNotify, Notice: &n}
	if w := c.deps.Wrapping; w != nil {
		b, err := msgpack.Marshal(&n)
		if err != nil { // it has nothing that can't be encoded
			c.deps.Log.Error("a notice to other nodes was dropped", "err", err)
			return
		}
		l.Notice, l.Wrapped = nil, w.WrapNotice(b)
	}
	for len(clients) > 0 {
		part := clients[:min(len(clients), perLetter)]
		clients = clients[len(part):]
		c.post(parcel{clients: append([]push.ClientKey(nil), part...), letter: l})
	}
}

// GroupChanged implements [push.Elsewhere].
func (c *Cluster) GroupChanged(realm, group string) {
	c.post(parcel{letter: letter{Kind: kindGroup, Realm: realm, Group: group}})
}

// sends carries off what waits, until ctx ends.
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
	owners, _ := c.owners(ctx, keys) // an error has been counted
	byNode := map[string][]place{}
	told, unknown := 0, 0
	for i, p := range places {
		if owners[i] == nil {
			unknown++
		}
		if p.Seq == 0 || len(owners[i]) == 0 {
			continue
		}
		told++
		for _, node := range owners[i] {
			byNode[node] = append(byNode[node], place{Realm: p.Client.Realm, ID: p.Client.ID, Seq: p.Seq})
		}
	}
	letters := make([]parcel, 0, len(byNode))
	for node, to := range byNode {
		letters = append(letters, parcel{node: node, letter: letter{Kind: kindHint, Keys: to}})
	}
	heard, _ := c.publish(ctx, letters) // the same
	missed := map[push.ClientKey]bool{}
	for i, ok := range heard {
		for _, p := range letters[i].letter.Keys {
			missed[p.key()] = missed[p.key()] || !ok
		}
	}
	dropped := 0
	for _, m := range missed {
		if m {
			dropped++
		}
	}
	c.met.hints.WithLabelValues("nobody").Add(float64(len(places) - told - unknown))
	c.met.hints.WithLabelValues("dropped").Add(float64(unknown + dropped))
	c.met.hints.WithLabelValues("sent").Add(float64(told - dropped))
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
	// An error has been counted; what is sent here may be lost, but for
	// takeovers: two sessions of a client would stay.
	heard, _ := c.publish(ctx, ready)
	for i, ok := range heard {
		if !ok && ready[i].letter.Kind == kindBelow {
			c.keepTelling(ready[i : i+1])
		}
	}
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

// publish sends letters to nodes in one pipeline, and says which were heard: a
// node whose subscription does not stand hears nothing, though it lives. What
// was not heard is counted; an error is Redis'.
func (c *Cluster) publish(ctx context.Context, parcels []parcel) (heard []bool, err error) {
	heard = make([]bool, len(parcels))
	if len(parcels) == 0 {
		return heard, nil
	}
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	pipe := c.rdb.Pipeline()
	cmds := make([]*redis.IntCmd, len(parcels)) // nil: not sent
	for i := range parcels {
		l := &parcels[i].letter
		l.From = c.cfg.Node
		b, err := l.encode()
		if err != nil {
			c.deps.Log.Error("a letter to another node was dropped", "err", err)
			continue
		}
		cmds[i] = pipe.SPublish(ctx, c.channel(parcels[i].node), b)
	}
	if _, err = pipe.Exec(ctx); err != nil {
		c.met.errors.WithLabelValues("publish").Inc()
	}
	for i, cmd := range cmds {
		heard[i] = cmd != nil && cmd.Err() == nil && cmd.Val() > 0
		outcome := "dropped"
		if heard[i] {
			outcome = "sent"
		}
		c.met.letters.WithLabelValues(outcome).Inc()
	}
	return heard, err
}
