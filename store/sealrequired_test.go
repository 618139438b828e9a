package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
)

// plainClient registers a client without keys.
func (s *sealed) plainClient(id string) *device {
	s.t.Helper()
	d := &device{key: push.ClientKey{ID: id}}
	if err := s.Register(s.t.Context(), d.key, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	return d
}

func TestARequiredSealIsWhicheverTheClientHas(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, bob, dan := s.join("ann", crt.KindCRT), s.join("bob", crt.KindAEAD), s.plainClient("dan")
		o := s.send("one", push.SealRequired, ann, bob, dan)
		if o.Err != nil || len(o.Placed) != 2 || len(o.Rejected) != 1 || o.Rejected[0] != (push.Rejection{Client: dan.key, Code: push.CodeNoSealKey}) {
			t.Errorf("a push to three was answered %+v", o)
		}
		if o := s.send("two", push.SealRequired, dan); !push.HasCode(o.Err, push.CodeNoSealKey) {
			t.Errorf("a push to one was answered %+v", o)
		}
		s.want(ann, "one")
		s.want(bob, "one")
		s.want(dan, "")
	})
}

// What was promised is kept to, for pushes that wait for a time or a job too.
func TestARequiredSealHoldsForWhatWaits(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, dan := s.join("ann", crt.KindCRT), s.plainClient("dan")
		for i := range push.ExpandAbove {
			s.plainClient(fmt.Sprint("other", i))
		}
		e := func(id int64, text string) *push.Envelope {
			return &push.Envelope{
				ID: id, Accepted: s.clock(), Expires: s.clock().Add(24 * time.Hour), Body: []byte(text), Size: len(text),
				Priority: push.DefaultPriority, Store: push.StoreAlways, Seal: push.SealRequired,
			}
		}
		later, toAll := e(1, "later"), e(2, "all")
		later.NotBefore, later.Target.Clients = s.clock().Add(time.Hour), []string{"ann", "dan"}
		toAll.Target.All = true
		out, err := s.Accept(t.Context(), []*push.Envelope{later, toAll})
		if err != nil || !out[0].Scheduled || !out[1].Expanding {
			t.Fatalf("%+v, %v", out, err)
		}
		for n := 1; n > 0; {
			if n, err = s.Expand(t.Context(), 5000); err != nil {
				t.Fatal(err)
			}
		}
		s.later(time.Hour)
		for n := 1; n > 0; {
			if n, err = s.Release(t.Context(), s.clock(), 100); err != nil {
				t.Fatal(err)
			}
		}
		s.want(ann, "all later")
		s.want(dan, "1-2:dropped")
		p, err := s.History(t.Context(), dan.key, push.HistoryQuery{PageQuery: push.PageQuery{Limit: 10}})
		if err != nil || len(p.Entries) != 2 || p.Entries[0].Reason != reasonNoKey || p.Entries[1].Reason != reasonNoKey {
			t.Errorf("history %+v, %v", p, err)
		}
	})
}

// A dead letter of before sealing was required is placed again sealed, or not.
func TestDeadLettersAreNotPlacedAgainInClearWhereSealingIsRequired(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		dan := s.plainClient("dan")
		s.send("one", push.SealAuto, dan)
		if err := s.Ack(t.Context(), []push.Ack{{Client: dan.key, Seq: 1, Failed: []push.FailedEntry{{Seq: 1, Code: 7}}}}); err != nil {
			t.Fatal(err)
		}
		cfg = s.reopen(cfg)
		cfg.Limits = push.DefaultConfig()
		cfg.Limits.RequireSeal = true
		s = openSealed(t, cfg, newSealing(t, 1))
		dan.cursor = 1
		if n, err := s.Redrive(t.Context(), dan.key, nil); n != 0 || !push.HasCode(err, push.CodeNoSealKey) {
			t.Errorf("redrove %d, %v", n, err)
		}
		s.want(dan, "")
		s.shake(dan, crt.KindCRT)
		if n, err := s.Redrive(t.Context(), dan.key, []uint64{1}); n != 1 || err != nil {
			t.Errorf("redrove %d, %v", n, err)
		}
		s.want(dan, "one")
	})
}

// What can't be sealed any more takes no room, and takes nobody's place.
func TestWhatIsDroppedForWantOfKeysEndsNothingElse(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		cfg.Limits = push.DefaultConfig()
		cfg.Limits.MailboxEntries, cfg.Limits.Overflow = 2, push.OverflowDrop
		s := openSealed(t, cfg, newSealing(t, 1))
		dan := s.plainClient("dan")
		for i, mode := range []push.SealMode{push.SealAuto, push.SealAuto, push.SealRequired, push.SealRequired} {
			e := &push.Envelope{
				ID: int64(1 + i), Accepted: s.clock(), Expires: s.clock().Add(24 * time.Hour), Body: fmt.Append(nil, "text", i+1), Size: 5,
				Target: push.Target{Clients: []string{"dan"}}, Priority: push.DefaultPriority, Store: push.StoreAlways, Seal: mode,
			}
			if i%2 == 0 {
				e.CollapseKey = "key"
			}
			if mode == push.SealRequired {
				e.NotBefore = s.clock().Add(time.Hour)
			}
			if out, err := s.Accept(t.Context(), []*push.Envelope{e}); err != nil || out[0].Err != nil {
				t.Fatal(out, err)
			}
		}
		s.later(time.Hour)
		if n, err := s.Release(t.Context(), s.clock(), 100); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		s.want(dan, "clear:text1 clear:text2 3-4:dropped")
	})
}
