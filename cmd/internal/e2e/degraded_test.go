package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wsclient"
	"github.com/sunzi-push/sunzi/bench/faultproxy"
)

// What nodes do while MariaDB, Redis or one of them is unwell. Each test runs a
// load through the trouble, and judges at its end: everything answered 2xx was
// handled once, in order, and nothing else was.

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
		if err != nil && stay.Err() == nil {
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

// try says whether the push is settled.
func (l *load) try(ctx context.Context, a *accepted) bool {
	key := fmt.Sprintf("p%d-%d", a.data.Producer, a.data.N)
	s := l.nodes[rand.IntN(len(l.nodes))]
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

// withAdmin starts a node whose admin listener is on a free port, and answers
// the address of that.
func (n *nodes) withAdmin(env ...string) (*server, string) {
	n.t.Helper()
	free := httptest.NewServer(nil)
	addr := free.Listener.Addr().String()
	free.Close()
	return n.start(append(env, "SUNZI_ADMIN_LISTEN="+addr)...), addr
}

// readiness is what /readyz answers.
type readiness struct {
	status   int
	Degraded bool              `json:"degraded"`
	Checks   map[string]string `json:"checks"`
}

func ready(t *testing.T, admin string) (r readiness) {
	t.Helper()
	resp, err := httpClient.Get("http://" + admin + "/readyz") //nolint:noctx // httpClient has a time limit
	if err != nil {
		return r
	}
	defer resp.Body.Close()
	_ = json.NewDecoder(resp.Body).Decode(&r) // of a node that ends: status 0
	r.status = resp.StatusCode
	return r
}

// unready waits for 503 of a node, wantReady for 200.
func unready(t *testing.T, admin, because string) {
	t.Helper()
	eventually(t, "unready because of "+because, func() bool {
		r := ready(t, admin)
		return r.status == http.StatusServiceUnavailable && r.Checks[because] != "ok"
	})
}

func wantReady(t *testing.T, admin string, degraded bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("ready, degraded %t", degraded), func() bool {
		r := ready(t, admin)
		return r.status == http.StatusOK && r.Degraded == degraded
	})
}

// refuses pushes once and wants that the store is told to be unavailable.
func refuses(t *testing.T, s *server, body map[string]any) {
	t.Helper()
	ans, err := s.do(t.Context(), request{method: "POST", path: "/v1/push", body: body})
	if err != nil || ans.status != http.StatusServiceUnavailable && ans.status != http.StatusGatewayTimeout {
		t.Fatalf("answered %d %s, %v", ans.status, ans.body, err)
	}
}

// liveOnly pushes what no store has to keep, and wants that it arrives.
func liveOnly(t *testing.T, s *server, client string, p *peer) {
	t.Helper()
	id := s.push(t, with(pushTo(client, "now or never"), "store", "never"))
	if m := p.want("message"); m.ID != id || m.Seq != "" {
		t.Fatalf("live only: got %+v, want %s", m, id)
	}
}

func TestWhileTheDatabaseHangsOnlyLivePushesPass(t *testing.T) {
	n := together(t, quick...)
	a, admin := n.withAdmin()
	b := n.start()
	p, _ := arrive(t, a, register(t, a, "ann"), plainHello)
	l := under(t, a, b)
	wantReady(t, admin, false)
	n.db.Stop()
	t.Cleanup(n.db.Continue)
	liveOnly(t, a, "ann", p)
	began := time.Now()
	refuses(t, a, pushTo("ann", "refused"))
	if took := time.Since(began); took > 15*time.Second { // store.timeout is 5 s; this machine may be busy
		t.Errorf("refused after %s", took)
	}
	unready(t, admin, "store")
	for time.Since(began) < 9*time.Second { // three times the lease of the node
		liveOnly(t, a, "ann", p)
	}
	l.refusals(3)
	n.db.Continue()
	wantReady(t, admin, false)
	l.judge()
}

func TestNoIDIsIssuedBeyondTheLeaseOfTheNumber(t *testing.T) {
	n := together(t, append(quick, "SUNZI_CLUSTER_NUMBER_LEASE=3s")...)
	a, admin := n.withAdmin()
	p, _ := arrive(t, a, register(t, a, "ann"), plainHello)
	liveOnly(t, a, "ann", p)
	n.db.Stop()
	t.Cleanup(n.db.Continue)
	eventually(t, "live-only pushes are refused", func() bool {
		ans, err := a.do(t.Context(), request{method: "POST", path: "/v1/push", body: with(pushTo("ann", "x"), "store", "never")})
		return err == nil && ans.status == http.StatusServiceUnavailable
	})
	n.db.Continue()
	wantReady(t, admin, false)
	eventually(t, "and go on", func() bool {
		ans, err := a.do(t.Context(), request{method: "POST", path: "/v1/push", body: with(pushTo("ann", "x"), "store", "never")})
		return err == nil && ans.status < 300
	})
}

// asAnybody makes a user who has no privilege beyond the database: root is
// above read_only.
func (n *nodes) asAnybody() {
	n.t.Helper()
	n.sql("CREATE USER app@'%'; GRANT ALL ON sunzi.* TO app@'%'")
	n.env = append(n.env, "SUNZI_STORE_DSN=app@tcp("+n.db.Addr()+")/sunzi")
}

func (n *nodes) sql(text string) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), 30*time.Second)
	defer cancel()
	if _, err := n.db.Exec(ctx, "", text); err != nil {
		n.t.Fatal(err)
	}
}

