package push

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	bob = ClientKey{ID: "bob"}
	eve = ClientKey{ID: "eve"}
)

// across has alice here, bob on another node, and eve nowhere.
func across(t *testing.T) (b *rig, here *stubSession) {
	t.Helper()
	b = newRig(t)
	here = &stubSession{info: SessionInfo{Client: alice, ID: "a", TokenID: "ja", TokenIssued: time.Unix(100, 0)}}
	b.sessions.Attach(alice, here)
	b.elsewhere.sessions[bob] = []RemoteSession{{"n2", SessionInfo{Client: bob, ID: "b", TokenID: "jb", TokenIssued: time.Unix(100, 0)}}}
	for _, key := range []ClientKey{alice, bob, eve} {
		b.store.known[key] = true
	}
	return b, here
}

func TestAReceiptCountsWhoIsOnlineOnAnyNode(t *testing.T) {
	b, _ := across(t)
	r, err := b.Push(t.Context(), Request{Target: Target{Clients: []string{"alice", "bob", "eve"}}, Topic: "t"})
	if err != nil || r.Online != 2 || r.Stored != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestACommitIsHintedHereFirstThenElsewhere(t *testing.T) {
	b, here := across(t)
	to := []Placement{{alice, 3}, {bob, 4}}
	b.Placed(&Message{ID: 1, Sent: time.Now()}, to)
	if d := cmp.Diff([]uint64{3}, here.offers); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(to, b.elsewhere.hinted); d != "" {
		t.Error(d)
	}
}

func TestACoverGoesToSessionsHereAndElsewhere(t *testing.T) {
	b, here := across(t)
	m, to := &Message{ID: 5, Sealed: &Sealed{Head: []byte("CB")}}, []ClientKey{alice, bob}
	b.Covered(m, to)
	if d := cmp.Diff([]int64{5}, here.live); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(to, b.elsewhere.covered); d != "" {
		t.Error(d)
	}
}

func TestALiveOnlyPushReachesSessionsOnAnyNode(t *testing.T) {
	b, here := across(t)
	live := func(target Target) Receipt {
		t.Helper()
		r, err := b.Push(t.Context(), Request{Target: target, Store: StoreNever, Topic: "t"})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	b.store.group, b.store.members = Group{Name: "room", Epoch: 1}, []string{"alice", "bob", "eve"}
	if r := live(Target{Clients: []string{"alice", "bob", "eve"}}); r.Online != 2 || len(r.Rejected) != 0 {
		t.Errorf("clients: %+v", r)
	}
	if r := live(Target{Group: "room"}); r.Online != 2 {
		t.Errorf("a group: %+v", r)
	}
	if r := live(Target{All: true}); r.Online != 1 {
		t.Errorf("all: %+v", r)
	}
	if r := live(Target{Clients: []string{"alice"}}); r.Online != 1 {
		t.Errorf("somebody who is here: %+v", r)
	}
	if len(here.live) != 4 {
		t.Errorf("alice got %d", len(here.live))
	}
	asked := b.elsewhere.live
	if d := cmp.Diff([]string{"bob", "eve"}, asked[0]); d != "" || len(asked) != 3 || len(asked[1]) != 2 || len(asked[2]) != 0 {
		t.Errorf("other nodes were asked for %q", asked)
	}
}

func TestALiveOnlyPushFindsASecondSessionOfAClientThatIsHere(t *testing.T) {
	b, here := across(t)
	b.elsewhere.sessions[alice] = []RemoteSession{{Node: "n2"}}
	r, err := b.Push(t.Context(), Request{Target: Target{Clients: []string{"alice"}}, Store: StoreNever, Topic: "t"})
	if err != nil || r.Online != 1 || len(here.live) != 1 || len(b.elsewhere.live) != 1 {
		t.Fatalf("%+v, %v; here %d, elsewhere %d", r, err, len(here.live), len(b.elsewhere.live))
	}
}

func TestLiveOnlyPushesGoOnHereWhileOtherNodesCantBeReached(t *testing.T) {
	b, here := across(t)
	b.elsewhere.err = errors.New("away")
	delete(b.store.known, bob) // who is known to be online is not looked for
	r, err := b.Push(t.Context(), Request{Target: Target{Clients: []string{"alice", "bob"}}, Store: StoreNever, Topic: "t"})
	if err != nil || r.Online != 1 || len(here.live) != 1 || len(r.Rejected) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestALiveOnlyPushRejectsWhoExistsNowhere(t *testing.T) {
	b, _ := across(t)
	delete(b.store.known, bob) // who is online exists, whatever the store says
	r, err := b.Push(t.Context(), Request{Target: Target{Clients: []string{"bob", "nobody"}}, Store: StoreNever, Topic: "t"})
	if d := cmp.Diff([]Rejection{{ClientKey{ID: "nobody"}, CodeNoClient}}, r.Rejected); err != nil || d != "" || r.Online != 1 {
		t.Fatalf("%+v, %v\n%s", r, err, d)
	}
}

func TestNoticesReachMembersOnOtherNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, here := across(t)
		b.store.group, b.store.members = Group{Name: "room", Events: true}, []string{"alice", "bob"}
		if _, err := b.Join(t.Context(), "", "room", "bob"); err != nil {
			t.Fatal(err)
		}
		stop := b.start(t)
		b.Desk.Typing(alice, "room", "")
		synctest.Wait()
		stop()
		b.store.ended = []Placement{{bob, 4}}
		if _, err := b.Cancel(t.Context(), nil, 9); err != nil {
			t.Fatal(err)
		}
		want := []Notice{
			{Kind: NoticeMemberJoined, Group: "room", ClientID: "bob"},
			{Kind: NoticeTyping, Group: "room", ClientID: "alice", SenderName: "alice", SenderType: "client"},
			{Kind: NoticeTombstone, PushID: 9, Seq: 4},
		}
		if d := cmp.Diff(want, b.elsewhere.notified[bob]); d != "" {
			t.Error(d)
		}
		if len(here.notices) != 1 { // of the join, not of her own typing
			t.Errorf("alice was told %+v", here.notices)
		}
	})
}

