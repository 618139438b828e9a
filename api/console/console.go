// Package console is the live page of a dev server: static files, and the
// settings that let the page connect and push.
//
// Read first: [Handler]. It may be used from any goroutine. The page's scripts
// are in static/; the client library they load is served by package js.
//
// The settings hold an API key and a token, so they are given only to a page
// of this server in a browser of this machine (see guard.go). The package does
// no authentication beyond that, and is of no use to a production server.
package console

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"path"
)

//go:embed static
var static embed.FS

// Policy is the page's Content-Security-Policy: everything from this server,
// nothing inline, nothing from elsewhere, never in a frame.
const Policy = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// Settings is what the page needs to connect and push. Its JSON form is
// GET /live/config.json.
type Settings struct {
	WSURL    string `json:"ws_url"` // its path is used, on the address the page came from
	ClientID string `json:"client_id"`
	Realm    string `json:"realm,omitempty"`
	Token    string `json:"token"`              // a client token for ClientID
	APIKey   string `json:"api_key"`            // with the scopes push and read
	SealKey  string `json:"seal_key,omitempty"` // the server's identity, where it seals
	Curl     string `json:"curl"`               // one line that pushes to ClientID
	Snippet  string `json:"snippet"`            // JavaScript that receives it
}

// Config is what [Handler] needs.
type Config struct {
	// Listen is the host:port that the server listens on. A request's Host
	// may be it, or any loopback name or address.
	Listen string
	// Settings answers the settings anew for each request, so that a token
	// is never old. It may block for as long as its context lets it. Nil:
	// the settings are refused to everybody.
	Settings func(context.Context) (Settings, error)
	// Log hears of settings that could not be made. Nil: nobody does.
	Log *slog.Logger
}

type asset struct {
	body      []byte
	mediaType string
	etag      string
}

var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

var assets = load()

// load reads the embedded files by the path they are served at.
func load() map[string]asset {
	entries, err := static.ReadDir("static")
	if err != nil { // the embed directive names it
		panic("console: " + err.Error())
	}
	m := make(map[string]asset, len(entries))
	for _, e := range entries {
		b, err := static.ReadFile("static/" + e.Name())
		if err != nil {
			panic("console: " + err.Error())
		}
		sum := sha256.Sum256(b)
		at := "/live/" + e.Name()
		if e.Name() == "index.html" {
			at = "/"
		}
		m[at] = asset{b, mediaTypes[path.Ext(e.Name())], `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`}
	}
	return m
}

// Handler serves the page at /, its files under /live/ and its settings at
// /live/config.json. Mount it for / (exactly) and /live/. Other paths are 404.
func Handler(cfg Config) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed)
			return
		}
		if r.URL.Path == "/live/config.json" {
			cfg.serveSettings(w, r)
			return
		}
		a, ok := assets[r.URL.Path]
		if !ok {
			refuse(w, http.StatusNotFound)
			return
		}
		serve(w, r, a)
	})
}

func serve(w http.ResponseWriter, r *http.Request, a asset) {
	h := w.Header()
	h.Set("Content-Type", a.mediaType)
	h.Set("Cache-Control", "no-cache") // kept, but asked about: a new binary has a new page
	h.Set("ETag", a.etag)
	if r.Header.Get("If-None-Match") == a.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.body) // the browser went away: nothing is left to tell it
	}
}

func (cfg Config) serveSettings(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if cfg.Settings == nil || !allowed(r, cfg.Listen) {
		refuse(w, http.StatusForbidden)
		return
	}
	s, err := cfg.Settings(r.Context())
	if err != nil {
		if cfg.Log != nil {
			cfg.Log.Error("console: settings", "error", err)
		}
		refuse(w, http.StatusServiceUnavailable)
		return
	}
	b, err := json.Marshal(s) //nolint:gosec // G117: the page of sunzi dev is told its own key
	if err != nil {           // a struct of strings always marshals
		panic("console: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}

func secure(h http.Header) {
	h.Set("Content-Security-Policy", Policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

func refuse(w http.ResponseWriter, status int) {
	http.Error(w, http.StatusText(status), status)
}
