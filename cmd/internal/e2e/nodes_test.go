package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

// nodes is several servers on one database and one Redis.
type nodes struct {
	t     *testing.T
	db    *daemons.MariaDB
	redis *daemons.Redis
	env   []string
	key   string
}

// together starts the services; nodes are started one by one.
func together(t *testing.T, env ...string) *nodes {
	t.Helper()
	n := &nodes{t: t, db: daemons.StartMariaDB(t), redis: daemons.StartRedis(t)}
	n.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
		"SUNZI_STORE_DSN=" + n.db.DSN("sunzi"), "SUNZI_CLUSTER_REDIS=" + n.redis.URL(),
		"SUNZI_TOKENS_SECRET=" + strings.Repeat("only for this test ", 3), "SUNZI_ADMIN_LISTEN=",
		"SUNZI_CLUSTER_LEASE=3s", "SUNZI_HUB_DRAIN=0s", "SUNZI_HUB_CONNECT_RATE=0",
	}, env...)
	out, err := n.command("key", "create", "e2e", "--scopes", "push,read,clients,groups,tokens,admin", "--local").Output()
	if err != nil {
		t.Fatalf("no key: %v: %s", err, stderrOf(err))
	}
	n.key = strings.TrimSpace(string(out))
	return n
}

func stderrOf(err error) string {
	if e, ok := err.(*exec.ExitError); ok { //nolint:errorlint // Output gives it bare
		return string(e.Stderr)
	}
	return ""
}

func (n *nodes) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env = n.env
	cmd.Dir = n.t.TempDir()
	return cmd
}

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// start runs one more node and waits until it listens.
func (n *nodes) start(env ...string) *server {
	n.t.Helper()
	s := &server{stderr: &lockedBuffer{}, done: make(chan struct{}), APIKey: n.key}
	s.cmd = n.command("serve", "--listen", "127.0.0.1:0")
	s.cmd.Env = append(s.cmd.Env, env...)
	s.cmd.Stderr = s.stderr
	if err := s.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	go func() { defer close(s.done); _ = s.cmd.Wait() }()
	n.t.Cleanup(s.kill)
	n.t.Cleanup(func() {
		if n.t.Failed() {
			n.t.Logf("node %s:\n%s", s.URL, s.stderr.String())
		}
	})
	eventually(n.t, "the node listens", func() bool {
		m := listening.FindStringSubmatch(s.stderr.String())
		select {
		case <-s.done:
			n.t.Fatalf("the node ended:\n%s", s.stderr.String())
		default:
		}
		if m == nil {
			return false
		}
		s.URL, s.WSURL = "http://"+m[1], "ws://"+m[1]+"/ws"
		return true
	})
	return s
}

// register makes a client and answers its token.
func register(t *testing.T, s *server, id string) string {
	t.Helper()
	var made struct {
		Token string `json:"token"`
	}
	s.must(t, request{method: "POST", path: "/v1/clients", body: map[string]any{"client_id": id}}, &made)
	return made.Token
}

// clientState is GET /v1/clients/{id}.
type clientState struct {
	Online      bool   `json:"online"`
	Node        string `json:"node"`
	Connections []struct {
		Node string `json:"node"`
	} `json:"connections"`
}

func stateOfClient(t *testing.T, s *server, id string) (c clientState) {
	t.Helper()
	s.must(t, request{method: "GET", path: "/v1/clients/" + id}, &c)
	return c
}

func TestAPushOnOneNodeReachesItsClientOnAnother(t *testing.T) {
	n := together(t, "SUNZI_CLUSTER_HEAD_SWEEP=1h") // so that only hints can bring it
	a, b := n.start(), n.start()
	tok := register(t, a, "ann")
	p, _ := arrive(t, b, tok, plainHello)
	eventually(t, "the other node sees the client", func() bool { return stateOfClient(t, a, "ann").Online })
	for i := range 50 {
		id := a.push(t, pushTo("ann", i))
		m := p.want("message")
		if m.ID != id || m.Seq != fmt.Sprint(i+1) || string(m.Data) != fmt.Sprint(i) {
			t.Fatalf("message %d: %+v, want ID %s", i, m, id)
		}
	}
	p.Text(`{"type":"ack","seq":"50"}`)
	eventually(t, "acked, as the other node sees it", func() bool {
		var c struct {
			Cursor string `json:"cursor"`
		}
		a.must(t, request{method: "GET", path: "/v1/clients/ann"}, &c)
		return c.Cursor == "50"
	})
	var gone struct{ Closed int }
	a.must(t, request{method: "DELETE", path: "/v1/clients/ann/connections"}, &gone)
	if gone.Closed != 1 {
		t.Errorf("closed %d connections of the other node, want 1", gone.Closed)
	}
}

