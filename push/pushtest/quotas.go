package pushtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// Quotas is what a full mailbox does, under both policies.
func Quotas(t *testing.T, open Opener) {
	three := func(c *push.Config) { c.MailboxEntries = 3 }
	bytes := func(c *push.Config) { c.MailboxBytes = 30 }
	drop := func(c *push.Config) { c.Overflow = push.OverflowDrop }
	t.Run("a full mailbox refuses", func(t *testing.T) { quotaReject(newWorld(t, open, three)) })
	t.Run("one full of bytes refuses", func(t *testing.T) { quotaBytes(newWorld(t, open, bytes)) })
	t.Run("the lowest priority is dropped first", func(t *testing.T) { quotaDrop(newWorld(t, open, three, drop)) })
	t.Run("bytes are dropped until it fits", func(t *testing.T) { quotaDropBytes(newWorld(t, open, bytes, drop)) })
	t.Run("of several targets the full ones refuse", func(t *testing.T) { quotaSome(newWorld(t, open, three)) })
	t.Run("a promised push is told as dropped", func(t *testing.T) { quotaPromised(newWorld(t, open, three)) })
}

func fill(w *world, client string, n int) {
	w.Helper()
	for range n {
		w.push(client)
	}
}

func quotaReject(w *world) {
	w.register("a")
	fill(w, "a", 3)
	refused := w.try(w.envelope(one("a"), keyed(1, 1)))
	wantCode(w, "the fourth push", withErr(refused), push.CodeMailboxFull)
	equal(w.T, "the head", w.mailbox("a").Head, 3)
	w.ack("a", 1)
	if o := w.accept(w.envelope(one("a"), keyed(1, 1))); o.Duplicate {
		w.Fatal("the refused push has claimed its key")
	}
	wantCode(w, "one more", withErr(w.try(w.envelope(one("a")))), push.CodeMailboxFull)

	_, err := w.s.Cancel(w.ctx, nil, w.firstWaiting("a"))
	must(w, err)
	w.push("a") // takes the cancelled one's room at once
	wantCode(w, "one more", withErr(w.try(w.envelope(one("a")))), push.CodeMailboxFull)

	w.pass(2 * time.Hour) // all of them expire, nobody has marked them yet
	fill(w, "a", 3)
	wantCode(w, "one more", withErr(w.try(w.envelope(one("a")))), push.CodeMailboxFull)
	equal(w.T, "the backlog", w.mailbox("a").Count, 3)
}

func (w *world) firstWaiting(client string) int64 {
	p, err := w.s.Read(w.ctx, key(client), w.mailbox(client).Cursor, 1, 1)
	must(w, err)
	return p.Items[len(p.Items)-1].Message.ID
}

func quotaBytes(w *world) {
	w.register("a")
	size := func(n int) func(*push.Envelope) { return func(e *push.Envelope) { e.Size = n } }
	w.push("a", size(20))
	wantCode(w, "11 bytes more", withErr(w.try(w.envelope(one("a"), size(11)))), push.CodeMailboxFull)
	w.push("a", size(10))
	wantCode(w, "a byte more", withErr(w.try(w.envelope(one("a"), size(1)))), push.CodeMailboxFull)
	w.ack("a", 1)
	w.push("a", size(20))
	collapse := func(e *push.Envelope) { e.CollapseKey, e.Size = "k", 10 }
	w.ack("a", 3)
	w.push("a", size(15))
	w.push("a", collapse)
	w.push("a", collapse) // fits, since the one before it ends
	equal(w.T, "the backlog", w.mailbox("a").Bytes, 25)
}

func quotaDrop(w *world) {
	w.register("a")
	prio := func(n int) func(*push.Envelope) { return func(e *push.Envelope) { e.Priority = n } }
	first, low, second := w.push("a", prio(3)), w.push("a", prio(1)), w.push("a", prio(3))
	high := w.push("a", prio(5))
	equal(w.T, "the mailbox", w.places("a", 0), fmt.Sprintf("1:%d 2:dropped 3:%d 4:%d", first, second, high))
	st, err := w.s.Status(w.ctx, nil, low, push.PageQuery{})
	must(w, err)
	if c := st.Clients[0]; c.State != push.StateDropped || c.Reason != "quota" {
		w.Fatalf("the dropped push is %+v", c)
	}
	more := w.push("a", prio(3)) // of equals the oldest
	equal(w.T, "the mailbox", w.places("a", 0), fmt.Sprintf("1-2:dropped 3:%d 4:%d 5:%d", second, high, more))
	wantCode(w, "a push worth less than all", withErr(w.try(w.envelope(one("a"), prio(1)))), push.CodeMailboxFull)
	for range 600 {
		w.push("a", prio(4))
	}
	m := w.mailbox("a")
	equal(w.T, "the backlog", m.Count, 3)
	equal(w.T, "the head", m.Head, 605)
}

func quotaDropBytes(w *world) {
	w.register("a")
	size := func(n int) func(*push.Envelope) { return func(e *push.Envelope) { e.Size = n } }
	for range 30 {
		w.push("a", size(1))
	}
	wantCode(w, "a push larger than the mailbox", withErr(w.try(w.envelope(one("a"), size(31)))), push.CodeMailboxFull)
	equal(w.T, "the backlog", w.mailbox("a").Count, 30)
	w.push("a", size(12))
	m := w.mailbox("a")
	equal(w.T, "the backlog", m.Count, 19)
	equal(w.T, "its bytes", m.Bytes, 30)
	// What is left of low priority would not make room enough: none is dropped.
	w.push("a", size(28), func(e *push.Envelope) { e.Priority = 5 })
	wantCode(w, "a push without room", withErr(w.try(w.envelope(one("a"), size(20)))), push.CodeMailboxFull)
	equal(w.T, "its bytes", w.mailbox("a").Bytes, 28)
}

func quotaSome(w *world) {
	w.register("a", "b")
	fill(w, "a", 3)
	o := w.accept(w.envelope(push.Target{Clients: []string{"a", "b"}}))
	if len(o.Placed) != 1 || o.Placed[0].Client != key("b") ||
		len(o.Rejected) != 1 || o.Rejected[0] != (push.Rejection{Client: key("a"), Code: push.CodeMailboxFull}) {
		w.Fatalf("a push to a full mailbox and an empty one gave %+v", o)
	}
}

func quotaPromised(w *world) {
	w.register("a")
	later := w.push("a", func(e *push.Envelope) {
		e.NotBefore = e.Accepted.Add(time.Minute)
		e.Expires = e.NotBefore.Add(time.Hour)
	})
	fill(w, "a", 3)
	w.pass(time.Minute)
	_, err := w.s.Release(w.ctx, w.clock(), 10)
	must(w, err)
	equal(w.T, "its state", w.state(later), push.StateDropped)
	equal(w.T, "its place", w.places("a", 3), "4:dropped")
	for _, h := range w.heard {
		if h.message.ID == later {
			w.Fatal("the listener heard of a dropped push")
		}
	}
}