func TestAReadOnlyDatabaseRefusesAndLosesNothing(t *testing.T) {
	n := together(t, quick...)
	n.asAnybody()
	a, admin := n.withAdmin()
	b := n.start()
	p, _ := arrive(t, a, register(t, a, "ann"), plainHello)
	bob := register(t, a, "bob")
	l := under(t, a, b)
	n.sql("SET GLOBAL read_only = 1")
	liveOnly(t, a, "ann", p)
	refuses(t, a, pushTo("ann", "refused"))
	l.refusals(20)
	if _, got := arrive(t, b, bob, plainHello); len(got) == 0 || got[0].Type != "welcome" {
		t.Errorf("a client that comes meanwhile got %+v", got)
	}
	if r := ready(t, admin); r.status == 0 {
		t.Errorf("/readyz: %+v", r)
	} else {
		t.Logf("/readyz meanwhile: %+v", r)
	}
	n.sql("SET GLOBAL read_only = 0")
	wantReady(t, admin, false)
	l.judge()
}

func TestKilledConnectionsOfTheDatabaseLoseNothing(t *testing.T) {
	n := together(t, quick...)
	n.asAnybody()
	a, admin := n.withAdmin()
	b := n.start()
	l := under(t, a, b)
	for range 25 {
		n.sql("KILL USER app@'%'")
		l.more(4)
	}
	wantReady(t, admin, false)
	l.judge()
}

