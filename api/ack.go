package api

import (
	"net/http"

	"github.com/sunzi-push/sunzi/push"
)

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
	var b struct {
		Seq    sequence `json:"seq"`
		Read   sequence `json:"read"`
		Failed []struct {
			Seq  sequence `json:"seq"`
			Code int      `json:"code"`
		} `json:"failed"`
	}
	if err := a.decode(w, r, &b); err != nil {
		return err
	}
	if b.Seq == 0 && b.Read == 0 && len(b.Failed) == 0 {
		return push.Errorf(push.CodeInvalidField, "seq: is missing; an ack needs one of seq, failed and read")
	}
	if len(b.Failed) > push.MaxFailedPerAck {
		return push.Errorf(push.CodeInvalidField, "failed: must be at most %d entries", push.MaxFailedPerAck)
	}
	failed := make([]push.FailedEntry, len(b.Failed))
	for i, f := range b.Failed {
		if f.Seq == 0 {
			return push.Errorf(push.CodeInvalidField, "failed[%d].seq: is missing", i)
		}
		failed[i] = push.FailedEntry{Seq: uint64(f.Seq), Code: f.Code}
	}
	if b.Seq != 0 || len(failed) > 0 {
		a.deps.Backend.Ack(id.Client, uint64(b.Seq), failed)
	}
	if b.Read != 0 {
		a.deps.Backend.Read(id.Client, uint64(b.Read))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
