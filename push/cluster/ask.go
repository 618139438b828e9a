package cluster

import (
	"context"
	"maps"
	"sync"

	"github.com/sunzi-push/sunzi/push"
)

// What is asked of other nodes, and waited for.

// asks are the questions under way.
type asks struct {
	mu   sync.Mutex
	last uint64                 // guarded by mu
	of   map[uint64]chan letter // guarded by mu; the channels are never closed
}

func (a *asks) begin(nodes int) (uint64, chan letter) {
	ch := make(chan letter, nodes)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	a.of[a.last] = ch
	return a.last, ch
}

func (a *asks) end(id uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.of, id)
}

// answered hands the letter to who asked; one that is too late, or more than
// were asked for, goes.
func (a *asks) answered(l letter) {
	a.mu.Lock()
	ch := a.of[l.Ask]
	a.mu.Unlock()
	select {
	case ch <- l:
	default:
	}
}

// ask sends the letters and gives each answer to f, until all have answered
// or time is up.
func (c *Cluster) ask(ctx context.Context, letters map[string]letter, f func(letter)) error {
	if len(letters) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Ask)
	defer cancel()
	id, answers := c.asks.begin(len(letters))
	defer c.asks.end(id)
	parcels := make([]parcel, 0, len(letters))
	for node, l := range letters {
		l.Ask = id
		parcels = append(parcels, parcel{node: node, letter: l})
	}
	heard, err := c.publish(ctx, parcels)
	if err != nil {
		return unreachable(err)
	}
	for _, ok := range heard {
		if !ok {
			continue // it will not answer
		}
		select {
		case <-ctx.Done():
			return nil
		case l := <-answers:
			f(l)
		}
	}
	return nil
}

func unreachable(err error) error {
	return &push.Error{Code: push.CodeOverloaded, Message: "other nodes can't be reached now", Cause: err}
}

// Sessions implements [push.Elsewhere]. It waits for as long as ctx and
// [Config.Ask] let it. The error is Redis' alone.
func (c *Cluster) Sessions(ctx context.Context, keys []push.ClientKey) ([][]push.RemoteSession, error) {
	found := make([][]push.RemoteSession, len(keys))
	for from := 0; from < len(keys); from += perLetter {
		part := keys[from:min(from+perLetter, len(keys))]
		owners, err := c.owners(ctx, part)
		if err != nil {
			return found, unreachable(err)
		}
		letters := map[string]letter{}
		for node, places := range grouped(part, owners) {
			letters[node] = letter{Kind: kindQuery, Keys: places}
		}
		err = c.ask(ctx, letters, func(l letter) {
			for _, s := range l.Sessions {
				if s.Index >= 0 && s.Index < len(part) && s.Info.Client == part[s.Index] {
					found[from+s.Index] = append(found[from+s.Index], push.RemoteSession{Node: l.From, SessionInfo: s.Info})
				}
			}
		})
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

// Close implements [push.Elsewhere]. It asks every living node: what ends a
// session must not depend on a registry that may lag. Those that don't answer
// are told of a revocation until they hear it.
func (c *Cluster) Close(ctx context.Context, how push.Closing) (int, error) {
	letters := map[string]letter{}
	for _, node := range c.others() {
		letters[node] = letter{Kind: kindClose, Closing: &how}
	}
	n := 0
	silent := maps.Clone(letters)
	err := c.ask(ctx, letters, func(l letter) {
		n += max(l.Count, 0)
		delete(silent, l.From)
	})
	if revokes(how) {
		for node, l := range silent {
			c.keepTelling([]parcel{{node: node, letter: l}})
		}
	}
	return n, err
}

// Live implements [push.Elsewhere]. It waits for Redis, not for nodes.
func (c *Cluster) Live(ctx context.Context, realm string, clients []string, m *push.Message) (reached []string, err error) {
	l := letter{Kind: kindLive, Realm: realm, Message: &message{ID: m.ID, Sent: m.Sent, Body: m.Body, Require: m.Require}}
	if w := c.deps.Wrapping; w != nil {
		l.Message.Body, l.Message.Wrapped = w.WrapLive(m.ID, m.Body), true
	}
	var parcels []parcel
	if len(clients) == 0 {
		for _, node := range c.others() {
			parcels = append(parcels, parcel{node: node, letter: l})
		}
		if _, err := c.publish(ctx, parcels); err != nil {
			return nil, unreachable(err)
		}
		return nil, nil
	}
	keys := make([]push.ClientKey, len(clients))
	for i, id := range clients {
		keys[i] = push.ClientKey{Realm: realm, ID: id}
	}
	owners, err := c.owners(ctx, keys)
	if err != nil {
		return nil, unreachable(err)
	}
	for node, places := range grouped(keys, owners) {
		for len(places) > 0 {
			part := l
			part.Keys = places[:min(len(places), perLetter)]
			places = places[len(part.Keys):]
			parcels = append(parcels, parcel{node: node, letter: part})
		}
	}
	heard, err := c.publish(ctx, parcels)
	if err != nil {
		return nil, unreachable(err)
	}
	at := make([]bool, len(clients))
	for i, p := range parcels {
		for _, k := range p.letter.Keys {
			at[k.Seq] = at[k.Seq] || heard[i]
		}
	}
	for i, id := range clients {
		if at[i] {
			reached = append(reached, id)
		}
	}
	return reached, nil
}
