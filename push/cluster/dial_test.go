package cluster

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

// ports dials 127.0.0.1 whatever the host, and remembers the ports.
type ports struct {
	mu    sync.Mutex
	asked map[string]bool // guarded by mu
}

func (d *ports) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.asked[port] = true
	d.mu.Unlock()
	if _, ok := ctx.Deadline(); !ok {
		return nil, fmt.Errorf("dialling %s has no end", addr)
	}
	return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

func (d *ports) knows(r *daemons.Redis) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[port(r)]
}

func port(r *daemons.Redis) string {
	_, port, _ := net.SplitHostPort(r.Addr())
	return port
}

func TestEveryConnectionIsDialledAsConfigured(t *testing.T) {
	for name, open := range map[string]func(*testing.T) (url string, servers []*daemons.Redis){
		"single": func(t *testing.T) (string, []*daemons.Redis) {
			r := daemons.StartRedis(t)
			return "redis://no.such.host.invalid:" + port(r), []*daemons.Redis{r}
		},
		"sentinel": func(t *testing.T) (string, []*daemons.Redis) {
			s := daemons.StartSentinel(t)
			return "redis+sentinel://no.such.host.invalid:" + port(s.Sentinels[0]) + "/" + daemons.MasterName,
				[]*daemons.Redis{s.Sentinels[0], s.Master}
		},
		"cluster": func(t *testing.T) (string, []*daemons.Redis) {
			c := daemons.StartRedisCluster(t, 3, 0)
			return "redis+cluster://no.such.host.invalid:" + port(c.Nodes[0]), c.Nodes
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, servers := open(t)
			d := &ports{asked: map[string]bool{}}
			through := func(c *Config) { c.Dial = d.dial }
			a, b := start(t, url, "a", through), start(t, url, "b", through)
			together(t, a, b)
			for i := range 20 { // of slots of all servers
				id := fmt.Sprint(i)
				s := b.attach(client(id))
				eventually(t, "a sees it", func() bool { return a.sees(client(id)) })
				a.hint(client(id), 3)
				eventually(t, "hinted", func() bool { return s.offered(3) })
			}
			for _, r := range servers {
				if !d.knows(r) {
					t.Errorf("%s was dialled in another way", r.Addr())
				}
			}
		})
	}
}

func TestADialledConnectionIsEncryptedWhereTheURLSaysSo(t *testing.T) {
	o, err := parseURL("rediss://:secret@r.example:6380")
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	first := make(chan byte, 1)
	go func() {
		b := make([]byte, 1)
		_, _ = theirs.Read(b)
		_ = theirs.Close()
		first <- b[0]
	}()
	c := newClient(o, time.Minute, func(context.Context, string, string) (net.Conn, error) { return ours, nil })
	defer c.Close()
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("no handshake was needed")
	}
	if got := <-first; got != 22 { // RFC 8446, 5.1: the content type of a handshake
		t.Errorf("the first byte is %d", got)
	}
}
