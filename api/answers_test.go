package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
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
		push.CodeNoSealKey:       {setup: fails("Push", nil), method: "POST", path: "/v1/push", body: `{"to":{"client":"a"},"seal":"aead"}`},
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

func TestRequestIDIsTakenOnlyWhereSane(t *testing.T) {
	s := newServer(t)
	if got := s.must(200, "GET", "/problems", "", "X-Request-ID: a-1_b.c:d").Header.Get("X-Request-ID"); got != "a-1_b.c:d" {
		t.Errorf("ID is %q", got)
	}
	for _, bad := range []string{"a b", "a\tb", `{"x":1}`, strings.Repeat("a", 65)} {
		if got := s.must(200, "GET", "/problems", "", "X-Request-ID: "+bad).Header.Get("X-Request-ID"); got == bad || !saneID(got) {
			t.Errorf("ID %q became %q", bad, got)
		}
	}
}

func TestRateIsLimitedPerKeyAndComesBack(t *testing.T) {
	now := time.UnixMilli(0)
	s := newServer(t, func(c *Config, d *Deps) {
		c.Rate, c.Burst = 0.5, 2
		d.Now = func() time.Time { return now }
	})
	s.must(202, "POST", "/v1/push", pushToA)
	out := s.must(202, "POST", "/v1/push", pushToA)
	if p, l := out.Header.Get("RateLimit-Policy"), out.Header.Get("RateLimit"); p != `"key";q=2;w=4` || l != `"key";r=0;t=4` {
		t.Errorf("RateLimit-Policy %s, RateLimit %s", p, l)
	}
	out = s.mustFail(push.CodeRateLimited, "POST", "/v1/push", pushToA)
	if out.Header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After is %q", out.Header.Get("Retry-After"))
	}
	s.must(404, "POST", "/v1/push", pushToA[:18]+"zzz"+`"}}`, "Authorization: Bearer sk_shop")
	now = now.Add(2 * time.Second)
	s.must(202, "POST", "/v1/push", pushToA)
}

func TestRequestsAtOnceAreLimitedPerKey(t *testing.T) {
	s := newServer(t, func(c *Config, _ *Deps) { c.PerKey = 1 })
	in, out, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.world.hook["Status"] = func(context.Context) { close(in); <-out }
	go func() { defer close(done); s.do("GET", "/v1/push/1", "") }()
	<-in
	s.mustFail(push.CodeRateLimited, "POST", "/v1/push", pushToA)
	s.must(404, "GET", "/v1/groups/g", "", "Authorization: Bearer sk_read")
	close(out)
	<-done
	s.must(202, "POST", "/v1/push", pushToA)
}

func TestOriginsAreDeniedByDefault(t *testing.T) {
	s := newServer(t)
	s.mustFail(push.CodeForbiddenOrigin, "GET", "/v1/keys", "", "Origin: https://app.example.com")
	s.mustFail(push.CodeForbiddenOrigin, "OPTIONS", "/v1/push", "", "Origin: null", "Access-Control-Request-Method: POST")
	s.must(200, "GET", "/v1/keys", "", "Origin: http://example.com") // httptest's own host
}

func TestListedOriginsMayUseTheAPI(t *testing.T) {
	s := newServer(t, func(c *Config, _ *Deps) {
		c.CORS.Origins = []string{"https://app.example.org", "https://*.example.net"}
		c.CORS.Credentials = true
	})
	for _, o := range []string{"https://app.example.org", "https://a.b.example.net"} {
		out := s.must(200, "GET", "/v1/keys", "", "Origin: "+o)
		if out.Header.Get("Access-Control-Allow-Origin") != o || out.Header.Get("Access-Control-Allow-Credentials") != "true" || out.Header.Get("Vary") != "Origin" {
			t.Errorf("%s: headers are %v", o, out.Header)
		}
		pre := s.do("OPTIONS", "/v1/push", "", "Origin: "+o, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization, idempotency-key", "Authorization:")
		if pre.StatusCode != 200 || pre.Header.Get("Access-Control-Allow-Methods") != "POST" {
			t.Errorf("%s: preflight answered %d %v", o, pre.StatusCode, pre.Header)
		}
	}
	for _, o := range []string{"http://app.example.org", "https://example.net", "https://evil.org", "https://app.example.org.evil.org"} {
		s.mustFail(push.CodeForbiddenOrigin, "GET", "/v1/keys", "", "Origin: "+o)
	}
}

func TestProxiesAreTrustedByPrefix(t *testing.T) {
	s := newServer(t, func(c *Config, _ *Deps) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	s.must(200, "GET", "/problems", "", "X-Forwarded-For: 203.0.113.9, 198.51.100.7")
	if !strings.Contains(s.log.String(), `"remote":"198.51.100.7"`) {
		t.Errorf("log is %s", s.log)
	}
}

func TestSecurityHeaders(t *testing.T) {
	s := newServer(t)
	h := s.must(200, "GET", "/v1/keys", "").Header
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	} {
		if h.Get(name) != want {
			t.Errorf("%s is %q", name, h.Get(name))
		}
	}
}

func TestProblemPages(t *testing.T) {
	s := newServer(t)
	one := s.must(200, "GET", "/problems/no_key", "", "Authorization:")
	if one.body["code"] != 42201.0 || one.body["fix"] == "" {
		t.Errorf("answered %s", one.raw)
	}
	if all := s.must(200, "GET", "/problems", ""); len(all.body["problems"].([]any)) != len(push.Codes) {
		t.Errorf("answered %s", all.raw)
	}
	html := s.must(200, "GET", "/problems/no_key", "", "Accept: text/html,*/*")
	if !strings.Contains(string(html.raw), "What to do") || !strings.HasPrefix(html.Header.Get("Content-Type"), "text/html") {
		t.Errorf("page is %s", html.raw)
	}
	s.mustFail(push.CodeNotFound, "GET", "/problems/nothing", "")
	if y := s.must(200, "GET", "/v1/openapi.yaml", "", "Authorization:"); string(y.raw) != string(Description) {
		t.Error("the description is not the file")
	}
}

func TestMountsAreServedAsTheyAre(t *testing.T) {
	says := func(what string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, what) })
	}
	s := newServer(t, func(_ *Config, d *Deps) {
		d.Socket, d.Library, d.Console = says("socket"), says("library"), says("console")
	})
	for path, want := range map[string]string{
		"/ws": "socket", "/ws/a": "socket", "/ws/r/a": "socket", "/client/sunzi.js": "library", "/": "console", "/live/config.json": "console",
	} {
		rec := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Origin", "https://other.example.org") // theirs to judge
		s.handler.ServeHTTP(rec, r)
		if rec.Body.String() != want {
			t.Errorf("%s answered %q", path, rec.Body)
		}
	}
	s.mustFail(push.CodeMethod, "POST", "/client/x", "")
}

