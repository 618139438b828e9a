package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

var want = Settings{
	WSURL: "ws://127.0.0.1:8080/ws/c1", ClientID: "c1", Token: "T", APIKey: "K", Curl: "curl …", Snippet: "connect(…)",
}

func config() Config {
	return Config{
		Listen:   "127.0.0.1:8080",
		Settings: func(context.Context) (Settings, error) { return want, nil },
	}
}

func request(path string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "127.0.0.1:8080"
	r.RemoteAddr = "127.0.0.1:50000"
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return r
}

func answer(cfg Config, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	Handler(cfg).ServeHTTP(w, r)
	return w
}

func TestSettingsAreGivenToThePageItself(t *testing.T) {
	w := answer(config(), request("/live/config.json"))
	var got Settings
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got != want {
		t.Errorf("status %d, settings %+v, error %v", w.Code, got, err)
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", w.Header().Get("Cache-Control"))
	}
}

func TestSettingsAreRefused(t *testing.T) {
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	peer := func(a string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = a } }
	for name, change := range map[string]func(*http.Request){
		"to another origin":        header("Sec-Fetch-Site", "cross-site"),
		"to another port":          header("Sec-Fetch-Site", "same-site"),
		"without fetch metadata":   func(r *http.Request) { r.Header.Del("Sec-Fetch-Site") },
		"to a rebound name":        host("evil.example:8080"),
		"to a name with localhost": host("localhost.evil.example"),
		"to a name like loopback":  host("127.0.0.1.evil.example"),
		"without a host":           host(""),
		"to another machine":       peer("192.0.2.7:50000"),
		"to another machine, IPv6": peer("[2001:db8::7]:50000"),
		"to an unknown peer":       peer("@"),
		"through a proxy":          header("X-Forwarded-For", "127.0.0.1"),
		"through a proxy, RFC":     header("Forwarded", "for=127.0.0.1"),
	} {
		r := request("/live/config.json")
		change(r)
		if w := answer(config(), r); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), want.APIKey+`"`) {
			t.Errorf("%s: status %d", name, w.Code)
		}
	}
	cfg := config()
	cfg.Settings = nil
	if w := answer(cfg, request("/live/config.json")); w.Code != http.StatusForbidden {
		t.Errorf("outside dev: status %d", w.Code)
	}
}

func TestSettingsAreGivenOnEachLoopbackName(t *testing.T) {
	for _, h := range []string{"localhost:8080", "LOCALHOST", "127.0.0.1", "127.9.9.9:1", "[::1]:8080", "[::1]", "box:8080"} {
		cfg := config()
		cfg.Listen = "box:8080"
		for _, peer := range []string{"127.0.0.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5"} {
			r := request("/live/config.json")
			r.Host, r.RemoteAddr = h, peer
			r.Header.Set("Sec-Fetch-Site", "none")
			if w := answer(cfg, r); w.Code != 200 {
				t.Errorf("host %s from %s: status %d", h, peer, w.Code)
			}
		}
	}
}

func TestSettingsThatFailSayNothing(t *testing.T) {
	cfg := config()
	cfg.Settings = func(context.Context) (Settings, error) { return Settings{}, errors.New("secret cause") }
	w := answer(cfg, request("/live/config.json"))
	if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("status %d, body %q", w.Code, w.Body.String())
	}
}

func TestFilesAreServedUnderTheirPolicy(t *testing.T) {
	for path, mediaType := range map[string]string{
		"/":              "text/html; charset=utf-8",
		"/live/live.css": "text/css; charset=utf-8",
		"/live/live.js":  "text/javascript; charset=utf-8",
		"/live/icon.svg": "image/svg+xml",
	} {
		w := answer(config(), request(path))
		h := w.Header()
		if w.Code != 200 || h.Get("Content-Type") != mediaType || h.Get("Content-Security-Policy") != Policy {
			t.Errorf("%s: status %d, type %q, policy %q", path, w.Code, h.Get("Content-Type"), h.Get("Content-Security-Policy"))
		}
		r := request(path)
		r.Header.Set("If-None-Match", h.Get("ETag"))
		if again := answer(config(), r); again.Code != http.StatusNotModified {
			t.Errorf("%s again: status %d", path, again.Code)
		}
	}
	for _, path := range []string{"/live/", "/live/index.html", "/live/nothing", "/nothing"} {
		if w := answer(config(), request(path)); w.Code != 404 {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
	r := request("/")
	r.Method = http.MethodPost
	if w := answer(config(), r); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", w.Code)
	}
}

// The policy forbids inline scripts and styles; the page must do without, and
// what it loads must be there.
func TestPageLoadsOnlyWhatIsServed(t *testing.T) {
	page := answer(config(), request("/")).Body.String()
	for _, bad := range []string{"<style", " style=", " onclick=", "<script>", "http://", "https://", "//cdn"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	links := regexp.MustCompile(`(?:src|href)="(/live/[^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(links) < 3 {
		t.Fatalf("found %d links", len(links))
	}
	imports := regexp.MustCompile(`from '\./([^']+)'`).FindAllStringSubmatch(string(assets["/live/live.js"].body), -1)
	if len(imports) < 3 {
		t.Fatalf("found %d imports", len(imports))
	}
	for _, m := range imports {
		links = append(links, []string{"", "/live/" + m[1]})
	}
	for _, m := range links {
		if _, ok := assets[m[1]]; !ok {
			t.Errorf("%s is not served", m[1])
		}
	}
}
