package api

import (
	"strings"
	"testing"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// TestListsAreReadUpToTheirBound: a body of tiny elements would cost twenty
// times its size if it were read first and counted then.
func TestListsAreReadUpToTheirBound(t *testing.T) {
	of := func(element string) string { return "[" + strings.Repeat(element+",", 99_999) + element + "]" }
	var (
		pushes  bulk
		targets targetIDs
		clients clientIDs
		failed  failedList
		seqs    sequences
	)
	for _, c := range []struct {
		name, element string
		into          any
		read          func() int
		most          int
		code          push.Code
	}{
		{"pushes", `1`, &pushes, func() int { return len(pushes) }, push.MaxBulk, push.CodeInvalidField},
		{"to.clients", `""`, &targets, func() int { return len(targets) }, push.MaxTargets, push.CodeInvalidTarget},
		{"clients", `""`, &clients, func() int { return len(clients) }, push.MaxTargets, push.CodeInvalidField},
		{"failed", `{}`, &failed, func() int { return len(failed) }, push.MaxFailedPerAck, push.CodeInvalidField},
		{"seqs", `1`, &seqs, func() int { return len(seqs) }, push.MaxPageLimit, push.CodeInvalidField},
	} {
		err := strict([]byte(of(c.element)), c.into)
		if !push.HasCode(err, c.code) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s: %v", c.name, err)
		}
		if n := c.read(); n != c.most {
			t.Errorf("%s: %d of 100000 elements were read, want %d", c.name, n, c.most)
		}
	}
}

func TestListsNameTheirElement(t *testing.T) {
	s := newServer(t)
	raw, _, _ := s.world.Mint(t.Context(), token.MintRequest{Client: "a"})
	auth := "Authorization: Bearer " + raw
	many := func(element string) string { return strings.Repeat(element+",", 1000) + element }
	for _, c := range []struct{ path, body, auth, says string }{
		{"/v1/push", `{"to":{"clients":["a",7]}}`, "", "to.clients[1]: must not be a number"},
		{"/v1/push", `{"to":{"clients":"a"}}`, "", "to.clients: must be a list"},
		{"/v1/push/batch", `{"pushes":{}}`, "", "pushes: must be a list"},
		{"/v1/push/batch", `{"pushes":null}`, "", "there are none"},
		{"/v1/push/batch", `{"pushes":[` + many(`{}`) + `]}`, "", "at most 1000"},
		{"/v1/clients/status", `{"clients":[true]}`, "", "clients[0]: must not be a bool"},
		{"/v1/clients/status", `{"clients":[` + many(`"a"`) + `]}`, "", "at most 1000"},
		{"/v1/ack", `{"failed":[{"seq":"1"},{"seq":"1","code":"x"}]}`, auth, "failed[1].code: must not be a string"},
		{"/v1/ack", `{"failed":[{"seq":"1","cdoe":1}]}`, auth, "cdoe: there is no such field"},
		{"/v1/ack", `{"failed":[` + many(`{"seq":"1"}`) + `]}`, auth, "at most 256"},
		{"/v1/clients/a/redrive", `{"seqs":[` + many(`"1"`) + `]}`, "", "at most 1000"},
	} {
		headers := []string{}
		if c.auth != "" {
			headers = append(headers, c.auth)
		}
		out := s.mustFail(push.CodeInvalidField, "POST", c.path, c.body, headers...)
		if !strings.Contains(out.body["detail"].(string), c.says) {
			t.Errorf("%s %.60s: detail is %q, want %q in it", c.path, c.body, out.body["detail"], c.says)
		}
	}
	out := s.mustFail(push.CodeInvalidTarget, "POST", "/v1/push", `{"to":{"clients":[`+many(`"a"`)+`]}}`)
	if !strings.Contains(out.body["detail"].(string), "to.clients: must be at most 1000") {
		t.Errorf("detail is %q", out.body["detail"])
	}
}
