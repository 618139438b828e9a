package push

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var alice = ClientKey{ID: "alice"}

func openNow(t *testing.T, b *rig, h Hello) Opened {
	t.Helper()
	got := make(chan Opened, 1)
	b.Desk.Open(Identity{Client: alice}, h, func(o Opened, err error) {
		if err != nil {
			t.Errorf("open: %v", err)
		}
		got <- o
	})
	return <-got
}

func cursor(n uint64) *uint64 { return &n }

func TestOpenStartsWhereClientAndServerAgree(t *testing.T) {
	const mine = "0123456789abcdef"
	for name, tc := range map[string]struct {
		hello   Hello
		start   uint64
		renewed bool
		acked   uint64 // by the hello; 0: nothing
	}{
		"no cursor: the server's":                    {Hello{}, 5, false, 0},
		"same cursor":                                {Hello{Cursor: cursor(5), Incarnation: mine}, 5, false, 0},
		"above the server's: counts as an ack":       {Hello{Cursor: cursor(8), Incarnation: mine}, 8, false, 8},
		"below: replays what is retained":            {Hello{Cursor: cursor(2), Incarnation: mine}, 2, false, 0},
		"another incarnation: the cursor is ignored": {Hello{Cursor: cursor(9), Incarnation: "aaaa"}, 5, false, 0},
		"above the head: the database was restored":  {Hello{Cursor: cursor(11), Incarnation: mine}, 5, true, 0},
		"above the head, no incarnation: ignored":    {Hello{Cursor: cursor(11)}, 5, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newRig(t)
				b.store.box = Mailbox{Incarnation: mine, Head: 10, Cursor: 5}
				stop := b.start(t)
				o := openNow(t, b, tc.hello)
				if o.Start != tc.start || o.Renewed != tc.renewed || (b.store.renewed > 0) != tc.renewed {
					t.Errorf("got start %d, renewed %v", o.Start, o.Renewed)
				}
				if tc.renewed == (o.Incarnation == mine) {
					t.Errorf("incarnation %q, renewed %v", o.Incarnation, tc.renewed)
				}
				stop()
				var acked uint64
				for _, a := range b.store.acked {
					acked = max(acked, a.Seq)
				}
				if acked != tc.acked {
					t.Errorf("acked %d, want %d", acked, tc.acked)
				}
			})
		})
	}
}

func TestWhatWasSaidOnAConnectionThatIsGoneIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRig(t)
		sealing := &holding{}
		b.Desk.sealing = sealing
		b.store.box.SealLast = 1
		stop := b.start(t)
		b.Desk.Open(Identity{Client: alice}, Hello{Alive: func() bool { return false }}, func(Opened, error) { t.Error("it was answered") })
		synctest.Wait()
		if sealing.calls != 0 {
			t.Error("its word on keys was taken")
		}
		openNow(t, b, Hello{Seal: SealNone, Alive: func() bool { return true }})
		if sealing.calls != 1 {
			t.Error("on one that stands it was not")
		}
		stop()
	})
}

func TestATokenRevokedBetweenAdmissionAndOpenIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRig(t)
		b.authority.rec.Revoked = true
		stop := b.start(t)
		defer stop()
		got := make(chan error, 1)
		b.Desk.Open(Identity{Client: alice}, Hello{}, func(_ Opened, err error) { got <- err })
		if err := <-got; !HasCode(err, CodeBadCredentials) {
			t.Fatalf("opened with a revoked token: %v", err)
		}
	})
}

func TestOpenSeesAnAckThatIsNotYetWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRig(t)
		b.store.box = Mailbox{Head: 10, Cursor: 5}
		b.Desk.Ack(alice, 7, nil)
		stop := b.start(t)
		defer stop()
		if o := openNow(t, b, Hello{}); o.Start != 7 {
			t.Fatalf("replay starts after %d, want 7", o.Start)
		}
	})
}

func TestSessionsOutliveAnOutageOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRig(t)
		b.store.err = Errorf(CodeNoStore, "away")
		stop := b.start(t)
		defer stop()
		opened := make(chan Opened, 1)
		b.Desk.Open(Identity{Client: alice}, Hello{}, func(o Opened, err error) {
			if err != nil {
				t.Errorf("open: %v", err)
			}
			opened <- o
		})
		time.Sleep(time.Minute) // of the bubble's clock
		select {
		case <-opened:
			t.Fatal("opened while the store was away")
		default:
		}
		b.store.set(func(s *stubStore) { s.err = nil; s.box = Mailbox{Head: 3} })
		if o := <-opened; o.Head != 3 {
			t.Fatalf("head %d", o.Head)
		}
		if b.store.opens > 30 {
			t.Fatalf("the store was asked %d times in a minute of outage", b.store.opens)
		}
	})
}

func TestGatheredAcksWaitForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRig(t)
		b.store.err = Errorf(CodeNoStore, "away")
		stop := b.start(t)
		b.Desk.Ack(alice, 3, []FailedEntry{{Seq: 2, Code: 7}})
		time.Sleep(5 * time.Second)
		b.Desk.Ack(alice, 9, []FailedEntry{{Seq: 8, Code: 7}})
		b.Desk.Ack(alice, 4, nil) // late and lower: moves nothing back
		b.Desk.Read(alice, 6)
		if got := b.Desk.acks.cursor(alice); got != 9 {
			t.Fatalf("cursor overlay is %d, want 9", got)
		}
		b.store.set(func(s *stubStore) { s.err = nil })
		time.Sleep(5 * time.Second)
		stop()
		if len(b.store.acked) != 1 {
			t.Fatalf("%d writes, want the four acks in one", len(b.store.acked))
		}
		got := b.store.acked[0]
		got.At = time.Time{}
		want := Ack{Client: alice, Seq: 9, Read: 6, Failed: []FailedEntry{{2, 7}, {8, 7}}}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

func TestAcksAreWrittenAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRig(t)
		stop := b.start(t)
		b.Desk.Ack(alice, 3, nil)
		stop()
		if len(b.store.acked) != 1 || b.store.acked[0].Seq != 3 {
			t.Fatalf("written: %+v", b.store.acked)
		}
	})
}

func TestTypingReachesTheOtherMembersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRig(t)
		b.store.group = Group{Name: "room", Epoch: 1, Members: 2}
		b.store.members = []string{"alice", "bob"}
		sessions := map[string]*stubSession{}
		for _, id := range []string{"alice", "bob", "eve"} {
			sessions[id] = &stubSession{}
			b.sessions.Attach(ClientKey{ID: id}, sessions[id])
		}
		stop := b.start(t)
		defer stop()
		b.Desk.Typing(alice, "room", "")
		b.Desk.Typing(ClientKey{ID: "eve"}, "room", "Eve")
		synctest.Wait()
		want := []Notice{{Kind: NoticeTyping, Group: "room", ClientID: "alice", SenderName: "alice", SenderType: "client"}}
		if d := cmp.Diff(want, sessions["bob"].notices); d != "" {
			t.Error(d)
		}
		if n := len(sessions["alice"].notices) + len(sessions["eve"].notices); n != 0 {
			t.Errorf("%d notices went to the sender or an outsider", n)
		}
	})
}

func TestGroupsAreServedFromTheCacheWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRig(t)
		b.store.group = Group{Name: "room", Epoch: 1}
		b.store.members = []string{"bob"}
		bob := &stubSession{}
		b.sessions.Attach(ClientKey{ID: "bob"}, bob)
		push := func() (Receipt, error) {
			return b.Push(context.Background(), Request{Target: Target{Group: "room"}, Store: StoreNever})
		}
		if r, err := push(); err != nil || r.Online != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		b.store.set(func(s *stubStore) { s.err = Errorf(CodeNoStore, "away") })
		time.Sleep(time.Hour)
		if r, err := push(); err != nil || r.Online != 1 {
			t.Fatalf("while the store is away: %+v, %v", r, err)
		}
		b.store.set(func(s *stubStore) { s.err = nil; s.group.Epoch = 2; s.members = nil })
		time.Sleep(groupRetry)
		if r, err := push(); err != nil || r.Online != 0 {
			t.Fatalf("after bob left: %+v, %v", r, err)
		}
		if len(bob.live) != 2 {
			t.Fatalf("bob got %d", len(bob.live))
		}
	})
}
