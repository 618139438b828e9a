package push

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// fakeMailbox is the store as a feed sees it: places 1..head, some gone.
type fakeMailbox struct {
	mu   sync.Mutex
	head uint64
	gone map[uint64]GapReason
}

func (b *fakeMailbox) commit() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.head++
	return b.head
}

func (b *fakeMailbox) cancel(seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone[seq] = GapCancelled
}

// read honours the contract of Mailboxes.Read.
func (b *fakeMailbox) read(after uint64, limit int) Page {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := Page{Through: after, Head: b.head}
	for seq := after + 1; seq <= b.head && len(p.Items) < limit; seq++ {
		p.Through = seq
		reason, gone := b.gone[seq]
		if !gone {
			p.Items = append(p.Items, Item{Seq: seq, Message: &Message{ID: int64(seq)}})
			continue
		}
		if n := len(p.Items); n > 0 && p.Items[n-1].Message == nil && p.Items[n-1].Reason == reason {
			p.Items[n-1].To = seq
			continue
		}
		p.Items = append(p.Items, Item{Seq: seq, To: seq, Reason: reason})
	}
	return p
}

// recorder is a Line that checks the invariant: every place once, in order.
type recorder struct {
	t        interface{ Fatalf(string, ...any) }
	last     uint64 // highest place told
	room     int    // sends left before the line is full; negative: no limit
	fetches  []uint64
	complete []uint64
	replayed []uint64
}

func (r *recorder) send(from, to uint64) bool {
	if from != r.last+1 || to < from {
		r.t.Fatalf("sent %d..%d after %d", from, to, r.last)
	}
	r.last = to
	r.room--
	return r.room != 0
}

func (r *recorder) Message(m *Message, seq uint64, replayed bool) bool {
	if uint64(m.ID) != seq {
		r.t.Fatalf("message %d sent as %d", m.ID, seq)
	}
	if replayed {
		r.replayed = append(r.replayed, seq)
	}
	return r.send(seq, seq)
}

func (r *recorder) Gap(from, to uint64, _ GapReason) bool { return r.send(from, to) }

func (r *recorder) ReplayComplete(seq uint64) bool {
	if r.last < seq {
		r.t.Fatalf("replay_complete %d after only %d", seq, r.last)
	}
	r.complete = append(r.complete, seq)
	r.room--
	return r.room != 0
}

func (r *recorder) Fetch(after uint64) { r.fetches = append(r.fetches, after) }

// TestFeedSendsEveryPlaceOnceInOrder runs random interleavings of commits,
// hints (delayed, reordered, lost), cancellations, page reads, full lines and
// drains, and ends by letting everything settle.
func TestFeedSendsEveryPlaceOnceInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		box := &fakeMailbox{gone: map[uint64]GapReason{}}
		for range rapid.IntRange(0, 8).Draw(t, "backlog") {
			box.commit()
		}
		cursor := rapid.Uint64Range(0, box.head).Draw(t, "cursor")
		line := &recorder{t: t, last: cursor, room: -1}
		feed := &Feed{}
		var hints []uint64 // committed, not yet offered
		var page *Page     // read, not yet handed over
		opened := false
		var openHead uint64
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(*rapid.T) { hints = append(hints, box.commit()) },
			"cancel": func(t *rapid.T) {
				if box.head > 0 {
					box.cancel(rapid.Uint64Range(1, box.head).Draw(t, "seq"))
				}
			},
			"offer": func(t *rapid.T) {
				if len(hints) == 0 {
					return
				}
				i := rapid.IntRange(0, len(hints)-1).Draw(t, "which")
				seq := hints[i]
				hints = append(hints[:i], hints[i+1:]...)
				switch rapid.IntRange(0, 3).Draw(t, "hint") {
				case 0: // lost
				case 1:
					feed.Offer(line, nil, seq)
				default:
					feed.Offer(line, &Message{ID: int64(seq)}, seq)
				}
			},
			"open": func(*rapid.T) {
				if !opened && openHead == 0 {
					openHead = box.head
					return
				}
				if !opened {
					opened = true
					feed.Open(line, cursor, max(openHead, cursor))
				}
			},
			"read": func(t *rapid.T) {
				if page == nil && len(line.fetches) > 0 {
					p := box.read(line.fetches[0], rapid.IntRange(1, 4).Draw(t, "limit"))
					line.fetches = line.fetches[1:]
					page = &p
				}
			},
			"hand over": func(*rapid.T) {
				if page != nil {
					p := *page
					page = nil
					feed.Fetched(line, p)
				}
			},
			"fill": func(t *rapid.T) { line.room = rapid.IntRange(1, 3).Draw(t, "room") },
			"drain": func(*rapid.T) {
				if line.room <= 0 {
					line.room = -1
					feed.Drained(line)
				}
			},
			"": func(t *rapid.T) {
				if len(line.fetches) > 1 {
					t.Fatalf("%d pages asked for at once", len(line.fetches))
				}
			},
		})
		settle(feed, line, box, page, opened, cursor)
		if line.last != box.head {
			t.Fatalf("settled at %d, the mailbox is at %d", line.last, box.head)
		}
		if len(line.complete) != 1 {
			t.Fatalf("replay_complete was told %d times", len(line.complete))
		}
		for _, seq := range line.replayed {
			if seq > line.complete[0] {
				t.Fatalf("%d was flagged as replayed after replay_complete %d", seq, line.complete[0])
			}
		}
	})
}

