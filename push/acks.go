package push

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// ackBuffer gathers acks and writes them together: an ack costs the store one
// row a client a flush, however many messages it covers. A crash loses at
// most what was gathered since the last flush; those messages are sent again
// and the client library drops them by sequence.
type ackBuffer struct {
	store Mailboxes
	log   *slog.Logger
	met   *Metrics
	now   func() time.Time

	wake chan struct{} // one token; never closed

	mu      sync.Mutex // guards what follows
	waiting map[ClientKey]Ack
	writing map[ClientKey]Ack // being flushed: still to be overlaid on reads

	flushing sync.Mutex // one flush at a time
}

// maxFailedWaiting bounds the dead letters one client may have waiting for a
// flush; more are passed over (they stay unacked and come again).
const maxFailedWaiting = 4 * MaxFailedPerAck

// flushTimeout bounds one write of gathered acks.
const flushTimeout = 10 * time.Second

func newAckBuffer(store Mailboxes, log *slog.Logger, met *Metrics, now func() time.Time) *ackBuffer {
	return &ackBuffer{
		store: store, log: log, met: met, now: now,
		wake:    make(chan struct{}, 1),
		waiting: map[ClientKey]Ack{},
	}
}

// add merges an ack; it never blocks on the store.
func (b *ackBuffer) add(a Ack) {
	a.At = b.now()
	b.mu.Lock()
	b.waiting[a.Client] = mergeAcks(b.waiting[a.Client], a)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func mergeAcks(old, a Ack) Ack {
	a.Seq = max(a.Seq, old.Seq)
	a.Read = max(a.Read, old.Read)
	room := maxFailedWaiting - len(old.Failed)
	a.Failed = append(old.Failed[:len(old.Failed):len(old.Failed)], a.Failed[:min(room, len(a.Failed))]...)
	return a
}

// cursor is the highest ack of the client that the store may not have yet.
func (b *ackBuffer) cursor(key ClientKey) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.waiting[key].Seq, b.writing[key].Seq)
}

// flush writes what waits and returns when it is durable, so that what is
// read from the store next shows it. Acks that could not be written wait on.
func (b *ackBuffer) flush(ctx context.Context) error {
	b.flushing.Lock()
	defer b.flushing.Unlock()
	b.mu.Lock()
	batch := b.waiting
	if len(batch) == 0 {
		b.mu.Unlock()
		return nil
	}
	b.waiting, b.writing = map[ClientKey]Ack{}, batch
	b.mu.Unlock()

	acks := make([]Ack, 0, len(batch))
	for _, a := range batch {
		acks = append(acks, a)
	}
	err := b.store.Ack(ctx, acks)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writing = nil
	if err != nil {
		for key, a := range batch {
			if newer, ok := b.waiting[key]; ok {
				a = mergeAcks(a, newer)
			}
			b.waiting[key] = a
		}
		return err
	}
	b.met.ackFlushes.Inc()
	return nil
}

// forget drops what waits of a client that was deleted: it must not count in
// the mailbox of the next client of that ID.
func (b *ackBuffer) forget(key ClientKey) {
	b.flushing.Lock()
	defer b.flushing.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, key)
}

// run flushes every interval while there is something, until ctx ends; then
// once more.
func (b *ackBuffer) run(ctx context.Context, every time.Duration) {
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		if err := b.flush(last); err != nil {
			b.log.Error("acks lost at shutdown; their messages will be sent again", "err", err)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		}
		if !pause(ctx, every) {
			return
		}
		call, cancel := context.WithTimeout(ctx, flushTimeout)
		err := b.flush(call)
		cancel()
		if err == nil || ctx.Err() != nil {
			continue
		}
		b.log.Warn("acks could not be written, they wait", "err", err)
		if !pause(ctx, time.Second) {
			return
		}
		select { // they are still there: try again
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
