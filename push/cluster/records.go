package cluster

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"
	"golang.org/x/time/rate"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// Records is the token records with Redis in front of them.
//
// A record that was read lately is answered from Redis, unless its client is
// in doubt: a revocation, whichever tokens it means, is written to the store
// and then puts the client in doubt for longer than any record stays cached.
// So a reader that read the store before the revocation and fills the cache
// after it does no harm. Revoked records may be cached: nothing takes a
// revocation back. Unknown ones are not.
//
// Redis emptied costs look-ups. Redis away: the store is asked, at most
// [Config.StoreRate] times a second; beyond that the answer is an error, which
// an Authority reads as records that can't be reached. A doubt that could not
// be written is tried again, and then the sessions of other nodes are closed
// that its tokens still hold open.
//
// Safe for concurrent use.
type Records struct {
	c     *Cluster
	next  token.OutsideRecords
	limit *rate.Limiter

	mu     sync.Mutex
	doubts map[push.ClientKey]struct{} // not yet in Redis; guarded by mu
}

var _ token.OutsideRecords = (*Records)(nil)

// maxDoubts bounds those that wait for Redis. One that is dropped is missed by
// nodes that still reach Redis, and for [Config.TokenTTL] at most.
const maxDoubts = 1 << 16

// Records puts Redis in front of the store's records. It is to be called
// once; Run writes the doubts that could not be written at once.
func (c *Cluster) Records(next token.OutsideRecords) *Records {
	r := &Records{c: c, next: next, doubts: map[push.ClientKey]struct{}{},
		limit: rate.NewLimiter(rate.Limit(c.cfg.StoreRate), c.cfg.StoreRate)}
	c.records.Store(r)
	return r
}

func (c *Cluster) tokenKey(jti string) string { return c.cfg.Prefix + ":{t:" + slotTag(jti) + "}" }

func (c *Cluster) doubtKey(k push.ClientKey) string {
	return c.cfg.Prefix + ":{d:" + slotTag(k.Realm+"/"+k.ID) + "}"
}

// beforeKey is in the slot of the client's doubt, so that both are one read.
func (c *Cluster) beforeKey(k push.ClientKey) string { return c.doubtKey(k) + ":before" }

// InsertToken implements [token.Records].
func (r *Records) InsertToken(ctx context.Context, rec token.Record) error {
	return r.next.InsertToken(ctx, rec)
}

// errRefused says that the store is not asked: too many want to know.
var errRefused = errors.New("cluster: Redis is away, and too many ask the store for tokens")

// Token implements [token.Records].
func (r *Records) Token(ctx context.Context, jti string) (token.Record, error) {
	rec, state := r.cached(ctx, jti)
	switch {
	case state == stateKnown:
		r.c.met.tokens.WithLabelValues("cache").Inc()
		return rec, nil
	case state == stateAway && !r.limit.Allow():
		r.c.met.tokens.WithLabelValues("refused").Inc()
		return token.Record{}, errRefused
	}
	r.c.met.tokens.WithLabelValues("store").Inc()
	began := r.c.deps.Now()
	rec, err := r.next.Token(ctx, jti)
	if err != nil || state != stateUnknown {
		return rec, err
	}
	if b, err := msgpack.Marshal(&rec); err == nil {
		r.fill(ctx, r.c.tokenKey(jti), b, began)
	}
	return rec, nil
}

// state is what the cache knows.
type state uint8

const (
	stateUnknown state = iota // worth filling
	stateKnown
	stateDoubted // the store is to be asked, nothing to be filled
	stateAway    // Redis does not answer
)

