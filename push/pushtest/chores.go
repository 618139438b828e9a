package pushtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// Chores is the contract of [push.Chores].
func Chores(t *testing.T, open Opener) {
	t.Run("scheduled pushes go out in order, after reopening too", func(t *testing.T) { release(newWorld(t, open)) })
	t.Run("what can't be served when due ends", func(t *testing.T) { releaseNobody(newWorld(t, open)) })
	t.Run("a large group is expanded once, across a restart", func(t *testing.T) { expand(newWorld(t, open)) })
	t.Run("all means those who were registered", func(t *testing.T) { expandAll(newWorld(t, open)) })
	t.Run("a job replaces nothing newer", func(t *testing.T) { expandCollapse(newWorld(t, open)) })
	t.Run("a push that expands can be cancelled", func(t *testing.T) { expandCancelled(newWorld(t, open)) })
	t.Run("entries expire in steps", func(t *testing.T) { expire(newWorld(t, open)) })
	t.Run("what keeps no history goes soon after its ack", func(t *testing.T) { sweepOffline(newWorld(t, open)) })
	t.Run("retention deletes what ended", func(t *testing.T) {
		sweep(newWorld(t, open, func(c *push.Config) { c.HistoryRetention = 2 * time.Hour }))
	})
}

func release(w *world) {
	w.register("a")
	late := w.push("a", scheduled(2*time.Minute))
	soon := w.push("a", scheduled(time.Minute), keyed(1, 1))
	same := w.push("a", scheduled(time.Minute))
	equal(w.T, "the head", w.mailbox("a").Head, 0)
	if o := w.accept(w.envelope(one("a"), scheduled(time.Minute), keyed(1, 1))); !o.Duplicate || o.ID != soon {
		w.Fatalf("a known key gave %+v", o)
	}
	w.reopen()
	n, err := w.s.Release(w.ctx, w.clock().Add(59*time.Second), 10)
	must(w, err)
	equal(w.T, "released too soon", n, 0)
	w.pass(time.Minute)
	n, err = w.s.Release(w.ctx, w.clock(), 1)
	must(w, err)
	equal(w.T, "released of one", n, 1)
	n, err = w.s.Release(w.ctx, w.clock(), 10)
	must(w, err)
	equal(w.T, "released of the rest", n, 1)
	equal(w.T, "the mailbox", w.places("a", 0), fmt.Sprintf("1:%d 2:%d", soon, same))
	w.pass(time.Minute)
	_, err = w.s.Release(w.ctx, w.clock(), 10)
	must(w, err)
	equal(w.T, "the mailbox", w.places("a", 2), fmt.Sprintf("3:%d", late))
	st, err := w.s.Status(w.ctx, nil, late, push.PageQuery{})
	must(w, err)
	if !st.Accepted.Equal(start) || st.State != push.StateStored {
		w.Fatalf("the status is %+v", st)
	}
	p, err := w.s.Read(w.ctx, key("a"), 2, 1, 1)
	must(w, err)
	if sent := p.Items[0].Message.Sent; !sent.Equal(start.Add(2 * time.Minute)) {
		w.Fatalf("it says that it was sent at %v", sent)
	}
	equal(w.T, "what the listener heard", len(w.heard), 3)
}

func releaseNobody(w *world) {
	w.register("a")
	wantCode(w, "scheduling for nobody", withErr(w.try(w.envelope(one("nobody"), scheduled(time.Minute)))), push.CodeNoClient)
	id := w.push("a", scheduled(time.Minute))
	must(w, w.s.Forget(w.ctx, key("a")))
	w.pass(time.Minute)
	n, err := w.s.Release(w.ctx, w.clock(), 10)
	must(w, err)
	equal(w.T, "released", n, 1)
	st, err := w.s.Status(w.ctx, nil, id, push.PageQuery{})
	must(w, err)
	equal(w.T, "the state", st.State, push.StateDropped)
}

