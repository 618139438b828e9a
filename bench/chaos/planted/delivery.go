package planted

import (
	"context"
	"sync"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// ackAtWrite acks for clients what was handed to their sessions.
func ackAtWrite(p Ports) Ports {
	s := &hasty{Sessions: p.Sessions, store: p.Storage, acks: make(chan push.Ack, behind)}
	go s.work()
	p.Sessions = s
	return p
}

type hasty struct {
	push.Sessions
	store push.Storage
	acks  chan push.Ack // never closed
}

func (s *hasty) Placed(m *push.Message, to []push.Placement) {
	s.Sessions.Placed(m, to)
	for _, at := range to {
		if !s.Online(at.Client) {
			continue
		}
		select {
		case s.acks <- push.Ack{Client: at.Client, Seq: at.Seq, At: time.Now()}:
		default:
		}
	}
}

func (s *hasty) work() {
	for ack := range s.acks {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		_ = s.store.Ack(ctx, []push.Ack{ack}) // the next one says more
		cancel()
	}
}

// dropWhenFull has a queue for each client, which is short.
func dropWhenFull(p Ports) Ports {
	p.Storage = &short{p.Storage}
	return p
}

// queueLen is how many entries a client's queue takes.
const queueLen = 8

type short struct{ push.Storage }

func (s *short) Read(ctx context.Context, key push.ClientKey, after uint64, maxEntries, maxBytes int) (push.Page, error) {
	page, err := s.Storage.Read(ctx, key, after, maxEntries, maxBytes)
	if len(page.Items) > queueLen {
		page.Items = page.Items[:queueLen]
	}
	return page, err
}

// gapAtHandOver takes the mailbox's head after its page, as a server does that
// subscribes once it has replayed.
func gapAtHandOver(p Ports) Ports {
	p.Storage = &late{p.Storage}
	return p
}

// subscribing is how long it takes to subscribe.
const subscribing = 10 * time.Millisecond

type late struct{ push.Storage }

func (s *late) Read(ctx context.Context, key push.ClientKey, after uint64, maxEntries, maxBytes int) (push.Page, error) {
	page, err := s.Storage.Read(ctx, key, after, maxEntries, maxBytes)
	if err != nil || page.Through < page.Head {
		return page, err
	}
	time.Sleep(subscribing)
	boxes, err := s.Mailboxes(ctx, []push.ClientKey{key})
	if err != nil {
		return push.Page{}, err
	}
	if boxes[0] != nil {
		page.Head = max(page.Head, boxes[0].Head)
		page.Through = page.Head
	}
	return page, nil
}

// sequenceEarly makes some entries visible later than those that follow them,
// as happens where a sequence is taken before, and apart from, the transaction
// that uses it.
func sequenceEarly(p Ports) Ports {
	h := &hidden{places: map[push.Placement]bool{}}
	p.Storage = &outOfOrder{p.Storage, h}
	p.Sessions = &tellingLate{p.Sessions, h}
	return p
}

const (
	slowCommit = 100 * time.Millisecond
	everySlow  = 16 // one of so many commits is slow
)

// hidden are the places that are taken and not yet visible.
type hidden struct {
	mu     sync.Mutex
	places map[push.Placement]bool
	placed int
}

// hide reports whether this commit is a slow one, whose places are shown by
// show.
func (h *hidden) hide(to []push.Placement) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.placed++
	if h.placed%everySlow != 0 {
		return false
	}
	for _, at := range to {
		h.places[at] = true
	}
	return true
}

func (h *hidden) show(to []push.Placement) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, at := range to {
		delete(h.places, at)
	}
}

func (h *hidden) hides(at push.Placement) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.places[at]
}

type tellingLate struct {
	push.Sessions
	hidden *hidden
}

func (s *tellingLate) Placed(m *push.Message, to []push.Placement) {
	if !s.hidden.hide(to) {
		s.Sessions.Placed(m, to)
		return
	}
	time.AfterFunc(slowCommit, func() {
		s.hidden.show(to)
		s.Sessions.Placed(m, to)
	})
}

type outOfOrder struct {
	push.Storage
	hidden *hidden
}

// Read passes over hidden entries, and ends before those that nothing visible
// follows.
func (s *outOfOrder) Read(ctx context.Context, key push.ClientKey, after uint64, maxEntries, maxBytes int) (push.Page, error) {
	page, err := s.Storage.Read(ctx, key, after, maxEntries, maxBytes)
	if err != nil {
		return page, err
	}
	visible, last := page.Items[:0:0], after
	for _, item := range page.Items {
		if item.Message != nil && s.hidden.hides(push.Placement{Client: key, Seq: item.Seq}) {
			continue
		}
		visible, last = append(visible, item), max(item.Seq, item.To)
	}
	if len(visible) < len(page.Items) && page.Through == page.Head {
		page.Through, page.Head = last, last
	}
	page.Items = visible
	return page, nil
}