func TestAClientThatComesToAnotherNodeIsReplaced(t *testing.T) {
	n := together(t)
	a, b := n.start(), n.start()
	tok := register(t, a, "ann")
	first, _ := arrive(t, a, tok, plainHello)
	// Of two that come within milliseconds, Redis says which is the newer.
	eventually(t, "the first is known to the other node", func() bool { return stateOfClient(t, b, "ann").Online })
	second, _ := arrive(t, b, tok, plainHello)
	first.WantClose(4007)
	id := a.push(t, pushTo("ann", "x"))
	if m := second.want("message"); m.ID != id {
		t.Fatalf("the newer got %+v, want %s", m, id)
	}
}

func TestACrashedNodesClientsFindTheirMailboxElsewhere(t *testing.T) {
	n := together(t)
	a, b := n.start(), n.start()
	tok := register(t, a, "ann")
	_, _ = arrive(t, b, tok, plainHello)
	eventually(t, "online", func() bool { return stateOfClient(t, a, "ann").Online })
	b.kill()
	id := a.push(t, pushTo("ann", "while it was away"))
	eventually(t, "offline when the lease is over", func() bool { return !stateOfClient(t, a, "ann").Online })
	p, got := arrive(t, a, tok, plainHello)
	if len(got) != 2 || got[1].ID != id {
		t.Fatalf("on the other node: %+v", got)
	}
	p.Text(`{"type":"ack","seq":"1"}`)
	eventually(t, "acked", func() bool { return a.stateOf(t, id) == "acked" })
}

func TestWithoutRedisNothingIsLost(t *testing.T) {
	n := together(t, "SUNZI_CLUSTER_HEAD_SWEEP=1s")
	a, b := n.start(), n.start()
	tok := register(t, a, "ann")
	p, _ := arrive(t, b, tok, plainHello)
	n.redis.Kill()
	for i := range 5 {
		id := a.push(t, pushTo("ann", i))
		if m := p.want("message"); m.ID != id { // by the sweep of heads
			t.Fatalf("got %+v, want %s", m, id)
		}
	}
	// A new client is let in, its token checked in the database.
	bob := register(t, a, "bob")
	q, _ := arrive(t, b, bob, plainHello)
	id := b.push(t, pushTo("bob", "hello"))
	if m := q.want("message"); m.ID != id {
		t.Fatalf("bob got %+v", m)
	}
	if err := n.redis.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the nodes see each other again", func() bool { return stateOfClient(t, a, "bob").Online })
}

func TestWithoutTheDatabasePushesAreRefusedAndNothingIsLost(t *testing.T) {
	n := together(t)
	a := n.start()
	tok := register(t, a, "ann")
	p, _ := arrive(t, a, tok, plainHello)
	n.db.Kill()
	began := time.Now()
	ans, err := a.do(t.Context(), request{method: "POST", path: "/v1/push", key: "k1", body: pushTo("ann", "refused")})
	if err != nil || ans.status != 503 && ans.status != 504 {
		t.Fatalf("with the database gone: %d %s, %v", ans.status, ans.body, err)
	}
	if took := time.Since(began); took > 15*time.Second { // the promise is 5 s; this machine may be busy
		t.Errorf("refused after %s", took)
	}
	if err := n.db.Start(); err != nil {
		t.Fatal(err)
	}
	var id string
	eventually(t, "accepted again", func() bool {
		ans, err := a.do(t.Context(), request{method: "POST", path: "/v1/push", key: "k1", body: pushTo("ann", "refused")})
		if err != nil || ans.status >= 300 {
			return false
		}
		var r struct{ ID string }
		if err := json.Unmarshal(ans.body, &r); err != nil {
			t.Fatal(err)
		}
		id = r.ID
		return true
	})
	if m := p.want("message"); m.ID != id || m.Seq != "1" {
		t.Fatalf("got %+v, want %s at 1", m, id)
	}
}
