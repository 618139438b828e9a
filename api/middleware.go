package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

const requestIDHeader = "X-Request-ID"

// call is what is learned about a request on its way. Owned by the request's
// goroutine.
type call struct {
	id  string
	key token.Key // zero until admitted
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

func requestID(ctx context.Context) string { return callOf(ctx).id }

// begin gives the request its ID: the caller's where it is a sane one, so
// that one ID can follow a request through several servers.
func (a *api) begin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{id: r.Header.Get(requestIDHeader)}
		if !saneID(c.id) {
			c.id = newRequestID()
		}
		w.Header().Set(requestIDHeader, c.id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
	})
}

// saneID keeps out what would forge log lines or fill them.
func saneID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.:", c) >= 0) {
			return false
		}
	}
	return true
}

func newRequestID() string {
	var b [12]byte
	rand.Read(b[:]) // never fails (crypto/rand, since Go 1.24)
	return hex.EncodeToString(b[:])
}

// observe counts and logs the request once it has ended.
func (a *api) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := a.now()
		a.met.inFlight.Inc()
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		defer func() {
			a.met.inFlight.Dec()
			name := a.routeOf(r)
			status := ww.Status()
			switch {
			case status == 0 && strings.HasPrefix(name, "GET /ws"), status == 0 && name == "GET /echo":
				status = http.StatusSwitchingProtocols // written by the hub, on the bare connection
			case status == 0:
				status = http.StatusOK
			}
			took := a.now().Sub(start)
			a.met.done(name, status, took)
			a.logCall(r, name, status, ww.BytesWritten(), took)
		}()
		next.ServeHTTP(ww, r)
	})
}

func (a *api) logCall(r *http.Request, name string, status, bytes int, took time.Duration) {
	level := slog.LevelInfo
	if status >= 500 {
		level = slog.LevelWarn
	}
	c := callOf(r.Context())
	a.log.LogAttrs(r.Context(), level, "request",
		slog.String("method", cut(r.Method)), slog.String("route", name), slog.Int("status", status),
		slog.Float64("ms", float64(took.Microseconds())/1000), slog.Int("bytes", bytes),
		slog.String("request_id", c.id), slog.String("key", c.key.ID),
		slog.String("remote", middleware.GetClientIP(r.Context())))
}

// other is the route label of what no route takes.
const other = "other"

// routeOf is the matched route as the route label has it. Never the path: it
// holds client IDs, and whatever strangers make up.
func (a *api) routeOf(r *http.Request) string {
	rc := chi.RouteContext(r.Context())
	if rc == nil {
		return other
	}
	pattern := rc.RoutePattern()
	if pattern == everythingElse && ours(r.URL.Path) { // not the console's after all
		return other
	}
	name := r.Method + " " + pattern
	if !a.met.known(name) {
		return other
	}
	return name
}

// rescue answers for a route that panicked.
func (a *api) rescue(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http's own way to end a request, compared as net/http does
				panic(p)
			}
			a.met.panics.Inc()
			a.log.Error("panic", "request_id", requestID(r.Context()), "route", a.routeOf(r), "stack", string(debug.Stack()))
			ww, ok := w.(middleware.WrapResponseWriter)
			if ok && ww.Status() != 0 {
				panic(http.ErrAbortHandler) // half an answer is out: break it off visibly
			}
			a.fail(w, r, &push.Error{Code: push.CodeInternal, Cause: fmt.Errorf("panic: %v", p)})
		}()
		next.ServeHTTP(w, r)
	})
}

// secure sets headers that hold for every answer; mounted handlers may set
// their own in place of them.
func (a *api) secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if ours(r.URL.Path) {
			h.Set("Cache-Control", "no-store")
			h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		}
		next.ServeHTTP(w, r)
	})
}

// ours reports whether the path belongs to the contract, not to a mount.
func ours(path string) bool {
	return strings.HasPrefix(path, "/v1/") || path == "/problems" || strings.HasPrefix(path, "/problems/")
}

// bound limits a request in time, the reading of its body and the writing of
// its answer included, whatever the server's own timeouts are.
func (a *api) bound(w http.ResponseWriter, r *http.Request) (context.Context, context.CancelFunc) {
	end := time.Now().Add(a.cfg.RequestTimeout)
	rc := http.NewResponseController(w)
	// Writers that can't (tests, exotic wrappers) are bounded by ctx alone.
	_ = rc.SetReadDeadline(end)
	_ = rc.SetWriteDeadline(end.Add(5 * time.Second)) // room for the timeout's own answer
	return context.WithDeadline(r.Context(), end)
}
