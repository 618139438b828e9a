package store

import (
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

func TestLastIDIsTheHighestThatIsKept(t *testing.T) {
	s, _ := openFor(t, "alice")
	last := func() int64 {
		t.Helper()
		id, err := s.LastID(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	if got := last(); got != 0 {
		t.Fatalf("an empty store's last ID is %d", got)
	}
	accept := func(id int64, notBefore time.Time) {
		t.Helper()
		out, err := s.Accept(t.Context(), []*push.Envelope{{
			ID: id, Accepted: time.Now(), Target: push.Target{Clients: []string{"alice"}}, Body: []byte(`{}`),
			Expires: time.Now().Add(time.Hour), Store: push.StoreAlways, Priority: 3, NotBefore: notBefore,
		}})
		if err != nil || out[0].Err != nil {
			t.Fatal(err, out[0].Err)
		}
	}
	accept(70, time.Time{})
	accept(60, time.Time{})
	if got := last(); got != 70 {
		t.Fatalf("after an entry of push 70: %d", got)
	}
	accept(80, time.Now().Add(time.Hour))
	if got := last(); got != 80 {
		t.Fatalf("after push 80 was scheduled: %d", got)
	}
}
