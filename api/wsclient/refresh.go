package wsclient

import (
	"context"
	"errors"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
)

// Refresh of the token ahead of its end (CLIENTS.md section 4).

// armRenewal times the next refresh after a welcome.
func (s *session) armRenewal() {
	if s.cfg.TokenFunc == nil {
		return
	}
	at := s.tokenAt.Add(s.cfg.RefreshEvery)
	if s.retryAt.After(at) {
		at = s.retryAt
	}
	s.renew.Reset(max(time.Until(at), 0))
}

// renewal is the timer: a refresh is due, or was not answered.
func (s *session) renewal(ctx context.Context) *ending {
	if s.offered != "" {
		return s.fallBack("refresh was not answered")
	}
	return s.refreshNow(ctx)
}

func (s *session) refreshNow(ctx context.Context) *ending {
	if s.cfg.TokenFunc == nil || s.asking != nil || s.offered != "" || s.welcomed.IsZero() {
		return nil
	}
	s.renew.Stop()
	ctx, cancel := context.WithCancel(ctx)
	s.asking = cancel
	go func() {
		token, err := s.ask(ctx, WhyExpired)
		s.tokens <- tokenAnswer{token, err}
	}()
	return nil
}

// answered is what the callback said.
func (s *session) answered(a tokenAnswer) *ending {
	s.asking()
	s.asking = nil
	if a.err != nil {
		s.setRefresh(RefreshFailed)
		if errors.Is(a.err, ErrGiveUp) {
			end := s.leave("the token callback gave up")
			end.Err, end.giveUp = a.err, true
			return end
		}
		wait := s.cfg.RefreshRetry
		if !s.tokenEnds.IsZero() {
			wait = min(wait, max(time.Until(s.tokenEnds)/2, time.Second))
		}
		s.retryAt = time.Now().Add(wait)
		s.renew.Reset(wait)
		return nil
	}
	s.token, s.tokenAt = a.token, time.Now()
	s.offered = a.token
	s.renew.Reset(refreshDeadline)
	return s.send(&wire.ClientMessage{Type: wire.TypeRefresh, Token: a.token})
}

// refreshed ends a refresh well.
func (s *session) refreshed() {
	s.offered, s.refreshing = "", false
	s.tokenEnds, s.retryAt = time.Time{}, time.Time{}
	s.setRefresh(RefreshOK)
	s.armRenewal()
}

// fallBack reconnects at once with the new token.
func (s *session) fallBack(why string) *ending {
	s.refreshing = true
	s.setRefresh(RefreshFailed)
	end := s.leave(why)
	end.now = true
	return end
}

func (c *Client) setRefresh(status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh.Last, c.refresh.Status = time.Now(), status
	if status == RefreshOK {
		c.refresh.Failures = 0
	} else {
		c.refresh.Failures++
	}
}
