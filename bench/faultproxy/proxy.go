package faultproxy

import (
	"errors"
	"fmt"
	"sync"
)

// Proxy is a set of links by name. The zero value is empty.
type Proxy struct {
	mu    sync.Mutex
	links map[string]*Link // guarded by mu
}

// Add opens a link; see [NewLink]. A name is taken once.
func (p *Proxy) Add(name, target string) (*Link, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.links[name] != nil {
		return nil, fmt.Errorf("faultproxy: there is a link %s", name)
	}
	l, err := NewLink(name, target)
	if err != nil {
		return nil, err
	}
	if p.links == nil {
		p.links = map[string]*Link{}
	}
	p.links[name] = l
	return l, nil
}

// Link is the link of that name, nil if there is none.
func (p *Proxy) Link(name string) *Link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.links[name]
}

// Heal heals every link, also if one fails.
func (p *Proxy) Heal() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		err = errors.Join(err, l.Heal())
	}
	return err
}

// Close closes every link and forgets them.
func (p *Proxy) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.Close()
	}
	p.links = nil
}