// settle lets a feed catch up: the line has room, the last hint arrives.
func settle(feed *Feed, line *recorder, box *fakeMailbox, page *Page, opened bool, cursor uint64) {
	line.room = -1
	if !opened {
		feed.Open(line, cursor, box.head)
	}
	feed.Drained(line)
	if page != nil {
		feed.Fetched(line, *page)
	}
	feed.Offer(line, nil, box.head)
	for len(line.fetches) > 0 {
		after := line.fetches[0]
		line.fetches = line.fetches[1:]
		feed.Fetched(line, box.read(after, 3))
	}
}

// TestFeedGoesLiveWhileOthersCommit runs the hand-over with real concurrency:
// committers, a slow reader of pages, and an owner that takes everything from
// one channel, as a loop does.
func TestFeedGoesLiveWhileOthersCommit(t *testing.T) {
	for _, committers := range []int{1, 4} {
		t.Run(fmt.Sprint(committers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const each = 200
				box := &fakeMailbox{gone: map[uint64]GapReason{}}
				owner := make(chan func(*Feed, *recorder)) // closed by nobody: the owner counts
				var wg sync.WaitGroup
				var order sync.Mutex // commit and hint are one step, as in a store's writer
				for range committers {
					wg.Go(func() {
						for range each {
							order.Lock()
							seq := box.commit()
							owner <- func(f *Feed, l *recorder) { f.Offer(l, &Message{ID: int64(seq)}, seq) }
							order.Unlock()
							time.Sleep(time.Millisecond)
						}
					})
				}
				feed, line := &Feed{}, &recorder{t: t, room: -1}
				live := 0
				opened := false
				go func() { // the mailbox's state arrives late
					time.Sleep(20 * time.Millisecond)
					box.mu.Lock()
					head := box.head
					box.mu.Unlock()
					time.Sleep(20 * time.Millisecond)
					owner <- func(f *Feed, l *recorder) { opened = true; f.Open(l, 0, head) }
				}()
				for line.last < uint64(committers*each) {
					(<-owner)(feed, line)
					if opened && feed.Live() {
						live++
					}
					for len(line.fetches) > 0 {
						after := line.fetches[0]
						line.fetches = line.fetches[1:]
						go func() {
							page := box.read(after, 7)
							time.Sleep(3 * time.Millisecond)
							owner <- func(f *Feed, l *recorder) { f.Fetched(l, page) }
						}()
					}
				}
				wg.Wait()
				if live == 0 {
					t.Fatal("the feed never went live while others committed")
				}
			})
		})
	}
}
