package hub

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

const stripes = 64 // a power of two; locks are held for a map access

// table is who is online: every session by its client, in stripes so that no
// one lock is the limit. WebSocket sessions are chained through their conn, so
// that one costs a map entry of two words and nothing else; sessions of others
// (SSE) are rarer and get slices.
//
// Presence is told outside the locks: a session that came is told before
// whatever ends it, unless a newer one took its place in between; then it is
// told gone once more, so that gone is always the last word.
type table struct {
	seed      maphash.Seed
	perClient int
	presence  push.Presence
	gen       atomic.Uint64 // last generation given; grows over restarts
	count     atomic.Int64  // sessions in it
	others    atomic.Int64  // of those, not ours
	stripes   [stripes]stripe
}

type stripe struct {
	mu     sync.RWMutex
	conns  map[uint64]*conn                // by the key's hash, chained by conn.next, newest first
	others map[push.ClientKey][]attachment // oldest first
	_      [24]byte                        // a cache line each
}

// attachment is a session of another package.
type attachment struct {
	session push.Session
	gen     uint64
}

func newTable(perClient int, p push.Presence) *table {
	if p == nil {
		p = push.Alone{}
	}
	t := &table{seed: maphash.MakeSeed(), perClient: perClient, presence: p}
	t.gen.Store(uint64(time.Now().UnixMilli()) << 10)
	for i := range t.stripes {
		t.stripes[i].conns = map[uint64]*conn{}
		t.stripes[i].others = map[push.ClientKey][]attachment{}
	}
	return t
}

func (t *table) stripe(key push.ClientKey) (*stripe, uint64) {
	hash := maphash.Comparable(t.seed, key)
	return &t.stripes[hash%stripes], hash
}

// attach adds c and closes what is one too many of its client. The newest is
// the one that asked last, not the one that was let in last: a handshake that
// took long, perhaps of a client that has given it up and come again, must not
// throw out the connection that came after it. Then c itself is the one.
func (t *table) attach(c *conn) {
	s, hash := t.stripe(c.key)
	s.mu.Lock()
	if c.gen == 0 {
		c.gen = t.gen.Add(1)
	}
	s.chain(hash, c)
	t.count.Add(1)
	evicted := t.evict(s, hash, c.key)
	s.mu.Unlock()
	t.came(s, hash, c.key, attachment{c, c.gen})
	t.replace(c.key, evicted)
}

// came tells presence of a session that was put in the table.
func (t *table) came(s *stripe, hash uint64, key push.ClientKey, a attachment) {
	t.presence.Came(key, a.session, a.gen)
	s.mu.RLock()
	there := s.holds(hash, key, a.gen)
	s.mu.RUnlock()
	if !there {
		t.presence.Went(key, a.gen)
	}
}

// holds reports whether a session of that generation is in the table.
func (s *stripe) holds(hash uint64, key push.ClientKey, gen uint64) bool {
	for c := s.conns[hash]; c != nil; c = c.next {
		if c.gen == gen && c.key == key {
			return true
		}
	}
	return slices.ContainsFunc(s.others[key], func(a attachment) bool { return a.gen == gen })
}

// chain puts c among the connections of its hash, newest first.
func (s *stripe) chain(hash uint64, c *conn) {
	head := s.conns[hash]
	if head == nil || head.gen < c.gen {
		c.next = head
		s.conns[hash] = c
		return
	}
	p := head
	for p.next != nil && p.next.gen > c.gen {
		p = p.next
	}
	p.next, c.next = c, p.next
}

func (t *table) attachOther(key push.ClientKey, session push.Session) uint64 {
	s, hash := t.stripe(key)
	s.mu.Lock()
	gen := t.gen.Add(1)
	s.others[key] = append(s.others[key], attachment{session, gen})
	t.count.Add(1)
	t.others.Add(1)
	evicted := t.evict(s, hash, key)
	s.mu.Unlock()
	t.came(s, hash, key, attachment{session, gen})
	t.replace(key, evicted)
	return gen
}

// replace closes sessions outside the stripe's lock: Close may come back to
// the table.
func (t *table) replace(key push.ClientKey, evicted []attachment) {
	for _, a := range evicted {
		t.presence.Went(key, a.gen)
		a.session.Close(push.CloseReplaced, "a newer connection of this client took over")
	}
}

// evict takes the oldest sessions beyond the limit out of the table. Called
// with the stripe locked.
func (t *table) evict(s *stripe, hash uint64, key push.ClientKey) (evicted []attachment) {
	for {
		n := len(s.others[key])
		var oldest *conn
		for c := s.conns[hash]; c != nil; c = c.next {
			if c.key == key {
				n++
				oldest = c // the chain is newest first
			}
		}
		if n <= t.perClient {
			return evicted
		}
		if o := s.others[key]; len(o) > 0 && (oldest == nil || o[0].gen < oldest.gen) {
			evicted = append(evicted, o[0])
			t.dropOther(s, key, 0)
			continue
		}
		evicted = append(evicted, attachment{oldest, oldest.gen})
		t.unchain(s, hash, oldest)
	}
}

