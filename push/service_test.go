package push

import (
	"encoding/json"
	"testing"
)

func TestWithoutALeaseNothingIsAcceptedAndItMayBeTriedAgain(t *testing.T) {
	b := newRig(t)
	b.noIDs = true
	req := Request{Target: Target{Clients: []string{"a"}}, Topic: "t", Data: json.RawMessage("1")}
	for name, err := range map[string]error{
		"a push":         second(b.Push(t.Context(), req)),
		"a registration": second(b.Register(t.Context(), ClientKey{})),
	} {
		if e := AsError(err); e == nil || e.Code != CodeNoStore || e.RetryAfter == 0 || !e.Code.Info().Retryable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.Register(t.Context(), ClientKey{ID: "own"}); err != nil {
		t.Errorf("an own ID needs none of ours: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }
