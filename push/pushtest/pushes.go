package pushtest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// Pushes is the contract of [push.Pushes].
func Pushes(t *testing.T, open Opener) {
	t.Run("the status of one client", func(t *testing.T) { statusOne(newWorld(t, open)) })
	t.Run("the status of many comes in pages", func(t *testing.T) { statusMany(newWorld(t, open)) })
	t.Run("cancel ends what was not acked", func(t *testing.T) { cancelPush(newWorld(t, open)) })
	t.Run("cancel ends dead letters too", func(t *testing.T) { cancelDeadLetter(newWorld(t, open)) })
	t.Run("cancel misses nobody who has the push twice", func(t *testing.T) { cancelRedriven(newWorld(t, open)) })
	t.Run("a full mailbox keeps its dead letters", func(t *testing.T) {
		redriveFull(newWorld(t, open, func(c *push.Config) { c.MailboxEntries = 2 }))
	})
	t.Run("cancel ends a schedule", func(t *testing.T) { cancelScheduled(newWorld(t, open)) })
	t.Run("history has filters and pages", func(t *testing.T) { history(newWorld(t, open)) })
	t.Run("history hides what keeps none", func(t *testing.T) { historyOffline(newWorld(t, open)) })
	t.Run("dead letters are placed again", func(t *testing.T) { redrive(newWorld(t, open)) })
}

func statusOne(w *world) {
	w.register("a")
	_, err := w.s.Status(w.ctx, nil, 7, push.PageQuery{})
	wantCode(w, "the status of no push", err, push.CodeNoPush)
	id := w.push("a")
	st, err := w.s.Status(w.ctx, nil, id, push.PageQuery{Limit: 10})
	must(w, err)
	if st.ID != id || !st.Accepted.Equal(start) || st.State != push.StateStored || st.Counts[push.StateStored] != 1 || st.Next != "" ||
		len(st.Clients) != 1 || st.Clients[0] != (push.ClientState{Client: key("a"), Seq: 1, State: push.StateStored}) {
		w.Fatalf("the status is %+v", st)
	}
	w.ack("a", 1)
	equal(w.T, "the state", w.state(id), push.StateAcked)
}

func statusMany(w *world) {
	ids := w.registerMany("c", 25)
	e := w.envelope(push.Target{Clients: ids})
	w.pass(time.Second)
	w.accept(e)
	w.ack(ids[3], 1)
	seen, token := 0, ""
	for {
		st, err := w.s.Status(w.ctx, nil, e.ID, push.PageQuery{Token: token, Limit: 10})
		must(w, err)
		equal(w.T, "the push's state", st.State, push.StateStored)
		equal(w.T, "stored", st.Counts[push.StateStored], 24)
		equal(w.T, "acked", st.Counts[push.StateAcked], 1)
		if !st.Accepted.Equal(start) {
			w.Fatalf("accepted at %v, want %v", st.Accepted, start)
		}
		for _, c := range st.Clients {
			equal(w.T, "client", c.Client.ID, ids[seen])
			seen++
		}
		if token = st.Next; token == "" {
			break
		}
	}
	equal(w.T, "clients in all pages", seen, 25)
	_, err := w.s.Status(w.ctx, nil, e.ID, push.PageQuery{Token: "no token"})
	wantCode(w, "a made-up page token", err, push.CodeInvalidField)

	nobody := w.envelope(push.Target{Clients: []string{"x", "y"}})
	w.accept(nobody)
	st, err := w.s.Status(w.ctx, nil, nobody.ID, push.PageQuery{})
	must(w, err)
	equal(w.T, "clients of a push that nobody got", len(st.Clients), 0)
}

func cancelPush(w *world) {
	ids := w.registerMany("c", 3)
	_, err := w.s.Cancel(w.ctx, nil, 7)
	wantCode(w, "cancelling no push", err, push.CodeNoPush)
	e := w.envelope(push.Target{Clients: ids})
	w.accept(e)
	w.ack(ids[1], 1)
	ended, err := w.s.Cancel(w.ctx, nil, e.ID)
	must(w, err)
	if len(ended) != 2 || ended[0] != (push.Placement{Client: key(ids[0]), Seq: 1}) || ended[1] != (push.Placement{Client: key(ids[2]), Seq: 1}) {
		w.Fatalf("cancelling ended %+v", ended)
	}
	st, err := w.s.Status(w.ctx, nil, e.ID, push.PageQuery{})
	must(w, err)
	equal(w.T, "cancelled", st.Counts[push.StateCancelled], 2)
	equal(w.T, "acked", st.Counts[push.StateAcked], 1)
	equal(w.T, "the backlog", w.mailbox(ids[0]).Count, 0)
	_, err = w.s.Cancel(w.ctx, nil, e.ID)
	wantCode(w, "cancelling again", err, push.CodeNotCancellable)
}

