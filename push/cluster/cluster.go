// Package cluster is the sessions on other nodes: it implements
// [push.Elsewhere] and [push.Presence] over Redis.
//
// Read first: [Cluster], then held.go and registry.go (who has which client), send.go,
// receive.go and cover.go (what nodes tell each other). letter.go is the format between
// them, nodes.go says who is alive.
//
// What is in Redis, all of it lost without harm:
//
//	<prefix>:nodes              sorted set: node -> time of its last beat, by Redis' clock
//	<prefix>:{c:<realm>/<id>}   hash: node -> generation of the client's session there;
//	                            ":" -> that of the last one that came just now
//	<prefix>:{n:<node>}         channel of a node (sharded pub/sub, Redis 7)
//	<prefix>:{t:…}, {d:…}       token cache and doubts, see records.go
//	rate:<prefix>:…             rates for all nodes together, see limits.go
//
// The store is the truth. A hint that is lost here (a full queue, Redis away,
// a node that just died) delays a push until the owner's sweep of heads finds
// it. So nothing here is retried but revocations (unheard.go), and the registry,
// which heals itself: a node writes its clients again when Redis was emptied or
// failed over, when its connection was lost, and every few minutes anyway; an
// entry that is gone or another's is noticed sooner (look.go).
//
// Concurrency: every method may be called from any goroutine. Methods without
// a context never wait for Redis. [Cluster.Run] owns all goroutines and
// returns when they have ended. Locks are leaves: none is held while another
// is taken, or while a session or Redis is called.
//
// What it does not do: it keeps no messages, it does not sweep heads, and it
// reads nothing of the store but through [Records].
package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/sunzi-push/sunzi/push"
)

// Config is what a [Cluster] is made of; [DefaultConfig] has all but the URL.
type Config struct {
	// URL says where Redis is: redis://user:password@host:port/db,
	// redis+sentinel://host:port,host:port/master/db,
	// redis+cluster://host:port,host:port; rediss for TLS. It holds a
	// password and is never logged.
	URL string
	// Dial opens every connection to Redis, Sentinel and Cluster included, as a
	// plain one: TLS is put on it where the URL asks for that. Its context ends
	// after Timeout. Nil: the default. For tests, and for networks where the
	// addresses that sentinels and cluster nodes announce are not those at
	// which they can be reached.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Prefix begins every key, so that several clusters can share a Redis.
	Prefix string
	// Node names this process among the nodes, and must never be used by
	// two at once.
	Node string
	// Lease is for how long a node counts as living after its last beat: the
	// time after which a crashed node's clients are offline. Beat is how
	// often it is told, at most a third of it.
	Lease, Beat time.Duration
	// Timeout bounds one call of Redis.
	Timeout time.Duration
	// Ask bounds the wait for other nodes' answers where the context doesn't.
	Ask time.Duration
	// Registered is how long a client's entry lives without being written
	// again; that is done after a third of it.
	Registered time.Duration
	// Look is how often each client's entry is read: the time within which a
	// session ends whose client came to another node, where the word of that
	// was lost, and after which an entry that Redis lost is there again. It
	// costs a HGET a client, in pipelines and spread over the time.
	Look time.Duration
	// PerClient is how many connections a client may have, as in the hub. At
	// 1 the newest wins across nodes; other values close nothing.
	PerClient int
	// QueueLen bounds the clients with waiting hints, and those that wait to
	// be registered; OutboxLen what else waits to be sent, in letters.
	QueueLen, OutboxLen int
	// TokenTTL is for how long a token's record is answered from Redis, and so
	// how long a revocation can be missed if Redis loses the word of it in a
	// failover. StoreRate bounds the look-ups a second that go to the store
	// while Redis is away; beyond it nobody new is let in.
	TokenTTL  time.Duration
	StoreRate int
	// ResyncRate is how many clients a second are registered again after
	// Redis was lost.
	ResyncRate int
}

// DefaultConfig has everything but the URL. The node's name is the machine's,
// with a random part of its own for each process.
func DefaultConfig() Config {
	host, _ := os.Hostname()
	var b [4]byte
	rand.Read(b[:]) // never fails (crypto/rand, since Go 1.24)
	return Config{
		Prefix:     "sunzi",
		Node:       host + "-" + hex.EncodeToString(b[:]),
		Lease:      10 * time.Second,
		Beat:       3 * time.Second,
		Timeout:    500 * time.Millisecond,
		Ask:        2 * time.Second,
		Registered: 15 * time.Minute,
		Look:       30 * time.Second,
		PerClient:  1,
		QueueLen:   1 << 16,
		OutboxLen:  1 << 10,
		ResyncRate: 20000,
		TokenTTL:   time.Minute,
		StoreRate:  200,
	}
}

// Validate returns all problems at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(wrong bool, text string) {
		if wrong {
			errs = append(errs, errors.New("cluster: "+text))
		}
	}
	if _, err := parseURL(c.URL); err != nil {
		errs = append(errs, err)
	}
	bad(c.Prefix == "" || !plain(c.Prefix), "the prefix must be letters, digits, and . _ -")
	bad(c.Node == "" || !plain(c.Node), "the node name must be letters, digits, and . _ -")
	bad(c.Beat <= 0 || c.Lease < 3*c.Beat, "the lease must be at least three beats")
	bad(c.Timeout <= 0 || c.Timeout > c.Lease, "the timeout must be positive and at most the lease")
	bad(c.Ask <= 0, "the wait for answers must be positive")
	bad(c.Registered < c.Lease, "entries must live for at least the lease")
	bad(c.Look <= 0, "the time between looks must be positive")
	bad(c.PerClient < 0, "the connections a client must not be negative")
	bad(c.QueueLen < 1 || c.OutboxLen < 1 || c.ResyncRate < 1, "queue lengths and the resync rate must be positive")
	bad(c.TokenTTL < time.Second || c.StoreRate < 1, "the token TTL must be at least 1s, the store rate positive")
	return errors.Join(errs...)
}

