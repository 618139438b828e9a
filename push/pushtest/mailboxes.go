package pushtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// Mailboxes is the contract of [push.Mailboxes], Accept apart.
func Mailboxes(t *testing.T, open Opener) {
	t.Run("an unknown client has no mailbox", func(t *testing.T) { mailboxUnknown(newWorld(t, open)) })
	t.Run("its state counts what waits", func(t *testing.T) { mailboxState(newWorld(t, open)) })
	t.Run("a read stops at its bounds", func(t *testing.T) { readBounds(newWorld(t, open)) })
	t.Run("a read tells every place", func(t *testing.T) { readPlaces(newWorld(t, open)) })
	t.Run("cursors never go back nor past the head", func(t *testing.T) { ackCursor(newWorld(t, open)) })
	t.Run("failed entries are dead letters", func(t *testing.T) { ackFailed(newWorld(t, open)) })
	t.Run("renewing changes the incarnation alone", func(t *testing.T) { renew(newWorld(t, open)) })
	t.Run("reads agree with a model", func(t *testing.T) { readModel(newWorld(t, open, modelConfig)) })
}

func mailboxUnknown(w *world) {
	_, err := w.s.Open(w.ctx, key("nobody"))
	wantCode(w, "Open", err, push.CodeNoClient)
	_, err = w.s.Read(w.ctx, key("nobody"), 0, 10, 1000)
	wantCode(w, "Read", err, push.CodeNoClient)
	_, err = w.s.Renew(w.ctx, key("nobody"))
	wantCode(w, "Renew", err, push.CodeNoClient)
	must(w, w.s.Ack(w.ctx, []push.Ack{{Client: key("nobody"), Seq: 1}}))
	all, err := w.s.Mailboxes(w.ctx, []push.ClientKey{key("nobody")})
	must(w, err)
	if len(all) != 1 || all[0] != nil {
		w.Fatalf("Mailboxes of nobody are %v", all)
	}
}

func mailboxState(w *world) {
	w.register("a")
	m := w.mailbox("a")
	if len(m.Incarnation) != 16 {
		w.Fatalf("the incarnation is %q, want 16 hex digits", m.Incarnation)
	}
	equal(w.T, "an empty mailbox", m, push.Mailbox{Incarnation: m.Incarnation})
	w.push("a")
	w.pass(time.Minute)
	w.push("a")
	short := w.push("a", func(e *push.Envelope) { e.Expires = e.Accepted.Add(time.Second) })
	got := w.mailbox("a")
	if !got.Oldest.Equal(start) {
		w.Fatalf("the oldest is of %v, want %v", got.Oldest, start)
	}
	got.Oldest = time.Time{}
	equal(w.T, "a mailbox of three", got, push.Mailbox{Incarnation: m.Incarnation, Head: 3, Count: 3, Bytes: 30})
	w.pass(time.Second) // the end of a TTL counts at once
	equal(w.T, "the backlog", w.mailbox("a").Count, 2)
	equal(w.T, "the state", w.state(short), push.StateExpired)
	w.ack("a", 1)
	equal(w.T, "the backlog's bytes", w.mailbox("a").Bytes, 10)
	all, err := w.s.Mailboxes(w.ctx, []push.ClientKey{key("x"), key("a")})
	must(w, err)
	if all[0] != nil || all[1] == nil || all[1].Head != 3 {
		w.Fatalf("Mailboxes of x and a are %v", all)
	}
}

func readBounds(w *world) {
	w.register("a")
	body := 0
	for range 10 {
		e := w.envelope(one("a"))
		body = len(e.Body)
		w.accept(e)
	}
	for _, c := range []struct {
		after          uint64
		entries, bytes int
		through        uint64
		items          int
	}{
		{0, 3, 1 << 20, 3, 3}, {3, 100, 1 << 20, 10, 7}, {0, 100, 1, 1, 1}, {0, 100, 2*body + 1, 3, 3},
		{10, 5, 1 << 20, 10, 0}, {9, 1, 1, 10, 1},
	} {
		p, err := w.s.Read(w.ctx, key("a"), c.after, c.entries, c.bytes)
		must(w, err)
		if p.Through != c.through || len(p.Items) != c.items || p.Head != 10 {
			w.Fatalf("Read after %d of %d entries, %d bytes: through %d with %d items, want %d with %d",
				c.after, c.entries, c.bytes, p.Through, len(p.Items), c.through, c.items)
		}
	}
}

