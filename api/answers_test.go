package api

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

const pushToA = `{"to":{"client":"a"},"data":1}`

// TestEveryCodeIsAnswered provokes each error of the table once, as callers
// would meet it.
func TestEveryCodeIsAnswered(t *testing.T) {
	draining := make(chan struct{})
	close(draining)
	s := newServer(t, func(c *Config, d *Deps) {
		c.CORS.Origins = []string{"https://app.example.com"}
		c.RequestTimeout = 50 * time.Millisecond
		d.Draining = draining
	})
	limited := newServer(t, func(c *Config, _ *Deps) { c.Rate, c.Burst, c.SSE.MaxStreams = 1, 1, 1 })
	limited.must(202, "POST", "/v1/push", pushToA)
	fails := func(method string, err error) func(*server) {
		return func(s *server) { s.world.fail[method] = err }
	}
	coded := func(method string, code push.Code) func(*server) {
		return fails(method, push.Errorf(code, "the secret why"))
	}
	cases := map[push.Code]struct {
		server             *server
		setup              func(*server)
		method, path, body string
		headers            []string
	}{
		push.CodeInvalidRequest:  {method: "POST", path: "/v1/push"}, // by hand, below
		push.CodeInvalidJSON:     {method: "POST", path: "/v1/push", body: "{"},
		push.CodeInvalidTarget:   {method: "POST", path: "/v1/push", body: "{}"},
		push.CodeInvalidField:    {method: "POST", path: "/v1/push", body: `{"x":1}`},
		push.CodeNotSignedIn:     {method: "GET", path: "/v1/keys", headers: []string{"Authorization: Basic eDp5"}},
		push.CodeBadCredentials:  {method: "GET", path: "/v1/keys", headers: []string{"Authorization: Bearer sk_wrong"}},
		push.CodeForbidden:       {method: "POST", path: "/v1/push", body: pushToA, headers: []string{"Authorization: bearer sk_read"}},
		push.CodeForbiddenOrigin: {method: "GET", path: "/v1/keys", headers: []string{"Origin: https://evil.example.com"}},
		push.CodeWrongRealm:      {method: "GET", path: "/v1/clients/a?realm=other", headers: []string{"Authorization: Bearer sk_shop"}},
		push.CodeNotFound:        {method: "GET", path: "/v2/push"},
		push.CodeNoClient:        {method: "GET", path: "/v1/clients/nobody"},
		push.CodeNoPush:          {setup: coded("Status", push.CodeNoPush), method: "GET", path: "/v1/push/1"},
		push.CodeNoGroup:         {method: "GET", path: "/v1/groups/g"},
		push.CodeNoToken:         {method: "DELETE", path: "/v1/tokens/x"},
		push.CodeNoKey:           {method: "DELETE", path: "/v1/keys/x"},
		push.CodeMethod:          {method: "PUT", path: "/v1/push/1"},
		push.CodeClientExists:    {method: "POST", path: "/v1/clients", body: `{"client_id":"a"}`},
		push.CodeNotCancellable:  {setup: coded("Cancel", push.CodeNotCancellable), method: "DELETE", path: "/v1/push/1"},
		push.CodeTooLarge:        {method: "POST", path: "/v1/push", body: strings.Repeat(" ", 3<<20)},
		push.CodeMediaType:       {method: "POST", path: "/v1/push", body: pushToA, headers: []string{"Content-Type: text/plain"}},
		push.CodeKeyReused:       {setup: coded("Push", push.CodeKeyReused), method: "POST", path: "/v1/push", body: pushToA},
		push.CodeNoSealKey:       {setup: fails("Push", push.Errorf(push.CodeNoSealKey, "no keys")), method: "POST", path: "/v1/push", body: `{"to":{"client":"a"},"seal":"aead"}`},
		push.CodeUpgrade:         {setup: coded("Status", push.CodeUpgrade), method: "GET", path: "/v1/push/1"}, // the hub's
		push.CodeRateLimited:     {server: limited, method: "POST", path: "/v1/push", body: pushToA},
		push.CodeMailboxFull:     {setup: coded("Push", push.CodeMailboxFull), method: "POST", path: "/v1/push", body: pushToA},
		push.CodeInternal:        {setup: coded("Status", push.CodeInternal), method: "GET", path: "/v1/push/1"},
		push.CodeNoStore:         {setup: fails("Push", &push.Error{Code: push.CodeNoStore, Message: "the store does not answer", RetryAfter: 1500 * time.Millisecond}), method: "POST", path: "/v1/push", body: pushToA},
		push.CodeNoAuth:          {setup: fails("Keys.Check", token.ErrUnavailable), method: "GET", path: "/v1/keys"},
		push.CodeOverloaded:      {setup: coded("Status", push.CodeOverloaded), method: "GET", path: "/v1/push/1"},
		push.CodeShuttingDown:    {method: "GET", path: "/v1/events"},
		push.CodeTimeout: {setup: func(s *server) {
			s.world.hook["Status"] = func(ctx context.Context) { <-ctx.Done() }
			s.world.fail["Status"] = context.DeadlineExceeded
		}, method: "GET", path: "/v1/push/1"},
	}
	for _, info := range push.Codes {
		t.Run(info.Name, func(t *testing.T) {
			c, ok := cases[info.Code]
			if !ok {
				t.Fatal("no request answers this code")
			}
			on := c.server
			if on == nil {
				on = s
			}
			clear(on.world.fail)
			clear(on.world.hook)
			if c.setup != nil {
				c.setup(on)
			}
			if info.Code == push.CodeInvalidRequest {
				brokenBody(t, on)
				return
			}
			on.t = t
			out := on.mustFail(info.Code, c.method, c.path, c.body, c.headers...)
			checkProblem(t, out, info)
		})
	}
}

