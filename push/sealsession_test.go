package push

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
)

// inUse answers keys in use, and how often they were asked for.
type inUse struct {
	holding
	completed Completed
	err       error
	asked     int
	nonce     string // that they were asked for last
}

func (*inUse) Offers(mode SealMode) bool { return mode == SealCRT }
func (*inUse) Public() []byte            { return []byte("public") }

func (s *inUse) Session(_ context.Context, _ ClientKey, nonce []byte) (Completed, error) {
	s.asked++
	s.nonce = string(nonce)
	return s.completed, s.err
}

type textSealer struct{}

func (textSealer) Seal(text []byte, _ bool) ([]byte, error) { return text, nil }

// Who holds the keys in use is sealed for from welcome on; others make a
// handshake first, and cost no look at keys.
func TestASessionIsSealedForUnderTheKeysItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRig(t)
		sealing := &inUse{completed: Completed{Generation: 3, Mode: SealCRT, Session: textSealer{}}}
		b.Desk.sealing = sealing
		stop := b.start(t)
		defer stop()
		b.store.set(func(s *stubStore) { s.box.Seal, s.box.SealGeneration, s.box.SealLast = SealCRT, 3, 3 })
		for name, c := range map[string]struct {
			hello         Hello
			offered, keys bool
		}{
			"holds them":       {Hello{Seal: SealCRT, Held: []uint32{2, 3}}, true, true},
			"a stream":         {Hello{Seal: SealCRT, Held: []uint32{3}, Stream: true}, true, true},
			"lost them":        {Hello{Seal: SealCRT, Held: []uint32{2}}, true, false},
			"asks for another": {Hello{Seal: SealAEAD, Held: []uint32{3}}, false, false},
			"does not ask":     {Hello{Held: []uint32{3}}, false, false},
		} {
			before := sealing.asked
			c.hello.Nonce = []byte(name)
			o := openNow(t, b, c.hello)
			if (o.Public != nil) != c.offered || (o.Session != nil) != c.keys || (sealing.asked > before) != c.keys || c.keys && sealing.nonce != name {
				t.Errorf("%s: public %q, session %v, asked %d", name, o.Public, o.Session, sealing.asked-before)
			}
		}
		// Others came into use between the two reads: they are what it needs.
		sealing.completed.Generation = 4
		if o := openNow(t, b, Hello{Seal: SealCRT, Held: []uint32{3}}); o.Session != nil || o.SealGeneration != 4 {
			t.Errorf("session %v, generation %d", o.Session, o.SealGeneration)
		}
		// What no server can read is made anew: a client that were told of it would
		// hold it, and make none.
		sealing.completed, sealing.err = Completed{}, fmt.Errorf("changed: %w", ErrUnreadable)
		if o := openNow(t, b, Hello{Seal: SealCRT, Held: []uint32{3}}); o.Public == nil || o.Session != nil || o.SealGeneration != 0 {
			t.Errorf("unreadable: public %q, session %v, generation %d", o.Public, o.Session, o.SealGeneration)
		}
	})
}

// A live-only push that requires a seal is refused where it is known that the one
// client it is for has none, and missed elsewhere.
func TestALiveOnlyPushThatRequiresASeal(t *testing.T) {
	b, here := across(t)
	push := func(ids ...string) (Receipt, error) {
		return b.Push(t.Context(), Request{Target: Target{Clients: ids}, Store: StoreNever, Seal: SealCRT, Topic: "t"})
	}
	here.full = true // as a session does that seals otherwise
	if r, err := push("alice"); !HasCode(err, CodeNoSealKey) {
		t.Errorf("without keys: %+v, %v", r, err)
	}
	here.info.Seal = SealAEAD
	if r, err := push("alice"); !HasCode(err, CodeNoSealKey) {
		t.Errorf("with keys of another kind: %+v, %v", r, err)
	}
	here.info.Seal = SealCRT
	if r, err := push("alice"); err != nil || r.Online != 0 {
		t.Errorf("slow: %+v, %v", r, err)
	}
	here.full = false
	if r, err := push("alice"); err != nil || r.Online != 1 {
		t.Errorf("with keys: %+v, %v", r, err)
	}
	here.info.Seal, here.full = "", true
	if r, err := push("alice", "eve"); err != nil || r.Online != 0 || len(r.Rejected) != 0 {
		t.Errorf("to several: %+v, %v", r, err)
	}
	if r, err := push("bob"); err != nil || r.Online != 1 {
		t.Errorf("on another node, which is not known here: %+v, %v", r, err)
	}
	for _, m := range b.elsewhere.messages {
		if m.Require != SealCRT {
			t.Error("other nodes are not told of what is required")
		}
	}
	if r, err := b.Push(t.Context(), Request{Target: Target{Clients: []string{"alice"}}, Store: StoreNever, Topic: "t"}); err != nil || r.Online != 0 {
		t.Errorf("auto: %+v, %v", r, err)
	}
}

func TestWhatASealAllows(t *testing.T) {
	for _, c := range []struct {
		required, session SealMode
		ok                bool
	}{
		{"", "", true}, {"", SealCRT, true}, {SealRequired, "", false}, {SealRequired, SealCRT, true}, {SealRequired, SealAEAD, true},
		{SealCRT, SealCRT, true}, {SealCRT, SealAEAD, false}, {SealAEAD, "", false},
	} {
		if got := c.required.Allows(c.session); got != c.ok {
			t.Errorf("%q of a session that seals by %q: %t", c.required, c.session, got)
		}
	}
}