func cancelDeadLetter(w *world) {
	w.register("a", "b")
	e := w.envelope(push.Target{Clients: []string{"a", "b"}})
	w.accept(e)
	w.ack("a", 1, push.FailedEntry{Seq: 1, Code: 7})
	w.pass(2 * time.Hour) // its TTL has ended, but redriving would begin a new one
	ended, err := w.s.Cancel(w.ctx, nil, e.ID)
	must(w, err)
	if len(ended) != 1 || ended[0] != (push.Placement{Client: key("a"), Seq: 1}) {
		w.Fatalf("cancelling ended %+v", ended)
	}
	n, err := w.s.Redrive(w.ctx, key("a"), nil)
	must(w, err)
	equal(w.T, "placed again", n, 0)
	equal(w.T, "the mailbox", w.places("a", 0), "1:cancelled")
	_, err = w.s.Cancel(w.ctx, nil, e.ID)
	wantCode(w, "cancelling again", err, push.CodeNotCancellable)
}

// cancelRedriven gives one client the push's entries at every place around the
// end of a step, wherever an implementation has that.
func cancelRedriven(w *world) {
	const before = 3
	ids := w.registerMany("c", 700)
	e := w.envelope(push.Target{Clients: ids})
	w.accept(e)
	var wg sync.WaitGroup
	for _, id := range ids[before:] {
		wg.Go(func() {
			err := w.s.Ack(w.ctx, []push.Ack{{Client: key(id), Seq: 1, Failed: []push.FailedEntry{{Seq: 1, Code: 7}}, At: w.clock()}})
			if err == nil {
				_, err = w.s.Redrive(w.ctx, key(id), nil)
			}
			if err != nil {
				w.Error(err)
			}
		})
	}
	wg.Wait()
	equal(w.T, "the backlog of one", w.mailbox(ids[before]).Head, 2)
	ended, err := w.s.Cancel(w.ctx, nil, e.ID)
	must(w, err)
	equal(w.T, "entries ended", len(ended), len(ids))
}

func redriveFull(w *world) {
	w.register("a")
	dead := w.envelope(one("a"))
	w.accept(dead)
	w.push("a")
	w.ack("a", 2, push.FailedEntry{Seq: 1, Code: 7}, push.FailedEntry{Seq: 2, Code: 7})
	w.push("a")
	w.push("a")
	for _, seqs := range [][]uint64{nil, {1}, {2, 1}} {
		_, err := w.s.Redrive(w.ctx, key("a"), seqs)
		wantCode(w, "redriving into a full mailbox", err, push.CodeMailboxFull)
	}
	_, err := w.s.Redrive(w.ctx, key("a"), []uint64{99})
	must(w, err) // no dead letter is there
	equal(w.T, "the dead letters", w.seqs("a", push.HistoryQuery{Status: push.StateFailed}), "1 2")
	h, err := w.s.History(w.ctx, key("a"), push.HistoryQuery{})
	must(w, err)
	equal(w.T, "its content", string(h.Entries[0].Body), string(dead.Body))
	w.ack("a", 3)
	n, err := w.s.Redrive(w.ctx, key("a"), nil)
	must(w, err)
	equal(w.T, "placed again where one fits", n, 1)
	equal(w.T, "the mailbox", w.places("a", 4), fmt.Sprintf("5:%d", dead.ID))
}

func scheduled(after time.Duration) func(*push.Envelope) {
	return func(e *push.Envelope) {
		e.NotBefore = e.Accepted.Add(after)
		e.Expires = e.NotBefore.Add(time.Hour)
	}
}

func cancelScheduled(w *world) {
	w.register("a")
	id := w.push("a", scheduled(time.Minute))
	st, err := w.s.Status(w.ctx, nil, id, push.PageQuery{})
	must(w, err)
	equal(w.T, "the state before", st.State, push.StateAccepted)
	ended, err := w.s.Cancel(w.ctx, nil, id)
	must(w, err)
	equal(w.T, "entries ended", len(ended), 0)
	st, err = w.s.Status(w.ctx, nil, id, push.PageQuery{})
	must(w, err)
	equal(w.T, "the state after", st.State, push.StateCancelled)
	w.pass(time.Hour)
	n, err := w.s.Release(w.ctx, w.clock(), 10)
	must(w, err)
	equal(w.T, "released", n, 0)
	_, err = w.s.Cancel(w.ctx, nil, id)
	wantCode(w, "cancelling again", err, push.CodeNotCancellable)
}

