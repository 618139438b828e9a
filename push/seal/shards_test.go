package seal

import (
	"bytes"
	"context"
	cryptorand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
)

// world is one stored shard with the clients that have places in it.
type world struct {
	testing.TB
	s       *Service
	row     push.SealShard
	clients []*crt.Ring // nil: nobody's slot
	gone    []*crt.Ring
	made    int

	place  push.SealPlace // of the next handshake
	secret func(period uint32) ([]byte, error)
	push.SealKeys
}

func (w *world) Reserve(_ context.Context, _ push.ClientKey, kind push.SealMode, bits, slots int) (push.SealPlace, error) {
	w.place.Kind, w.place.Bits, w.place.Slots = kind, bits, slots
	return w.place, nil
}

func (w *world) Activate(_ context.Context, _ push.ClientKey, _ push.SealPlace, secret func(period uint32) ([]byte, error)) error {
	w.secret = secret
	return nil
}

// newService makes one that keeps keys there.
func newService(t testing.TB, slots int, keys push.SealKeys) *Service {
	t.Helper()
	id, err := crt.NewIdentity(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Identity: id, Wrapper: wrapperOf(t, 2), Slots: slots})
	t.Cleanup(s.Close)
	s.Keep(keys)
	return s
}

func newWorld(t testing.TB, slots int) *world {
	t.Helper()
	w := &world{TB: t, clients: make([]*crt.Ring, slots)}
	w.s = newService(t, slots, w)
	w.row = push.SealShard{Version: 1, Period: 3, Bits: 512, Slots: slots}
	return w
}