func TestAChangeOfAGroupIsToldAndHeard(t *testing.T) {
	b, here := across(t)
	b.store.group, b.store.members = Group{Name: "room"}, []string{"alice"}
	for _, change := range []func() (Group, error){
		func() (Group, error) { return b.Join(t.Context(), "", "room", "alice") },
		func() (Group, error) { return b.Leave(t.Context(), "", "room", "bob") },
		func() (Group, error) { return b.SetEvents(t.Context(), "", "room", true) },
	} {
		if _, err := change(); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"/room", "/room", "/room"}, b.elsewhere.changed); d != "" {
		t.Error(d)
	}
	toRoom := Request{Target: Target{Group: "room"}, Store: StoreNever, Topic: "t"}
	if _, err := b.Push(t.Context(), toRoom); err != nil || len(here.live) != 1 {
		t.Fatalf("%d, %v", len(here.live), err)
	}
	b.store.set(func(s *stubStore) { s.group.Epoch++; s.members = nil }) // by another node
	b.GroupChanged("", "room")
	if _, err := b.Push(t.Context(), toRoom); err != nil || len(here.live) != 1 {
		t.Fatalf("after alice left: %d, %v", len(here.live), err)
	}
}

func TestConnectionsAreThoseOfAllNodes(t *testing.T) {
	b, here := across(t)
	got, err := b.Connections(t.Context(), []ClientKey{alice, bob, eve})
	want := []ClientSessions{
		{true, []RemoteSession{{"", here.info}}},
		{true, b.elsewhere.sessions[bob]},
		{},
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Fatal(err, d)
	}
	b.elsewhere.err = errors.New("away")
	got, err = b.Connections(t.Context(), []ClientKey{alice, bob})
	if err == nil || len(got[0].Sessions) != 1 || !got[1].Online || len(got[1].Sessions) != 0 {
		t.Fatalf("while they can't be asked: %+v, %v", got, err)
	}
}

func TestConnectionsWaitForOtherNodesForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := across(t)
		b.elsewhere.deaf = true
		start := time.Now()
		got, err := b.Connections(context.Background(), []ClientKey{alice})
		if err != nil || len(got[0].Sessions) != 1 || time.Since(start) != acrossTimeout {
			t.Fatalf("%+v, %v after %s", got, err, time.Since(start))
		}
	})
}