// seqs are the sequences of all pages of the history, as text.
func (w *world) seqs(client string, q push.HistoryQuery) string {
	w.Helper()
	var all []string
	for {
		p, err := w.s.History(w.ctx, key(client), q)
		must(w, err)
		for _, e := range p.Entries {
			all = append(all, fmt.Sprint(e.Seq))
		}
		if q.Token = p.Next; q.Token == "" {
			return strings.Join(all, " ")
		}
	}
}

func history(w *world) {
	w.register("a")
	_, err := w.s.History(w.ctx, key("nobody"), push.HistoryQuery{})
	wantCode(w, "the history of nobody", err, push.CodeNoClient)
	var last *push.Envelope
	for i := range 6 {
		last = w.envelope(one("a"))
		if i == 4 {
			last.Expires = last.Accepted.Add(time.Minute)
		}
		w.accept(last)
		w.pass(time.Minute)
	}
	w.ack("a", 3, push.FailedEntry{Seq: 2, Code: 5})
	at := func(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }
	for _, c := range []struct {
		q    push.HistoryQuery
		want string
	}{
		{push.HistoryQuery{}, "1 2 3 4 5 6"},
		{push.HistoryQuery{PageQuery: push.PageQuery{Limit: 4}}, "1 2 3 4 5 6"},
		{push.HistoryQuery{PageQuery: push.PageQuery{Limit: 3}, After: 1, Before: 6}, "2 3 4 5"},
		{push.HistoryQuery{After: 1<<64 - 1}, ""},
		{push.HistoryQuery{Before: 1<<64 - 1}, "1 2 3 4 5 6"},
		{push.HistoryQuery{From: at(1), To: at(4)}, "2 3 4"},
		{push.HistoryQuery{Status: push.StateStored}, "4 6"},
		{push.HistoryQuery{Status: push.StateAcked}, "1 3"},
		{push.HistoryQuery{Status: push.StateFailed}, "2"},
		{push.HistoryQuery{Status: push.StateExpired}, "5"},
	} {
		equal(w.T, fmt.Sprintf("the history for %+v", c.q), w.seqs("a", c.q), c.want)
	}
	p, err := w.s.History(w.ctx, key("a"), push.HistoryQuery{After: 4})
	must(w, err)
	if e := p.Entries[0]; e.Body != nil || e.State != push.StateExpired {
		w.Fatalf("an expired entry is %+v", e)
	}
	if e := p.Entries[1]; e.ID != last.ID || !e.Sent.Equal(last.Accepted) || string(e.Body) != string(last.Body) {
		w.Fatalf("the last entry is %+v", e)
	}
}

func historyOffline(w *world) {
	w.register("a")
	offline := func(e *push.Envelope) { e.Store = push.StoreOffline }
	w.push("a", offline)
	w.push("a")
	w.push("a", offline)
	equal(w.T, "the history", w.seqs("a", push.HistoryQuery{}), "1 2 3")
	w.ack("a", 2)
	equal(w.T, "the history after an ack", w.seqs("a", push.HistoryQuery{}), "2 3")
}

func redrive(w *world) {
	w.register("a", "b")
	_, err := w.s.Redrive(w.ctx, key("nobody"), nil)
	wantCode(w, "redriving nobody's", err, push.CodeNoClient)
	first := w.envelope(one("a"))
	shared := w.envelope(push.Target{Clients: []string{"a", "b"}})
	w.accept(first)
	w.accept(shared)
	third := w.push("a")
	w.ack("a", 3, push.FailedEntry{Seq: 1, Code: 1}, push.FailedEntry{Seq: 2, Code: 2}, push.FailedEntry{Seq: 3, Code: 3})
	w.heard = nil
	n, err := w.s.Redrive(w.ctx, key("a"), []uint64{2, 1, 2, 99})
	must(w, err)
	equal(w.T, "placed again", n, 2)
	equal(w.T, "the mailbox", w.places("a", 3), fmt.Sprintf("4:%d 5:%d", shared.ID, first.ID))
	equal(w.T, "the backlog", w.mailbox("a").Count, 2)
	equal(w.T, "the push's state", w.state(first.ID), push.StateStored)
	if len(w.heard) != 2 || string(w.heard[0].message.Body) != string(shared.Body) || w.heard[1].to[0].Seq != 5 {
		w.Fatalf("the listener heard %+v", w.heard)
	}
	n, err = w.s.Redrive(w.ctx, key("a"), nil)
	must(w, err)
	equal(w.T, "placed again of all", n, 1)
	n, err = w.s.Redrive(w.ctx, key("a"), nil)
	must(w, err)
	equal(w.T, "placed again of none", n, 0)
	equal(w.T, "the last place", w.places("a", 5), fmt.Sprintf("6:%d", third))
}