// detach takes c out; nothing happens where it is not in.
func (t *table) detach(c *conn) {
	s, hash := t.stripe(c.key)
	s.mu.Lock()
	was := t.unchain(s, hash, c)
	s.mu.Unlock()
	if was {
		t.presence.Went(c.key, c.gen)
	}
}

// unchain answers whether c was there.
func (t *table) unchain(s *stripe, hash uint64, c *conn) bool {
	head := s.conns[hash]
	if head == c {
		if c.next == nil {
			delete(s.conns, hash)
		} else {
			s.conns[hash] = c.next
		}
		c.next = nil
		t.count.Add(-1)
		return true
	}
	for p := head; p != nil; p = p.next {
		if p.next == c {
			p.next, c.next = c.next, nil
			t.count.Add(-1)
			return true
		}
	}
	return false
}

// detachOther answers the generation of a session that was there.
func (t *table) detachOther(key push.ClientKey, s push.Session) (gen uint64, ok bool) {
	st, _ := t.stripe(key)
	st.mu.Lock()
	defer st.mu.Unlock()
	for i, o := range st.others[key] {
		if o.session == s {
			t.dropOther(st, key, i)
			return o.gen, true
		}
	}
	return 0, false
}

func (t *table) dropOther(s *stripe, key push.ClientKey, i int) {
	t.count.Add(-1)
	t.others.Add(-1)
	if len(s.others[key]) == 1 {
		delete(s.others, key)
		return
	}
	s.others[key] = slices.Delete(s.others[key], i, i+1)
}

// collect appends cmd once for each connection of the client to its loop's
// list, and returns the client's other sessions.
func (t *table) collect(key push.ClientKey, byLoop [][]command, cmd command) (others []push.Session) {
	s, hash := t.stripe(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for c := s.conns[hash]; c != nil; c = c.next {
		if c.key == key {
			cmd.c = c
			byLoop[c.loop.index] = append(byLoop[c.loop.index], cmd)
		}
	}
	if len(s.others) == 0 {
		return nil
	}
	for _, o := range s.others[key] {
		others = append(others, o.session)
	}
	return others
}

// all is every session, as it stands.
func (t *table) all() []push.Session {
	all := make([]push.Session, 0, t.count.Load())
	for i := range t.stripes {
		t.stripes[i].each(nil, func(_ push.ClientKey, s push.Session) { all = append(all, s) })
	}
	return all
}

func (s *stripe) each(realm *string, f func(push.ClientKey, push.Session)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, c := range s.conns {
		for ; c != nil; c = c.next {
			if realm == nil || c.key.Realm == *realm {
				f(c.key, c)
			}
		}
	}
	for key, list := range s.others {
		for _, o := range list {
			if realm == nil || key.Realm == *realm {
				f(key, o.session)
			}
		}
	}
}

// Attach puts a session of another transport in the table. Sessions beyond
// [Config.PerClient], oldest first, are taken out and closed with
// [push.CloseReplaced].
func (h *Hub) Attach(key push.ClientKey, s push.Session) (generation uint64) {
	if c, ok := s.(*conn); ok {
		h.table.attach(c)
		return c.gen
	}
	generation = h.table.attachOther(key, s)
	if h.draining.Load() {
		s.Close(push.CloseDraining, h.comeBack())
	}
	return generation
}

// Detach takes a session out; nothing happens where it is not in.
func (h *Hub) Detach(key push.ClientKey, s push.Session) {
	if c, ok := s.(*conn); ok {
		h.table.detach(c)
		return
	}
	if gen, ok := h.table.detachOther(key, s); ok {
		h.table.presence.Went(key, gen)
	}
}

// Online reports whether the client has a session here.
func (h *Hub) Online(key push.ClientKey) bool {
	s, hash := h.table.stripe(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for c := s.conns[hash]; c != nil; c = c.next {
		if c.key == key {
			return true
		}
	}
	return len(s.others[key]) > 0
}

// Of is the client's sessions here, in no order.
func (h *Hub) Of(key push.ClientKey) (list []push.Session) {
	s, hash := h.table.stripe(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for c := s.conns[hash]; c != nil; c = c.next {
		if c.key == key {
			list = append(list, c)
		}
	}
	for _, o := range s.others[key] {
		list = append(list, o.session)
	}
	return list
}

// Each calls f for every session of the realm (nil: all), one stripe's at a
// time, without holding a lock. Sessions that come or go meanwhile may be
// missed.
func (h *Hub) Each(realm *string, f func(push.ClientKey, push.Session) bool) {
	type row struct {
		key push.ClientKey
		s   push.Session
	}
	var rows []row
	for i := range h.table.stripes {
		rows = rows[:0]
		h.table.stripes[i].each(realm, func(k push.ClientKey, s push.Session) { rows = append(rows, row{k, s}) })
		for _, r := range rows {
			if !f(r.key, r.s) {
				return
			}
		}
	}
}

// Len is the number of sessions here.
func (h *Hub) Len() int { return int(h.table.count.Load()) }