func readPlaces(w *world) {
	w.register("a", "b")
	kept := w.envelope(one("a"))
	w.accept(kept)
	short := func(e *push.Envelope) { e.Expires = e.Accepted.Add(time.Second) }
	w.push("a", short)
	w.push("a", short)
	_, err := w.s.Cancel(w.ctx, nil, w.push("a"))
	must(w, err)
	shared := w.envelope(push.Target{Clients: []string{"a", "b"}})
	w.accept(shared)
	offline := w.push("a", func(e *push.Envelope) { e.Store = push.StoreOffline })
	w.pass(time.Second)
	want := fmt.Sprintf("1:%d 2-3:expired 4:cancelled 5:%d 6:%d", kept.ID, shared.ID, offline)
	equal(w.T, "the mailbox", w.places("a", 0), want)
	w.ack("a", 6)
	want = fmt.Sprintf("1:%d 2-3:expired 4:cancelled 5:%d 6:acked", kept.ID, shared.ID)
	equal(w.T, "the acked mailbox", w.places("a", 0), want)
	_, err = w.s.Expire(w.ctx, w.clock(), 100)
	must(w, err)
	equal(w.T, "the same after Expire", w.places("a", 0), want)
	p, err := w.s.Read(w.ctx, key("a"), 4, 1, 1<<20)
	must(w, err)
	m := p.Items[0].Message
	if m.ID != shared.ID || string(m.Body) != string(shared.Body) || !m.Sent.Equal(shared.Accepted) {
		w.Fatalf("place 5 reads %d %s of %v, want %d %s of %v", m.ID, m.Body, m.Sent, shared.ID, shared.Body, shared.Accepted)
	}
}

func ackCursor(w *world) {
	w.register("a", "b")
	first := w.push("a")
	w.push("a")
	last := w.push("a")
	w.push("b")
	w.ack("a", 2)
	w.ack("a", 1)
	equal(w.T, "the cursor", w.mailbox("a").Cursor, 2)
	equal(w.T, "the state after", w.state(last), push.StateStored)
	must(w, w.s.Ack(w.ctx, []push.Ack{{Client: key("b"), Seq: 1}, {Client: key("a"), Seq: 99}, {Client: key("a"), Read: 1}}))
	m := w.mailbox("a")
	equal(w.T, "the cursor", m.Cursor, 3)
	equal(w.T, "the read cursor", m.ReadCursor, 1)
	equal(w.T, "the other cursor", w.mailbox("b").Cursor, 1)
	equal(w.T, "the state of what was read", w.state(first), push.StateRead)
	equal(w.T, "the state of what was not", w.state(last), push.StateAcked)
	st, err := w.s.Status(w.ctx, nil, last, push.PageQuery{})
	must(w, err)
	if !st.Clients[0].At.Equal(w.clock()) {
		w.Fatalf("the ack is of %v, want %v", st.Clients[0].At, w.clock())
	}
	w.reopen()
	equal(w.T, "the cursor after reopening", w.mailbox("a").Cursor, 3)
}

func ackFailed(w *world) {
	w.register("a")
	dead := w.push("a")
	w.push("a")
	w.ack("a", 2, push.FailedEntry{Seq: 1, Code: 17}, push.FailedEntry{Seq: 50, Code: 1})
	st, err := w.s.Status(w.ctx, nil, dead, push.PageQuery{})
	must(w, err)
	if c := st.Clients[0]; c.State != push.StateFailed || c.Reason != "17" {
		w.Fatalf("a dead letter is %+v", c)
	}
	equal(w.T, "the push's state", st.State, push.StateFailed)
	equal(w.T, "its place", w.places("a", 0)[:7], "1:acked")
}

func renew(w *world) {
	w.register("a")
	w.push("a")
	w.ack("a", 1)
	before := w.mailbox("a")
	m, err := w.s.Renew(w.ctx, key("a"))
	must(w, err)
	if m.Incarnation == before.Incarnation || len(m.Incarnation) != 16 {
		w.Fatalf("the incarnation went from %q to %q", before.Incarnation, m.Incarnation)
	}
	before.Incarnation = m.Incarnation
	equal(w.T, "the renewed mailbox", m, before)
	equal(w.T, "the mailbox afterwards", w.mailbox("a"), m)
}
