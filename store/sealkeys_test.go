package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
)

func TestKeyPeriodsGoOn(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, bob, eve := s.join("ann", crt.KindCRT), s.join("bob", crt.KindCRT), s.join("eve", crt.KindAEAD)
		s.send("one", push.SealAuto, ann, bob, eve)
		for i := range 2 {
			s.later(keyPeriod)
			s.send(fmt.Sprint("after-", i), push.SealAuto, ann, bob, eve)
		}
		var least, most int
		if err := s.read.QueryRowContext(t.Context(), `SELECT MIN(period), MAX(period) FROM seal_key WHERE state = 1`).Scan(&least, &most); err != nil || least < 2 {
			t.Errorf("key periods %d to %d, %v", least, most, err)
		}
		for _, d := range []*device{ann, bob, eve} {
			s.want(d, "one after-0 after-1")
		}
	})
}

func TestLostKeysAreTold(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, bob := s.join("ann", crt.KindCRT), s.join("bob", crt.KindCRT)
		s.send("one", push.SealAuto, ann, bob)
		ann.ring = crt.Ring{} // its storage was wiped
		s.hold(ann.key, push.SealCRT, ann.held())
		s.want(ann, "1-1:key_lost")
		out := s.send("required", push.SealCRT, ann)
		if out.Err == nil || out.Err.Code != push.CodeNoSealKey {
			t.Errorf("a push that has to be sealed was answered %+v", out)
		}
		if out := s.send("to both", push.SealCRT, ann, bob); out.Err != nil || len(out.Placed) != 1 || len(out.Rejected) != 1 || out.Rejected[0].Code != push.CodeNoSealKey {
			t.Errorf("a push to one with keys and one without: %+v", out)
		}
		s.shake(ann, crt.KindCRT)
		s.send("two", push.SealCRT, ann, bob)
		s.want(ann, "1-1:key_lost two")
		s.want(bob, "one to both two")
		s.hold(ann.key, push.SealCRT, ann.held())
		s.want(ann, "1-1:key_lost two")
		m, err := s.Open(t.Context(), ann.key)
		if err != nil || m.Seal != push.SealCRT || m.SealGeneration != 2 {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

// A client that makes a new handshake keeps the old keys until all under them
// is acked.
func TestTwoGenerationsInOneMailbox(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann := s.join("ann", crt.KindCRT)
		s.send("one", push.SealAuto, ann)
		s.shake(ann, crt.KindCRT)
		s.send("two", push.SealAuto, ann)
		s.shake(ann, crt.KindAEAD)
		s.send("three", push.SealAuto, ann)
		s.hold(ann.key, push.SealAEAD, ann.held())
		s.want(ann, "one two three")
		// It wants none from now on.
		s.hold(ann.key, "", ann.held())
		s.send("four", push.SealAuto, ann)
		s.want(ann, "one two three clear:four")
		var keys, members int
		err := firstError(s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM seal_key`).Scan(&keys),
			s.read.QueryRowContext(t.Context(), `SELECT SUM(members) FROM seal_shard`).Scan(&members))
		if err != nil || keys != 0 || members != 0 {
			t.Errorf("%d keys and %d members are left, %v", keys, members, err)
		}
	})
}

func TestAForgottenClientsKeysAreGone(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, bob := s.join("ann", crt.KindCRT), s.join("bob", crt.KindCRT)
		s.send("one", push.SealAuto, ann, bob)
		if err := s.Forget(t.Context(), ann.key); err != nil {
			t.Fatal(err)
		}
		s.send("two", push.SealAuto, bob)
		s.want(bob, "one two")
		var n int
		if err := s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM seal_key WHERE client_id = 'ann'`).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d keys are left, %v", n, err)
		}
		// What is sealed since is not for its keys, even in its slot.
		p, err := s.Read(t.Context(), bob.key, 1, 1, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if got := ann.open(t, p.Items[0].Message, 2); got != "unopened" {
			t.Errorf("the forgotten client reads %q", got)
		}
		again := s.join("ann", crt.KindCRT)
		s.send("three", push.SealAuto, again)
		s.want(again, "three")
	})
}