// TestSocketsReachTheHub: what wraps the response must let go of the
// connection, and the log must not call a hijacked one 200.
func TestSocketsReachTheHub(t *testing.T) {
	s := newServer(t, func(_ *Config, d *Deps) {
		d.Socket = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			conn.Close()
		})
	})
	logged := make(chan struct{}) // a server forgets connections that were hijacked
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(logged)
		s.handler.ServeHTTP(w, r)
	}))
	defer ts.Close()
	res, err := ts.Client().Get(ts.URL + "/ws/r/a")
	if err != nil || res.StatusCode != 101 {
		t.Fatalf("answered %v, %v", res, err)
	}
	res.Body.Close()
	<-logged
	if log := s.log.String(); !strings.Contains(log, `"route":"GET /ws/{realm}/{client_id}","status":101`) {
		t.Errorf("log is %s", log)
	}
}

func TestMetricsCountByRouteAndStartAtZero(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := newServer(t, func(_ *Config, d *Deps) { d.Metrics = reg })
	n, err := testutil.GatherAndCount(reg, "sunzi_http_requests_total")
	if want := 5 * (len(routes) + 1); n != want || err != nil {
		t.Errorf("%d series before any request, want %d (%v)", n, want, err)
	}
	s.must(202, "POST", "/v1/push", pushToA)
	s.must(404, "GET", "/v1/clients/nobody", "")
	s.must(404, "GET", "/nowhere", "")
	m, _ := reg.Gather()
	found := 0
	for _, f := range m {
		if f.GetName() != "sunzi_http_requests_total" {
			continue
		}
		for _, x := range f.GetMetric() {
			if x.GetCounter().GetValue() == 1 {
				found++
			}
		}
	}
	if found != 3 {
		t.Errorf("%d series count a request, want 3", found)
	}
}

func TestNewNamesWhatIsMissingAndWrong(t *testing.T) {
	cfg := DefaultConfig()
	cfg.BaseURL, cfg.Rate, cfg.CORS.Origins, cfg.CORS.Credentials = "x", 5, []string{"*", "app.example.com"}, true
	_, err := New(cfg, Deps{})
	for _, want := range []string{"BaseURL", "Burst", "app.example.com", "Credentials", "Deps.Pusher", "Deps.Backend"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestAdminListener(t *testing.T) {
	ready := map[string]func(context.Context) error{
		"hub":   func(context.Context) error { return nil },
		"store": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	}
	h := Admin(AdminDeps{Ready: ready, CheckTimeout: time.Millisecond, Metrics: prometheus.NewRegistry(), Version: map[string]string{"version": "1.2.3"}})
	get := func(path string) (int, string) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		return rec.Code, rec.Body.String()
	}
	if code, body := get("/livez"); code != 200 {
		t.Errorf("/livez: %d %s", code, body)
	}
	if code, body := get("/readyz"); code != 503 || !strings.Contains(body, `"hub":"ok"`) || !strings.Contains(body, `"store":"context deadline exceeded"`) {
		t.Errorf("/readyz: %d %s", code, body)
	}
	delete(ready, "store")
	if code, body := get("/readyz"); code != 200 || !strings.Contains(body, `"ready":true`) {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if code, body := get("/version"); code != 200 || !strings.Contains(body, "1.2.3") {
		t.Errorf("/version: %d %s", code, body)
	}
	if code, _ := get("/metrics"); code != 200 {
		t.Errorf("/metrics: %d", code)
	}
}
