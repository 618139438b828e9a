package wsclient

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"
)

// run is the state machine (CLIENTS.md sections 1 to 4), owned by the
// goroutine of Client.Run.
type run struct {
	*Client

	failures int // in a row

	token      string
	tokenAt    time.Time // when it was got
	why        Why       // reason for asking while token is empty
	renewed    bool      // the token was asked for after 4001 or 4003; no welcome since
	refreshing bool      // the connection was given up to use a refreshed token
	retryAt    time.Time // a failed refresh is due again
	sealedAt   time.Time // of the last handshake; zero: none
}

// ending is how an attempt, or the connection that it became, ended.
type ending struct {
	*Failure
	welcomed time.Time // zero: before welcome
	advised  time.Duration
	now      bool // come back at once
	giveUp   bool
}

// keep connects until it must not any more: a *Failure, or ctx ended.
func (r *run) keep(ctx context.Context) error {
	r.token, r.tokenAt, r.why = r.cfg.Token, time.Now(), WhyConnect
	if r.State() == Failed {
		r.setState(Reconnecting, nil, 0)
	}
	for {
		r.setState(Connecting, nil, 0)
		end := r.attempt(ctx)
		r.inbox.drop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		delay, again := r.next(end)
		if !again {
			return end.Failure
		}
		r.setState(Reconnecting, end.Failure, delay)
		if err := r.wait(ctx, delay); err != nil {
			return err
		}
	}
}

// next decides what follows an ending.
func (r *run) next(end ending) (time.Duration, bool) {
	stable := !end.welcomed.IsZero() && time.Since(end.welcomed) >= stableAfter
	if stable {
		r.failures = 0
	}
	if end.giveUp {
		return 0, false
	}
	if end.now {
		return 0, true
	}
	switch code := end.Code; {
	case (code == 4001 || code == 4003) && r.cfg.TokenFunc != nil:
		if r.renewed && end.welcomed.IsZero() {
			return 0, false
		}
		r.renewed, r.token, r.why = true, "", WhyRejected
		if code == 4003 {
			r.why = WhyExpired
		}
		return 0, true
	case code == 4106 && strings.HasPrefix(end.Reason, "seal:") && r.cfg.Seal == "":
		end.Err = ErrSaySeal // the next hello would say no more
		return 0, false
	case code >= 4000 && code < 4100:
		return 0, false
	case code >= 4200 && code < 4300:
		var advised time.Duration
		if code == 4200 {
			advised = drainDelay(end.Reason)
		}
		if stable {
			return advised, true
		}
		delay, again := r.backoff()
		return max(delay, advised), again
	}
	delay, again := r.backoff()
	if end.advised > 0 {
		delay = min(end.advised, maxAdvised)
	}
	return delay, again
}

func drainDelay(reason string) time.Duration {
	ms, err := strconv.ParseUint(reason, 10, 64)
	if err != nil {
		return 0
	}
	return min(time.Duration(min(ms, 1<<32))*time.Millisecond, maxAdvised)
}

// backoff counts a failure and answers full jitter.
func (r *run) backoff() (time.Duration, bool) {
	r.failures++
	if r.cfg.MaxFailures > 0 && r.failures >= r.cfg.MaxFailures {
		return 0, false
	}
	most := r.cfg.MaxBackoff
	if shift := r.failures - 1; shift < 30 {
		most = min(most, r.cfg.MinBackoff<<shift)
	}
	return time.Duration(r.random() * float64(most)), true
}

func (r *run) wait(ctx context.Context, delay time.Duration) error {
	r.takeWake() // one from before the wait has done its work
	if delay <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case <-r.poke:
			if r.takeWake() {
				r.failures = 0
				return nil
			}
		}
	}
}

func (r *run) takeWake() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.wake
	r.wake = false
	return was
}

// attempt gets a token where there is none, dials, and serves the connection
// until it ends.
func (r *run) attempt(ctx context.Context) ending {
	if r.token == "" {
		token, err := r.ask(ctx, r.why)
		if err != nil {
			return ending{Failure: &Failure{Err: err}, giveUp: errors.Is(err, ErrGiveUp)}
		}
		r.token, r.tokenAt = token, time.Now()
	}
	deadline := time.Now().Add(attemptDeadline)
	dialCtx, cancel := context.WithDeadline(ctx, deadline)
	t, err := r.dial(dialCtx, r.target(), r.token)
	cancel()
	if err != nil {
		end := ending{Failure: &Failure{Err: err}}
		var refused *retryAfterError
		if errors.As(err, &refused) {
			end.advised = refused.after
		}
		return end
	}
	return newSession(r, t).serve(ctx, time.Until(deadline))
}

// target is the URL, with the ID that a connect key was answered with.
func (r *run) target() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clientID == "" || !r.learned {
		return r.cfg.URL
	}
	return withIdentity(r.cfg.URL, r.realm, r.clientID)
}

// ask calls the application's token callback.
func (c *Client) ask(ctx context.Context, why Why) (string, error) {
	if c.cfg.TokenFunc == nil {
		return "", errors.New("there is no token")
	}
	ctx, cancel := context.WithTimeout(ctx, tokenDeadline)
	defer cancel()
	token, err := c.cfg.TokenFunc(ctx, why)
	if err == nil && token == "" {
		err = errors.New("the token callback answered none")
	}
	return token, err
}
