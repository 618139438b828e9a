package api

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// pushBody is PushRequest of openapi.yaml.
type pushBody struct {
	To             *targetBody      `json:"to"`
	Topic          string           `json:"topic"`
	Data           json.RawMessage  `json:"data"`
	DataBase64     *string          `json:"data_base64"`
	TTL            *int64           `json:"ttl"` // seconds
	Priority       *int             `json:"priority"`
	CollapseKey    string           `json:"collapse_key"`
	Store          push.StoreMode   `json:"store"`
	Seal           push.SealMode    `json:"seal"`
	NotBefore      instant          `json:"not_before"`
	Attachment     *push.Attachment `json:"attachment"`
	IdempotencyKey *string          `json:"idempotency_key"`
}

type targetBody struct {
	Client  *string    `json:"client"`
	Clients *targetIDs `json:"clients"`
	Group   *string    `json:"group"`
	All     bool       `json:"all"`
	Realm   *string    `json:"realm"`
}

// request turns the body into what the service takes. The service validates;
// here is only what JSON can say and [push.Request] can't.
func (b *pushBody) request(ctx context.Context) (push.Request, error) {
	target, err := b.To.target(ctx)
	if err != nil {
		return push.Request{}, err
	}
	req := push.Request{
		Target: target, Topic: b.Topic, CollapseKey: b.CollapseKey,
		Store: b.Store, Seal: b.Seal, NotBefore: b.NotBefore.Time, Attachment: b.Attachment,
	}
	if b.Priority != nil {
		if req.Priority = *b.Priority; req.Priority == 0 {
			req.Priority = -1 // zero means "not set" to the service, but not here
		}
	}
	if b.TTL != nil {
		// Clamped, so that the product can't overflow; both ends are refused.
		ttl := time.Duration(min(max(*b.TTL, -1), int64(push.MaxTTL/time.Second)+1)) * time.Second
		req.TTL = &ttl
	}
	return req, b.data(&req)
}

func (b *pushBody) data(req *push.Request) error {
	if b.DataBase64 != nil {
		raw, err := base64.StdEncoding.Strict().DecodeString(*b.DataBase64)
		if err != nil {
			return push.Errorf(push.CodeInvalidField, "data_base64: must be standard base64 with padding (RFC 4648 section 4)")
		}
		req.Bytes = raw // never nil: it says that there are bytes
		if req.Bytes == nil {
			req.Bytes = []byte{}
		}
	}
	if b.Data != nil {
		var compact bytes.Buffer
		compact.Grow(len(b.Data))
		if err := json.Compact(&compact, b.Data); err != nil {
			return push.Errorf(push.CodeInvalidJSON, "data: is not valid JSON")
		}
		req.Data = compact.Bytes()
	}
	return nil
}

func (t *targetBody) target(ctx context.Context) (push.Target, error) {
	if t == nil {
		return push.Target{}, push.Errorf(push.CodeInvalidTarget, "to: is missing; name one of client, clients, group and all")
	}
	rm, err := realm(ctx, t.Realm)
	if err != nil {
		return push.Target{}, err
	}
	out := push.Target{Realm: rm, All: t.All}
	named := 0
	if t.Client != nil {
		named++
		out.Clients = []string{*t.Client}
	}
	if t.Clients != nil {
		named++
		out.Clients = *t.Clients
	}
	if t.Group != nil {
		named++
		out.Group = *t.Group
	}
	if t.All {
		named++
	}
	if named != 1 {
		return out, push.Errorf(push.CodeInvalidTarget, "to: names %d of client, clients, group and all; name exactly one", named)
	}
	return out, nil
}

// idempotency is the identity of a repeated request; nil where none was sent. The
// body's hash is keyed by the key as it was sent, of which the store has a hash
// alone: who has the database can test no guess of a body, unless it can guess
// the key.
func idempotency(ctx context.Context, key string, body []byte) (*push.Idempotency, error) {
	if key == "" {
		return nil, nil
	}
	if len(key) > push.MaxIdempotencyLen {
		return nil, push.Errorf(push.CodeInvalidField, "Idempotency-Key: must be at most %d bytes", push.MaxIdempotencyLen)
	}
	h := sha256.New()
	h.Write([]byte(caller(ctx).ID))
	h.Write([]byte{0})
	h.Write([]byte(key))
	out := &push.Idempotency{}
	h.Sum(out.Key[:0])
	b := hmac.New(sha256.New, []byte(key))
	b.Write([]byte("sunzi idempotent body\x00"))
	b.Write(body)
	b.Sum(out.Body[:0])
	return out, nil
}

// idempotencyHeader is the Idempotency-Key, which must not be sent twice: a
// proxy that merges requests would otherwise decide which one counts.
func idempotencyHeader(r *http.Request) (string, error) {
	sent := r.Header.Values("Idempotency-Key")
	if len(sent) > 1 {
		return "", push.Errorf(push.CodeInvalidField, "Idempotency-Key: was sent more than once")
	}
	return r.Header.Get("Idempotency-Key"), nil
}

