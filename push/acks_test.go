package push

import (
	"errors"
	"testing"
	"testing/synctest"
)

// written is the highest sequence that was written for alice.
func (s *stubStore) written() (seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.acked {
		seq = max(seq, a.Seq)
	}
	return seq
}

func TestAcksOfADeletedClientDoNotReachItsSuccessor(t *testing.T) {
	flush := func(t *testing.T, b *rig) uint64 {
		t.Helper()
		if err := b.acks.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		return b.store.written()
	}
	for name, ack := range map[string]func(b *rig){
		"gathered before the deletion": nil,
		"while the deletion runs": func(b *rig) {
			b.store.onForget = func() { b.Desk.Ack(alice, 5, nil) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newRig(t)
			if ack == nil {
				b.Desk.Ack(alice, 5, nil)
			} else {
				ack(b)
			}
			if err := b.Forget(t.Context(), alice); err != nil {
				t.Fatal(err)
			}
			if got := flush(t, b); got != 0 {
				t.Fatalf("the successor's mailbox is acked up to %d", got)
			}
			b.Desk.Ack(alice, 1, nil)
			if got := flush(t, b); got != 1 {
				t.Fatalf("the successor's own ack wrote %d, want 1", got)
			}
		})
	}
	t.Run("by a session that has not heard of it yet", func(t *testing.T) {
		b := newRig(t)
		old := &stubSession{}
		b.sessions.Attach(alice, old)
		if err := b.Forget(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		b.Desk.Ack(alice, 5, nil)
		b.Desk.Read(alice, 5)
		if got := flush(t, b); got != 0 || len(b.store.acked) != 0 {
			t.Fatalf("the successor's mailbox is acked up to %d", got)
		}
		b.sessions.Detach(alice, old)
		b.sessions.Attach(alice, &stubSession{}) // the successor's
		b.Desk.Ack(alice, 1, nil)
		if got := flush(t, b); got != 1 {
			t.Fatalf("the successor's own ack wrote %d, want 1", got)
		}
	})
	t.Run("by a hello whose mailbox was read before it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newRig(t)
			const mine = "0123456789abcdef"
			b.store.box = Mailbox{Incarnation: mine, Head: 10, Cursor: 2}
			b.store.onOpen = func() {
				if err := b.Forget(t.Context(), alice); err != nil {
					t.Error(err)
				}
			}
			stop := b.start(t)
			openNow(t, b, Hello{Cursor: cursor(8), Incarnation: mine})
			stop()
			if got := b.store.written(); got != 0 {
				t.Fatalf("the successor's mailbox is acked up to %d", got)
			}
		})
	})
}

func TestADeletionThatFailsLetsAcksOn(t *testing.T) {
	b := newRig(t)
	b.store.err = Errorf(CodeNoStore, "away")
	b.sessions.Attach(alice, &stubSession{})
	if err := b.Forget(t.Context(), alice); err == nil {
		t.Fatal("no error")
	}
	b.Desk.Ack(alice, 3, nil)
	if got := b.acks.cursor(alice); got != 3 {
		t.Fatalf("the cursor is %d, want 3", got)
	}
	if len(b.acks.ending) != 0 {
		t.Fatalf("%d deletions are still remembered", len(b.acks.ending))
	}
}

func TestDeletionsAreForgottenWithTheirSessions(t *testing.T) {
	b := newRig(t)
	for i := range 100 {
		key := ClientKey{ID: FormatID(int64(i + 1))}
		s := &stubSession{}
		b.sessions.Attach(key, s)
		if err := b.Forget(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		b.sessions.Detach(key, s)
	}
	if n := len(b.acks.ending); n > 1 {
		t.Fatalf("%d deletions are remembered", n)
	}
}

// An ack that is being written while its mailbox is opened shows in the buffer
// or in the store, whichever is read when.
func TestOpenSeesAnAckThatIsWrittenMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRig(t)
		b.store.box = Mailbox{Head: 10, Cursor: 5}
		b.Desk.Ack(alice, 7, nil)
		b.store.onOpen = func() { // the row was read; now the flush ends
			if err := b.acks.flush(t.Context()); err != nil {
				t.Error(err)
			}
		}
		o, err := b.Desk.open(t.Context(), alice, Hello{})
		if err != nil || o.Start != 7 {
			t.Fatalf("replay starts after %d, want 7 (%v)", o.Start, err)
		}
	})
}

func TestADeadLetterThatFindsNoRoomIsNotAcked(t *testing.T) {
	const each = MaxFailedPerAck - 1 // so that one ack finds room for a part
	var a Ack
	for i := range maxFailedWaiting/each + 3 {
		var failed []FailedEntry
		for j := range each {
			seq := uint64(i*each + j + 1)
			failed = append(failed, FailedEntry{Seq: seq, Code: 1}, FailedEntry{Seq: seq, Code: 1})
		}
		a = mergeAcks(a, Ack{Client: alice, Seq: uint64(i+1) * each, Failed: failed})
	}
	if len(a.Failed) != maxFailedWaiting {
		t.Fatalf("%d dead letters wait, want %d", len(a.Failed), maxFailedWaiting)
	}
	if last := a.Failed[len(a.Failed)-1].Seq; a.Seq != last {
		t.Fatalf("acked up to %d, dead letters named up to %d", a.Seq, last)
	}
	if a = mergeAcks(a, Ack{Client: alice, Seq: 1 << 20, Read: 9}); a.Seq != maxFailedWaiting || a.Read != 9 {
		t.Fatalf("a later ack went past those without room: %d, read %d", a.Seq, a.Read)
	}
}

func TestACancelThatFailsHalfwayTellsWhatItEnded(t *testing.T) {
	b := newRig(t)
	s := &stubSession{}
	b.sessions.Attach(alice, s)
	away := errors.New("away")
	b.store.ended, b.store.cancelErr = []Placement{{Client: alice, Seq: 3}}, away
	if n, err := b.Cancel(t.Context(), nil, 42); n != 1 || !errors.Is(err, away) {
		t.Fatalf("%d, %v", n, err)
	}
	if len(s.notices) != 1 || s.notices[0].Seq != 3 || s.notices[0].PushID != 42 {
		t.Fatalf("told: %+v", s.notices)
	}
}
