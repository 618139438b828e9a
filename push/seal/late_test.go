package seal

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
)

// lateKeys is a store whose answer came before its work was done.
type lateKeys struct {
	push.SealKeys
	secret func(period uint32) ([]byte, error)
	member *push.SealMember
	shard  int64
}

func (l *lateKeys) Member(context.Context, push.ClientKey) (*push.SealMember, error) {
	return l.member, nil
}

func (l *lateKeys) Reserve(_ context.Context, _ push.ClientKey, kind push.SealMode, bits, slots int) (push.SealPlace, error) {
	if l.shard = 0; kind == push.SealAEAD {
		return push.SealPlace{Kind: kind, Generation: 1}, nil
	}
	l.shard = 1
	return push.SealPlace{Kind: kind, Generation: 1, Shard: 1, Slots: slots, Bits: bits}, nil
}

func (l *lateKeys) Activate(_ context.Context, _ push.ClientKey, _ push.SealPlace, secret func(period uint32) ([]byte, error)) error {
	l.secret = secret
	return push.Errorf(push.CodeTimeout, "the outcome is unknown")
}

// reserves counts what was reserved.
type reserves struct {
	lateKeys
	n int
}

func (r *reserves) Reserve(ctx context.Context, key push.ClientKey, kind push.SealMode, bits, slots int) (push.SealPlace, error) {
	r.n++
	return r.lateKeys.Reserve(ctx, key, kind, bits, slots)
}

// Nothing is reserved for a hello whose keys are none: points of low order, or
// what is no key of ML-KEM.
func TestAHelloWithoutKeysReservesNothing(t *testing.T) {
	store := &reserves{}
	s := newService(t, 16, store)
	hello := func(suite crt.Suite) []byte {
		t.Helper()
		_, hello, err := crt.NewHandshake(suite, crt.KindCRT, crt.NameHash("", "ann"), s.Public(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return hello
	}
	zero, one, kem := hello(crt.X25519), hello(crt.X25519), hello(crt.X25519MLKEM768)
	clear(zero[52:84])
	clear(one[52:84])
	one[52] = 1
	for i := range 300 {
		kem[84+i] = 0xff
	}
	for name, b := range map[string][]byte{"zero": zero, "one": one, "ML-KEM": kem} {
		if _, _, err := s.Begin(t.Context(), push.ClientKey{ID: "ann"}, b); !push.HasCode(err, push.CodeInvalidField) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if store.n != 0 {
		t.Errorf("%d places were reserved", store.n)
	}
	if _, _, err := s.Begin(t.Context(), push.ClientKey{ID: "ann"}, hello(crt.X25519MLKEM768)); err != nil || store.n != 1 {
		t.Errorf("%d places were reserved, %v", store.n, err)
	}
}

// A store that ran out of time may go on, and commit, after it has answered: it
// must not be given a key of zeros then.
func TestKeysOfAnUnknownOutcomeAreTheClients(t *testing.T) {
	s := newService(t, 16, nil)
	for _, kind := range []crt.Kind{crt.KindCRT, crt.KindAEAD} {
		store := &lateKeys{}
		s.Keep(store)
		who := push.ClientKey{ID: "ann"}
		h, hello, err := crt.NewHandshake(crt.X25519, kind, crt.NameHash("", "ann"), s.Public(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		welcome, pending, err := s.Begin(t.Context(), who, hello)
		if err != nil {
			t.Fatal(err)
		}
		keys, confirm, err := h.Finish(welcome)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Complete(t.Context(), who, nil, pending, confirm); !push.HasCode(err, push.CodeTimeout) {
			t.Fatal(err)
		}
		for range 2 { // a transaction may be tried again
			wrapped, err := store.secret(0)
			if err != nil {
				t.Fatal(err)
			}
			m, err := s.unwrap(&push.SealMember{Client: who, Generation: 1, Shard: store.shard, Secret: wrapped})
			if err != nil || m.Chain.Key != keys.Chain().Key {
				t.Errorf("kind %d: the store has other keys than the client, %v", kind, err)
			}
		}
	}
}
