package api

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-chi/cors"

	"github.com/sunzi-push/sunzi/push"
)

// origins lets pages of listed origins use the API, and refuses the others
// by name. It leaves mounts alone: the hub has a list of its own.
func (a *api) origins() func(http.Handler) http.Handler {
	allowed := func(origin string) bool { return originListed(a.cfg.CORS.Origins, origin) }
	c := cors.New(cors.Options{
		AllowOriginFunc:  func(_ *http.Request, origin string) bool { return allowed(origin) },
		AllowedMethods:   a.cfg.CORS.Methods,
		AllowedHeaders:   a.cfg.CORS.Headers,
		ExposedHeaders:   []string{requestIDHeader, "Retry-After", "RateLimit", "RateLimit-Policy", "refresh-token"},
		AllowCredentials: a.cfg.CORS.Credentials,
		MaxAge:           int(a.cfg.CORS.MaxAge / time.Second),
	})
	return func(next http.Handler) http.Handler {
		shared := c.Handler(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			origin := r.Header.Get("Origin")
			switch {
			case !ours(r.URL.Path), origin == "", sameHost(origin, r.Host):
				next.ServeHTTP(w, r)
			case allowed(origin):
				shared.ServeHTTP(w, r)
			default:
				w.Header().Add("Vary", "Origin")
				a.fail(w, r, push.Errorf(push.CodeForbiddenOrigin, "the origin of this page is not on the server's allow-list"))
			}
		})
	}
}

// sameHost compares hosts only: behind a proxy that ends TLS, the scheme that
// the page has is not the one that arrives.
func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

// originListed matches an Origin header against the list; see [CORS].
func originListed(list []string, origin string) bool {
	origin = strings.ToLower(origin)
	for _, o := range list {
		o = strings.ToLower(o)
		scheme, domain, wild := strings.Cut(o, "*")
		switch {
		case o == "*" || o == origin:
			return true
		case wild && strings.HasPrefix(origin, scheme) && strings.HasSuffix(origin, domain) &&
			len(origin) > len(scheme)+len(domain):
			return true
		}
	}
	return false
}