// receiptBody is Receipt of openapi.yaml.
type receiptBody struct {
	Status    int             `json:"status,omitempty"` // in a bulk push
	ID        string          `json:"id"`
	Accepted  int64           `json:"accepted"`
	Online    int             `json:"online"`
	Stored    int             `json:"stored"`
	Duplicate bool            `json:"duplicate"`
	Scheduled bool            `json:"scheduled,omitempty"`
	Expanding bool            `json:"expanding,omitempty"`
	Rejected  []rejectionBody `json:"rejected"`
}

type rejectionBody struct {
	Client string `json:"client"`
	Code   int    `json:"code"`
	Name   string `json:"name"`
}

func receiptOf(r push.Receipt) receiptBody {
	out := receiptBody{
		ID: push.FormatID(r.ID), Accepted: milli(r.Accepted), Online: r.Online, Stored: r.Stored,
		Duplicate: r.Duplicate, Scheduled: r.Scheduled, Expanding: r.Expanding,
		Rejected: make([]rejectionBody, len(r.Rejected)),
	}
	for i, x := range r.Rejected {
		info := x.Code.Info()
		out.Rejected[i] = rejectionBody{Client: x.Client.ID, Code: int(info.Code), Name: info.Name}
	}
	return out
}

// receiptStatus tells at a glance whether somebody was there.
func receiptStatus(r push.Receipt) int {
	if r.Online > 0 {
		return http.StatusCreated
	}
	return http.StatusAccepted
}

func (a *api) push(w http.ResponseWriter, r *http.Request) error {
	raw, err := a.body(w, r, a.cfg.MaxBody)
	if err != nil {
		return err
	}
	var b pushBody
	if err := strict(raw, &b); err != nil {
		return err
	}
	if b.IdempotencyKey != nil {
		return push.Errorf(push.CodeInvalidField, "idempotency_key: belongs to a bulk push; send the Idempotency-Key header")
	}
	req, err := b.request(r.Context())
	if err != nil {
		return err
	}
	key, err := idempotencyHeader(r)
	if err != nil {
		return err
	}
	if req.Idempotency, err = idempotency(r.Context(), key, raw); err != nil {
		return err
	}
	receipt, err := a.deps.Pusher.Push(r.Context(), req)
	if err != nil {
		return err
	}
	return a.answer(w, r, receiptStatus(receipt), receiptOf(receipt))
}

type batchError struct {
	Status int        `json:"status"`
	Error  *itemError `json:"error"`
}

// pushBatch answers for each push on its own, whatever became of the others.
func (a *api) pushBatch(w http.ResponseWriter, r *http.Request) error {
	raw, err := a.body(w, r, a.cfg.MaxBatchBody)
	if err != nil {
		return err
	}
	var b struct {
		Pushes bulk `json:"pushes"`
	}
	if err := strict(raw, &b); err != nil {
		return err
	}
	if len(b.Pushes) == 0 {
		return push.Errorf(push.CodeInvalidField, "pushes: must be 1 to %d pushes, there are none", push.MaxBulk)
	}
	header, err := idempotencyHeader(r)
	if err != nil {
		return err
	}
	results := make([]any, len(b.Pushes))
	reqs := make([]push.Request, 0, len(b.Pushes))
	at := make([]int, 0, len(b.Pushes)) // of each request, its item
	for i, item := range b.Pushes {
		if int64(len(item)) > a.cfg.MaxBody {
			results[i] = batchFailure(push.Errorf(push.CodeTooLarge, "the push is %d bytes, %d are allowed", len(item), a.cfg.MaxBody))
			continue
		}
		req, err := batchItem(r.Context(), item, header, i)
		if err != nil {
			results[i] = batchFailure(errorOf(err))
			continue
		}
		reqs, at = append(reqs, req), append(at, i)
	}
	if len(reqs) > 0 {
		done, err := a.deps.Pusher.PushBatch(r.Context(), reqs)
		if err != nil {
			return err
		}
		for i, d := range done {
			results[at[i]] = a.batchResult(r, d)
		}
	}
	return a.answer(w, r, http.StatusOK, map[string]any{"results": results})
}

func batchItem(ctx context.Context, item json.RawMessage, header string, i int) (push.Request, error) {
	var b pushBody
	if err := strict(item, &b); err != nil {
		return push.Request{}, err
	}
	req, err := b.request(ctx)
	if err != nil {
		return req, err
	}
	key := ""
	switch {
	case b.IdempotencyKey != nil:
		key = *b.IdempotencyKey
	case header != "":
		key = header + "#" + strconv.Itoa(i)
	}
	req.Idempotency, err = idempotency(ctx, key, item)
	return req, err
}

func batchFailure(e *push.Error) batchError {
	return batchError{Status: e.Code.Info().Code.Status(), Error: itemErrorOf(e)}
}

func (a *api) batchResult(r *http.Request, d push.BatchResult) any {
	if d.Err != nil {
		if d.Err.Cause != nil { // callers are not told it
			a.log.Warn("push of a bulk failed", "request_id", requestID(r.Context()), "err", d.Err)
		}
		return batchFailure(d.Err)
	}
	out := receiptOf(d.Receipt)
	out.Status = receiptStatus(d.Receipt)
	return out
}
