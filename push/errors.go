package push

import (
	"errors"
	"fmt"
	"time"
)

// Code is a stable error number that clients may branch on. Its first three
// digits are the HTTP status it travels with; the WebSocket error message and
// per-item results of a bulk push carry the same number.
type Code int

// The one table of errors. api/openapi.yaml and the client libraries are
// tested against [Codes].
const (
	CodeInvalidRequest  Code = 40000
	CodeInvalidJSON     Code = 40001
	CodeInvalidTarget   Code = 40002
	CodeInvalidField    Code = 40003
	CodeNotSignedIn     Code = 40100
	CodeBadCredentials  Code = 40101
	CodeForbidden       Code = 40300
	CodeForbiddenOrigin Code = 40301
	CodeWrongRealm      Code = 40302
	CodeNotFound        Code = 40400
	CodeNoClient        Code = 40401
	CodeNoPush          Code = 40402
	CodeNoGroup         Code = 40403
	CodeNoToken         Code = 40404
	CodeNoKey           Code = 40405
	CodeMethod          Code = 40500
	CodeClientExists    Code = 40900
	CodeNotCancellable  Code = 40901
	CodeTooLarge        Code = 41300
	CodeMediaType       Code = 41500
	CodeKeyReused       Code = 42200
	CodeNoSealKey       Code = 42201
	CodeUpgrade         Code = 42600
	CodeRateLimited     Code = 42900
	CodeMailboxFull     Code = 42901
	CodeInternal        Code = 50000
	CodeNoStore         Code = 50300
	CodeNoAuth          Code = 50301
	CodeOverloaded      Code = 50302
	CodeShuttingDown    Code = 50303
	CodeTimeout         Code = 50400
)

// CodeInfo documents one [Code].
type CodeInfo struct {
	Code      Code
	Name      string // stable, snake_case: the last part of the problem's type URL
	Title     string // for people
	Retryable bool   // the same request may succeed later, unchanged
}

// Codes is the table of all errors, ascending.
var Codes = []CodeInfo{
	{CodeInvalidRequest, "invalid_request", "The request is not valid", false},
	{CodeInvalidJSON, "invalid_json", "The body is not valid JSON", false},
	{CodeInvalidTarget, "invalid_target", "The target is not valid", false},
	{CodeInvalidField, "invalid_field", "A field is not valid", false},
	{CodeNotSignedIn, "not_signed_in", "No credentials were sent", false},
	{CodeBadCredentials, "bad_credentials", "The credentials are invalid, expired or revoked", false},
	{CodeForbidden, "forbidden", "The credentials do not allow this", false},
	{CodeForbiddenOrigin, "forbidden_origin", "This origin is not on the allow-list", false},
	{CodeWrongRealm, "wrong_realm", "The credentials belong to another realm", false},
	{CodeNotFound, "not_found", "There is nothing at this address", false},
	{CodeNoClient, "client_not_found", "The client does not exist", false},
	{CodeNoPush, "push_not_found", "The push does not exist", false},
	{CodeNoGroup, "group_not_found", "The group does not exist", false},
	{CodeNoToken, "token_not_found", "The token does not exist", false},
	{CodeNoKey, "key_not_found", "The API key does not exist", false},
	{CodeMethod, "method_not_allowed", "This address does not take that method", false},
	{CodeClientExists, "client_exists", "A client of this ID exists", false},
	{CodeNotCancellable, "not_cancellable", "The push has been acked, or has ended otherwise", false},
	{CodeTooLarge, "too_large", "The request or its data is too large", false},
	{CodeMediaType, "unsupported_media_type", "The body must be application/json", false},
	{CodeKeyReused, "idempotency_key_reused", "This Idempotency-Key was used with another body", false},
	{CodeNoSealKey, "no_key", "The client has no sealing key", false},
	{CodeUpgrade, "upgrade_required", "This address takes WebSocket upgrades", false},
	{CodeRateLimited, "rate_limited", "Too many requests", true},
	{CodeMailboxFull, "mailbox_full", "The client's mailbox is full", true},
	{CodeInternal, "internal", "Something went wrong here", true},
	{CodeNoStore, "store_unavailable", "The store does not answer; nothing was accepted", true},
	{CodeNoAuth, "auth_unavailable", "Credentials can't be checked now", true},
	{CodeOverloaded, "overloaded", "The server is at its limit", true},
	{CodeShuttingDown, "shutting_down", "The server is shutting down", true},
	{CodeTimeout, "timeout", "The server did not finish in time; the outcome is unknown", true},
}

// Status is the HTTP status that the code travels with.
func (c Code) Status() int { return int(c) / 100 }

// Info is the code's row in [Codes]; an unknown code reads as internal.
func (c Code) Info() CodeInfo {
	for _, i := range Codes {
		if i.Code == c {
			return i
		}
	}
	return CodeInternal.Info()
}

// Error crosses packages: a condition that callers tell their own callers of.
// Message is for people, names the field and the remedy, and never holds
// payloads or secrets.
type Error struct {
	Code       Code
	Message    string
	RetryAfter time.Duration // zero: no advice
	Cause      error         // for logs only, never sent
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s", e.Code.Info().Name, e.Message)
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an [Error].
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// AsError is err as an [Error]; one that is none reads as internal, with its
// text kept for logs and hidden from callers.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeInternal, Message: "see the server's log for this request_id", Cause: err}
}

// HasCode reports whether err is an [Error] of that code.
func HasCode(err error, code Code) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}
