package pushtest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// Accept is the contract of [push.Mailboxes].Accept, quotas apart.
func Accept(t *testing.T, open Opener) {
	t.Run("two writers share one mailbox without gap or duplicate", func(t *testing.T) { acceptTogether(newWorld(t, open)) })
	t.Run("a known key answers the first push", func(t *testing.T) { acceptAgain(newWorld(t, open)) })
	t.Run("of many pushes with one key one counts", func(t *testing.T) { acceptRace(newWorld(t, open)) })
	t.Run("a key is forgotten after its window", func(t *testing.T) { acceptForgotten(newWorld(t, open)) })
	t.Run("unknown clients are refused and nobody else", func(t *testing.T) { acceptUnknown(newWorld(t, open)) })
	t.Run("a newer push collapses those of its key", func(t *testing.T) { acceptCollapse(newWorld(t, open)) })
	t.Run("the listener hears commits in order", func(t *testing.T) { acceptHeard(newWorld(t, open)) })
	t.Run("nothing of a refused push is left", func(t *testing.T) { acceptRefused(newWorld(t, open)) })
	t.Run("of a live-only push the key is claimed", func(t *testing.T) { acceptLive(newWorld(t, open)) })
	t.Run("an ended context is answered", func(t *testing.T) { acceptEnded(newWorld(t, open)) })
	t.Run("what was accepted is there after reopening", func(t *testing.T) { acceptReopened(newWorld(t, open)) })
	t.Run("what has to be sealed is refused for who has no keys", func(t *testing.T) { acceptUnsealed(newWorld(t, open)) })
	t.Run("realms are apart", func(t *testing.T) { acceptRealms(newWorld(t, open)) })
}