func expandCollapse(w *world) {
	ids := w.registerMany("c", push.ExpandAbove+1)
	w.join("g", ids)
	with := func(e *push.Envelope) { e.CollapseKey = "score" }
	w.push(ids[1], with)
	w.pass(time.Second)
	job := w.envelope(push.Target{Group: "g"}, with)
	equal(w.T, "expanding", w.accept(job).Expanding, true)
	w.pass(time.Second)
	newer := w.push(ids[0], with)
	w.expand(1000)
	equal(w.T, "the mailbox with a newer push", w.places(ids[0], 0), fmt.Sprintf("1:%d 2:collapsed", newer))
	equal(w.T, "its backlog", w.mailbox(ids[0]).Count, 1)
	equal(w.T, "the mailbox with an older push", w.places(ids[1], 0), fmt.Sprintf("1:collapsed 2:%d", job.ID))
	equal(w.T, "a mailbox with none", w.places(ids[2], 0), fmt.Sprintf("1:%d", job.ID))
	st, err := w.s.Status(w.ctx, nil, job.ID, push.PageQuery{})
	must(w, err)
	equal(w.T, "dropped", st.Counts[push.StateDropped], 1)
}

// expand runs what is to be expanded to its end in steps of the given size.
func (w *world) expand(step int) {
	w.Helper()
	for i := 0; ; i++ {
		n, err := w.s.Expand(w.ctx, step)
		must(w, err)
		if n < step {
			return
		}
		if i > 1000 {
			w.Fatal("the job has no end")
		}
	}
}

func expand(w *world) {
	ids := w.registerMany("c", push.ExpandAbove+60)
	w.join("g", ids)
	e := w.envelope(push.Target{Group: "g"})
	o := w.accept(e)
	if !o.Expanding || o.Members != len(ids) || len(o.Placed) != 0 {
		w.Fatalf("a push to %d members gave %+v", len(ids), o)
	}
	left, joined := ids[700], w.registerMany("late", 1)
	_, _, err := w.s.Leave(w.ctx, "", "g", left)
	must(w, err)
	w.join("g", joined)
	_, err = w.s.Sweep(w.ctx, w.clock(), 1000) // must not forget who was a member then
	must(w, err)
	n, err := w.s.Expand(w.ctx, 300)
	must(w, err)
	equal(w.T, "the first step", n, 300)
	st, err := w.s.Status(w.ctx, nil, e.ID, push.PageQuery{})
	must(w, err)
	equal(w.T, "the state meanwhile", st.State, push.StateAccepted)
	w.reopen()
	w.expand(300)
	st, err = w.s.Status(w.ctx, nil, e.ID, push.PageQuery{})
	must(w, err)
	equal(w.T, "the state", st.State, push.StateStored)
	equal(w.T, "entries", st.Counts[push.StateStored], len(ids))
	for _, id := range []string{ids[0], left, ids[299], ids[300], ids[len(ids)-1]} {
		equal(w.T, "the mailbox of "+id, w.places(id, 0), fmt.Sprintf("1:%d", e.ID))
	}
	equal(w.T, "the mailbox of one who came later", w.places(joined[0], 0), "")
	told := 0
	for _, h := range w.heard {
		if string(h.message.Body) != string(e.Body) {
			w.Fatalf("the listener heard %s", h.message.Body)
		}
		told += len(h.to)
	}
	equal(w.T, "whom the listener heard of", told, len(ids))
}

func expandAll(w *world) {
	ids := w.registerMany("c", push.ExpandAbove+1)
	e := w.envelope(push.Target{All: true})
	if o := w.accept(e); !o.Expanding || o.Members != len(ids) {
		w.Fatalf("a push to all gave %+v", o)
	}
	late := w.registerMany("a-late", 1)
	w.expand(400)
	st, err := w.s.Status(w.ctx, nil, e.ID, push.PageQuery{})
	must(w, err)
	equal(w.T, "entries", st.Counts[push.StateStored], len(ids))
	equal(w.T, "the mailbox of one who came later", w.places(late[0], 0), "")
}

