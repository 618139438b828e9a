package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5/middleware"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/push"
)

// events is a session on server-sent events: admitted like a socket, then
// served on the request's own goroutine until it ends. api/wire/SPEC.md
// section 8.
func (a *api) events(w http.ResponseWriter, r *http.Request) error {
	select {
	case <-a.deps.Draining: // never, where it is nil
		return push.Errorf(push.CodeShuttingDown, "the server is shutting down; another one, or this one later, will do")
	default:
	}
	defer a.streams.Add(-1)
	if n := a.streams.Add(1); a.cfg.SSE.MaxStreams > 0 && n > int64(a.cfg.SSE.MaxStreams) {
		return &push.Error{Code: push.CodeOverloaded, Message: "this server has all the event streams that it may have", RetryAfter: 5 * time.Second}
	}
	hello, err := helloOf(r)
	if err != nil {
		return err
	}
	adm, err := a.admitClient(r, hello)
	if err != nil {
		return err
	}
	if adm.Refreshed != "" {
		w.Header().Set("refresh-token", adm.Refreshed)
	}
	s := newStream(a, w, r, adm)
	s.hello = hello
	s.generation = a.deps.Sessions.Attach(adm.Client, s)
	defer a.deps.Sessions.Detach(adm.Client, s)
	s.run(r.Context())
	return nil
}

// admitClient checks the credentials, for at most the time of a request.
func (a *api) admitClient(r *http.Request, h push.Hello) (push.Admission, error) {
	raw := bearer(r)
	if raw == "" && a.cfg.SSE.QueryToken {
		raw = r.URL.Query().Get("token")
	}
	if len(raw) > maxCredential {
		raw = ""
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.cfg.RequestTimeout)
	defer cancel()
	adm, refusal := a.deps.Backend.Admit(ctx, push.Credentials{Token: raw, Remote: middleware.GetClientIPAddr(r.Context())})
	if refusal != nil {
		return adm, refusalError(refusal)
	}
	if adm.Device != "" && adm.Device != h.Device {
		return adm, push.Errorf(push.CodeForbidden, "the token belongs to another device; say yours as ?device=")
	}
	return adm, nil
}

// refusalError is how a close code reads over HTTP.
func refusalError(f *push.Refusal) *push.Error {
	e := &push.Error{Code: codeOfClose(f.Code), Message: f.Reason, Cause: f.Cause}
	if f.Code == push.CloseUnauthorized {
		switch f.Reason {
		case push.ReasonMissingToken:
			e.Code = push.CodeNotSignedIn
		case push.ReasonMismatch:
			e.Code = push.CodeForbidden
		case push.ReasonWrongRealm:
			e.Code = push.CodeWrongRealm
		}
	}
	if e.Code.Info().Retryable {
		e.RetryAfter = time.Second
	}
	return e
}

// codeOfClose is the error number nearest to a close code.
func codeOfClose(c push.CloseCode) push.Code {
	switch c {
	case push.CloseUnauthorized, push.CloseTokenExpired, push.CloseTokenRevoked:
		return push.CodeBadCredentials
	case push.CloseDisconnected, push.CloseReplaced, push.CloseForbidden:
		return push.CodeForbidden
	case push.CloseMalformed:
		return push.CodeInvalidRequest
	case push.CloseDeleted:
		return push.CodeNoClient
	case push.CloseAuthDown:
		return push.CodeNoAuth
	case push.CloseTryLater, push.CloseRestored:
		return push.CodeNoStore
	case push.CloseSlow, push.CloseTooMany:
		return push.CodeOverloaded
	case push.CloseDraining, push.CloseGoingAway:
		return push.CodeShuttingDown
	default: // no fault of the request
		return push.CodeInternal
	}
}

// helloOf reads what a socket's client says in its hello. A browser sends the
// last event's ID by itself when it comes back; it goes before the query,
// which then is what the first connection was opened with.
func helloOf(r *http.Request) (push.Hello, error) {
	q := r.URL.Query()
	h := push.Hello{Stream: true, Device: q.Get("device"), Incarnation: q.Get("incarnation"), Seal: push.SealMode(q.Get("seal"))}
	id := r.Header.Get("Last-Event-ID")
	if id == "" {
		id = q.Get("cursor")
	}
	if len(h.Incarnation) > 64 || len(h.Device) > 4*push.MaxNameLen {
		return h, push.Errorf(push.CodeInvalidField, "incarnation and device: must be as they were told")
	}
	var err error
	if q.Has("seal_held") {
		if h.Held, err = parseHeld(q.Get("seal_held")); err != nil {
			return h, err
		}
	}
	if h.Nonce, err = parseNonce(q, h.Seal); err != nil {
		return h, err
	}
	if id == "" {
		return h, nil
	}
	seq, inc, ok := parseEventID(id)
	if !ok {
		return h, push.Errorf(push.CodeInvalidField, "Last-Event-ID or cursor: must be the id of an event, or a sequence")
	}
	h.Cursor = &seq
	if inc != "" {
		h.Incarnation = inc
	}
	return h, nil
}

// parseNonce reads what who wants sealing says beside it.
func parseNonce(q url.Values, seal push.SealMode) ([]byte, error) {
	if seal != push.SealCRT && seal != push.SealAEAD {
		return nil, nil
	}
	nonce, err := base64.RawURLEncoding.Strict().DecodeString(q.Get("seal_nonce"))
	if err != nil || len(nonce) != wire.SealNonceLen {
		return nil, push.Errorf(push.CodeInvalidField, "seal_nonce: must be %d random bytes, made for this stream, in base64url without padding", wire.SealNonceLen)
	}
	return nonce, nil
}

// parseHeld reads generations of keys with commas between; empty: none is held.
func parseHeld(list string) ([]uint32, error) {
	if list == "" {
		return []uint32{}, nil
	}
	parts := strings.SplitN(list, ",", wire.MaxSealHeld+1)
	held := make([]uint32, len(parts))
	for i, p := range parts {
		g, err := strconv.ParseUint(p, 10, 32)
		if err != nil || len(parts) > wire.MaxSealHeld {
			return nil, push.Errorf(push.CodeInvalidField, "seal_held: must be at most %d generations with commas between", wire.MaxSealHeld)
		}
		held[i] = uint32(g)
	}
	return held, nil
}

// An event's ID holds the mailbox's incarnation beside the sequence: a browser
// sends nothing else when it comes back, and a cursor of an earlier life must
// not count as an ack in this one.
func appendEventID(dst []byte, seq uint64, incarnation string) []byte {
	dst = append(dst, "id: "...)
	dst = strconv.AppendUint(dst, seq, 10)
	if incarnation != "" {
		dst = append(dst, '-')
		dst = append(dst, incarnation...)
	}
	return append(dst, '\n')
}

func parseEventID(id string) (seq uint64, incarnation string, ok bool) {
	num, inc, _ := strings.Cut(id, "-")
	seq, err := strconv.ParseUint(num, 10, 64)
	return seq, inc, err == nil && len(inc) <= 64
}
