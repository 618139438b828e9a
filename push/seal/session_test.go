package seal

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
)

// soonKeys is a store that keeps what it is given.
type soonKeys struct{ lateKeys }

func (k *soonKeys) Activate(_ context.Context, key push.ClientKey, at push.SealPlace, secret func(period uint32) ([]byte, error)) error {
	b, err := secret(at.Period + 2)
	k.member = &push.SealMember{Client: key, Generation: at.Generation, Period: at.Period + 2, Shard: at.Shard, Slot: at.Slot, Secret: b}
	return err
}

// What seals for a session is the same after the handshake, from the store, and
// after a step of the key period.
func TestSessionsAreSealedForUnderTheHandshakesKey(t *testing.T) {
	s := newService(t, 16, nil)
	ann, nonce := push.ClientKey{ID: "ann"}, []byte("of the connection")
	for kind, mode := range kinds {
		store := &soonKeys{}
		s.Keep(store)
		if c, err := s.Session(t.Context(), ann, nonce); err != nil || c.Session != nil || c.Generation != 0 {
			t.Fatalf("without keys: %+v, %v", c, err)
		}
		h, hello, err := crt.NewHandshake(crt.X25519, kind, crt.NameHash("", "ann"), s.Public(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		welcome, pending, err := s.Begin(t.Context(), ann, hello)
		if err != nil {
			t.Fatal(err)
		}
		keys, confirm, err := h.Finish(welcome)
		if err != nil {
			t.Fatal(err)
		}
		opens := func(c push.Completed, err error) {
			t.Helper()
			if err != nil || c.Mode != mode || c.Generation != 1 {
				t.Fatalf("%+v, %v", c, err)
			}
			r := crt.NewSessionReceiver(crt.NameHash("", "ann"), nonce, 1, keys.Session())
			for json, format := range map[bool]crt.Format{true: crt.JSON, false: crt.MsgPack} {
				f, err := c.Session.Seal([]byte("text"), json)
				if err != nil {
					t.Fatal(err)
				}
				if got, text, err := r.Open(f); err != nil || got != format || string(text) != "text" {
					t.Errorf("%d %q, %v", got, text, err)
				}
			}
		}
		opens(s.Complete(t.Context(), ann, nonce, pending, confirm))
		opens(s.Session(t.Context(), ann, nonce))
		if store.member.Secret, err = s.Step(store.member); err != nil {
			t.Fatal(err)
		}
		store.member.Period++
		opens(s.Session(t.Context(), ann, nonce))
		number := store.member.Secret[3]
		store.member.Secret[3] = 9
		if _, err := s.Session(t.Context(), ann, nonce); err == nil || errors.Is(err, push.ErrUnreadable) {
			t.Errorf("under a key that others may have: %v", err)
		}
		store.member.Secret[3] = number
		store.member.Secret[40] ^= 1
		if _, err := s.Session(t.Context(), ann, nonce); !errors.Is(err, push.ErrUnreadable) {
			t.Errorf("changed: %v", err)
		}
	}
}

func TestTheLongestTextFitsASessionFrame(t *testing.T) {
	s := sessionSealer{crt.NewSessionSender(crt.NameHash("", "ann"), nil, 1, [crt.KeySize]byte{1})}
	if _, err := s.Seal(make([]byte, push.MaxSessionText), true); err != nil {
		t.Error(err)
	}
}

// What crosses to other nodes opens there as what it is, and as nothing else.
func TestWhatCrossesToOtherNodesIsWrapped(t *testing.T) {
	a, b, text := newService(t, 16, nil), newService(t, 16, nil), []byte("text")
	live, notice := a.WrapLive(7, text), a.WrapNotice(text)
	for name, open := range map[string]func() ([]byte, error){
		"a body": func() ([]byte, error) { return b.UnwrapLive(7, live) }, "a notice": func() ([]byte, error) { return b.UnwrapNotice(notice) },
	} {
		if got, err := open(); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, open := range map[string]func() ([]byte, error){
		"a body of another push": func() ([]byte, error) { return b.UnwrapLive(8, live) }, "a body as a notice": func() ([]byte, error) { return b.UnwrapNotice(live) },
		"a notice as a body": func() ([]byte, error) { return b.UnwrapLive(0, notice) },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s opens as %q", name, got)
		}
	}
}