// Keys that nobody confirmed are given up, and their slot with them.
func TestReservedKeysEnd(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		key := push.ClientKey{ID: "ann"}
		if err := s.Register(t.Context(), key, time.Now()); err != nil {
			t.Fatal(err)
		}
		var at push.SealPlace
		for want := uint32(1); want <= 3; want++ {
			var err error
			if at, err = s.Reserve(t.Context(), key, push.SealCRT, 512, 4); err != nil || at.Generation != want || at.Slot != 0 {
				t.Fatalf("reserved %+v, %v", at, err)
			}
		}
		s.later(reservedFor)
		for n := 1; n > 0; {
			var err error
			if n, err = s.Sweep(t.Context(), s.clock(), 100); err != nil {
				t.Fatal(err)
			}
		}
		err := s.Activate(t.Context(), key, at, func(uint32) ([]byte, error) { return []byte("secret"), nil })
		if !push.HasCode(err, push.CodeInvalidField) {
			t.Errorf("activated: %v", err)
		}
		if m, err := s.Open(t.Context(), key); err != nil || m.Seal != "" {
			t.Errorf("%+v, %v", m, err)
		}
		var members int
		if err := s.read.QueryRowContext(t.Context(), `SELECT SUM(members) FROM seal_shard`).Scan(&members); err != nil || members != 0 {
			t.Errorf("%d members, %v", members, err)
		}
	})
}

func TestWithoutTheWrappingKeyNothingIsSealed(t *testing.T) {
	cfg := Config{Path: filepath.Join(t.TempDir(), "s.db")}
	s := openSealed(t, cfg, newSealing(t, 1))
	ann := s.join("ann", crt.KindCRT)
	s.send("one", push.SealAuto, ann)
	other := openSealed(t, s.reopen(cfg), newSealing(t, 2))
	e := &push.Envelope{ID: 5, Accepted: time.Now(), Body: []byte("x"), Size: 1, Target: push.Target{Clients: []string{"ann"}}, Priority: 3, Store: push.StoreAlways}
	if out, err := other.Accept(t.Context(), []*push.Envelope{e}); err == nil && out[0].Err == nil {
		t.Error("a push was sealed with keys that can't be read")
	}
	other.want(ann, "one")
}

// A node without sealing keys refuses what it can't seal, and takes nothing away
// for it: not what the push would have replaced, nor others' entries, nor a push
// that was due.
func TestANodeWithoutSealingKeysLosesNothing(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann := s.join("ann", crt.KindCRT)
		dan := &device{key: push.ClientKey{ID: "dan"}}
		if err := s.Register(t.Context(), dan.key, time.Now()); err != nil {
			t.Fatal(err)
		}
		e := func(id int64, text string, to ...string) *push.Envelope {
			return &push.Envelope{
				ID: id, Accepted: s.clock(), Expires: s.clock().Add(24 * time.Hour), Body: []byte(text), Size: len(text), CollapseKey: "k",
				Priority: push.DefaultPriority, Store: push.StoreAlways, Target: push.Target{Clients: to},
			}
		}
		later := e(2, "later", "ann")
		later.NotBefore, later.CollapseKey = s.clock().Add(time.Minute), ""
		out, err := s.Accept(t.Context(), []*push.Envelope{e(1, "old", "ann"), later})
		if err != nil || out[0].Err != nil || out[1].Err != nil {
			t.Fatal(out, err)
		}

		bare, err := Open(t.Context(), s.reopen(cfg))
		if err != nil {
			t.Fatal(err)
		}
		if out, err := bare.Accept(t.Context(), []*push.Envelope{e(3, "new", "ann")}); err == nil && out[0].Err == nil {
			t.Error("a push was taken that can't be sealed")
		}
		if out, err := bare.Accept(t.Context(), []*push.Envelope{e(4, "both", "dan", "ann")}); err == nil && out[0].Err == nil {
			t.Error("a push to two was taken")
		}
		if _, err := bare.Release(t.Context(), s.clock().Add(time.Hour), 10); err == nil {
			t.Error("what was due was released")
		}
		if err := bare.Close(); err != nil {
			t.Fatal(err)
		}

		again := openSealed(t, cfg, newSealing(t, 1))
		again.want(ann, "old")
		again.want(dan, "")
		if _, err := again.Release(t.Context(), s.clock().Add(time.Hour), 10); err != nil {
			t.Fatal(err)
		}
		again.want(ann, "old later")
	})
}

// Keys are given up once, however many nodes sweep, and not once they are in
// use.
func TestKeysAreGivenUpOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann := s.join("ann", crt.KindCRT)
		key := push.ClientKey{ID: "bob"}
		if err := s.Register(t.Context(), key, time.Now()); err != nil {
			t.Fatal(err)
		}
		at, err := s.Reserve(t.Context(), key, push.SealCRT, 512, 4)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			err := s.do(t.Context(), 0, func(tx *tx) error {
				return firstError(tx.dropKey(key, at.Generation, keyReserved, at.Shard), tx.dropKey(ann.key, 1, keyReserved, at.Shard))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		var members int
		if err := s.read.QueryRowContext(t.Context(), `SELECT members FROM seal_shard`).Scan(&members); err != nil || members != 1 {
			t.Errorf("the shard counts %d members, %v", members, err)
		}
		s.send("one", push.SealCRT, ann)
		s.want(ann, "one")
	})
}
