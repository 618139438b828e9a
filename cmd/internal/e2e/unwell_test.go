package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/bench/faultproxy"
)

// What the tests of trouble ask of a node, and how they make some.

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
	resp, err := httpClient.Get("http://" + admin + "/readyz") // httpClient has a time limit
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
