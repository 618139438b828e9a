package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// TestAckAboveTheHeadIsRefused: it would count for what is placed before it is
// written.
func TestAckAboveTheHeadIsRefused(t *testing.T) {
	s := newServer(t)
	raw, _, _ := s.world.Mint(t.Context(), token.MintRequest{Client: "a"})
	auth := "Authorization: Bearer " + raw
	for range 3 {
		s.world.commit(clientA, `1`)
	}
	for _, body := range []string{
		`{"seq":"4"}`, `{"seq":"18446744073709551615"}`, `{"read":"4"}`,
		`{"seq":"3","failed":[{"seq":"2","code":5},{"seq":"4","code":5}]}`,
	} {
		s.mustFail(push.CodeInvalidField, "POST", "/v1/ack", body, auth)
	}
	if len(s.world.acks) != 0 {
		t.Errorf("taken: %+v", s.world.acks)
	}
	s.must(204, "POST", "/v1/ack", `{"seq":"3","read":"3","failed":[{"seq":"3","code":5}]}`, auth)
}

func TestAckSaysWhyTheMailboxIsNotReached(t *testing.T) {
	s := newServer(t, func(c *Config, _ *Deps) { c.RequestTimeout = 50 * time.Millisecond })
	raw, _, _ := s.world.Mint(t.Context(), token.MintRequest{Client: "a"})
	auth := "Authorization: Bearer " + raw
	s.world.fail["Fetched"] = push.Errorf(push.CodeNoClient, "gone")
	s.mustFail(push.CodeNoClient, "POST", "/v1/ack", `{"seq":"1"}`, auth)
	clear(s.world.fail)
	s.world.silent = true // a mailbox is asked again until the session is gone
	s.mustFail(push.CodeNoStore, "POST", "/v1/ack", `{"seq":"1"}`, auth)
}

func TestAckKeepsToTheTokensDevice(t *testing.T) {
	s := newServer(t)
	raw, _, _ := s.world.Mint(t.Context(), token.MintRequest{Client: "a", Device: "phone"})
	auth := "Authorization: Bearer " + raw
	s.world.commit(clientA, `1`)
	s.mustFail(push.CodeForbidden, "POST", "/v1/ack", `{"seq":"1"}`, auth)
	s.mustFail(push.CodeForbidden, "POST", "/v1/ack", `{"seq":"1","device":"tablet"}`, auth)
	s.must(204, "POST", "/v1/ack", `{"seq":"1","device":"phone"}`, auth)
	free, _, _ := s.world.Mint(t.Context(), token.MintRequest{Client: "a"})
	s.must(204, "POST", "/v1/ack", `{"seq":"1","device":"any"}`, "Authorization: Bearer "+free)
}

func TestAcksAreLimitedPerClient(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	s := newServer(t, func(c *Config, d *Deps) {
		c.Rate, c.Burst = 1, 2
		d.Now = func() time.Time { return now }
	})
	auth := func(client string) string {
		raw, _, _ := s.world.Mint(t.Context(), token.MintRequest{Client: client})
		return "Authorization: Bearer " + raw
	}
	s.world.commit(clientA, `1`)
	ack := func(status int, auth string) answer { return s.must(status, "POST", "/v1/ack", `{"seq":"1"}`, auth) }
	ack(204, auth("a"))
	last := ack(204, auth("a")) // another token of the same client
	if p := last.Header.Get("RateLimit-Policy"); p != `"client";q=2;w=2` {
		t.Errorf("RateLimit-Policy is %s", p)
	}
	if out := ack(http.StatusTooManyRequests, auth("a")); out.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q", out.Header.Get("Retry-After"))
	}
	s.must(202, "POST", "/v1/push", pushToA) // its application is not held up
	ack(400, auth("b"))                      // nor is another client, which has nothing to ack
	now = now.Add(time.Second)
	ack(204, auth("a"))
}
