package push

import "slices"

// Acks beside the deletion of their client: see [ackBuffer].

// begin is called before a client is deleted: what waits of it is dropped, and
// nothing more is taken. It waits for a flush under way.
func (b *ackBuffer) begin(key ClientKey) {
	b.prune()
	b.mu.Lock()
	e := b.ending[key]
	if e == nil {
		e = &ending{}
		b.ending[key] = e
	}
	e.running++
	b.turns++
	b.mu.Unlock()

	b.flushing.Lock() // a flush that fails puts back what it took
	defer b.flushing.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, key)
}

// end is called once the deletion is committed, or has failed, with the
// sessions of the ended life: acks count again when these are gone.
func (b *ackBuffer) end(key ClientKey, old []Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.ending[key]
	e.running--
	e.old = append(e.old, old...)
	b.turns++
	if e.running == 0 && len(e.old) == 0 {
		delete(b.ending, key)
	}
}

// seen is what [ackBuffer.addSince] compares.
func (b *ackBuffer) seen() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.turns
}

// settle reports whether acks of the client count: it was not deleted, or
// nothing is left of the ended life.
func (b *ackBuffer) settle(key ClientKey) bool {
	b.mu.Lock()
	e := b.ending[key]
	if e == nil || e.running > 0 {
		b.mu.Unlock()
		return e == nil
	}
	old := e.old
	b.mu.Unlock()

	online := b.sessions.Of(key)
	if slices.ContainsFunc(old, func(s Session) bool { return slices.Contains(online, s) }) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ending[key] == e && e.running == 0 && len(e.old) == len(old) {
		delete(b.ending, key)
	}
	return b.ending[key] == nil
}

// prune forgets deletions whose sessions are gone: most clients that were
// deleted never ack again.
func (b *ackBuffer) prune() {
	b.mu.Lock()
	keys := make([]ClientKey, 0, len(b.ending))
	for key := range b.ending {
		keys = append(keys, key)
	}
	b.mu.Unlock()
	for _, key := range keys {
		b.settle(key)
	}
}