func (r *Records) cached(ctx context.Context, jti string) (rec token.Record, s state) {
	if !r.c.lively() {
		return rec, stateAway
	}
	ctx, cancel := r.c.timeout(ctx)
	defer cancel()
	b, err := r.c.rdb.Get(ctx, r.c.tokenKey(jti)).Bytes()
	if errors.Is(err, redis.Nil) {
		return rec, stateUnknown
	}
	if err != nil {
		return rec, r.away()
	}
	if msgpack.Unmarshal(b, &rec) != nil || rec.ID != jti {
		return token.Record{}, stateDoubted
	}
	if rec.Revoked {
		return rec, stateKnown
	}
	key := push.ClientKey{Realm: rec.Realm, ID: rec.Client}
	if r.waits(key) {
		return token.Record{}, stateDoubted
	}
	n, err := r.c.rdb.Exists(ctx, r.c.doubtKey(key)).Result()
	switch {
	case err != nil:
		return token.Record{}, r.away()
	case n > 0:
		return token.Record{}, stateDoubted
	}
	return rec, stateKnown
}

func (r *Records) away() state {
	r.c.met.errors.WithLabelValues("token").Inc()
	return stateAway
}

// fill keeps what the store said. A process that was paused meanwhile may
// bring it after the doubt has ended, and must not.
func (r *Records) fill(ctx context.Context, key string, value []byte, began time.Time) {
	if r.c.deps.Now().Sub(began) > r.c.cfg.TokenTTL/2 {
		return
	}
	ctx, cancel := r.c.timeout(ctx)
	defer cancel()
	if err := r.c.rdb.Set(ctx, key, value, r.c.cfg.TokenTTL).Err(); err != nil {
		r.away()
	}
}

// RevokedBefore implements [token.OutsideRecords].
func (r *Records) RevokedBefore(ctx context.Context, realm, client string) (time.Time, error) {
	key := push.ClientKey{Realm: realm, ID: client}
	before, s := r.cachedBefore(ctx, key)
	switch {
	case s == stateKnown:
		r.c.met.tokens.WithLabelValues("cache").Inc()
		return before, nil
	case s == stateAway && !r.limit.Allow():
		r.c.met.tokens.WithLabelValues("refused").Inc()
		return time.Time{}, errRefused
	}
	r.c.met.tokens.WithLabelValues("store").Inc()
	began := r.c.deps.Now()
	before, err := r.next.RevokedBefore(ctx, realm, client)
	if err != nil || s != stateUnknown {
		return before, err
	}
	ms := int64(0)
	if !before.IsZero() {
		ms = before.UnixMilli()
	}
	r.fill(ctx, r.c.beforeKey(key), strconv.AppendInt(nil, ms, 10), began)
	return before, nil
}

func (r *Records) cachedBefore(ctx context.Context, key push.ClientKey) (before time.Time, s state) {
	if !r.c.lively() {
		return before, stateAway
	}
	if r.waits(key) {
		return before, stateDoubted
	}
	ctx, cancel := r.c.timeout(ctx)
	defer cancel()
	got, err := r.c.rdb.MGet(ctx, r.c.doubtKey(key), r.c.beforeKey(key)).Result()
	if err != nil || len(got) != 2 {
		return before, r.away()
	}
	text, known := got[1].(string)
	switch ms := int64(number(text)); {
	case got[0] != nil:
		return before, stateDoubted
	case !known:
		return before, stateUnknown
	case ms != 0:
		before = time.UnixMilli(ms)
	}
	return before, stateKnown
}

// RevokeToken implements [token.Records]: the store first, then the doubt.
func (r *Records) RevokeToken(ctx context.Context, jti string) (token.Record, error) {
	rec, err := r.next.RevokeToken(ctx, jti)
	if err == nil {
		r.doubt(ctx, push.ClientKey{Realm: rec.Realm, ID: rec.Client})
	}
	return rec, err
}

// RevokeTokens implements [token.Records] likewise. Where the store failed the
// outcome is unknown, which is a doubt too.
func (r *Records) RevokeTokens(ctx context.Context, realm, client string, issuedBefore time.Time) (int, error) {
	n, err := r.next.RevokeTokens(ctx, realm, client, issuedBefore)
	r.doubt(ctx, push.ClientKey{Realm: realm, ID: client})
	return n, err
}

