package push

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
)

// holding is a [Sealing] that notes what it is told of keys.
type holding struct {
	Sealing
	offers []SealMode
	calls  int
	said   string
	cursor uint64 // that came with it
	change func() // what it does to the mailbox; nil: nothing
}

func (h *holding) Hold(_ context.Context, _ ClientKey, want SealMode, held []uint32, cursor uint64) (bool, error) {
	h.calls++
	h.said, h.cursor = fmt.Sprint(want, " ", held), cursor
	if h.change == nil {
		return false, nil
	}
	h.change()
	return true, nil
}

func (*holding) Session(context.Context, ClientKey, []byte) (Completed, error) {
	return Completed{}, nil
}

func (h *holding) Public() []byte { return []byte("public") }

func (h *holding) Offers(mode SealMode) bool {
	for _, o := range h.offers {
		if o == mode {
			return true
		}
	}
	return false
}

// TestKeysAreDestroyedByAnExplicitWordAlone: whoever has the token may say a
// hello, and what it leaves out must cost the client nothing.
func TestKeysAreDestroyedByAnExplicitWordAlone(t *testing.T) {
	never, gone := Mailbox{}, Mailbox{SealLast: 3}
	inUse, waiting := Mailbox{SealLast: 3, Seal: SealCRT, SealGeneration: 3}, Mailbox{SealLast: 3, Sealed: 1}
	none := []uint32{}
	for name, tc := range map[string]struct {
		hello   Hello
		box     Mailbox
		require bool
		close   CloseCode // 0: it is served
		said    string    // of keys; empty: nothing
	}{
		"no word, never had keys":        {Hello{}, never, false, 0, ""},
		"no word, keys given up":         {Hello{}, gone, false, 0, ""},
		"no word, keys in use":           {Hello{}, inUse, false, CloseHelloTimeout, ""},
		"no word, something sealed":      {Hello{}, waiting, false, CloseHelloTimeout, ""},
		"held without seal":              {Hello{Held: none}, inUse, false, CloseHelloTimeout, ""},
		"an unknown kind":                {Hello{Seal: "rot13", Held: none}, inUse, false, CloseHelloTimeout, ""},
		"silence":                        {Hello{Unsaid: true}, inUse, false, CloseHelloTimeout, ""},
		"silence, something sealed":      {Hello{Unsaid: true}, waiting, false, CloseHelloTimeout, ""},
		"silence, keys given up":         {Hello{Unsaid: true}, gone, false, 0, ""},
		"none":                           {Hello{Seal: SealNone}, inUse, false, 0, "none []"},
		"none, whatever is held":         {Hello{Seal: SealNone, Held: []uint32{3}}, inUse, false, 0, "none []"},
		"none, never had keys":           {Hello{Seal: SealNone}, never, false, 0, ""},
		"a kind and what is held":        {Hello{Seal: SealCRT, Held: []uint32{3, 2}}, inUse, false, 0, "crt [3 2]"},
		"a kind, and nothing held":       {Hello{Seal: SealCRT, Held: none}, inUse, false, 0, "crt []"},
		"a kind, not what is held":       {Hello{Seal: SealCRT}, inUse, false, 0, ""},
		"another kind, not what is held": {Hello{Seal: SealAEAD}, inUse, false, 0, ""},
		"a stream":                       {Hello{Stream: true, Seal: SealCRT, Held: none}, inUse, false, 0, ""},
		"a stream without a word":        {Hello{Stream: true}, inUse, false, CloseHelloTimeout, ""},
		"a stream gives up nothing":      {Hello{Stream: true, Seal: SealNone}, inUse, false, CloseHelloTimeout, ""},
		"a stream of a client without":   {Hello{Stream: true, Seal: SealNone}, never, false, 0, ""},

		"required, no word":           {Hello{}, never, true, CloseUnsealed, ""},
		"required, no word, keys":     {Hello{}, inUse, true, CloseUnsealed, ""},
		"required, none":              {Hello{Seal: SealNone}, inUse, true, CloseUnsealed, ""},
		"required, not offered":       {Hello{Seal: SealAEAD, Held: none}, inUse, true, CloseUnsealed, ""},
		"required, offered":           {Hello{Seal: SealCRT, Held: none}, inUse, true, 0, "crt []"},
		"required, silence":           {Hello{Unsaid: true}, never, true, CloseHelloTimeout, ""},
		"required, a stream":          {Hello{Stream: true}, never, true, CloseUnsealed, ""},
		"required, a stream that has": {Hello{Stream: true, Seal: SealCRT}, inUse, true, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newRig(t)
				sealing := &holding{offers: []SealMode{SealCRT}}
				b.Desk.sealing, b.Desk.require = sealing, tc.require
				b.store.box = tc.box
				stop := b.start(t)
				o := openNow(t, b, tc.hello)
				stop()
				var code CloseCode
				if o.Refusal != nil {
					code = o.Refusal.Code
					if n := len(o.Refusal.Reason); n == 0 || n > 123 {
						t.Errorf("the reason has %d bytes", n)
					}
				}
				if code != tc.close || sealing.said != tc.said {
					t.Errorf("closed with %d, keys %q; want %d, %q", code, sealing.said, tc.close, tc.said)
				}
			})
		})
	}
}

