package store

import (
	"crypto/rand"
	"testing"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
)

// A hello that was held up says what its client held before it made new keys
// by way of another node.
func TestALateHelloDestroysNoKeysThatAreNewerThanIt(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann := s.join("ann", crt.KindCRT)
		s.send("one", push.SealAuto, ann)
		late := ann.held()
		s.shake(ann, crt.KindCRT)
		s.send("two", push.SealCRT, ann)
		s.hold(ann.key, push.SealCRT, late)
		s.send("three", push.SealCRT, ann)
		s.want(ann, "one two three")
		// Keys that are older than what it holds are lost for good.
		s.hold(ann.key, push.SealCRT, ann.held()[:1])
		s.want(ann, "1-1:key_lost two three")
	})
}

// What a hello's cursor covers the client has, though no ack of it came: it is not
// told as lost. What it holds all keys of is left alone.
func TestAWordOnKeysGoesByTheCursorThatCameWithIt(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann := s.join("ann", crt.KindCRT)
		s.send("one", push.SealAuto, ann)
		s.send("two", push.SealAuto, ann)
		if s.hold(ann.key, push.SealCRT, ann.held()) {
			t.Error("something changed for a client that holds its keys")
		}
		changed, err := s.Hold(t.Context(), ann.key, push.SealCRT, []uint32{}, 1)
		if err != nil || !changed {
			t.Fatalf("changed: %v, %v", changed, err)
		}
		s.want(ann, "one 2-2:key_lost")
		if changed, err = s.Hold(t.Context(), ann.key, push.SealCRT, []uint32{}, 1); err != nil || changed {
			t.Errorf("the same again: changed %v, %v", changed, err)
		}
	})
}

// A client forgets keys that its welcome does not name: a confirmation that was
// held up must not bring them into use.
func TestALateConfirmationComesToNothing(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann := s.join("ann", crt.KindCRT)
		hs, hello, err := crt.NewHandshake(crt.X25519, crt.KindCRT, crt.NameHash("", "ann"), s.sealing.Public(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		welcome, h, err := s.sealing.Begin(t.Context(), ann.key, hello)
		if err != nil {
			t.Fatal(err)
		}
		keys, confirm, err := hs.Finish(welcome)
		if err != nil {
			t.Fatal(err)
		}
		held := append([]uint32{keys.Grant().Generation}, ann.held()...)
		s.hold(ann.key, push.SealCRT, held)
		if m, err := s.Open(t.Context(), ann.key); err != nil || m.SealGeneration != 1 {
			t.Fatalf("%+v, %v", m, err)
		}
		if _, err := s.sealing.Complete(t.Context(), ann.key, nil, h, confirm); !push.HasCode(err, push.CodeInvalidField) {
			t.Errorf("the late confirmation was answered %v", err)
		}
		s.send("one", push.SealCRT, ann)
		s.want(ann, "one")
	})
}