// doubt is written even if who asked has gone.
func (r *Records) doubt(ctx context.Context, key push.ClientKey) {
	r.mu.Lock()
	if len(r.doubts) < maxDoubts {
		r.doubts[key] = struct{}{} // this node doubts from now on
	}
	r.mu.Unlock()
	if !r.c.lively() {
		return
	}
	if err := r.write(context.WithoutCancel(ctx), key); err != nil {
		r.c.deps.Log.Warn("a revocation could not be told to the other nodes yet", "client", key.String(), "err", err)
	}
}

func (r *Records) write(ctx context.Context, key push.ClientKey) error {
	ctx, cancel := r.c.timeout(ctx)
	defer cancel()
	err := r.c.rdb.Set(ctx, r.c.doubtKey(key), "1", 2*r.c.cfg.TokenTTL).Err()
	if err != nil {
		r.away()
		return err
	}
	r.mu.Lock()
	delete(r.doubts, key)
	r.mu.Unlock()
	return nil
}

func (r *Records) waits(key push.ClientKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.doubts[key]
	return ok
}

// mendsDoubts writes the doubts that could not be written, until ctx ends.
func (c *Cluster) mendsDoubts(ctx context.Context) {
	for wait(ctx, c.cfg.Beat) {
		if r := c.records.Load(); r != nil && c.lively() {
			r.mend(ctx)
		}
	}
}

func (r *Records) mend(ctx context.Context) {
	r.mu.Lock()
	waiting := make([]push.ClientKey, 0, len(r.doubts))
	for k := range r.doubts {
		waiting = append(waiting, k)
	}
	r.mu.Unlock()
	for _, k := range waiting {
		if r.write(ctx, k) != nil {
			return
		}
		// Whoever revoked could not reach the other nodes.
		if err := r.closeElsewhere(ctx, k); err != nil {
			r.mu.Lock()
			r.doubts[k] = struct{}{} // once more
			r.mu.Unlock()
			r.c.deps.Log.Warn("sessions of a revoked token may be open on other nodes", "client", k.String(), "err", err)
		}
	}
}

// closeElsewhere ends the client's sessions on other nodes whose tokens are
// revoked by the store's word.
func (r *Records) closeElsewhere(ctx context.Context, key push.ClientKey) error {
	ctx, cancel := context.WithTimeout(ctx, 2*r.c.cfg.Ask)
	defer cancel()
	how := push.Closing{Client: key, Code: push.CloseTokenRevoked, Reason: "the token was revoked"}
	var errs []error
	end := func(c push.Closing) {
		_, err := r.c.Close(ctx, c)
		errs = append(errs, err)
	}
	before, err := r.next.RevokedBefore(ctx, key.Realm, key.ID)
	if err == nil && !before.IsZero() {
		all := how
		all.IssuedBefore = before
		end(all)
	}
	ids, errAsk := r.c.tokensAnywhere(ctx, key)
	errs = append(errs, err, errAsk)
	for id := range ids {
		rec, err := r.next.Token(ctx, id)
		if err == nil && rec.Revoked {
			one := how
			one.TokenID = id
			end(one)
		}
	}
	return errors.Join(errs...)
}

// tokensAnywhere asks every node which tokens hold sessions of the client.
func (c *Cluster) tokensAnywhere(ctx context.Context, key push.ClientKey) (map[string]bool, error) {
	letters := map[string]letter{}
	for _, node := range c.others() {
		letters[node] = letter{Kind: kindQuery, Keys: []place{{Realm: key.Realm, ID: key.ID}}}
	}
	ids := map[string]bool{}
	err := c.ask(ctx, letters, func(l letter) {
		for _, s := range l.Sessions {
			ids[s.Info.TokenID] = true
		}
	})
	return ids, err
}
