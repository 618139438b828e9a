package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wsclient"
)

// What nodes do while MariaDB, Redis or one of them is unwell: database_test.go,
// redis_test.go, node_test.go. Each test runs a load through the trouble, and
// judges at its end: everything answered 2xx was handled once, in order, and
// nothing else was.

// quick is the shortest sweep that the configuration allows; the lease of
// together is the shortest as well.
var quick = []string{"SUNZI_CLUSTER_HEAD_SWEEP=1s"}

// load is producers that push numbered messages to any of the nodes, and
// clients that come and go between them.
type load struct {
	t       *testing.T
	nodes   []*server
	clients []*receiver
	settled atomic.Int64 // pushes answered 2xx
	refused atomic.Int64 // answers 503 or 504, and requests without an answer

	done      chan struct{} // closed when producers end after their push
	leave     context.CancelFunc
	producing sync.WaitGroup
	listening sync.WaitGroup
	mu        sync.Mutex
	pushed    map[string][]accepted // by client; guarded by mu
	everyID   map[string]string     // push ID to key; guarded by mu
}

// under starts a load and waits until pushes go on.
func under(t *testing.T, nodes ...*server) *load {
	t.Helper()
	l := &load{t: t, nodes: nodes, done: make(chan struct{}), pushed: map[string][]accepted{}, everyID: map[string]string{}}
	ctx, leave := context.WithCancel(context.WithoutCancel(t.Context()))
	l.leave = leave
	for i := range 4 {
		id := fmt.Sprintf("load-%d", i)
		c := &receiver{id: id, token: register(t, nodes[0], id), cursors: wsclient.NewMemoryCursors()}
		l.clients = append(l.clients, c)
		l.listening.Go(func() { l.roam(ctx, c) })
	}
	for p := range 3 {
		l.producing.Go(func() { l.produce(ctx, p) })
	}
	t.Cleanup(func() { leave(); l.producing.Wait(); l.listening.Wait() })
	l.more(20)
	return l
}

// roam is the life of a client: a while at one node, then at any other.
func (l *load) roam(ctx context.Context, c *receiver) {
	for ctx.Err() == nil {
		stay, cancel := context.WithTimeout(ctx, time.Duration(200+rand.IntN(2000))*time.Millisecond)
		client, err := wsclient.New(wsclient.Config{
			URL: "ws://one.address/ws", ClientID: c.id, Token: c.token, Cursors: c.cursors, NetDial: l.dial,
			MinBackoff: 50 * time.Millisecond, MaxBackoff: 500 * time.Millisecond,
		})
		if err == nil {
			err = client.Run(stay, c.handle)
		}
		if err != nil && stay.Err() == nil && !ownOlder(err) {
			l.t.Errorf("client %s: %v", c.id, err)
		}
		cancel()
	}
}

// dial is the balancer before the nodes: cursors belong to an address.
func (l *load) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, l.nodes[rand.IntN(len(l.nodes))].addr())
}

// produce pushes one message after the other, each with its key to one node
// after the other until it is settled.
func (l *load) produce(ctx context.Context, p int) {
	for n := 0; ctx.Err() == nil; n++ {
		select {
		case <-l.done:
			return
		default:
		}
		c := l.clients[rand.IntN(len(l.clients))]
		a := accepted{client: c.id, data: numbered{p, n}}
		for ctx.Err() == nil && !l.try(ctx, &a) {
			l.refused.Add(1)
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond): // the pause of an application that retries
			}
		}
	}
}

// try says whether the push is settled, at any node.
func (l *load) try(ctx context.Context, a *accepted) bool {
	return l.tryAt(ctx, l.nodes[rand.IntN(len(l.nodes))], a)
}

func (l *load) tryAt(ctx context.Context, s *server, a *accepted) bool {
	key := fmt.Sprintf("p%d-%d", a.data.Producer, a.data.N)
	ans, err := s.do(ctx, request{method: "POST", path: "/v1/push", key: key, body: pushTo(a.client, a.data)})
	if err != nil || ans.status == http.StatusServiceUnavailable || ans.status == http.StatusGatewayTimeout {
		return false
	}
	var r struct{ ID string }
	if err := json.Unmarshal(ans.body, &r); err != nil || ans.status >= 300 {
		l.t.Errorf("push %s: %d %s, %v", key, ans.status, ans.body, err)
		return true
	}
	a.id = r.ID
	l.mu.Lock()
	defer l.mu.Unlock()
	if other, twice := l.everyID[a.id]; twice {
		l.t.Errorf("%s and %s have one ID: %s", other, key, a.id)
	}
	l.everyID[a.id] = key
	l.pushed[a.client] = append(l.pushed[a.client], *a)
	l.settled.Add(1)
	return true
}

// more waits until so many more pushes were settled.
func (l *load) more(n int64) {
	l.t.Helper()
	goal := l.settled.Load() + n
	eventually(l.t, fmt.Sprintf("%d more pushes settled", n), func() bool { return l.settled.Load() >= goal })
}

// refusals waits until so many more pushes were refused, or not answered.
func (l *load) refusals(n int64) {
	l.t.Helper()
	goal := l.refused.Load() + n
	eventually(l.t, fmt.Sprintf("%d more pushes refused", n), func() bool { return l.refused.Load() >= goal })
}

// judge ends the load and compares what was answered with what was handled.
func (l *load) judge() {
	l.t.Helper()
	l.more(20)
	close(l.done)
	l.producing.Wait()
	for _, c := range l.clients {
		eventually(l.t, c.id+" has all its messages", func() bool { return c.count() >= len(l.pushed[c.id]) })
	}
	l.leave()
	l.listening.Wait()
	for _, c := range l.clients {
		c.judge(l.t, l.pushed[c.id])
	}
	l.t.Logf("%d pushes settled, %d times refused or unanswered", l.settled.Load(), l.refused.Load())
}