func acceptTogether(w *world) {
	w.register("a", "b")
	const each = 60
	var wg sync.WaitGroup
	var mu sync.Mutex
	seqs := make(map[uint64]int64)
	for range 2 {
		wg.Go(func() {
			for range each {
				e := w.envelope(push.Target{Clients: []string{"b", "a"}})
				out, err := w.s.Accept(w.ctx, []*push.Envelope{e})
				if err != nil || out[0].Err != nil || len(out[0].Placed) != 2 {
					w.Errorf("push %d: %v %v", e.ID, out, err)
					return
				}
				mu.Lock()
				for _, p := range out[0].Placed {
					if p.Client.ID == "a" {
						seqs[p.Seq] = e.ID
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	equal(w.T, "number of places", len(seqs), 2*each)
	p, err := w.s.Read(w.ctx, key("a"), 0, 10_000, 1<<30)
	must(w, err)
	equal(w.T, "head", p.Head, 2*each)
	equal(w.T, "items read", len(p.Items), 2*each)
	for i, it := range p.Items {
		if it.Seq != uint64(i+1) || it.Message == nil || it.Message.ID != seqs[it.Seq] {
			w.Fatalf("place %d reads %+v, want push %d", i+1, it, seqs[it.Seq])
		}
	}
}

func keyed(n byte, body byte) func(*push.Envelope) {
	return func(e *push.Envelope) {
		e.Idempotency = &push.Idempotency{Key: [32]byte{n}, Body: [32]byte{body}}
	}
}

func acceptAgain(w *world) {
	w.register("a")
	first := w.envelope(one("a"), keyed(1, 1))
	same, other := w.envelope(one("a"), keyed(1, 1)), w.envelope(one("a"), keyed(1, 2))
	out, err := w.s.Accept(w.ctx, []*push.Envelope{first, same, other}) // in one group
	must(w, err)
	if out[0].Err != nil || out[0].Duplicate || out[0].ID != first.ID {
		w.Fatalf("the first push gave %+v", out[0])
	}
	if out[1].Err != nil || !out[1].Duplicate || out[1].ID != first.ID || len(out[1].Placed) != 0 {
		w.Fatalf("the second push of the key gave %+v", out[1])
	}
	wantCode(w, "a push with another body", withErr(out[2]), push.CodeKeyReused)
	w.reopen()
	again := w.accept(w.envelope(one("a"), keyed(1, 1)))
	if !again.Duplicate || again.ID != first.ID {
		w.Fatalf("after reopening the key gave %+v", again)
	}
	wantCode(w, "a push with another body", withErr(w.try(w.envelope(one("a"), keyed(1, 2)))), push.CodeKeyReused)
	equal(w.T, "head", w.mailbox("a").Head, 1)

	wantCode(w, "a push to nobody", withErr(w.try(w.envelope(one("nobody"), keyed(3, 1)))), push.CodeNoClient)
	if o := w.accept(w.envelope(one("a"), keyed(3, 1))); o.Duplicate {
		w.Fatal("a refused push has claimed its key")
	}
}

func acceptRace(w *world) {
	w.register("a")
	const callers = 16
	var wg sync.WaitGroup
	outcomes := make([]push.Outcome, callers)
	for i := range callers {
		wg.Go(func() {
			out, err := w.s.Accept(w.ctx, []*push.Envelope{w.envelope(one("a"), keyed(1, 1))})
			if err != nil {
				w.Error(err)
				return
			}
			outcomes[i] = out[0]
		})
	}
	wg.Wait()
	firsts := 0
	for _, o := range outcomes {
		if o.Err != nil || o.ID != outcomes[0].ID {
			w.Fatalf("outcome %+v, where another is %+v", o, outcomes[0])
		}
		if !o.Duplicate {
			firsts++
		}
	}
	equal(w.T, "pushes that were no duplicate", firsts, 1)
	equal(w.T, "head", w.mailbox("a").Head, 1)
}

func acceptForgotten(w *world) {
	w.register("a")
	w.push("a", keyed(1, 1))
	w.pass(push.DefaultConfig().IdempotencyWindow + time.Second)
	if o := w.accept(w.envelope(one("a"), keyed(1, 2))); o.Duplicate {
		w.Fatal("a key outlived its window")
	}
}

func acceptUnknown(w *world) {
	w.register("a", "b")
	wantCode(w, "a push to nobody", withErr(w.try(w.envelope(one("nobody")))), push.CodeNoClient)
	wantCode(w, "a push to no group", withErr(w.try(w.envelope(push.Target{Group: "nobody"}))), push.CodeNoGroup)
	o := w.accept(w.envelope(push.Target{Clients: []string{"a", "nobody", "b"}}))
	if len(o.Placed) != 2 || len(o.Rejected) != 1 || o.Rejected[0] != (push.Rejection{Client: key("nobody"), Code: push.CodeNoClient}) {
		w.Fatalf("a push to a, nobody and b gave %+v", o)
	}
	out, err := w.s.Accept(w.ctx, []*push.Envelope{w.envelope(one("a")), w.envelope(one("nobody")), w.envelope(one("a"))})
	must(w, err)
	if out[0].Err != nil || out[1].Err == nil || out[2].Err != nil {
		w.Fatalf("a bulk push gave %+v", out)
	}
	equal(w.T, "head", w.mailbox("a").Head, 3)
}

func acceptCollapse(w *world) {
	w.register("a", "b")
	with := func(k string) func(*push.Envelope) { return func(e *push.Envelope) { e.CollapseKey = k } }
	acked := w.push("a", with("k"))
	w.ack("a", 1)
	w.push("a", with("k"))
	other := w.push("a", with("other"))
	w.push("b", with("k"))
	last := []*push.Envelope{w.envelope(one("a"), with("k")), w.envelope(one("a"), with("k"))}
	_, err := w.s.Accept(w.ctx, last)
	must(w, err)
	equal(w.T, "the mailbox", w.places("a", 0), fmt.Sprintf("1:%d 2:collapsed 3:%d 4:collapsed 5:%d", acked, other, last[1].ID))
	equal(w.T, "the backlog", w.mailbox("a").Count, 2)
	equal(w.T, "the other client's backlog", w.mailbox("b").Count, 1)
	equal(w.T, "state of a collapsed push", w.state(last[0].ID), push.StateDropped)
}

func acceptHeard(w *world) {
	w.register("a")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				e := w.envelope(one("a"))
				if _, err := w.s.Accept(w.ctx, []*push.Envelope{e}); err != nil {
					w.Error(err)
				}
				w.mu.Lock() // answered: so it was told before
				told := false
				for _, h := range w.heard {
					told = told || h.message.ID == e.ID
				}
				w.mu.Unlock()
				if !told {
					w.Errorf("push %d was answered before the listener heard", e.ID)
				}
			}
		})
	}
	wg.Wait()
	for i, h := range w.heard {
		if len(h.to) != 1 || h.to[0].Seq != uint64(i+1) {
			w.Fatalf("the listener heard %+v at position %d", h.to, i+1)
		}
	}
	equal(w.T, "what the listener heard", len(w.heard), 80)
}

func acceptRefused(w *world) {
	w.register("a")
	w.try(w.envelope(one("nobody"), keyed(1, 1)))
	refused := w.envelope(push.Target{Group: "none"}, keyed(2, 1))
	w.try(refused)
	_, err := w.s.Status(w.ctx, nil, refused.ID, push.PageQuery{})
	wantCode(w, "the status of a refused push", err, push.CodeNoPush)
	equal(w.T, "what the listener heard", len(w.heard), 0)
}

func acceptLive(w *world) {
	w.register("a")
	live := func(e *push.Envelope) { e.Store = push.StoreNever }
	first := w.envelope(one("a"), live, keyed(1, 1))
	if o := w.accept(first); o.Duplicate || len(o.Placed) != 0 {
		w.Fatalf("a live-only push gave %+v", o)
	}
	if o := w.accept(w.envelope(one("a"), live, keyed(1, 1))); !o.Duplicate || o.ID != first.ID {
		w.Fatalf("its repetition gave %+v", o)
	}
	equal(w.T, "head", w.mailbox("a").Head, 0)
}

func acceptEnded(w *world) {
	w.register("a")
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	_, err := w.s.Accept(ctx, []*push.Envelope{w.envelope(one("a"))})
	if err == nil { // it was quicker than the end
		return
	}
	if c := push.AsError(err).Code; c != push.CodeNoStore && c != push.CodeTimeout && c != push.CodeOverloaded {
		w.Fatalf("a call whose context ended answers %v", err)
	}
}

func acceptReopened(w *world) {
	w.register("a")
	id := w.push("a")
	before := w.mailbox("a")
	w.reopen()
	equal(w.T, "the mailbox", w.mailbox("a"), before)
	next := w.push("a")
	equal(w.T, "what it holds", w.places("a", 0), fmt.Sprintf("1:%d 2:%d", id, next))
}

func acceptRealms(w *world) {
	w.register("a")
	shop := push.ClientKey{Realm: "shop", ID: "a"}
	must(w, w.s.Register(w.ctx, shop, w.clock()))
	id := w.push("a")
	equal(w.T, "head", w.mailbox("a").Head, 1)
	m, err := w.s.Open(w.ctx, shop)
	must(w, err)
	equal(w.T, "head of its namesake", m.Head, 0)
	realm := "shop"
	_, err = w.s.Status(w.ctx, &realm, id, push.PageQuery{})
	wantCode(w, "the status from another realm", err, push.CodeNoPush)
	_, err = w.s.Cancel(w.ctx, &realm, id)
	wantCode(w, "a cancel from another realm", err, push.CodeNoPush)
	realm = ""
	_, err = w.s.Status(w.ctx, &realm, id, push.PageQuery{})
	must(w, err)
	o := w.accept(w.envelope(push.Target{Realm: "shop", All: true}))
	if len(o.Placed) != 1 || o.Placed[0].Client != shop {
		w.Fatalf("a push to all of the realm gave %+v", o)
	}
}

func acceptUnsealed(w *world) {
	w.register("a", "b")
	one, two := w.envelope(push.Target{Clients: []string{"a"}}), w.envelope(push.Target{Clients: []string{"a", "b"}})
	one.Seal, two.Seal = push.SealCRT, push.SealAEAD
	out, err := w.s.Accept(w.ctx, []*push.Envelope{one, two})
	must(w, err)
	some := w.envelope(push.Target{Clients: []string{"a"}})
	some.Seal = push.SealRequired
	if o, err := w.s.Accept(w.ctx, []*push.Envelope{some}); err != nil || !push.HasCode(o[0].Err, push.CodeNoSealKey) {
		w.Errorf("a push that requires any seal was answered %+v, %v", o, err)
	}
	if out[0].Err == nil || out[0].Err.Code != push.CodeNoSealKey {
		w.Errorf("a push to one was answered %+v", out[0])
	}
	if o := out[1]; o.Err != nil || len(o.Placed) != 0 || len(o.Rejected) != 2 || o.Rejected[1].Code != push.CodeNoSealKey {
		w.Errorf("a push to two was answered %+v", o)
	}
	p, err := w.s.Read(w.ctx, key("a"), 0, 10, 1<<20)
	must(w, err)
	equal(w.T, "places taken", p.Head, 0)
}