// plain keeps braces out of names: they would move a key to another slot.
func plain(s string) bool {
	for _, r := range s {
		if r != '.' && r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return false
		}
	}
	return true
}

// Deps are what a [Cluster] works with. Hooks may be nil, must not block, and
// are called from any goroutine.
type Deps struct {
	Sessions push.Sessions // of this node
	Log      *slog.Logger
	Now      func() time.Time // nil: time.Now
	Metrics  prometheus.Registerer
	// GroupChanged hears of groups whose membership another node changed.
	GroupChanged func(realm, group string)
	// CloseHere ends the sessions here that are meant and answers how many;
	// nil: those in Sessions are closed, and nothing else is done.
	CloseHere func(how push.Closing) int
	// Wrapping keeps content from Redis; nil: it goes in clear.
	Wrapping Wrapping
	// Registered hears of clients that the other nodes can see from now on.
	// What was committed there between a client's welcome and this moment
	// was hinted to nobody: their heads want a look.
	Registered func(keys []push.ClientKey)
}

// Wrapping wraps what has content under a key that all nodes have. Its methods
// must not block, and are called from any goroutine.
type Wrapping interface {
	// WrapLive wraps the body of the live-only push of that ID.
	WrapLive(id int64, body []byte) []byte
	UnwrapLive(id int64, wrapped []byte) ([]byte, error)
	// WrapNotice wraps an encoded notice.
	WrapNotice(notice []byte) []byte
	UnwrapNotice(wrapped []byte) ([]byte, error)
}

// Cluster is this node among the others.
type Cluster struct {
	// Static after Open.
	cfg  Config
	deps Deps
	rdb  redis.UniversalClient
	met  *metrics

	nodes    nodes
	held     [slots]slot
	unsynced unsynced
	hints    hints
	covers   covers
	outbox   chan parcel // never closed
	asks     asks
	unheard  unheard
	recent   recent
	listens  atomic.Bool // the subscription stands
	records  atomic.Pointer[Records]

	// leaves is cleared by tests that want a crash instead of a leave.
	leaves bool
}

var (
	_ push.Elsewhere = (*Cluster)(nil)
	_ push.Presence  = (*Cluster)(nil)
)

// Open makes a cluster without waiting for Redis, which may be away: then the
// node serves its own clients. ctx bounds nothing that outlives the call.
func Open(_ context.Context, cfg Config, deps Deps) (*Cluster, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Sessions == nil || deps.Log == nil || deps.Metrics == nil {
		return nil, errors.New("cluster: sessions, log and metrics must be given")
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	opts, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		cfg: cfg, deps: deps,
		rdb:    newClient(opts, cfg.Timeout, cfg.Dial),
		met:    newMetrics(deps.Metrics),
		outbox: make(chan parcel, cfg.OutboxLen),
		leaves: true,
	}
	c.nodes.living.Store(&[]string{})
	for i := range c.held {
		c.held[i].of = map[push.ClientKey]*held{}
	}
	c.unsynced.init(cfg.QueueLen)
	c.hints.init()
	c.covers.init()
	c.asks.of = map[uint64]chan letter{}
	c.recent.of = map[push.ClientKey]sighting{}
	return c, nil
}

// Run works until ctx ends, then leaves the cluster, so that the others see
// this node's clients offline at once. It must be called once.
func (c *Cluster) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, f := range []func(context.Context){c.beats, c.registers, c.looks, c.sends, c.sendsCovers, c.receives, c.mendsDoubts, c.tellAgain} {
		wg.Go(func() { f(ctx) })
	}
	wg.Wait()
	if c.leaves {
		c.leave(context.WithoutCancel(ctx))
	}
	if err := c.rdb.Close(); err != nil {
		c.deps.Log.Debug("closing Redis", "err", err)
	}
}

// Healthy is nil while this node is seen and heard by the others; else a
// *push.Error for readyz. It does not block.
func (c *Cluster) Healthy() error {
	if since := c.deps.Now().Sub(c.nodes.lastBeat()); since > c.cfg.Lease {
		return push.Errorf(push.CodeOverloaded, "Redis does not answer: other nodes can't see this one's clients")
	}
	if !c.listens.Load() {
		return push.Errorf(push.CodeOverloaded, "Redis does not deliver: other nodes can't reach this one's clients")
	}
	return nil
}

// lively is false once Redis has not answered for a while: then it is not
// worth a wait.
func (c *Cluster) lively() bool {
	return c.deps.Now().Sub(c.nodes.lastBeat()) < 2*c.cfg.Beat+2*c.cfg.Timeout
}

func (c *Cluster) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.cfg.Timeout)
}

func (c *Cluster) clientKey(k push.ClientKey) string {
	return c.cfg.Prefix + ":{c:" + slotTag(k.Realm+"/"+k.ID) + "}"
}

func (c *Cluster) channel(node string) string { return c.cfg.Prefix + ":{n:" + node + "}" }

// slotTag escapes what would end a hash tag early: names may hold braces.
func slotTag(s string) string {
	var b []byte
	for i := range len(s) {
		switch s[i] {
		case '}', '{', '%':
			b = fmt.Appendf(b, "%%%02x", s[i])
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}

// wait sleeps, and reports whether ctx still stands.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