func wrapperOf(t testing.TB, key byte) *crt.Wrapper {
	t.Helper()
	wr, err := crt.NewWrapper(map[uint32][]byte{1: bytes.Repeat([]byte{key}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	return wr
}

// join has a client make a handshake for the slot.
func (w *world) join(slot int) {
	w.Helper()
	w.made++
	client := push.ClientKey{ID: fmt.Sprint("client ", w.made)}
	w.place = push.SealPlace{Generation: 1, Period: w.row.Period, Slot: slot}
	h, hello, err := crt.NewHandshake(crt.X25519, crt.KindCRT, crt.NameHash("", client.ID), w.s.cfg.Identity.Public(), cryptorand.Reader)
	if err != nil {
		w.Fatal(err)
	}
	welcome, pending, err := w.s.Begin(w.Context(), client, hello)
	if err != nil {
		w.Fatal(err)
	}
	keys, confirm, err := h.Finish(welcome)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.s.Complete(w.Context(), client, nil, pending, confirm); err != nil {
		w.Fatal(err)
	}
	secret, err := w.secret(w.row.Period)
	if err != nil {
		w.Fatal(err)
	}
	w.leave(slot)
	w.clients[slot] = new(crt.Ring)
	w.clients[slot].Add(keys)
	w.row.Members = append(w.row.Members, push.SealMember{Client: client, Generation: 1, Period: w.row.Period, Slot: slot, Secret: secret})
}

func (w *world) leave(slot int) {
	var stay []push.SealMember // a row that was handed out is never written to
	for _, m := range w.row.Members {
		if m.Slot != slot {
			stay = append(stay, m)
		}
	}
	w.row.Members = stay
	if r := w.clients[slot]; r != nil {
		w.gone = append(w.gone, r)
	}
	w.clients[slot] = nil
}

func (w *world) step() {
	w.Helper()
	w.row.Period++
	members := append([]push.SealMember(nil), w.row.Members...)
	for i := range members {
		var err error
		if members[i].Secret, err = w.s.Step(&members[i]); err != nil {
			w.Fatal(err)
		}
		members[i].Period = w.row.Period
	}
	w.row.Members = members
}

// check seals for all members by the row as it stands.
func (w *world) check() {
	w.Helper()
	row := w.row
	sh, err := w.s.shard(&row)
	if err != nil {
		w.Fatal(err)
	}
	slots := make([]crt.Slot, len(w.clients))
	for i, r := range w.clients {
		if sh.Taken(i) != (r != nil) {
			w.Fatalf("slot %d is taken: %v", i, sh.Taken(i))
		}
		if r != nil {
			slots[i] = crt.Slot{Type: crt.SlotInline, Seq: uint64(i + 1), Data: []byte(fmt.Sprint("for slot ", i))}
		}
	}
	f, err := sh.Seal(nil, crt.Direct, 0, slots, nil, new(crt.Scratch))
	if err != nil {
		w.Fatal(err)
	}
	if sh.Period() != row.Period {
		w.Errorf("sealed at period %d of %d", sh.Period(), row.Period)
	}
	for i, r := range w.clients {
		if r == nil {
			continue
		}
		if o, err := r.Open(f); err != nil || string(o.Message) != fmt.Sprint("for slot ", i) {
			w.Errorf("slot %d opens %q, %v", i, o.Message, err)
		}
	}
	for _, r := range w.gone {
		if _, err := r.Open(f); err == nil {
			w.Error("who left opens what follows")
		}
	}
}

// TestAShardThatWasChangedServesItsMembers: whatever happened to a shard since
// it was last sealed with, here or on other nodes, those who are in the row as it
// is now open what is sealed for them, and nobody else.
func TestAShardThatWasChangedServesItsMembers(t *testing.T) {
	w := newWorld(t, 4)
	r := rand.New(rand.NewPCG(1, 2))
	w.check()
	for range 60 {
		for range 1 + r.IntN(3) {
			switch slot := r.IntN(4); r.IntN(4) {
			case 0, 1:
				w.join(slot)
			case 2:
				w.leave(slot)
				w.step()
			case 3:
				w.step()
			}
		}
		if w.row.Version++; r.IntN(4) == 0 { // read beside the writer
			version := w.row.Version
			w.row.Version = 0
			w.check()
			w.row.Version = version
		}
		w.check()
		w.check()
	}
}

// TestMembersThatStayedAreNotUnwrapped: what did not change is taken from the
// shard that was made before.
func TestMembersThatStayedAreNotUnwrapped(t *testing.T) {
	w := newWorld(t, 4)
	for i := range 3 {
		w.join(i)
	}
	w.check()
	w.s.cfg.Wrapper = wrapperOf(t, 7) // which unwraps nothing of before
	w.leave(1)
	w.row.Version++
	w.check()
	w.join(3)
	w.row.Version++
	w.check()
	w.row.Version++
	w.row.Members = append([]push.SealMember(nil), w.row.Members...)
	w.row.Members[0].Generation++
	row := w.row
	if _, err := w.s.shard(&row); err == nil {
		t.Error("other keys of a client were not unwrapped")
	}
}

// A shard of other slots, or other widths, is another one.
func TestAShardOfAnotherShapeIsMadeAnew(t *testing.T) {
	w := newWorld(t, 4)
	w.join(0)
	w.check()
	wide := push.SealShard{Version: 9, Period: 3, Bits: 1024, Slots: 4}
	sh, err := w.s.shard(&wide)
	if err != nil || sh.SlotBytes() != 128 || sh.Taken(0) {
		t.Fatal(sh, err)
	}
	more := push.SealShard{Version: 10, Period: 3, Bits: 512, Slots: 8}
	if sh, err = w.s.shard(&more); err != nil || sh.Slots() != 8 {
		t.Fatal(sh, err)
	}
	for _, members := range [][]push.SealMember{
		{w.row.Members[0], w.row.Members[0]},
		{{Client: w.row.Members[0].Client, Generation: 1, Period: 3, Slot: 4, Secret: w.row.Members[0].Secret}},
	} {
		if _, err := w.s.shard(&push.SealShard{Version: 11, Period: 3, Bits: 512, Slots: 4, Members: members}); err == nil {
			t.Error("members that do not fit were taken")
		}
	}
}
