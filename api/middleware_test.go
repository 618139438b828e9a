package api

import (
	"context"
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
)

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
	s.mustFail(push.CodeNotFound, "GET", "/v1/nothing", "")
	s.mustFail(push.CodeNotFound, "POST", "/v1/nothing", "{}")
	if allow := s.mustFail(push.CodeMethod, "GET", "/v1/push", "").Header.Get("Allow"); allow != "POST" {
		t.Errorf("Allow is %q", allow)
	}
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
