package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"github.com/sunzi-push/sunzi/push"
)

// body reads a JSON body of at most limit bytes. The request's deadline ends
// a body that trickles in.
func (a *api) body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := params["charset"]
	if err != nil || kind != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, push.Errorf(push.CodeMediaType, "send the body as Content-Type: application/json")
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, push.Errorf(push.CodeMediaType, "send the body without Content-Encoding")
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooBig *http.MaxBytesError
	switch {
	case err == nil && !utf8.Valid(raw): // RFC 8259 section 8.1; a decoder would quietly change names
		return nil, push.Errorf(push.CodeInvalidJSON, "the body is not UTF-8")
	case err == nil:
		return raw, nil
	case errors.As(err, &tooBig):
		return nil, err
	}
	return nil, &push.Error{Code: push.CodeInvalidRequest, Message: "the body did not arrive whole", Cause: err}
}

// decode reads the body into v, strictly.
func (a *api) decode(w http.ResponseWriter, r *http.Request, v any) error {
	raw, err := a.body(w, r, a.cfg.MaxBody)
	if err != nil {
		return err
	}
	return strict(raw, v)
}

// strict decodes exactly one JSON value that has no field unknown to v.
func strict(raw []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return explain(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return push.Errorf(push.CodeInvalidJSON, "the body holds more than one JSON value")
	}
	return nil
}

// explain turns the decoder's error into one that names the field. It quotes
// nothing of the body but the names of fields.
func explain(err error) error {
	var known *push.Error
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &syntax):
		return push.Errorf(push.CodeInvalidJSON, "the body is not valid JSON: %s at byte %d", syntax, syntax.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return push.Errorf(push.CodeInvalidJSON, "the body is not valid JSON: it ends too early")
	case errors.As(err, &kind) && kind.Field == "":
		return push.Errorf(push.CodeInvalidField, "the body must be an object")
	case errors.As(err, &kind):
		return push.Errorf(push.CodeInvalidField, "%s: must not be a %s", kind.Field, kind.Value)
	}
	// The decoder has no type for this one; a test holds its text.
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return push.Errorf(push.CodeInvalidField, "%s: there is no such field", cut(strings.Trim(field, `"`)))
	}
	return push.Errorf(push.CodeInvalidField, "the body has a field that can't be read")
}

// cut bounds what is quoted of a request.
func cut(s string) string {
	const most = 64
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// instant is a time in a request: milliseconds since 1970, or RFC 3339.
type instant struct{ time.Time }

func (t *instant) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	at, ok := parseInstant(text)
	if !ok {
		return push.Errorf(push.CodeInvalidField, "a time must be milliseconds since 1970, or RFC 3339 as in 2026-01-02T15:04:05Z")
	}
	t.Time = at
	return nil
}

// parseInstant takes the years 1970 to 9999, so that no arithmetic on the
// result overflows.
func parseInstant(s string) (time.Time, bool) {
	var t time.Time
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		t = time.UnixMilli(ms)
	} else if t, err = time.Parse(time.RFC3339, s); err != nil {
		return time.Time{}, false
	}
	return t, t.UnixMilli() >= 0 && t.Year() <= 9999
}

// sequence is a place in a mailbox: a decimal string, or an integer.
type sequence uint64

func (q *sequence) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	n, err := strconv.ParseUint(strings.Trim(string(b), `"`), 10, 64)
	if err != nil {
		return push.Errorf(push.CodeInvalidField, `a sequence must be a decimal string, as in "7"`)
	}
	*q = sequence(n)
	return nil
}

// param is a segment of the path. chi hands over the escaped form where the
// path has one that its plain form does not tell, such as %2F.
func param(r *http.Request, name string) string {
	v := chi.URLParam(r, name)
	if r.URL.RawPath == "" {
		return v
	}
	if plain, err := url.PathUnescape(v); err == nil {
		return plain
	}
	return v
}

// nameParam is a segment that names a client or group.
func nameParam(r *http.Request, name string) (string, error) {
	v := param(r, name)
	if !push.ValidName(v) {
		return "", push.Errorf(push.CodeInvalidField, "%s: must be 1 to %d characters, without control characters, slashes, or a space at either end", name, push.MaxNameLen)
	}
	return v, nil
}

func pushID(r *http.Request) (int64, error) {
	id, ok := push.ParseID(param(r, "id"))
	if !ok {
		return 0, push.Errorf(push.CodeInvalidField, "id: must be the decimal ID of a push")
	}
	return id, nil
}

// defaultPageLimit is the rows in a page that asks for no limit.
const defaultPageLimit = 100

func pageQuery(r *http.Request) (push.PageQuery, error) {
	q := r.URL.Query()
	p := push.PageQuery{Token: q.Get("page"), Limit: defaultPageLimit}
	if len(p.Token) > 1024 {
		return p, push.Errorf(push.CodeInvalidField, "page: is no page token of this server")
	}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > push.MaxPageLimit {
			return p, push.Errorf(push.CodeInvalidField, "limit: must be 1 to %d", push.MaxPageLimit)
		}
		p.Limit = n
	}
	return p, nil
}

func milli(t time.Time) int64 { return t.UnixMilli() }

// optionalMilli is nil for the zero time, so that it is left out.
func optionalMilli(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ms := t.UnixMilli()
	return &ms
}

func formatSeq(n uint64) string { return strconv.FormatUint(n, 10) }
