package api

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// AdminDeps is what the admin listener shows. It belongs on an address that
// only operators reach: nothing on it asks for credentials.
type AdminDeps struct {
	// Ready are the checks of /readyz by name, run at once, each with
	// CheckTimeout. They may block until their context ends.
	Ready map[string]func(context.Context) error
	// Degraded are checks that are told likewise, but leave the node ready:
	// what fails for all nodes at once must not take all out of service.
	Degraded     map[string]func(context.Context) error
	CheckTimeout time.Duration // zero: 2 s
	Metrics      prometheus.Gatherer
	Version      any          // told as JSON
	Console      http.Handler // nil: none; everything else
}

// Admin is the admin listener: /livez, which depends on nothing (an outage of
// the store must not restart a server that sessions are connected to), the
// strict /readyz, /metrics and /version.
func Admin(d AdminDeps) http.Handler {
	if d.CheckTimeout <= 0 {
		d.CheckTimeout = 2 * time.Second
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		plainJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", d.readyz)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		plainJSON(w, http.StatusOK, d.Version)
	})
	if d.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(d.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	}
	if d.Console != nil {
		mux.Handle("GET /", d.Console)
	}
	return mux
}

func (d AdminDeps) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), d.CheckTimeout)
	defer cancel()
	var (
		wg                sync.WaitGroup
		mu                sync.Mutex
		unready, crippled bool                  // guarded by mu
		checks            = map[string]string{} // guarded by mu
	)
	run := func(name string, check func(context.Context) error, failed *bool) {
		said := "ok"
		err := check(ctx)
		if err != nil {
			said = err.Error() // operators only: see AdminDeps
		}
		mu.Lock()
		defer mu.Unlock()
		checks[name] = said
		*failed = *failed || err != nil
	}
	for name, check := range d.Ready {
		wg.Go(func() { run(name, check, &unready) })
	}
	for name, check := range d.Degraded {
		wg.Go(func() { run(name, check, &crippled) })
	}
	wg.Wait()
	status := http.StatusOK
	if unready {
		status = http.StatusServiceUnavailable
	}
	plainJSON(w, status, map[string]any{"checks": checks, "ready": !unready, "degraded": crippled})
}

func plainJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the connection is gone: nobody to tell
}
