package js

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func get(t *testing.T, method, path, etag string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w
}

func TestHandlerServesEachFile(t *testing.T) {
	for name, mediaType := range map[string]string{
		"sunzi.js":      "text/javascript; charset=utf-8",
		"sunzi.iife.js": "text/javascript; charset=utf-8",
		"sunzi-seal.js": "text/javascript; charset=utf-8",
		"sunzi.d.ts":    "text/plain; charset=utf-8",
	} {
		w := get(t, "GET", "/client/"+name, "")
		if w.Code != 200 || w.Body.Len() < 1000 || w.Header().Get("Content-Type") != mediaType {
			t.Errorf("%s: status %d, %d bytes, type %q", name, w.Code, w.Body.Len(), w.Header().Get("Content-Type"))
		}
		if w.Header().Get("ETag") != `"`+Integrity(name)+`"` || !strings.HasPrefix(Integrity(name), "sha384-") {
			t.Errorf("%s: ETag %s, integrity %s", name, w.Header().Get("ETag"), Integrity(name))
		}
	}
}

func TestIIFEDefinesTheGlobal(t *testing.T) {
	if body := get(t, "GET", "/client/sunzi.iife.js", "").Body.String(); !strings.Contains(body, "var Sunzi=") {
		t.Error("the IIFE does not define Sunzi")
	}
}

func TestHandlerAnswersNotModified(t *testing.T) {
	etag := get(t, "GET", "/client/sunzi.js", "").Header().Get("ETag")
	for _, header := range []string{etag, "W/" + etag, `"other", ` + etag, "*"} {
		if w := get(t, "GET", "/client/sunzi.js", header); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
			t.Errorf("If-None-Match %s: status %d, %d bytes", header, w.Code, w.Body.Len())
		}
	}
	if w := get(t, "GET", "/client/sunzi.js", `"other"`); w.Code != 200 {
		t.Errorf("another ETag: status %d", w.Code)
	}
}

func TestHandlerRefusesWhatItDoesNotServe(t *testing.T) {
	for path, want := range map[string]int{"/client/": 404, "/client/embed.go": 404, "/client/../dist/sunzi.js": 404} {
		if w := get(t, "GET", path, ""); w.Code != want {
			t.Errorf("%s: status %d, want %d", path, w.Code, want)
		}
	}
	if w := get(t, "POST", "/client/sunzi.js", ""); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", w.Code)
	}
	if w := get(t, "HEAD", "/client/sunzi.js", ""); w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("HEAD: status %d, %d bytes", w.Code, w.Body.Len())
	}
}
