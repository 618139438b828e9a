package planted

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// behind is how much of a wrapped port's work may wait.
const behind = 1 << 14

// answerEarly commits behind the answers.
func answerEarly(p Ports) Ports {
	e := &early{Storage: p.Storage, queue: make(chan []*push.Envelope, behind)}
	go e.work()
	p.Storage = e
	return p
}

type early struct {
	push.Storage
	queue chan []*push.Envelope // never closed
}

func (e *early) Accept(ctx context.Context, envs []*push.Envelope) ([]push.Outcome, error) {
	select {
	case e.queue <- envs:
	case <-ctx.Done():
		return nil, push.Errorf(push.CodeNoStore, "the queue is full")
	}
	out := make([]push.Outcome, len(envs))
	for i, env := range envs {
		out[i] = push.Outcome{ID: env.ID, Members: len(env.Target.Clients)}
	}
	return out, nil
}

func (e *early) work() {
	for envs := range e.queue {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		_, _ = e.Storage.Accept(ctx, envs) // nobody is left to be told: that is the mistake
		cancel()
	}
}

// publishOnly trusts that whoever is online will get it.
func publishOnly(p Ports) Ports {
	p.Storage = &publishing{p.Storage, p.Sessions, p.Elsewhere}
	return p
}

type publishing struct {
	push.Storage
	sessions  push.Sessions
	elsewhere push.Elsewhere
}

func (s *publishing) Accept(ctx context.Context, envs []*push.Envelope) ([]push.Outcome, error) {
	out := make([]push.Outcome, len(envs))
	var kept []*push.Envelope
	var at []int
	for i, env := range envs {
		if key, ok := only(env); ok && s.publish(ctx, key, env) {
			out[i] = push.Outcome{ID: env.ID, Members: 1}
			continue
		}
		kept, at = append(kept, env), append(at, i)
	}
	if len(kept) == 0 {
		return out, nil
	}
	stored, err := s.Storage.Accept(ctx, kept)
	if err != nil {
		return nil, err
	}
	for i, o := range stored {
		out[at[i]] = o
	}
	return out, nil
}

func (s *publishing) publish(ctx context.Context, key push.ClientKey, env *push.Envelope) bool {
	m := &push.Message{ID: env.ID, Sent: env.Accepted, Body: env.Body}
	there := s.sessions.Of(key)
	for _, session := range there {
		session.Live(m)
	}
	if len(there) > 0 {
		return true
	}
	if !s.elsewhere.Online(key) {
		return false
	}
	_, err := s.elsewhere.Live(ctx, key.Realm, []string{key.ID}, m)
	return err == nil
}

// judgeByPayload takes equal data to the same client for one push.
func judgeByPayload(p Ports) Ports {
	p.Storage = &byPayload{Storage: p.Storage, seen: map[payload]int64{}}
	return p
}

type payload struct {
	client push.ClientKey
	data   string
}

type byPayload struct {
	push.Storage
	mu   sync.Mutex
	seen map[payload]int64 // ID of the first
}

func (s *byPayload) Accept(ctx context.Context, envs []*push.Envelope) ([]push.Outcome, error) {
	if len(envs) != 1 {
		return s.Storage.Accept(ctx, envs)
	}
	key, ok := only(envs[0])
	var body struct {
		Data json.RawMessage `json:"data"`
	}
	if !ok || json.Unmarshal(envs[0].Body, &body) != nil {
		return s.Storage.Accept(ctx, envs)
	}
	same := payload{key, string(body.Data)}
	s.mu.Lock()
	id, known := s.seen[same]
	s.mu.Unlock()
	if known {
		return []push.Outcome{{ID: id, Duplicate: true}}, nil
	}
	out, err := s.Storage.Accept(ctx, envs)
	if err == nil && out[0].Err == nil {
		s.mu.Lock()
		s.seen[same] = out[0].ID
		s.mu.Unlock()
	}
	return out, err
}

// retryBlindly makes a push again whose outcome is unknown.
func retryBlindly(p Ports) Ports {
	p.Storage = &blind{p.Storage, p.NewID}
	return p
}

type blind struct {
	push.Storage
	newID func() (int64, error)
}

func (s *blind) Accept(ctx context.Context, envs []*push.Envelope) ([]push.Outcome, error) {
	out, err := s.Storage.Accept(ctx, envs)
	for push.HasCode(err, push.CodeTimeout) && ctx.Err() == nil {
		again := make([]*push.Envelope, len(envs))
		for i, env := range envs {
			next, idErr := s.afresh(env)
			if idErr != nil {
				return nil, err
			}
			again[i] = next
		}
		out, err = s.Storage.Accept(ctx, again)
	}
	return out, err
}

// afresh is the same push as one that was never made.
func (s *blind) afresh(env *push.Envelope) (*push.Envelope, error) {
	id, err := s.newID()
	if err != nil {
		return nil, err
	}
	next := *env
	next.ID, next.Idempotency = id, nil
	next.Body = bytes.Replace(env.Body, []byte(push.FormatID(env.ID)), []byte(push.FormatID(id)), 1)
	return &next, nil
}
