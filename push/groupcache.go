package push

import (
	"context"
	"sync"
	"time"
)

// groupCache keeps the members of recently used groups for what is never
// stored (live-only pushes, typing, member events), so that these work while
// the store is away. Durable pushes don't use it: the store resolves them in
// the push's transaction.
type groupCache struct {
	store Groups
	now   func() time.Time
	slow  *rest // shared with live-only pushes

	mu   sync.Mutex
	sets map[groupName]*memberSet // at most maxCachedGroups
}

type groupName struct{ realm, name string }

// memberSet is immutable once made.
type memberSet struct {
	epoch   uint64
	events  bool
	ids     map[string]struct{}
	checked time.Time
}

const (
	maxCachedGroups = 1024
	groupFresh      = 5 * time.Second // how long a set is used before its epoch is looked up again
	groupRetry      = time.Second     // likewise, while the store does not answer
)

func newGroupCache(store Groups, now func() time.Time, slow *rest) *groupCache {
	return &groupCache{store: store, now: now, slow: slow, sets: map[groupName]*memberSet{}}
}

func (m *memberSet) has(id string) bool {
	_, ok := m.ids[id]
	return ok
}

// at is the set as one that was checked then.
func (m *memberSet) at(checked time.Time) *memberSet {
	return &memberSet{epoch: m.epoch, events: m.events, ids: m.ids, checked: checked}
}

// members answers the group's set, at most groupFresh old; an older one while
// the store can't be reached.
func (c *groupCache) members(ctx context.Context, realm, name string) (*memberSet, error) {
	key := groupName{realm, name}
	c.mu.Lock()
	set := c.sets[key]
	c.mu.Unlock()
	if set != nil && c.now().Sub(set.checked) < groupFresh {
		return set, nil
	}
	g, err := c.lookUp(ctx, realm, name, set != nil)
	if err != nil {
		if set != nil && !HasCode(err, CodeNoGroup) {
			c.retryLater(key, set)
			return set, nil
		}
		return nil, err
	}
	if set != nil && set.epoch == g.Epoch && set.events == g.Events {
		return c.keep(key, set.at(c.now())), nil
	}
	set, err = c.load(ctx, g)
	if err != nil {
		return nil, err
	}
	return c.keep(key, set), nil
}

// lookUp reads the group's state; where an older set would serve, not for long.
func (c *groupCache) lookUp(ctx context.Context, realm, name string, older bool) (Group, error) {
	if !older {
		return c.store.Group(ctx, realm, name)
	}
	start := c.now()
	if c.slow.resting(start) {
		return Group{}, Errorf(CodeNoStore, "the store is left alone for a while")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	g, err := c.store.Group(ctx, realm, name)
	if err != nil && !HasCode(err, CodeNoGroup) {
		c.slow.failed(start, c.now())
	}
	return g, err
}

func (c *groupCache) load(ctx context.Context, g Group) (*memberSet, error) {
	set := &memberSet{epoch: g.Epoch, events: g.Events, ids: make(map[string]struct{}, g.Members), checked: c.now()}
	page := PageQuery{Limit: MaxPageLimit}
	for {
		ids, next, err := c.store.Members(ctx, g.Realm, g.Name, page)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			set.ids[id] = struct{}{}
		}
		if next == "" {
			return set, nil
		}
		page.Token = next
	}
}

func (c *groupCache) keep(key groupName, set *memberSet) *memberSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sets) >= maxCachedGroups && c.sets[key] == nil {
		for k := range c.sets { // any one: the map's order is random
			delete(c.sets, k)
			break
		}
	}
	c.sets[key] = set
	return set
}

// retryLater has the set used for a little longer, unless another is kept by now.
func (c *groupCache) retryLater(key groupName, set *memberSet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sets[key] == set {
		c.sets[key] = set.at(c.now().Add(groupRetry - groupFresh))
	}
}

// forget makes the next use look the group up again.
func (c *groupCache) forget(realm, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if set := c.sets[groupName{realm, name}]; set != nil {
		c.sets[groupName{realm, name}] = set.at(time.Time{})
	}
}

// forgetMember is forget for the groups that a deleted client was in.
func (c *groupCache) forgetMember(key ClientKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, set := range c.sets {
		if name.realm == key.Realm && set.has(key.ID) {
			c.sets[name] = set.at(time.Time{})
		}
	}
}
