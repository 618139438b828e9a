package pushclient

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Error is the server's answer to a request that it did not do: a problem of
// RFC 9457, or an item's error in a bulk push. Branch on Code or Name; Detail
// is for people.
type Error struct {
	Status     int
	Code       int    // stable; zero where the answer was not the server's own
	Name       string // stable, as "client_not_found"
	Title      string
	Detail     string
	Retryable  bool // the same request may succeed later, unchanged
	RequestID  string
	RetryAfter time.Duration // zero: no advice
}

func (e *Error) Error() string {
	s := fmt.Sprintf("pushclient: %d", e.Status)
	if e.Name != "" {
		s += " " + e.Name
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.RequestID != "" {
		s += " (request " + e.RequestID + ")"
	}
	return s
}

// problem reads a refusal. What is no problem (a proxy's page) keeps its
// status alone.
func problem(resp *http.Response, body []byte) *Error {
	e := &Error{
		Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode),
		Retryable:  resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500,
		RetryAfter: retryAfter(resp.Header.Get("Retry-After")),
		RequestID:  resp.Header.Get("X-Request-ID"),
	}
	var p struct {
		Type      string `json:"type"`
		Title     string `json:"title"`
		Detail    string `json:"detail"`
		Code      int    `json:"code"`
		Retryable *bool  `json:"retryable"`
		RequestID string `json:"request_id"`
	}
	if json.Unmarshal(body, &p) != nil || p.Code == 0 {
		return e
	}
	e.Code, e.Name, e.Detail = p.Code, lastSegment(p.Type), p.Detail
	if p.Title != "" {
		e.Title = p.Title
	}
	if p.Retryable != nil {
		e.Retryable = *p.Retryable
	}
	if p.RequestID != "" {
		e.RequestID = p.RequestID
	}
	return e
}

// lastSegment is the problem's name, which its type ends in.
func lastSegment(typ string) string {
	for i := len(typ) - 1; i >= 0; i-- {
		if typ[i] == '/' {
			return typ[i+1:]
		}
	}
	return typ
}
