package e2e

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sunzi-push/sunzi/api/wsclient"
)

func TestWhereSealingIsRequiredNothingGoesInClear(t *testing.T) {
	t.Setenv("SUNZI_SEAL_REQUIRE", "true")
	s := start(t, t.TempDir(), "127.0.0.1:0")
	ann := newSealer(t, s, "ann", wsclient.SealCRT, s.SealKey)
	bob := newSealer(t, s, "bob", wsclient.SealAEAD, s.SealKey)
	eve := register(t, s, "eve")

	answers := func(body map[string]any, status int, says string) {
		t.Helper()
		a, err := s.do(t.Context(), request{method: "POST", path: "/v1/push", body: body})
		if err != nil || a.status != status || !bytes.Contains(a.body, []byte(says)) {
			t.Errorf("%v is answered %d %s, %v; want %d with %q", body, a.status, a.body, err, status, says)
		}
	}
	with := func(id, seal string) map[string]any {
		body := pushTo(id, "x")
		body["seal"] = seal
		return body
	}
	answers(pushTo("ann", "x"), http.StatusUnprocessableEntity, "no_key")
	answers(with("ann", "required"), http.StatusUnprocessableEntity, "no_key")
	answers(with("ann", "none"), http.StatusBadRequest, "requires")

	var f *wsclient.Failure
	if texts, err := unsealed(t, s, eve, ""); !errors.As(err, &f) || f.Code != 4009 || !strings.Contains(f.Reason, "crt or aead") || len(texts) > 0 {
		t.Errorf("a session without seal handled %q and ended with %v", texts, err)
	}
	if texts, err := unsealed(t, s, eve, wsclient.SealNone); !errors.As(err, &f) || f.Code != 4009 || len(texts) > 0 {
		t.Errorf("a session that gives seal up handled %q and ended with %v", texts, err)
	}
	stream, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.addr()+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	stream.Header.Set("Authorization", "Bearer "+eve)
	if answer, err := httpClient.Do(stream); err != nil {
		t.Error(err)
	} else {
		events, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || !bytes.Contains(events, []byte(`"close":4009`)) {
			t.Errorf("the stream ended with %q, %v", events, err)
		}
	}

	endAnn, endBob := ann.connect(s), bob.connect(s)
	defer endAnn()
	defer endBob()
	for _, id := range []string{"ann", "bob", "eve"} {
		s.must(t, request{method: "PUT", path: "/v1/groups/room/members/" + id}, nil)
	}
	var receipt struct {
		Stored   int
		Rejected []struct {
			Client, Name string
		}
	}
	s.must(t, request{method: "POST", path: "/v1/push", body: map[string]any{"to": map[string]any{"group": "room"}, "data": "to the room"}}, &receipt)
	if receipt.Stored != 2 || len(receipt.Rejected) != 1 || receipt.Rejected[0].Client != "eve" || receipt.Rejected[0].Name != "no_key" {
		t.Errorf("the push to the room is answered %+v", receipt)
	}
	answers(with("bob", "crt"), http.StatusUnprocessableEntity, "no_key")
	s.must(t, request{method: "POST", path: "/v1/push", body: with("bob", "required")}, nil)
	ann.wants(`"to the room"`)
	bob.wants(`"to the room"`, `"x"`)
}
