package api

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// access says who may use an address.
type access struct {
	kind  accessKind
	scope token.Scope // of byKey
}

type accessKind uint8

const (
	public    accessKind = iota
	byKey                // an API key with the scope
	byClient             // a client token; the route checks it
	streaming            // likewise, and the answer does not end
)

func scope(s token.Scope) access { return access{byKey, s} }

// route is one address of the contract.
type route struct {
	method, pattern string
	access          access
	run             func(*api, http.ResponseWriter, *http.Request) error
}

// routes is the contract, as openapi.yaml has it (mounts apart).
var routes = []route{
	{"POST", "/v1/push", scope(token.ScopePush), (*api).push},
	{"POST", "/v1/push/batch", scope(token.ScopePush), (*api).pushBatch},
	{"GET", "/v1/push/{id}", scope(token.ScopeRead), (*api).pushStatus},
	{"DELETE", "/v1/push/{id}", scope(token.ScopePush), (*api).cancelPush},

	{"POST", "/v1/clients", scope(token.ScopeClients), (*api).registerClient},
	{"POST", "/v1/clients/status", scope(token.ScopeRead), (*api).clientStatuses},
	{"GET", "/v1/clients/{id}", scope(token.ScopeRead), (*api).clientStatus},
	{"DELETE", "/v1/clients/{id}", scope(token.ScopeClients), (*api).forgetClient},
	{"GET", "/v1/clients/{id}/messages", scope(token.ScopeRead), (*api).history},
	{"POST", "/v1/clients/{id}/redrive", scope(token.ScopeClients), (*api).redrive},
	{"DELETE", "/v1/clients/{id}/connections", scope(token.ScopeClients), (*api).disconnect},

	{"GET", "/v1/groups/{group}", scope(token.ScopeRead), (*api).group},
	{"PATCH", "/v1/groups/{group}", scope(token.ScopeGroups), (*api).setGroup},
	{"PUT", "/v1/groups/{group}/members/{id}", scope(token.ScopeGroups), (*api).joinGroup},
	{"DELETE", "/v1/groups/{group}/members/{id}", scope(token.ScopeGroups), (*api).leaveGroup},

	{"POST", "/v1/tokens", scope(token.ScopeTokens), (*api).mintToken},
	{"POST", "/v1/tokens/revoke", scope(token.ScopeTokens), (*api).revokeTokens},
	{"DELETE", "/v1/tokens/{jti}", scope(token.ScopeTokens), (*api).revokeToken},
	{"GET", "/v1/keys", scope(token.ScopeAdmin), (*api).listKeys},
	{"POST", "/v1/keys", scope(token.ScopeAdmin), (*api).createKey},
	{"DELETE", "/v1/keys/{id}", scope(token.ScopeAdmin), (*api).revokeKey},

	{"POST", "/v1/ack", access{kind: byClient}, (*api).ack},
	{"GET", "/v1/events", access{kind: streaming}, (*api).events},

	{"GET", "/v1/openapi.yaml", access{}, (*api).description},
	{"GET", "/problems", access{}, (*api).problems},
	{"GET", "/problems/{name}", access{}, (*api).problem},
}

// mount is an address that somebody else serves.
type mount struct {
	method, pattern string
	handler         http.Handler
}

func (a *api) mounts() []mount {
	var out []mount
	add := func(h http.Handler, patterns ...string) {
		for _, p := range patterns {
			if h != nil {
				out = append(out, mount{http.MethodGet, p, h})
			}
		}
	}
	add(a.deps.Socket, "/ws", "/ws/{client_id}", "/ws/{realm}/{client_id}")
	add(a.deps.Echo, "/echo")
	add(a.deps.Library, "/client/*")
	if a.deps.Console != nil {
		add(a.rest(a.deps.Console), everythingElse)
	}
	return out
}

// routeNames are the values of the route label.
func (a *api) routeNames() []string {
	mounts := a.mounts()
	names := make([]string, 0, len(routes)+len(mounts))
	for _, rt := range routes {
		names = append(names, rt.method+" "+rt.pattern)
	}
	for _, m := range mounts {
		names = append(names, m.method+" "+m.pattern)
	}
	return names
}

// serve is the way of a request to its route: limits in time, then who asks,
// then how often, then the route itself.
func (a *api) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rt.access.kind != streaming {
			ctx, cancel := a.bound(w, r)
			defer cancel()
			r = r.WithContext(ctx)
		}
		done := func() {}
		if rt.access.kind == byKey {
			var err error
			if done, err = a.admit(w, r, rt.access.scope); err != nil {
				a.fail(w, r, err)
				return
			}
		}
		defer done()
		if err := rt.run(a, w, r); err != nil {
			a.fail(w, r, err)
		}
	})
}

// everythingElse is the console's pattern.
const everythingElse = "/*"

// rest gives the console what is left, but nothing under the contract's own
// addresses: a program that asks for one that is not there wants a problem.
func (a *api) rest(console http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ours(r.URL.Path) {
			a.wrongMethod(w, r)
			return
		}
		console.ServeHTTP(w, r)
	})
}

func (a *api) notFound(w http.ResponseWriter, r *http.Request) {
	a.fail(w, r, push.Errorf(push.CodeNotFound, "there is nothing at this address; GET /v1/openapi.yaml lists what there is"))
}

func (a *api) wrongMethod(w http.ResponseWriter, r *http.Request) {
	methods := a.methodsOf(r)
	if len(methods) == 0 { // only the console's pattern matched
		a.notFound(w, r)
		return
	}
	list := strings.Join(methods, ", ")
	w.Header().Set("Allow", list)
	a.fail(w, r, push.Errorf(push.CodeMethod, "this address takes %s", list))
}

// methodsOf are those that the request's address takes.
func (a *api) methodsOf(r *http.Request) []string {
	path := r.URL.RawPath
	if path == "" {
		path = r.URL.Path
	}
	var out []string
	for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		pattern := a.mux.Find(chi.NewRouteContext(), m, path)
		if pattern != "" && !(pattern == everythingElse && ours(r.URL.Path)) {
			out = append(out, m)
		}
	}
	return out
}