func checkProblem(t *testing.T, out answer, info push.CodeInfo) {
	t.Helper()
	h := out.Header
	if h.Get("Content-Type") != "application/problem+json" || out.body["type"] != "/problems/"+info.Name ||
		out.body["title"] != info.Title || out.body["retryable"] != info.Retryable || out.body["request_id"] != h.Get("X-Request-ID") {
		t.Errorf("problem is %s", out.raw)
	}
	if out.StatusCode == 503 && h.Get("Retry-After") == "" || info.Code == push.CodeNoStore && h.Get("Retry-After") != "2" {
		t.Errorf("Retry-After is %q", h.Get("Retry-After"))
	}
	if out.StatusCode == 401 && h.Get("WWW-Authenticate") != "Bearer" {
		t.Error("401 without WWW-Authenticate")
	}
	if info.Code == push.CodeMethod && h.Get("Allow") != "GET, DELETE" {
		t.Errorf("Allow is %q", h.Get("Allow"))
	}
	if info.Code == push.CodeInternal && strings.Contains(string(out.raw), "secret") {
		t.Errorf("the cause was told: %s", out.raw)
	}
}

// brokenBody ends before its Content-Length.
func brokenBody(t *testing.T, s *server) {
	r := httptest.NewRequest("POST", "/v1/push", io.MultiReader(strings.NewReader("{"), failingReader{}))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+allScopes)
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, r)
	if rec.Code != 400 || !strings.Contains(rec.Body.String(), "invalid_request") {
		t.Errorf("answered %d %s", rec.Code, rec.Body)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestInternalCausesGoToTheLogWithTheRequestID(t *testing.T) {
	s := newServer(t)
	s.world.fail["Status"] = errors.New("disk on fire")
	s.mustFail(push.CodeInternal, "GET", "/v1/push/1", "", "X-Request-ID: trace-7")
	if log := s.log.String(); !strings.Contains(log, "disk on fire") || strings.Count(log, "trace-7") != 2 {
		t.Errorf("log is %s", log)
	}
}

func TestLogHoldsNoSecretsAndNoPayload(t *testing.T) {
	s := newServer(t)
	s.world.keys["sk_topsecret"] = s.world.keys[allScopes]
	s.must(202, "POST", "/v1/push", `{"to":{"client":"a"},"data":"payload"}`, "Authorization: Bearer sk_topsecret")
	s.mustFail(push.CodeBadCredentials, "GET", "/v1/events?token=querytoken", "", "Authorization: Bearer sk_wrongsecret")
	s.mustFail(push.CodeNotFound, "GET", "/made/up/by/strangers", "")
	log := s.log.String()
	for _, not := range []string{"secret", "payload", "querytoken", "strangers"} {
		if strings.Contains(log, not) {
			t.Errorf("the log holds %q:\n%s", not, log)
		}
	}
	for _, want := range []string{`"route":"POST /v1/push","status":202`, `"key":"all"`, `"route":"other","status":404`, `"remote":"192.0.2.1"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
}

func TestPanicIsAProblemAndIsCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := newServer(t, func(_ *Config, d *Deps) { d.Metrics = reg })
	s.world.hook["Status"] = func(context.Context) { panic("the secret cause") }
	out := s.mustFail(push.CodeInternal, "GET", "/v1/push/1", "")
	if strings.Contains(string(out.raw), "secret") || !strings.Contains(s.log.String(), "stack") {
		t.Errorf("answered %s, logged %s", out.raw, s.log)
	}
	if n, err := testutil.GatherAndCount(reg, "sunzi_http_panics_total"); n != 1 || err != nil {
		t.Errorf("%d panic counters, %v", n, err)
	}
	want := `
# HELP sunzi_http_panics_total Requests that ended in a panic.
# TYPE sunzi_http_panics_total counter
sunzi_http_panics_total 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "sunzi_http_panics_total"); err != nil {
		t.Error(err)
	}
}
