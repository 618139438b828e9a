package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// sink takes every push that validates, and holds it to what the store and
// the wire rely on.
type sink struct {
	*world
	t *testing.T // of the input that runs now; a worker runs one at a time
}

func (s *sink) Push(_ context.Context, req push.Request) (push.Receipt, error) {
	if err := req.Validate(push.DefaultConfig()); err != nil {
		return push.Receipt{}, err
	}
	body := push.BuildBody(push.BodyFields{ID: 1, Topic: req.Topic, Data: req.Data, Bytes: req.Bytes, CollapseKey: req.CollapseKey, Attachment: req.Attachment})
	if !json.Valid(body) || !utf8.Valid(body) || strings.ContainsAny(string(body), "\n\r") {
		s.t.Fatalf("body is %q", body)
	}
	if n := len(req.Target.Clients); n > push.MaxTargets || n == 0 && req.Target.Group == "" && !req.Target.All {
		s.t.Fatalf("target is %+v", req.Target)
	}
	return push.Receipt{ID: 1, Accepted: s.now}, nil
}

func (s *sink) PushBatch(ctx context.Context, reqs []push.Request) ([]push.BatchResult, error) {
	out := make([]push.BatchResult, len(reqs))
	for i, r := range reqs {
		receipt, err := s.Push(ctx, r)
		out[i] = push.BatchResult{Receipt: receipt, Err: push.AsError(err)}
	}
	return out, nil
}

func fuzzBody(f *testing.F, path string, accepted ...int) {
	w := newWorld()
	w.keys[allScopes] = token.Key{ID: "all", Scopes: everything}
	to := &sink{world: w}
	h, err := New(DefaultConfig(), Deps{
		Pusher: to, Clients: w, Groups: w, Sessions: w, Keys: keyring{w}, Authority: w, Backend: backend{w},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		to.t = t
		r := httptest.NewRequest("POST", path, strings.NewReader(string(body)))
		r.Header.Set("Authorization", "Bearer "+allScopes)
		r.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code >= 500 || !json.Valid(rec.Body.Bytes()) {
			t.Fatalf("answered %d %s", rec.Code, rec.Body)
		}
		for _, ok := range accepted {
			if rec.Code == ok {
				return
			}
		}
		if kind := rec.Header().Get("Content-Type"); rec.Code < 400 || kind != "application/problem+json" {
			t.Fatalf("answered %d as %s", rec.Code, kind)
		}
	})
}

func FuzzPushBody(f *testing.F) {
	for _, seed := range []string{
		pushToA, `{`, `[]`, `{"to":{"clients":["a","b"],"realm":"r"},"data_base64":"AA==","ttl":0,"priority":1}`,
		`{"to":{"all":true},"data":{"a":[[[{}]]]},"not_before":1,"attachment":{"url":"http://x/"}}`,
		`{"to":{"group":"g"},"not_before":"2026-01-02T15:04:05Z","store":"offline","collapse_key":"\u0000"}`,
		"{\"to\":{\"client\":\"a\"},\"data\":\"\xff\"}", `{"to":{"client":"\ud800"},"ttl":1e400}`,
	} {
		f.Add([]byte(seed))
	}
	fuzzBody(f, "/v1/push", http.StatusCreated, http.StatusAccepted)
}

func FuzzBatchBody(f *testing.F) {
	for _, seed := range []string{
		`{"pushes":[` + pushToA + `]}`, `{"pushes":[1,null,"x",[],{}]}`, `{"pushes":{}}`,
		`{"pushes":[{"to":{"client":"a"},"idempotency_key":"k"},{"to":{"client":"a"},"idempotency_key":""}]}`,
	} {
		f.Add([]byte(seed))
	}
	fuzzBody(f, "/v1/push/batch", http.StatusOK)
}
