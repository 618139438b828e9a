package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/seal"
)

// under is a store whose server has these wrapping keys.
func under(t *testing.T, cfg Config, numbers ...byte) *sealed {
	t.Helper()
	id, err := crt.NewIdentity(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	sealing := seal.New(seal.Config{Identity: id, Wrapper: wrapper(t, numbers...), Encode: encodePlain, Slots: 4})
	t.Cleanup(sealing.Close)
	return openSealed(t, cfg, sealing)
}

// wrappedUnder is the key that each client's secret is wrapped under.
func (s *sealed) wrappedUnder(id string) uint32 {
	s.t.Helper()
	var b []byte
	if err := s.read.QueryRowContext(s.t.Context(), `SELECT secret FROM seal_key WHERE client_id = ? AND state = 1`, id).Scan(&b); err != nil {
		s.t.Fatal(err)
	}
	return binary.BigEndian.Uint32(b)
}

// A server wraps under the key that the store is under, though it has a newer
// one, until that is put to use: then it does, at once and without a restart. One
// that lacks the key refuses what it would have to wrap.
func TestTheStoreSaysWhichKeyWraps(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := under(t, cfg, 1, 2)
		claim := func(number uint32, proof string, want string) {
			t.Helper()
			if kept, err := s.ClaimWrapKey(t.Context(), number, []byte(proof)); err != nil || string(kept) != want {
				t.Errorf("key %d is kept with %q, want %q, %v", number, kept, want, err)
			}
		}
		claim(1, "one", "one")
		claim(1, "another's", "one")
		s.join("ann", crt.KindCRT)
		claim(2, "two", "two")
		bob := s.join("bob", crt.KindCRT)
		if a, b := s.wrappedUnder("ann"), s.wrappedUnder("bob"); a != 1 || b != 2 {
			t.Errorf("wrapped under %d and %d, want 1 and 2", a, b)
		}
		s.later(keyPeriod)
		s.send("one", push.SealAuto, bob)
		if n := s.wrappedUnder("ann"); n != 2 {
			t.Errorf("its neighbour's step wrapped ann's keys under %d", n)
		}
		claim(3, "three", "three")
		e := s.secretive("x", push.Target{Clients: []string{"ann"}})
		e.NotBefore = s.clock().Add(time.Hour)
		if out, err := s.Accept(t.Context(), []*push.Envelope{e}); err == nil && out[0].Err == nil {
			t.Error("a push was kept by a server without the store's wrapping key")
		}
		s.send("two", push.SealAuto, bob) // needs no wrapping
		s.want(bob, "one two")
		if err := s.ForgetWrapKeys(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if kept, err := s.WrapKeys(t.Context()); err != nil || len(kept) != 1 || string(kept[2]) != "two" {
			t.Errorf("kept %v, %v", kept, err)
		}
		s.accept(e)
	})
}

// What is given up is gone, and nothing else: mailboxes stay, their clients can
// seal anew, and what waits in clear goes out.
func TestSealingIsGivenUp(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		holds := func(s *sealed, want bool) {
			t.Helper()
			if got, err := s.HoldsWrapped(t.Context()); err != nil || got != want {
				t.Errorf("holds something wrapped: %v, want %v, %v", got, want, err)
			}
		}
		s := under(t, cfg, 1)
		holds(s, false)
		for i := range push.ExpandAbove {
			if err := s.Register(t.Context(), push.ClientKey{ID: fmt.Sprint("other", i)}, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		late := s.secretive("late", push.Target{Clients: []string{"other1"}})
		late.NotBefore = s.clock().Add(time.Hour)
		s.accept(late)
		holds(s, true)
		ann, eve := s.join("ann", crt.KindCRT), s.join("eve", crt.KindAEAD)
		s.accept(s.secretive("all", push.Target{All: true}))
		s.member(ann, "room", true)
		s.broadcast("room", "zero")
		s.send("one", push.SealAuto, ann, eve)
		if _, err := s.ClaimWrapKey(t.Context(), 1, []byte("proof")); err != nil {
			t.Fatal(err)
		}
		want := Rewrapped{Clients: 2, Channels: 1, Waiting: 2}
		if n, err := s.AbandonSealing(t.Context()); err != nil || n != want {
			t.Errorf("gave up %+v, want %+v, %v", n, want, err)
		}
		holds(s, false)
		if kept, err := s.WrapKeys(t.Context()); err != nil || len(kept) != 0 {
			t.Errorf("kept %v, %v", kept, err)
		}
		var state int
		err := s.read.QueryRowContext(t.Context(), `SELECT state FROM push WHERE id = ?`, late.ID).Scan(&state)
		if err != nil || state != pushRefused {
			t.Errorf("the push that waited is in state %d, %v", state, err)
		}
		s.expand()
		s.release(2 * time.Hour)
		again := under(t, s.reopen(cfg), 2)
		again.want(eve, "one")
		again.send("clear", push.SealAuto, ann, eve)
		again.want(eve, "one clear:clear")
		again.shake(ann, crt.KindCRT)
		again.send("two", push.SealCRT, ann)
		p, err := again.Read(t.Context(), ann.key, 2, 10, 1<<20)
		if err != nil || len(p.Items) != 2 || ann.open(t, p.Items[1].Message, 4) != "two" {
			t.Errorf("read %+v, %v", p.Items, err)
		}
	})
}
