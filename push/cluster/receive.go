package cluster

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/sunzi-push/sunzi/push"
)

// receives hears what other nodes send, until ctx ends. Each new subscription
// means that letters may have been lost, and perhaps all of Redis. Of a Redis
// Cluster the map of slots is read again: the node's slot may have another
// owner by now.
func (c *Cluster) receives(ctx context.Context) {
	for ctx.Err() == nil {
		c.listen(ctx)
		c.listens.Store(false)
		if ctx.Err() == nil {
			c.reloadSlots(ctx)
		}
		wait(ctx, c.cfg.Timeout)
	}
}

// listen is the life of one subscription. A connection that answers proves
// nothing: Redis ends a sharded subscription when the slot moves, and a master
// that was demoted may keep one that nobody publishes to. So in silence the
// node writes to itself, by the way that others write to it.
func (c *Cluster) listen(ctx context.Context) {
	sub := c.rdb.SSubscribe(ctx, c.channel(c.cfg.Node))
	defer sub.Close() //nolint:errcheck // nothing is left to be said on it
	// A read that waits does not look at the context.
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
	heard := c.deps.Now()
	for ctx.Err() == nil {
		got, err := sub.ReceiveTimeout(ctx, c.cfg.Beat)
		switch {
		case err == nil:
		case isTimeout(err) && c.deps.Now().Sub(heard) < c.cfg.Lease:
			if c.echoes(ctx) {
				continue
			}
			fallthrough
		default:
			if ctx.Err() == nil {
				c.met.errors.WithLabelValues("subscribe").Inc()
			}
			return
		}
		heard = c.deps.Now()
		switch m := got.(type) {
		case *redis.Subscription:
			if m.Kind != "ssubscribe" {
				c.deps.Log.Info("the subscription was ended by Redis; subscribing again", "kind", m.Kind)
				return
			}
			c.listens.Store(true)
			c.unsynced.resync()
		case *redis.Message:
			c.receive(m.Payload)
		}
	}
}

// echoes writes to this node, and is false where that is heard by nobody. Redis
// away says nothing about the subscription; that it stays silent does.
func (c *Cluster) echoes(ctx context.Context) bool {
	l := letter{Kind: kindEcho, From: c.cfg.Node}
	b, err := l.encode()
	if err != nil {
		return true
	}
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	heard, err := c.rdb.SPublish(ctx, c.channel(c.cfg.Node), b).Result()
	return err != nil || heard > 0
}

func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// receive acts on one letter. It never blocks.
func (c *Cluster) receive(raw string) {
	l, err := decode(raw)
	if err != nil {
		c.met.letters.WithLabelValues("malformed").Inc()
		c.deps.Log.Warn("a letter from another node was not understood", "err", err)
		return
	}
	if l.Kind == kindEcho {
		return
	}
	c.met.letters.WithLabelValues("received").Inc()
	switch l.Kind {
	case kindHint:
		c.each(l.Keys, func(p place, s push.Session) { s.Offer(nil, p.Seq) })
	case kindLive:
		c.receiveLive(l)
	case kindCover:
		c.receiveCover(l)
	case kindNotify:
		c.receiveNotice(l)
	case kindBelow:
		if l.Closing != nil {
			for _, p := range l.Keys {
				c.below(p.key(), p.Seq, *l.Closing)
			}
		}
	case kindClose:
		n := c.closeHere(*l.Closing)
		c.answer(l, letter{Count: n})
	case kindQuery:
		c.receiveQuery(l)
	case kindAnswer:
		c.asks.answered(l)
	case kindGroup:
		if c.deps.GroupChanged != nil {
			c.deps.GroupChanged(l.Realm, l.Group)
		}
	default: // of a newer node's
	}
}

// each calls f for the sessions of the clients. A client that is not here is
// registered wrongly: its entry goes.
func (c *Cluster) each(places []place, f func(place, push.Session)) {
	for _, p := range places {
		there := c.deps.Sessions.Of(p.key())
		for _, s := range there {
			f(p, s)
		}
		if len(there) == 0 {
			c.unsynced.add(p.key())
		}
	}
}

func (c *Cluster) receiveLive(l letter) {
	m := &push.Message{ID: l.Message.ID, Sent: l.Message.Sent, Body: l.Message.Body, Require: l.Message.Require}
	if l.Message.Wrapped {
		var ok bool
		if m.Body, ok = c.unwrap(l, func(w Wrapping) ([]byte, error) { return w.UnwrapLive(m.ID, m.Body) }); !ok {
			return
		}
	}
	if len(l.Keys) > 0 {
		c.each(l.Keys, func(_ place, s push.Session) { s.Live(m) })
		return
	}
	c.deps.Sessions.Each(&l.Realm, func(_ push.ClientKey, s push.Session) bool {
		s.Live(m)
		return true
	})
}

func (c *Cluster) receiveNotice(l letter) {
	n := l.Notice
	if len(l.Wrapped) > 0 {
		b, ok := c.unwrap(l, func(w Wrapping) ([]byte, error) { return w.UnwrapNotice(l.Wrapped) })
		if !ok {
			return
		}
		n = new(push.Notice)
		if err := msgpack.Unmarshal(b, n); err != nil {
			c.met.letters.WithLabelValues("malformed").Inc()
			c.deps.Log.Warn("a notice from another node was not understood", "node", l.From, "err", err)
			return
		}
	}
	c.each(l.Keys, func(_ place, s push.Session) { s.Notify(*n) })
}

// unwrap answers what is wrapped in the letter; a letter that can't be read is
// dropped, and counted.
func (c *Cluster) unwrap(l letter, open func(Wrapping) ([]byte, error)) ([]byte, bool) {
	err := errors.New("it is wrapped, and this node has no sealing keys")
	if w := c.deps.Wrapping; w != nil {
		var b []byte
		if b, err = open(w); err == nil {
			return b, true
		}
	}
	c.met.letters.WithLabelValues("malformed").Inc()
	// The server has said at its start what is missing, and this comes with each.
	c.deps.Log.Debug("what another node sent wrapped can't be read: the nodes need the same sealing keys", "node", l.From, "err", err)
	return nil, false
}

func (c *Cluster) receiveQuery(l letter) {
	var a letter
	for _, p := range l.Keys {
		for _, s := range c.deps.Sessions.Of(p.key()) {
			a.Sessions = append(a.Sessions, answered{Index: int(p.Seq), Info: s.Info()})
		}
	}
	c.answer(l, a)
}

// closeHere ends this node's sessions that are meant.
func (c *Cluster) closeHere(how push.Closing) (n int) {
	if c.deps.CloseHere != nil {
		n = c.deps.CloseHere(how)
		c.met.closed.WithLabelValues("asked").Add(float64(n))
		return n
	}
	for _, s := range c.deps.Sessions.Of(how.Client) {
		if how.Matches(s.Info()) {
			s.Close(how.Code, how.Reason)
			c.met.closed.WithLabelValues("asked").Inc()
			n++
		}
	}
	return n
}

func (c *Cluster) answer(to, a letter) {
	if to.Ask == 0 || to.From == "" {
		return
	}
	a.Kind, a.Ask = kindAnswer, to.Ask
	c.post(parcel{node: to.From, letter: a})
}