func TestDisconnectEndsWhatIsMeantOnAllNodes(t *testing.T) {
	for name, tc := range map[string]struct {
		c    Closing
		want int
		code CloseCode
	}{
		"all":            {Closing{}, 2, CloseDisconnected},
		"another token":  {Closing{TokenID: "jb"}, 1, 0},
		"issued before":  {Closing{IssuedBefore: time.Unix(101, 0)}, 2, CloseDisconnected},
		"issued at once": {Closing{IssuedBefore: time.Unix(100, 0)}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b, here := across(t)
			b.elsewhere.sessions[alice] = b.elsewhere.sessions[bob]
			tc.c.Client, tc.c.Code = alice, CloseDisconnected
			n, err := b.Disconnect(t.Context(), tc.c)
			if n != tc.want || err != nil || here.closed != tc.code {
				t.Fatalf("%d, %v, here %d", n, err, here.closed)
			}
			if d := cmp.Diff([]Closing{tc.c}, b.elsewhere.closed); d != "" {
				t.Fatal(d)
			}
		})
	}
}

func TestForgettingAClientEndsItsSessionsOnAllNodes(t *testing.T) {
	b, here := across(t)
	b.elsewhere.err = errors.New("away") // which does not undo the deletion
	if err := b.Forget(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	want := []Closing{{Client: alice, Code: CloseDeleted, Reason: "the client was deleted"}}
	if d := cmp.Diff(want, b.elsewhere.closed); d != "" || here.closed != CloseDeleted {
		t.Fatal(here.closed, d)
	}
}

func TestAClientThatWasDeletedElsewhereIsClosedAndItsAcksForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, here := across(t)
		b.cfg.AckFlush = time.Minute
		stop := b.start(t)
		b.Desk.Ack(alice, 3, nil)
		if n := b.CloseHere(Closing{Client: alice, Code: CloseDeleted}); n != 1 || here.closed != CloseDeleted {
			t.Fatalf("%d closed, with %d", n, here.closed)
		}
		synctest.Wait()
		b.Desk.Ack(alice, 4, nil) // from the session that is not gone yet
		stop()
		if len(b.store.acked) != 0 {
			t.Fatalf("written: %+v", b.store.acked)
		}
	})
}

func TestTheHeadsOfClientsThatWereJustRegisteredAreCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, here := across(t)
		stop := b.start(t)
		defer stop()
		b.Registered([]ClientKey{alice})
		synctest.Wait()
		if len(here.offers) != 0 {
			t.Fatalf("an empty mailbox was offered: %d", here.offers)
		}
		b.store.set(func(s *stubStore) { s.box.Head = 9 })
		b.Registered([]ClientKey{alice, bob})
		synctest.Wait()
		if d := cmp.Diff([]uint64{9}, here.offers); d != "" {
			t.Fatal(d)
		}
		b.store.set(func(s *stubStore) { delete(s.known, alice) }) // by another node, unheard
		b.Registered([]ClientKey{alice})
		synctest.Wait()
		if here.closed != CloseDeleted {
			t.Fatalf("closed with %d", here.closed)
		}
	})
}

func TestABulkOfLiveOnlyPushesDoesNotWaitForEachThingThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, here := across(t)
		b.store.group, b.store.members = Group{Name: "room", Epoch: 1}, []string{"alice", "bob"}
		toRoom := func(i int) Request {
			return Request{Target: Target{Group: fmt.Sprint("room", i)}, Store: StoreNever, Topic: "t"}
		}
		bulk := make([]Request, 100)
		for i := range bulk {
			bulk[i] = toRoom(i)
		}
		if _, err := b.PushBatch(t.Context(), bulk); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // the groups are stale
		b.elsewhere.deaf, b.store.hangs = true, true
		for i := range bulk {
			bulk[i] = toRoom(i)
			if i%2 == 0 {
				bulk[i] = Request{Target: Target{Clients: []string{"alice", "eve"}}, Store: StoreNever, Topic: "t"}
			}
		}
		start := time.Now()
		results, err := b.PushBatch(t.Context(), bulk)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Err != nil || r.Receipt.Online != 1 || len(r.Receipt.Rejected) != 0 {
				t.Errorf("%d: %+v", i, r)
			}
		}
		if took := time.Since(start); took > time.Second || len(here.live) != 200 {
			t.Fatalf("took %s; alice got %d", took, len(here.live))
		}
		b.elsewhere.deaf, b.store.hangs = false, false
		time.Sleep(restFor + groupRetry)
		if r, err := b.Push(t.Context(), toRoom(1)); err != nil || r.Online != 2 {
			t.Fatalf("once they answer again: %+v, %v", r, err)
		}
	})
}
