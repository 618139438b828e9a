// Package api is Sunzi's HTTP side: the open API for application servers,
// server-sent events for clients whose network blocks WebSocket, and the
// admin listener. openapi.yaml is the contract; tests hold the code to it.
//
// Read first: [New] (what is joined), the table in routes.go (every address
// with who may use it), [Deps] (what the API stands on), errors.go (how errors
// become answers) and stream.go (an event stream over push.Feed).
//
// A handler returned by [New] or [Admin] may be called from any goroutine. An
// event stream lives on its request's goroutine and starts none; it ends with
// its request, its token, or [Deps].Draining. No lock is held while a
// dependency is called.
//
// The package listens on nothing, knows no SQL and no sockets, and never logs
// bodies, tokens, keys or query strings.
package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
)

// api is the state that all requests share. Static after New, but for
// streams and what limits guards.
type api struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	now     func() time.Time
	met     *metrics
	mux     *chi.Mux
	limits  *limits // of API keys
	clients *limits // of clients with their tokens

	streams atomic.Int64 // event streams open now
}

// New joins the API. It answers an error for a configuration that does not
// validate or a dependency that is missing.
func New(cfg Config, d Deps) (http.Handler, error) {
	if err := errors.Join(cfg.Validate(), d.validate()); err != nil {
		return nil, err
	}
	a := &api{
		cfg: cfg, deps: d, log: d.Log, now: d.Now,
		limits: newLimits(cfg, d.Allower, "key", "API key"), clients: newLimits(cfg, d.Allower, "client", "client"),
	}
	if a.log == nil {
		a.log = slog.Default()
	}
	if a.now == nil {
		a.now = time.Now
	}
	reg := d.Metrics
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	a.mux = chi.NewMux()
	a.met = newMetrics(reg, a.routeNames(), func() float64 { return float64(a.streams.Load()) })
	a.mux.Use(a.begin, clientIP(cfg), a.observe, a.rescue, a.secure, a.origins())
	a.mux.NotFound(a.notFound)
	a.mux.MethodNotAllowed(a.wrongMethod)
	for _, rt := range routes {
		a.mux.Method(rt.method, rt.pattern, a.serve(rt))
	}
	for _, m := range a.mounts() {
		a.mux.Method(m.method, m.pattern, m.handler)
	}
	return a.mux, nil
}

func (d Deps) validate() error {
	var missing []error
	need := func(ok bool, name string) {
		if !ok {
			missing = append(missing, fmt.Errorf("api: Deps.%s is missing", name))
		}
	}
	need(d.Pusher != nil, "Pusher")
	need(d.Clients != nil, "Clients")
	need(d.Groups != nil, "Groups")
	need(d.Sessions != nil, "Sessions")
	need(d.Keys != nil, "Keys")
	need(d.Authority != nil, "Authority")
	need(d.Backend != nil, "Backend")
	return errors.Join(missing...)
}

// clientIP finds the client's address: the peer's, or what trusted proxies
// say. It is in the request's context from then on.
func clientIP(cfg Config) func(http.Handler) http.Handler {
	if len(cfg.TrustedProxies) == 0 {
		return middleware.ClientIPFromRemoteAddr
	}
	prefixes := make([]string, len(cfg.TrustedProxies))
	for i, p := range cfg.TrustedProxies {
		prefixes[i] = p.String()
	}
	return middleware.ClientIPFromXFF(prefixes...)
}