// smallDisk gives MariaDB a file system of its own where that may be done, and
// answers how to fill it. Elsewhere its files may not grow, which it takes for
// the same.
func smallDisk(t *testing.T) (fill func(pid int)) {
	t.Helper()
	if os.Getuid() != 0 {
		return func(pid int) {
			limit := exec.Command("prlimit", fmt.Sprintf("--pid=%d", pid), "--fsize=0")
			if out, err := limit.CombinedOutput(); err != nil {
				t.Fatalf("prlimit: %v: %s", err, out)
			}
		}
	}
	dir, err := os.MkdirTemp("", "sunzifs")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256m,mode=1777"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
		_ = os.Remove(dir)
	})
	t.Setenv("TMPDIR", dir)
	return func(int) {
		f, err := os.Create(filepath.Join(dir, "full"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for block := make([]byte, 64<<10); err == nil; {
			_, err = f.Write(block)
		}
		if !strings.Contains(err.Error(), "no space left") {
			t.Fatal(err)
		}
	}
}

func TestAFullDiskOfTheDatabaseLosesNothing(t *testing.T) {
	temporary := os.Getenv("TMPDIR")
	fill := smallDisk(t)
	n := together(t, quick...)
	full := filepath.Join(os.Getenv("TMPDIR"), "full")
	t.Setenv("TMPDIR", temporary)
	a, admin := n.withAdmin()
	p, _ := arrive(t, a, register(t, a, "ann"), plainHello)
	l := under(t, a)
	fill(n.db.PID())
	// What grows the tables until nothing more fits.
	eventually(t, "refused for want of room", func() bool {
		ans, err := a.do(t.Context(), request{method: "POST", path: "/v1/push", body: pushTo("nobody", strings.Repeat("x", 60<<10))})
		return err == nil && (ans.status == http.StatusServiceUnavailable || ans.status == http.StatusGatewayTimeout)
	})
	liveOnly(t, a, "ann", p)
	t.Logf("/readyz meanwhile: %+v; MariaDB alive: %t", ready(t, admin), n.db.Alive())
	l.refusals(3)
	_ = os.Remove(full)
	n.db.Kill()
	if err := n.db.Start(); err != nil {
		t.Fatal(err)
	}
	wantReady(t, admin, false)
	l.judge()
}

// behind puts a link before a server, which heals and ends with the test.
func behind(t *testing.T, name, target string) *faultproxy.Link {
	t.Helper()
	link, err := faultproxy.NewLink(name, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	return link
}

func set(t *testing.T, link *faultproxy.Link, f faultproxy.Fault) {
	t.Helper()
	if err := link.Set(f); err != nil {
		t.Fatal(err)
	}
}

func TestASlowDatabaseIsOnlySlow(t *testing.T) {
	n := together(t, quick...)
	link := behind(t, "database", n.db.Addr())
	n.env = append(n.env, "SUNZI_STORE_DSN=root@tcp("+link.Addr()+")/sunzi")
	a, admin := n.withAdmin()
	b := n.start()
	l := under(t, a, b)
	set(t, link, faultproxy.Both(faultproxy.Flow{Latency: 50 * time.Millisecond, Jitter: 20 * time.Millisecond}))
	before := l.refused.Load()
	l.more(15)
	wantReady(t, admin, false)
	if more := l.refused.Load() - before; more > 0 {
		t.Errorf("%d pushes were refused", more)
	}
	set(t, link, faultproxy.Fault{})
	l.judge()
}

func TestWhileRedisHangsNothingIsLost(t *testing.T) {
	n := together(t, quick...)
	a, admin := n.withAdmin()
	b := n.start()
	tok := register(t, a, "ann")
	l := under(t, a, b)
	n.redis.Stop()
	t.Cleanup(n.redis.Continue)
	wantReady(t, admin, true)
	p, _ := arrive(t, b, tok, plainHello) // let in by the database
	id := a.push(t, pushTo("ann", "by the sweep"))
	if m := p.want("message"); m.ID != id {
		t.Fatalf("got %+v, want %s", m, id)
	}
	l.more(50)
	n.redis.Continue()
	wantReady(t, admin, false)
	eventually(t, "the nodes see each other again", func() bool { return stateOfClient(t, a, "ann").Online })
	l.judge()
}

func TestAnEmptiedRedisLosesNothing(t *testing.T) {
	n := together(t, quick...)
	a, admin := n.withAdmin()
	b := n.start()
	_, _ = arrive(t, b, register(t, a, "ann"), plainHello)
	l := under(t, a, b)
	for range 20 {
		n.redis.FlushAll()
		l.more(5)
	}
	wantReady(t, admin, false)
	eventually(t, "registered again", func() bool { return stateOfClient(t, a, "ann").Online })
	l.judge()
}

func TestANodeCutOffFromRedisServesItsClients(t *testing.T) {
	n := together(t, quick...)
	link := behind(t, "redis", n.redis.Addr())
	a, adminA := n.withAdmin()
	b, adminB := n.withAdmin("SUNZI_CLUSTER_REDIS=redis://" + link.Addr())
	p, _ := arrive(t, b, register(t, a, "ann"), plainHello)
	eventually(t, "online", func() bool { return stateOfClient(t, a, "ann").Online })
	l := under(t, a, b)
	set(t, link, faultproxy.Partition())
	wantReady(t, adminB, true)
	wantReady(t, adminA, false)
	liveOnly(t, b, "ann", p)
	id := a.push(t, pushTo("ann", "by the sweep"))
	if m := p.want("message"); m.ID != id {
		t.Fatalf("got %+v, want %s", m, id)
	}
	eventually(t, "taken for offline elsewhere", func() bool { return !stateOfClient(t, a, "ann").Online })
	set(t, link, faultproxy.Fault{})
	wantReady(t, adminB, false)
	eventually(t, "online again", func() bool { return stateOfClient(t, a, "ann").Online })
	l.judge()
}

func TestANodePausedBeyondItsLeaseComesBackInOrder(t *testing.T) {
	n := together(t, append(quick, "SUNZI_CLUSTER_NUMBER_LEASE=3s")...)
	a := n.start()
	b, admin := n.withAdmin()
	p, _ := arrive(t, b, register(t, a, "ann"), plainHello)
	eventually(t, "online", func() bool { return stateOfClient(t, a, "ann").Online })
	signal(t, b, syscall.SIGSTOP)
	eventually(t, "offline when the lease is over", func() bool { return !stateOfClient(t, a, "ann").Online })
	eventually(t, "and its number is free", func() bool {
		free, err := n.db.Exec(t.Context(), "sunzi", "SELECT COUNT(*) FROM node WHERE until <= UNIX_TIMESTAMP(NOW(3)) * 1000")
		return err == nil && strings.TrimSpace(free) == "1"
	})
	c := n.start() // which may take the number of the paused one
	l := under(t, a, c)
	id := c.push(t, pushTo("ann", "while it was paused"))
	signal(t, b, syscall.SIGCONT)
	if m := p.want("message"); m.ID != id {
		t.Fatalf("got %+v, want %s", m, id)
	}
	wantReady(t, admin, false)
	eventually(t, "online again", func() bool { return stateOfClient(t, a, "ann").Online })
	ids := map[string]bool{id: true}
	for i := range 60 { // by turns at the node that was paused and the one that came
		s := []*server{b, c}[i%2]
		next := ""
		eventually(t, "accepted", func() bool {
			ans, err := s.do(t.Context(), request{method: "POST", path: "/v1/push", key: fmt.Sprint(i), body: pushTo("ann", i)})
			var r struct{ ID string }
			if err != nil || ans.status >= 300 || json.Unmarshal(ans.body, &r) != nil {
				return false // no number yet after the pause
			}
			next = r.ID
			return true
		})
		if ids[next] {
			t.Fatalf("the ID %s was issued twice", next)
		}
		ids[next] = true
		if m := p.want("message"); m.ID != next {
			t.Fatalf("push %d: got %+v, want %s", i, m, next)
		}
	}
	l.judge()
}

func signal(t *testing.T, s *server, sig syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func TestANodeThatEndsSendsItsClientsToTheOther(t *testing.T) {
	n := together(t, quick...)
	a := n.start()
	b, admin := n.withAdmin("SUNZI_HUB_DRAIN=3s", "SUNZI_HUB_COME_BACK=1s")
	tok := register(t, a, "ann")
	p, _ := arrive(t, b, tok, plainHello)
	l := under(t, a, b)
	wantReady(t, admin, false)
	signal(t, b, syscall.SIGTERM)
	unready(t, admin, "drain")
	delay := p.WantClose(4200)
	var ms int
	if _, err := fmt.Sscan(delay, &ms); err != nil || ms < 0 || ms > 1000 {
		t.Errorf("the suggested delay is %q", delay)
	}
	q, _ := arrive(t, a, tok, plainHello)
	id := a.push(t, pushTo("ann", "elsewhere"))
	if m := q.want("message"); m.ID != id {
		t.Fatalf("got %+v, want %s", m, id)
	}
	b.stop(t)
	l.judge()
}
