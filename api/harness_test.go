package api

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"go.uber.org/goleak"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is the API over a world, with every answer held to openapi.yaml.
type server struct {
	t       *testing.T
	world   *world
	handler http.Handler
	log     *bytes.Buffer
}

const allScopes = "sk_all"

var everything = []token.Scope{
	token.ScopePush, token.ScopeRead, token.ScopeClients, token.ScopeGroups, token.ScopeTokens, token.ScopeAdmin,
}

func newServer(t *testing.T, change ...func(*Config, *Deps)) *server {
	t.Helper()
	w := newWorld()
	realm := "shop"
	w.keys[allScopes] = token.Key{ID: "all", Scopes: everything, Created: w.now}
	w.keys["sk_shop"] = token.Key{ID: "shop", Scopes: everything, Realm: &realm, Created: w.now}
	w.keys["sk_read"] = token.Key{ID: "read", Scopes: []token.Scope{token.ScopeRead}, Created: w.now}
	for _, key := range []push.ClientKey{{ID: "a"}, {ID: "b"}, {Realm: "shop", ID: "a"}} {
		w.boxes[key] = &box{incarnation: "00000000000000aa"}
	}
	var log bytes.Buffer
	cfg := DefaultConfig()
	deps := Deps{
		Pusher: w, Clients: w, Groups: w, Sessions: w, Keys: keyring{w}, Authority: w, Tokens: w, Backend: backend{w},
		Log: slog.New(slog.NewJSONHandler(&lockedWriter{w: &log}, nil)),
		Now: func() time.Time { return w.now },
	}
	for _, c := range change {
		c(&cfg, &deps)
	}
	h, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.work.Wait)
	return &server{t, w, h, &log}
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// answer is what came back, decoded.
type answer struct {
	*http.Response
	raw  []byte
	body map[string]any
}

// do sends a request as the key of all scopes, or as the headers say
// ("Name: value"; "Authorization:" sends none), and checks the answer against
// openapi.yaml. An accepted request must be valid there too.
func (s *server) do(method, path, body string, headers ...string) answer {
	s.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+allScopes)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ":")
		r.Header.Del(name)
		if v := strings.TrimSpace(value); v != "" {
			r.Header.Set(name, v)
		}
	}
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, r)
	out := answer{Response: rec.Result(), raw: rec.Body.Bytes()}
	if strings.HasSuffix(out.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(out.raw, &out.body); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, out.raw)
		}
	}
	s.hold(r, body, out)
	return out
}

// must is do with the status that is expected.
func (s *server) must(status int, method, path, body string, headers ...string) answer {
	s.t.Helper()
	out := s.do(method, path, body, headers...)
	if out.StatusCode != status {
		s.t.Fatalf("%s %s %s: status %d, want %d: %s", method, path, body, out.StatusCode, status, out.raw)
	}
	return out
}

// mustFail is do with the error that is expected.
func (s *server) mustFail(code push.Code, method, path, body string, headers ...string) answer {
	s.t.Helper()
	out := s.must(code.Status(), method, path, body, headers...)
	if int(out.body["code"].(float64)) != int(code) {
		s.t.Fatalf("%s %s %s: %s, want code %d (%s)", method, path, body, out.raw, code, code.Info().Name)
	}
	return out
}

// contract is openapi.yaml, parsed and validated once.
var contract = sync.OnceValues(func() (*openapi3.T, routers.Router) {
	doc, err := openapi3.NewLoader().LoadFromData(Description)
	if err != nil {
		panic(err)
	}
	if err := doc.Validate(openapi3.NewLoader().Context); err != nil {
		panic(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		panic(err)
	}
	return doc, router
})

// hold checks request and answer against the contract; addresses that are
// not in it may only answer with a problem.
func (s *server) hold(r *http.Request, body string, out answer) {
	s.t.Helper()
	_, router := contract()
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(strings.NewReader(body))
	rt, params, err := router.FindRoute(r)
	if err != nil {
		if out.StatusCode < 400 && r.Method != http.MethodOptions {
			s.t.Errorf("%s %s answered %d and is not in openapi.yaml: %v", r.Method, r.URL, out.StatusCode, err)
		}
		return
	}
	in := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: rt,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if out.StatusCode < 400 {
		if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
			s.t.Errorf("%s %s was accepted, but openapi.yaml refuses it: %v", r.Method, r.URL, err)
		}
	}
	kind := out.Header.Get("Content-Type")
	res := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: out.StatusCode, Header: out.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: !strings.HasSuffix(kind, "json")},
	}
	res.SetBodyBytes(out.raw)
	if err := openapi3filter.ValidateResponse(r.Context(), res); err != nil {
		s.t.Errorf("%s %s: the answer is not as openapi.yaml has it: %v", r.Method, r.URL, err)
	}
}
