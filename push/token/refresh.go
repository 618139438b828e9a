package token

import (
	"context"
	"errors"
	"sync"
	"time"
)

// MaybeRefresh mints a new token for the holder of one that was just checked
// and is past the refresh age, living as long as that one did; else it answers
// "". Parallel and repeated calls for one token within the grace get the same
// new token. An error is no reason to refuse the token that was checked.
//
// Tokens of outside issuers are never refreshed: their issuer does that.
func (a *Authority) MaybeRefresh(ctx context.Context, rec Record) (raw string, err error) {
	now := a.now()
	if now.Sub(rec.Issued) < a.cfg.RefreshAge {
		return "", nil
	}
	r, mine := a.refreshes.get(rec.ID, now, a.cfg.Grace)
	switch {
	case r == nil: // too many at a time; the next request will do
		return "", nil
	case !mine:
		select {
		case <-r.done:
			return r.raw, r.err
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	r.raw, r.err = a.refresh(ctx, rec)
	close(r.done)
	if r.err != nil {
		a.refreshes.forget(rec.ID, now, a.cfg.Grace)
	}
	return r.raw, r.err
}

func (a *Authority) refresh(ctx context.Context, old Record) (string, error) {
	if again, err := a.valid(ctx, old.ID); err != nil || !again {
		return "", err
	}
	family := old.Family
	if family == "" {
		family = old.ID
	}
	raw, rec, err := a.mint(ctx, MintRequest{
		Realm: old.Realm, Client: old.Client, Device: old.Device,
		TTL: old.Expires.Sub(old.Issued.Truncate(time.Second)),
	}, family)
	if err != nil {
		return "", err
	}
	// A revocation may have passed between the check and the new record, and
	// must not be outlived by it. One that comes after this look finds the
	// new record itself.
	again, err := a.valid(ctx, old.ID)
	if err == nil && again {
		return raw, nil
	}
	if _, rerr := a.records.RevokeToken(ctx, rec.ID); rerr != nil && !errors.Is(rerr, ErrNotFound) {
		err = errors.Join(err, unavailable(rerr))
	}
	return "", err
}

// Revoked reports whether a token that was let in has been revoked since:
// true only where its record says so. [ErrUnavailable] where the records can't
// be reached.
func (a *Authority) Revoked(ctx context.Context, was Record) (bool, error) {
	rec, err := a.records.Token(ctx, was.ID)
	if errors.Is(err, ErrNotFound) && a.outside == nil { // deleted with its client
		return true, nil
	}
	if errors.Is(err, ErrNotFound) { // an outside issuer's, or a deleted client's
		before, err := a.outside.RevokedBefore(ctx, was.Realm, was.Client)
		if err != nil {
			return false, unavailable(err)
		}
		return was.Issued.Before(before), nil
	}
	if err != nil {
		return false, unavailable(err)
	}
	return rec.Revoked, nil
}

// valid reports whether the record is there and unrevoked.
func (a *Authority) valid(ctx context.Context, jti string) (bool, error) {
	rec, err := a.records.Token(ctx, jti)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, unavailable(err)
	}
	return !rec.Revoked, nil
}

// refresh is one old token's new one, in the making until done is closed.
type refresh struct {
	done chan struct{}
	at   time.Time
	raw  string
	err  error
}

// maxRefreshes bounds the refreshes begun within one grace: about 600 bytes
// each.
const maxRefreshes = 1 << 16

// refreshes remembers refreshes for the grace. Two generations that change
// places once a grace: nothing is ever searched for what has ended.
type refreshes struct {
	mu      sync.Mutex // held for map access only
	turned  time.Time
	current map[string]*refresh
	earlier map[string]*refresh
}

// get is the refresh of a token under way or within its grace, or a new one
// that is the caller's to finish; nil where no more are remembered.
func (s *refreshes) get(jti string, now time.Time, grace time.Duration) (r *refresh, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(now, grace)
	if r := s.find(jti); r != nil && now.Sub(r.at) < grace {
		return r, false
	}
	if len(s.current) >= maxRefreshes {
		return nil, false
	}
	r = &refresh{done: make(chan struct{}), at: now}
	s.current[jti] = r
	return r, true
}

// forget drops a token's refresh.
func (s *refreshes) forget(jti string, now time.Time, grace time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(now, grace)
	delete(s.current, jti)
	delete(s.earlier, jti)
}

func (s *refreshes) find(jti string) *refresh {
	if r := s.current[jti]; r != nil {
		return r
	}
	return s.earlier[jti]
}

func (s *refreshes) turn(now time.Time, grace time.Duration) {
	if s.current != nil && now.Sub(s.turned) < grace {
		return
	}
	s.earlier = s.current
	if now.Sub(s.turned) >= 2*grace {
		s.earlier = nil
	}
	s.current = map[string]*refresh{}
	s.turned = now
}
