package push

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// ackBuffer gathers acks and writes them together: an ack costs the store one
// row a client a flush, however many messages it covers. A crash loses at
// most what was gathered since the last flush; those messages are sent again
// and the client library drops them by sequence.
//
// An ack names a client and a sequence, which mean another message once the
// client was deleted and its ID registered again. So a deletion ([ackBuffer.begin],
// [ackBuffer.end]) drops the client's acks, and takes none until the sessions of
// the ended life are gone from the table.
type ackBuffer struct {
	store    Mailboxes
	sessions Sessions
	log      *slog.Logger
	met      *Metrics
	now      func() time.Time

	wake chan struct{} // one token; never closed

	mu      sync.Mutex // guards what follows
	waiting map[ClientKey]Ack
	writing map[ClientKey]Ack // being flushed: still to be overlaid on reads
	ending  map[ClientKey]*ending
	turns   uint64 // of deletions: how many began or ended

	// flushing is held over the call of the store: one flush at a time, and
	// who returns from flush knows that all he saw gathered is written. It is
	// taken before mu, and by nobody who must not block.
	flushing sync.Mutex
}

// ending is a client's life that is being deleted, or was.
type ending struct {
	running int       // deletions under way
	old     []Session // of the ended life, as the last deletion found them
}

// maxFailedWaiting bounds the dead letters one client may have waiting for a
// flush: more than a mailbox holds by default. While that many wait, acks move
// the cursor no further.
const maxFailedWaiting = 64 * MaxFailedPerAck

// flushTimeout bounds one write of gathered acks.
const flushTimeout = 10 * time.Second

func newAckBuffer(p Parts) *ackBuffer {
	return &ackBuffer{
		store: p.Store, sessions: p.Sessions, log: p.Log, met: p.Metrics, now: p.Now,
		wake:    make(chan struct{}, 1),
		waiting: map[ClientKey]Ack{},
		ending:  map[ClientKey]*ending{},
	}
}

// add merges an ack; it never blocks on the store.
func (b *ackBuffer) add(a Ack) { b.addIf(a, func(uint64) bool { return true }) }

// addSince is add for an ack that stands on what was read from the store: it
// counts only where no deletion began or ended since [ackBuffer.seen].
func (b *ackBuffer) addSince(turn uint64, a Ack) {
	b.addIf(a, func(now uint64) bool { return now == turn })
}

func (b *ackBuffer) addIf(a Ack, valid func(turn uint64) bool) {
	a.At = b.now()
	b.mu.Lock()
	if b.ending[a.Client] != nil {
		b.mu.Unlock()
		if !b.settle(a.Client) {
			return
		}
		b.mu.Lock()
	}
	if !valid(b.turns) || b.ending[a.Client] != nil {
		b.mu.Unlock()
		return
	}
	b.waiting[a.Client] = mergeAcks(b.waiting[a.Client], a)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// mergeAcks adds a to what waits of the same client. A dead letter that finds
// no room must not be acked as handled: the cursor stays before it.
func mergeAcks(old, a Ack) Ack {
	a.Read = max(a.Read, old.Read)
	if len(old.Failed) >= maxFailedWaiting {
		a.Seq = 0
	}
	failed := old.Failed
	if len(a.Failed) > 0 {
		failed, a.Seq = mergeFailed(failed, a.Failed, a.Seq)
	}
	a.Failed = failed
	a.Seq = max(a.Seq, old.Seq)
	return a
}

// mergeFailed adds dead letters that are not known yet, lowest first, and
// answers how far an ack of seq may go then.
func mergeFailed(old, more []FailedEntry, seq uint64) ([]FailedEntry, uint64) {
	known := make(map[uint64]struct{}, len(old)+len(more))
	for _, f := range old {
		known[f.Seq] = struct{}{}
	}
	more = slices.Clone(more)
	slices.SortStableFunc(more, func(a, b FailedEntry) int { return cmp.Compare(a.Seq, b.Seq) })
	all := slices.Clip(old)
	for _, f := range more {
		if _, ok := known[f.Seq]; ok {
			continue
		}
		if len(all) >= maxFailedWaiting {
			return all, min(seq, max(f.Seq, 1)-1)
		}
		known[f.Seq] = struct{}{}
		all = append(all, f)
	}
	return all, seq
}

// cursor is the highest ack of the client that the store may not have yet.
// A mailbox read after this call has what this call no longer shows.
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
