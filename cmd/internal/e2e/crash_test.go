package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wsclient"
)

// world is a server that is killed and restarted on one folder and port, and
// what has been said to it and by it.
type world struct {
	t    *testing.T
	dir  string
	addr string
	rng  *rand.Rand // of the killer alone

	mu  sync.RWMutex // write-held while there is no server
	srv *server

	acked atomic.Int64 // pushes answered 2xx
}

// numbered is the data of the pushes of this test.
type numbered struct {
	Producer int `json:"producer"`
	N        int `json:"n"`
}

// receiver is a client that lives on while servers die. What it has handled
// is only ever appended to, by its one handler.
type receiver struct {
	id, token string
	cursors   wsclient.CursorStore

	mu      sync.Mutex
	handled []handled
}

type handled struct {
	id   string
	seq  uint64
	data numbered
}

// accepted is a push that was answered 2xx.
type accepted struct {
	id     string
	client string
	data   numbered
}

func TestNothingIsLostWhenTheServerIsKilled(t *testing.T) {
	const (
		kills     = 22
		receivers = 8
		producers = 4
	)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d (timing decides the rest)", seed)
	w := &world{t: t, dir: t.TempDir(), addr: "127.0.0.1:0", rng: rand.New(rand.NewPCG(seed, 1))}
	w.srv = start(t, w.dir, w.addr)
	w.addr = w.srv.addr()

	clients := make([]*receiver, receivers)
	for i := range clients {
		var c struct {
			ClientID string `json:"client_id"`
			Token    string `json:"token"`
		}
		w.srv.must(t, request{method: "POST", path: "/v1/clients", body: map[string]any{}}, &c)
		clients[i] = &receiver{id: c.ClientID, token: c.Token, cursors: wsclient.NewMemoryCursors()}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var listening, producing sync.WaitGroup
	for i, c := range clients {
		listening.Go(func() { c.live(ctx, t, w.srv.WSURL, rand.New(rand.NewPCG(seed, uint64(100+i)))) })
	}
	done := make(chan struct{})
	pushed := make([][]accepted, producers)
	for p := range producers {
		producing.Go(func() {
			pushed[p] = w.produce(p, clients, rand.New(rand.NewPCG(seed, uint64(200+p))), done)
		})
	}
	for range kills {
		w.killAfter(20 + w.rng.Int64N(200))
	}
	close(done)
	producing.Wait()

	want := map[string][]accepted{}
	total := 0
	for _, list := range pushed {
		for _, a := range list {
			want[a.client] = append(want[a.client], a)
			total++
		}
	}
	for _, c := range clients {
		eventually(t, fmt.Sprintf("client %s has its %d messages", c.id, len(want[c.id])), func() bool {
			return c.count() >= len(want[c.id])
		})
	}
	cancel()
	listening.Wait()
	for _, c := range clients {
		c.judge(t, want[c.id])
	}
	t.Logf("%d pushes acknowledged over %d kills", total, kills)
	if total < kills*20 {
		t.Fatalf("only %d pushes were acknowledged: the run was too kind", total)
	}
}

// killAfter kills the server once so many more pushes were acknowledged, and
// starts it again.
func (w *world) killAfter(n int64) {
	w.t.Helper()
	goal := w.acked.Load() + n
	eventually(w.t, "pushes go on", func() bool { return w.acked.Load() >= goal })
	w.srv.kill()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.srv = start(w.t, w.dir, w.addr)
}

// produce pushes numbered messages to random clients, each until it is
// settled: an unknown outcome is retried with the same key.
func (w *world) produce(p int, clients []*receiver, rng *rand.Rand, done <-chan struct{}) []accepted {
	var list []accepted
	for n := 0; ; n++ {
		select {
		case <-done:
			return list
		default:
		}
		c := clients[rng.IntN(len(clients))]
		data := numbered{p, n}
		key := fmt.Sprintf("p%d-%d", p, n)
		for {
			w.mu.RLock()
			srv := w.srv
			w.mu.RUnlock()
			a, err := srv.do(context.Background(), request{method: "POST", path: "/v1/push", key: key, body: pushTo(c.id, data)})
			if err != nil || a.status == http.StatusServiceUnavailable {
				continue // gone or going: the next try blocks until it is back
			}
			if a.status >= 300 {
				w.t.Errorf("push %s: %d %s", key, a.status, a.body)
				return list
			}
			var r struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(a.body, &r); err != nil {
				w.t.Errorf("push %s: %v", key, err)
				return list
			}
			list = append(list, accepted{r.ID, c.id, data})
			w.acked.Add(1)
			break
		}
	}
}

// live connects, and sometimes drops its connection and comes back with the
// cursor it kept, as a phone does; until ctx ends.
func (c *receiver) live(ctx context.Context, t *testing.T, wsURL string, rng *rand.Rand) {
	for ctx.Err() == nil {
		stay, cancel := context.WithTimeout(ctx, time.Duration(100+rng.IntN(2000))*time.Millisecond)
		client, err := wsclient.New(wsclient.Config{
			URL: wsURL, ClientID: c.id, Token: c.token, Cursors: c.cursors,
		})
		if err != nil {
			t.Errorf("client %s: %v", c.id, err)
		} else if err := client.Run(stay, c.handle); err != nil && stay.Err() == nil && !ownOlder(err) {
			t.Errorf("client %s: %v", c.id, err)
		}
		cancel()
	}
}

// ownOlder reports whether a client that connects again and again was taken over
// by one of its own earlier connections, which had been on its way all the time:
// a busy server comes to it after the newer one. The next life connects again.
func ownOlder(err error) bool {
	var f *wsclient.Failure
	return errors.As(err, &f) && f.Code == replacedCode
}

const replacedCode = 4007

func (c *receiver) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.handled)
}

// handle is the client's handler.
func (c *receiver) handle(_ context.Context, m *wsclient.Message) error {
	var data numbered
	if err := json.Unmarshal(m.Data, &data); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handled = append(c.handled, handled{m.ID, m.Seq, data})
	return nil
}

// judge compares what was handled with what was acknowledged.
func (c *receiver) judge(t *testing.T, want []accepted) {
	t.Helper()
	times := map[string]int{}
	last := uint64(0)
	perProducer := map[int]int{}
	for _, h := range c.handled {
		times[h.id]++
		if h.seq <= last {
			t.Errorf("client %s handled sequence %d after %d", c.id, h.seq, last)
		}
		last = h.seq
		if before, ok := perProducer[h.data.Producer]; ok && h.data.N <= before {
			t.Errorf("client %s: producer %d's %d came after its %d", c.id, h.data.Producer, h.data.N, before)
		}
		perProducer[h.data.Producer] = h.data.N
	}
	for _, a := range want {
		if times[a.id] != 1 {
			t.Errorf("client %s handled push %s (%+v) %d times", c.id, a.id, a.data, times[a.id])
		}
		delete(times, a.id)
	}
	for id, n := range times {
		t.Errorf("client %s handled %s %d times, which nobody acknowledged", c.id, id, n)
	}
}
