package pushtest

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sunzi-push/sunzi/push"
)

// Clients is the contract of [push.Clients].
func Clients(t *testing.T, open Opener) {
	t.Run("a client is registered once", func(t *testing.T) {
		w := newWorld(t, open)
		w.register("a", "ä 客户", "A")
		wantCode(t, "registering again", w.s.Register(w.ctx, key("a"), start), push.CodeClientExists)
		first := w.mailbox("a").Incarnation
		w.reopen()
		wantCode(t, "registering again", w.s.Register(w.ctx, key("ä 客户"), start), push.CodeClientExists)
		equal(t, "the incarnation", w.mailbox("a").Incarnation, first)
		if w.mailbox("A").Incarnation == first {
			t.Fatal("two mailboxes share an incarnation")
		}
	})
	t.Run("a forgotten client is gone with all that was its own", func(t *testing.T) { forget(newWorld(t, open)) })
}

func forget(w *world) {
	w.register("a", "b")
	wantCode(w, "forgetting nobody", w.s.Forget(w.ctx, key("nobody")), push.CodeNoClient)
	for range 1200 {
		w.push("a")
	}
	shared := w.envelope(push.Target{Clients: []string{"a", "b"}})
	w.accept(shared)
	w.ack("a", 600)
	_, _, err := w.s.Join(w.ctx, "", "g", "a")
	must(w, err)
	incarnation := w.mailbox("a").Incarnation
	must(w, w.s.Forget(w.ctx, key("a")))
	_, err = w.s.Open(w.ctx, key("a"))
	wantCode(w, "its mailbox", err, push.CodeNoClient)
	in, err := w.s.IsMember(w.ctx, "", "g", "a")
	must(w, err)
	equal(w.T, "its membership", in, false)
	g, err := w.s.Group(w.ctx, "", "g")
	must(w, err)
	equal(w.T, "the group", g, push.Group{Name: "g", Epoch: 2})
	p, err := w.s.Read(w.ctx, key("b"), 0, 10, 1000)
	must(w, err)
	if len(p.Items) != 1 || string(p.Items[0].Message.Body) != string(shared.Body) {
		w.Fatalf("the other client reads %+v", p)
	}
	w.register("a")
	m := w.mailbox("a")
	equal(w.T, "the new mailbox", m, push.Mailbox{Incarnation: m.Incarnation})
	if m.Incarnation == incarnation {
		w.Fatal("a new mailbox has the old incarnation")
	}
	w.push("a")
	equal(w.T, "its head", w.mailbox("a").Head, 1)
}

// Groups is the contract of [push.Groups].
func Groups(t *testing.T, open Opener) {
	t.Run("each change is a new epoch", func(t *testing.T) { groupEpochs(newWorld(t, open)) })
	t.Run("members come in pages", func(t *testing.T) { groupPages(newWorld(t, open)) })
	t.Run("a push reaches who is a member", func(t *testing.T) { groupPush(newWorld(t, open)) })
}

func groupEpochs(w *world) {
	w.register("a", "b")
	_, err := w.s.Group(w.ctx, "", "g")
	wantCode(w, "no group", err, push.CodeNoGroup)
	_, _, err = w.s.Leave(w.ctx, "", "g", "a")
	wantCode(w, "leaving no group", err, push.CodeNoGroup)
	_, _, err = w.s.Members(w.ctx, "", "g", push.PageQuery{})
	wantCode(w, "the members of no group", err, push.CodeNoGroup)
	_, _, err = w.s.Join(w.ctx, "", "g", "nobody")
	wantCode(w, "nobody's joining", err, push.CodeNoClient)

	type call func(realm, group, client string) (push.Group, bool, error)
	join := call(func(r, g, c string) (push.Group, bool, error) { return w.s.Join(w.ctx, r, g, c) })
	leave := call(func(r, g, c string) (push.Group, bool, error) { return w.s.Leave(w.ctx, r, g, c) })
	for i, c := range []struct {
		do      call
		client  string
		changed bool
		epoch   uint64
		members int
	}{
		{join, "a", true, 1, 1}, {join, "a", false, 1, 1}, {join, "b", true, 2, 2}, {leave, "a", true, 3, 1},
		{leave, "a", false, 3, 1}, {join, "a", true, 4, 2}, {leave, "nobody", false, 4, 2},
	} {
		g, changed, err := c.do("", "g", c.client)
		must(w, err)
		if changed != c.changed || g != (push.Group{Name: "g", Epoch: c.epoch, Members: c.members}) {
			w.Fatalf("change %d gave %+v, %v", i, g, changed)
		}
	}
	g, err := w.s.SetEvents(w.ctx, "", "g", true)
	must(w, err)
	equal(w.T, "the group", g, push.Group{Name: "g", Epoch: 4, Members: 2, Events: true})
	w.reopen()
	g, err = w.s.Group(w.ctx, "", "g")
	must(w, err)
	equal(w.T, "the group after reopening", g, push.Group{Name: "g", Epoch: 4, Members: 2, Events: true})
	in, err := w.s.IsMember(w.ctx, "", "g", "a")
	must(w, err)
	equal(w.T, "a's membership", in, true)
	in, err = w.s.IsMember(w.ctx, "", "h", "a")
	must(w, err)
	equal(w.T, "a's membership in no group", in, false)
}

// join has all of them join, together.
func (w *world) join(group string, ids []string) {
	w.Helper()
	var wg sync.WaitGroup
	errs := make(chan error, len(ids))
	for _, id := range ids {
		wg.Go(func() {
			_, _, err := w.s.Join(w.ctx, "", group, id)
			errs <- err
		})
	}
	wg.Wait()
	for range ids {
		must(w, <-errs)
	}
}

func groupPages(w *world) {
	ids := w.registerMany("c", 57)
	w.join("g", ids)
	var got []string
	for token := ""; ; {
		page, next, err := w.s.Members(w.ctx, "", "g", push.PageQuery{Token: token, Limit: 10})
		must(w, err)
		got = append(got, page...)
		if token = next; token == "" {
			break
		}
	}
	if !slices.Equal(got, ids) {
		w.Fatalf("the members are %s", strings.Join(got, " "))
	}
}

func groupPush(w *world) {
	w.register("a", "b", "c")
	w.join("g", []string{"a", "b"})
	_, _, err := w.s.Leave(w.ctx, "", "g", "b")
	must(w, err)
	e := w.envelope(push.Target{Group: "g"})
	o := w.accept(e)
	if len(o.Placed) != 1 || o.Placed[0].Client != key("a") || o.Members != 1 {
		w.Fatalf("the push gave %+v", o)
	}
	o = w.accept(w.envelope(push.Target{All: true}))
	equal(w.T, "places of a push to all", len(o.Placed), 3)
	_, _, err = w.s.Leave(w.ctx, "", "g", "a")
	must(w, err)
	empty := w.envelope(push.Target{Group: "g"})
	o = w.accept(empty)
	equal(w.T, "places of a push to an empty group", len(o.Placed), 0)
	_, err = w.s.Status(w.ctx, nil, empty.ID, push.PageQuery{})
	must(w, err)
}
