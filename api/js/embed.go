// Package js holds the browser client library as it was built into dist, and
// serves it: a page needs no package registry for its first message.
//
// Read first: [Handler]. It may be used from any goroutine. The package does
// not build the library; `npm run build` in this folder does, and `npm test`
// fails where dist is not what src builds.
package js

import (
	"crypto/sha512"
	"embed"
	"encoding/base64"
	"net/http"
	"strings"
)

//go:embed dist/sunzi.js dist/sunzi.iife.js dist/sunzi-seal.js dist/sunzi.d.ts
var dist embed.FS

// Prefix is where [Handler] expects to be mounted.
const Prefix = "/client/"

type file struct {
	body      []byte
	mediaType string
	integrity string
}

var files = load()

func load() map[string]file {
	types := map[string]string{
		"sunzi.js":      "text/javascript; charset=utf-8",
		"sunzi.iife.js": "text/javascript; charset=utf-8",
		"sunzi-seal.js": "text/javascript; charset=utf-8",
		"sunzi.d.ts":    "text/plain; charset=utf-8",
	}
	m := make(map[string]file, len(types))
	for name, mediaType := range types {
		b, err := dist.ReadFile("dist/" + name)
		if err != nil { // the embed directive names each of them
			panic("js: " + err.Error())
		}
		sum := sha512.Sum384(b)
		m[name] = file{b, mediaType, "sha384-" + base64.StdEncoding.EncodeToString(sum[:])}
	}
	return m
}

// Integrity answers the Subresource Integrity value (sha384-…) of one of the
// files, such as "sunzi.js"; empty for a name that is not served.
func Integrity(name string) string { return files[name].integrity }

// Handler serves /client/sunzi.js, /client/sunzi.iife.js, what both load where
// sealing is asked for, /client/sunzi-seal.js, and /client/sunzi.d.ts. Each answer carries an ETag made of the file's content
// and may be kept for as long as it is revalidated; scripts may be loaded from
// any origin, which an integrity attribute requires.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := files[strings.TrimPrefix(r.URL.Path, Prefix)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		serve(w, r, f)
	})
}

func serve(w http.ResponseWriter, r *http.Request, f file) {
	etag := `"` + f.integrity + `"`
	h := w.Header()
	h.Set("ETag", etag)
	h.Set("Cache-Control", "public, no-cache")
	h.Set("Content-Type", f.mediaType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if match(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(f.body) // the client went away: nothing is left to tell it
}

// match follows RFC 9110 section 13.1.2: a list of entity tags, weak ones
// compared as if they were strong, or an asterisk.
func match(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == etag || tag == "*" {
			return true
		}
	}
	return false
}