func expandCancelled(w *world) {
	ids := w.registerMany("c", push.ExpandAbove+1)
	e := w.envelope(push.Target{All: true})
	w.accept(e)
	_, err := w.s.Expand(w.ctx, 600)
	must(w, err)
	ended, err := w.s.Cancel(w.ctx, nil, e.ID)
	must(w, err)
	equal(w.T, "entries ended", len(ended), 600)
	n, err := w.s.Expand(w.ctx, 600)
	must(w, err)
	equal(w.T, "members afterwards", n, 0)
	st, err := w.s.Status(w.ctx, nil, e.ID, push.PageQuery{})
	must(w, err)
	equal(w.T, "the state", st.State, push.StateCancelled)
	entries := 0
	for _, id := range ids {
		entries += int(w.mailbox(id).Head)
	}
	equal(w.T, "entries of all clients", entries, 600)
}

func expire(w *world) {
	w.register("a")
	for range 5 {
		w.push("a")
	}
	w.ack("a", 2)
	n, err := w.s.Expire(w.ctx, w.clock(), 100)
	must(w, err)
	equal(w.T, "expired too soon", n, 0)
	w.pass(2 * time.Hour)
	for _, want := range []int{2, 2, 1, 0} {
		n, err := w.s.Expire(w.ctx, w.clock(), 2)
		must(w, err)
		equal(w.T, "a step of two", n, want)
	}
	equal(w.T, "the history", w.seqs("a", push.HistoryQuery{Status: push.StateExpired}), "3 4 5")
	equal(w.T, "what was acked", w.seqs("a", push.HistoryQuery{Status: push.StateAcked}), "1 2")
}

func sweep(w *world) {
	w.register("a", "b")
	always := w.push("a")
	offline := w.push("a", func(e *push.Envelope) { e.Store = push.StoreOffline })
	waits := w.envelope(push.Target{Clients: []string{"a", "b"}}, func(e *push.Envelope) { e.Expires = e.Accepted.Add(24 * time.Hour) }, keyed(1, 1))
	w.accept(waits)
	w.ack("a", 2)
	sweepAll := func() {
		w.Helper()
		for n := 1; n > 0; {
			var err error
			n, err = w.s.Sweep(w.ctx, w.clock(), 2)
			must(w, err)
		}
	}
	sweepAll()
	equal(w.T, "the state at first", w.state(always), push.StateAcked)
	w.pass(3 * time.Hour)
	sweepAll()
	for _, id := range []int64{always, offline} {
		_, err := w.s.Status(w.ctx, nil, id, push.PageQuery{})
		wantCode(w, "the status after retention", err, push.CodeNoPush)
	}
	// Whoever drops history in one piece may still know that an entry of
	// store=offline was acked.
	either := func(swept, known string) {
		w.Helper()
		if got := w.places("a", 0); got != swept && got != known {
			w.Fatalf("the mailbox is %q, want %q, or %q", got, swept, known)
		}
	}
	either(fmt.Sprintf("1-2:expired 3:%d", waits.ID), fmt.Sprintf("1:expired 2:acked 3:%d", waits.ID))
	w.pass(24 * time.Hour)
	sweepAll()
	either("1-3:expired", "1:expired 2:acked 3:expired")
	st, err := w.s.Status(w.ctx, nil, waits.ID, push.PageQuery{})
	must(w, err)
	equal(w.T, "the state", st.State, push.StateExpired)
	w.pass(48 * time.Hour)
	sweepAll()
	_, err = w.s.Status(w.ctx, nil, waits.ID, push.PageQuery{})
	wantCode(w, "the status after retention", err, push.CodeNoPush)
	if o := w.accept(w.envelope(one("a"), keyed(1, 9))); o.Duplicate || o.Placed[0].Seq != 4 {
		w.Fatalf("the next push gave %+v", o)
	}
}

func sweepOffline(w *world) {
	w.register("a")
	long := func(e *push.Envelope) { e.Store, e.Expires = push.StoreOffline, e.Accepted.Add(48*time.Hour) }
	acked, waits := w.push("a", long), w.push("a", long)
	w.ack("a", 1)
	equal(w.T, "the state after the ack", w.state(acked), push.StateAcked)
	w.pass(2 * time.Hour) // an hour at most, whatever the retention of history
	_, err := w.s.Sweep(w.ctx, w.clock(), 100)
	must(w, err)
	_, err = w.s.Status(w.ctx, nil, acked, push.PageQuery{})
	wantCode(w, "the status of what is gone", err, push.CodeNoPush)
	equal(w.T, "the state of what waits", w.state(waits), push.StateStored)
}
