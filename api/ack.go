package api

import (
	"context"
	"math"
	"net/http"

	"github.com/sunzi-push/sunzi/push"
)

type ackBody struct {
	Seq    sequence   `json:"seq"`
	Read   sequence   `json:"read"`
	Failed failedList `json:"failed"`
	Device string     `json:"device"`
}

// ack takes a client's word over HTTP: the way back of an event stream. Only
// a token will do, since a connect key names no client.
func (a *api) ack(w http.ResponseWriter, r *http.Request) error {
	raw := bearer(r)
	if len(raw) > maxCredential {
		raw = ""
	}
	id, err := a.deps.Backend.Check(r.Context(), raw)
	if err != nil {
		return err
	}
	done, err := a.clients.take(r.Context(), w.Header(), id.Client.String(), a.now())
	if err != nil {
		return err
	}
	defer done()
	var b ackBody
	if err := a.decode(w, r, &b); err != nil {
		return err
	}
	if id.Device != "" && id.Device != b.Device {
		return push.Errorf(push.CodeForbidden, "the token belongs to another device; say yours as device")
	}
	if err := a.ackable(r.Context(), id.Client, &b); err != nil {
		return err
	}
	if b.Seq != 0 || len(b.Failed) > 0 {
		failed := make([]push.FailedEntry, len(b.Failed))
		for i, f := range b.Failed {
			failed[i] = push.FailedEntry{Seq: uint64(f.Seq), Code: f.Code}
		}
		a.deps.Backend.Ack(id.Client, uint64(b.Seq), failed)
	}
	if b.Read != 0 {
		a.deps.Backend.Read(id.Client, uint64(b.Read))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// ackable checks that an ack says something, and nothing of what the mailbox
// does not hold yet: it would count for the messages that are placed next.
func (a *api) ackable(ctx context.Context, key push.ClientKey, b *ackBody) error {
	if b.Seq == 0 && b.Read == 0 && len(b.Failed) == 0 {
		return push.Errorf(push.CodeInvalidField, "seq: is missing; an ack needs one of seq, failed and read")
	}
	for i, f := range b.Failed {
		if f.Seq == 0 {
			return push.Errorf(push.CodeInvalidField, "failed[%d].seq: is missing", i)
		}
	}
	head, err := a.head(ctx, key)
	if err != nil {
		return err
	}
	above := func(seq sequence) bool { return uint64(seq) > head }
	switch {
	case above(b.Seq):
		return push.Errorf(push.CodeInvalidField, "seq: is above the mailbox's head")
	case above(b.Read):
		return push.Errorf(push.CodeInvalidField, "read: is above the mailbox's head")
	}
	for i, f := range b.Failed {
		if above(f.Seq) {
			return push.Errorf(push.CodeInvalidField, "failed[%d].seq: is above the mailbox's head", i)
		}
	}
	return nil
}

// head is the highest sequence that the client's mailbox has given out: what
// every page tells, and one after the last place tells nothing else. A mailbox
// that can't be read is asked again until ctx ends.
func (a *api) head(ctx context.Context, key push.ClientKey) (uint64, error) {
	answer := make(chan fetched, 1)
	a.deps.Backend.Fetch(key, math.MaxInt64, 1,
		func() bool { return ctx.Err() == nil },
		func(p push.Page, err error) { answer <- fetched{p, err} })
	select {
	case f := <-answer:
		return f.Head, f.err
	case <-ctx.Done():
		return 0, &push.Error{Code: push.CodeNoStore, Message: "the mailbox can't be read now", Cause: ctx.Err()}
	}
}