// TestTheCursorOfAHelloCountsBeforeItsWordOnKeys: what the client has already is
// not to be dropped as lost, whether the hello says so or an ack that the store
// does not have yet; and welcome tells of the mailbox as it is then.
func TestTheCursorOfAHelloCountsBeforeItsWordOnKeys(t *testing.T) {
	for name, tc := range map[string]struct {
		cursor *uint64
		ack    uint64
		change bool
		opens  int
	}{
		"its own":               {cursor(8), 0, false, 1},
		"an ack on its way":     {nil, 8, false, 1},
		"where keys are lost":   {cursor(8), 0, true, 2},
		"an ack, and lost keys": {nil, 8, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newRig(t)
				sealing := &holding{}
				b.Desk.sealing = sealing
				b.store.box = Mailbox{Head: 10, Cursor: 5, Count: 5, SealLast: 1, Seal: SealCRT, SealGeneration: 1}
				after := b.store.box
				if tc.change {
					after.Count, after.Seal, after.SealGeneration = 3, "", 0
					sealing.change = func() {
						b.store.mu.Lock()
						defer b.store.mu.Unlock()
						b.store.box = after
					}
				}
				stop := b.start(t)
				if tc.ack > 0 {
					b.Desk.Ack(alice, tc.ack, nil)
				}
				o := openNow(t, b, Hello{Seal: SealCRT, Held: []uint32{}, Cursor: tc.cursor})
				b.store.mu.Lock()
				opens := b.store.opens
				b.store.mu.Unlock()
				stop()
				if sealing.calls != 1 || sealing.cursor != 8 || o.Start != 8 || o.Cursor != 8 {
					t.Errorf("keys were asked after with cursor %d; it starts after %d of %+v", sealing.cursor, o.Start, o.Mailbox)
				}
				if o.Count != after.Count || o.SealGeneration != after.SealGeneration || opens != tc.opens {
					t.Errorf("%+v after %d looks at the store", o.Mailbox, opens)
				}
			})
		})
	}
}

// TestARefusedHelloIsNoAck: whoever is not served has said nothing.
func TestARefusedHelloIsNoAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRig(t)
		b.Desk.sealing = &holding{}
		b.store.box = Mailbox{Head: 10, Cursor: 5, SealLast: 1, Seal: SealCRT}
		stop := b.start(t)
		openNow(t, b, Hello{Cursor: cursor(8)})
		stop()
		if len(b.store.acked) > 0 {
			t.Errorf("it acked %+v", b.store.acked)
		}
	})
}
