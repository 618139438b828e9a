package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// problem is the body of every error: RFC 9457, with the members that clients
// branch on.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      int    `json:"code"`
	Retryable bool   `json:"retryable"`
	RequestID string `json:"request_id"`
}

// itemError is an error inside an answer that is none as a whole.
type itemError struct {
	Code      int    `json:"code"`
	Name      string `json:"name"`
	Detail    string `json:"detail"`
	Retryable bool   `json:"retryable"`
}

func itemErrorOf(e *push.Error) *itemError {
	i := e.Code.Info()
	return &itemError{Code: int(i.Code), Name: i.Name, Detail: detail(e), Retryable: i.Retryable}
}

// detail is what callers are told. Of what went wrong on our side they are
// told the kind alone; the cause is for the log.
func detail(e *push.Error) string {
	switch {
	case e.Code.Info().Code == push.CodeInternal:
		return "see the server's log for this request_id"
	case e.Message == "":
		return e.Code.Info().Title
	}
	return e.Message
}

// errorOf is err as the contract's error: the one place where conditions of
// other packages become codes.
func errorOf(err error) *push.Error {
	var known *push.Error
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, token.ErrMissing):
		return push.Errorf(push.CodeNotSignedIn, "send an API key as Authorization: Bearer")
	case errors.Is(err, token.ErrInvalid):
		return push.Errorf(push.CodeBadCredentials, "the credentials are invalid, expired or revoked")
	case errors.Is(err, token.ErrUnavailable):
		return &push.Error{Code: push.CodeNoAuth, Message: "credentials can't be checked now", RetryAfter: time.Second, Cause: err}
	case errors.Is(err, token.ErrNotFound):
		return push.Errorf(push.CodeNoToken, "there is no such token")
	case errors.As(err, &tooBig):
		return push.Errorf(push.CodeTooLarge, "the body is larger than the %d bytes that are allowed", tooBig.Limit)
	case errors.Is(err, context.DeadlineExceeded):
		return &push.Error{Code: push.CodeTimeout, Message: "the server did not finish in time; the outcome is unknown", Cause: err}
	}
	return push.AsError(err)
}

// fail answers with the problem that err is, and logs what callers are not
// told.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := errorOf(err)
	info := e.Code.Info()
	id := requestID(r.Context())
	if info.Code.Status() >= 500 && r.Context().Err() == nil || info.Code == push.CodeInternal {
		level := slog.LevelWarn
		if info.Code == push.CodeInternal {
			level = slog.LevelError
		}
		a.log.Log(r.Context(), level, "request failed", "request_id", id, "name", info.Name, "err", err)
	}
	h := w.Header()
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(e.RetryAfter.Seconds())))))
	} else if info.Code.Status() == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	if info.Code.Status() == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer") // RFC 9110 section 11.6.1
	}
	h.Del("Content-Length")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(info.Code.Status())
	a.encode(w, r, problem{
		Type: a.cfg.BaseURL + "/problems/" + info.Name, Title: info.Title, Status: info.Code.Status(),
		Detail: detail(e), Code: int(info.Code), Retryable: info.Retryable, RequestID: id,
	})
}

// answer writes v as JSON.
func (a *api) answer(w http.ResponseWriter, r *http.Request, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	a.encode(w, r, v)
	return nil
}

// encode writes v after the status has gone out: what fails now is the
// connection, and nobody is left to tell.
func (a *api) encode(w http.ResponseWriter, r *http.Request, v any) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		a.log.Debug("answer not written", "request_id", requestID(r.Context()), "err", err)
	}
}
