package store

import (
	crand "crypto/rand"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// Between servers that share a database two things happen that a database of
// one's own does not know: a transaction loses against another one, and is made
// again; and the connection breaks while COMMIT is under way, so that nobody
// says what became of it. The second is settled by the transaction's token, a
// random row: a new connection inserts it too. Where that is refused, the
// transaction was committed; where it succeeds, it was not and never can be.

// errUnknown: the database could not be asked what became of a COMMIT.
var errUnknown = errors.New("store: whether it was committed is unknown")

// errNotCommitted: the COMMIT whose answer was lost came to nothing.
var errNotCommitted = errors.New("store: the connection broke, nothing was committed")

const commitTries = 10

// attempts is attempt, made afresh while the engine says that there is hope,
// until a time. A connection that is lost gets one more.
func (w *writer) attempts(group []*op, until time.Time) error {
	eng := w.store.cfg.engine
	for n, losses := 1, 0; ; n++ {
		err := w.attempt(group)
		if err == nil || errors.Is(err, errUnknown) {
			return err
		}
		again := eng.again(err) || errors.Is(err, errNotCommitted)
		if again && eng.broken(err) {
			w.disconnect()
			losses++
		}
		if !again || n == commitTries || losses > 1 || time.Now().After(until) {
			return err
		}
		w.store.cfg.Log.Debug("a commit group is made again", "operations", len(group), "attempt", n, "err", err)
		//nolint:gosec // G404: jitter, so that two that met do not meet again
		time.Sleep(rand.N(time.Duration(n) * 4 * time.Millisecond))
	}
}

// putToken adds the token to a transaction that changes anything.
func (t *tx) putToken() error {
	if !t.cfg.engine.shared || !t.changed {
		return nil
	}
	t.token = newToken()
	return t.exec(insertToken, t.token, unixMS(t.now), 0)
}

const insertToken = `INSERT INTO commit_token (token, at, asked) VALUES (?, ?, ?)`

func newToken() []byte {
	b := make([]byte, 16)
	crand.Read(b) // never fails (crypto/rand)
	return b
}

// end commits. On nil the transaction is durable; errCommit and errUnknown
// leave it open whether it is; on any other error it is not.
func (w *writer) end(t *tx) error {
	err := w.control("COMMIT")
	switch {
	case err == nil:
		return nil
	case !t.cfg.engine.shared:
		return errors.Join(errCommit, err)
	case t.token == nil, slices.Contains(mysqlAgain, saidBy(err)):
		return err
	}
	w.store.cfg.Log.Warn("COMMIT was not answered: the database is asked what became of it", "err", err)
	w.disconnect()
	return w.outcome(t.token, unixMS(t.now))
}

// outcome settles the COMMIT of the transaction with this token: nil, it was
// committed; errNotCommitted; or errUnknown, after [Config.Timeout]. Index:
// commit_token's primary key.
func (w *writer) outcome(token []byte, at int64) error {
	until := time.Now().Add(w.store.cfg.Timeout)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		made, err := w.ask(token, at)
		switch {
		case err == nil && made:
			return nil
		case err == nil:
			return errNotCommitted
		case time.Now().After(until):
			return errors.Join(errUnknown, err)
		}
		// Also where the row is locked: the lost connection still lives.
		w.disconnect()
		time.Sleep(pause)
	}
}

// ask reports whether the token's transaction was committed. The row may also be
// that of an earlier question whose answer was lost.
func (w *writer) ask(token []byte, at int64) (made bool, err error) {
	if err := w.connect(); err != nil {
		return false, err
	}
	if err := w.exec(insertToken, token, at, 1); saidBy(err) != 1062 {
		return false, err
	}
	asked := false
	found, err := w.row(`SELECT asked FROM commit_token WHERE token = ?`, []any{token}, &asked)
	if err == nil && !found {
		err = errUnknown // swept: nobody asks that late
	}
	return found && !asked, err
}

// told is an error of a commit group as callers are told of it.
func told(err error) error {
	if errors.Is(err, errUnknown) {
		return &push.Error{Code: push.CodeTimeout, Message: "the store did not say whether it was committed; the outcome is unknown", Cause: err}
	}
	return failed(err)
}
