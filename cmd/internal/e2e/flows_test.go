package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAPushGoesAcceptedStoredAcked(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	id := s.push(t, pushTo(s.ClientID, "x"))
	if got := s.stateOf(t, id); got != "stored" {
		t.Fatalf("before the client came: %s", got)
	}
	p, got := arrive(t, s, s.Token, plainHello)
	if len(got) != 2 || got[1].ID != id || !got[1].Replayed {
		t.Fatalf("replayed: %+v", got)
	}
	p.Text(`{"type":"ack","seq":"1"}`)
	eventually(t, "acked", func() bool { return s.stateOf(t, id) == "acked" })
	p.Text(`{"type":"read","seq":"1"}`)
	eventually(t, "read", func() bool { return s.stateOf(t, id) == "read" })
}

func TestADeadLetterIsListedAndComesAgain(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	p, _ := arrive(t, s, s.Token, plainHello)
	id := s.push(t, pushTo(s.ClientID, "poison"))
	p.want("message")
	p.Text(`{"type":"ack","seq":"1","failed":[{"seq":"1","code":7}]}`)
	eventually(t, "failed", func() bool { return s.stateOf(t, id) == "failed" })
	var list struct {
		Messages []struct{ Seq string } `json:"messages"`
	}
	s.must(t, request{method: "GET", path: "/v1/clients/" + s.ClientID + "/messages?status=failed"}, &list)
	if len(list.Messages) != 1 || list.Messages[0].Seq != "1" {
		t.Fatalf("dead letters: %+v", list)
	}
	s.must(t, request{method: "POST", path: "/v1/clients/" + s.ClientID + "/redrive", body: map[string]any{}}, nil)
	if m := p.want("message"); m.Seq != "2" || m.ID != id {
		t.Fatalf("again: %+v", m)
	}
}

func TestACancelledPushIsToldToWhoeverMayHaveIt(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	p, _ := arrive(t, s, s.Token, plainHello)
	id := s.push(t, pushTo(s.ClientID, "oops"))
	p.want("message")
	s.must(t, request{method: "DELETE", path: "/v1/push/" + id}, nil)
	if m := p.want("tombstone"); m.ID != id || m.Seq != "1" {
		t.Fatalf("tombstone: %+v", m)
	}
	if got := s.stateOf(t, id); got != "cancelled" {
		t.Fatalf("state %s", got)
	}
	_, got := arrive(t, s, s.Token, plainHello)
	if len(got) != 2 || got[1].Type != "gap" || got[1].From != "1" || got[1].To != "1" || got[1].Reason != "cancelled" {
		t.Fatalf("a later session was told %+v", got)
	}
}

func TestACollapseKeyReplacesWhatWaits(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	var ids []string
	for i := range 3 {
		ids = append(ids, s.push(t, with(pushTo(s.ClientID, i), "collapse_key", "score")))
	}
	_, got := arrive(t, s, s.Token, plainHello)
	if len(got) != 3 || got[1].Type != "gap" || got[1].To != "2" || got[1].Reason != "collapsed" || got[2].ID != ids[2] {
		t.Fatalf("told %+v", got)
	}
	if st := s.stateOf(t, ids[0]); st != "dropped" {
		t.Fatalf("the replaced one is %s", st)
	}
}

func TestAScheduledPushSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, "127.0.0.1:0")
	due := time.Now().Add(1500 * time.Millisecond)
	id := s.push(t, with(pushTo(s.ClientID, "later"), "not_before", due.UnixMilli()))
	s.kill()
	s = start(t, dir, "127.0.0.1:0")
	p, got := arrive(t, s, s.Token, plainHello)
	m := got[len(got)-1] // where the restart took longer than the delay
	if len(got) == 1 {
		m = p.want("message")
	}
	if m.ID != id || time.Now().Before(due) {
		t.Fatalf("%+v at %v, due %v", m, time.Now(), due)
	}
}

func TestARepeatedRequestMakesNoSecondPush(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	r := request{method: "POST", path: "/v1/push", key: "order-1", body: pushTo(s.ClientID, 1)}
	var first, second struct {
		ID        string `json:"id"`
		Duplicate bool   `json:"duplicate"`
	}
	s.must(t, r, &first)
	s.must(t, r, &second)
	if second.ID != first.ID || !second.Duplicate || first.Duplicate {
		t.Fatalf("%+v, then %+v", first, second)
	}
	r.body = pushTo(s.ClientID, 2)
	a, err := s.do(t.Context(), r)
	if err != nil || a.status != http.StatusUnprocessableEntity {
		t.Fatalf("another body: %d %s, %v", a.status, a.body, err)
	}
	live := request{method: "POST", path: "/v1/push", key: "live-1", body: with(pushTo(s.ClientID, 1), "store", "never")}
	p, _ := arrive(t, s, s.Token, plainHello)
	s.must(t, live, nil)
	s.must(t, live, &second)
	if !second.Duplicate {
		t.Fatalf("a repeated live-only push: %+v", second)
	}
	if m := p.want("message"); m.Seq != "" {
		t.Fatalf("live-only message with a sequence: %+v", m)
	}
	p.Text(`{"type":"ping","id":"1"}`)
	p.want("pong") // and no second message before it
}

func TestGroupsTellTheirMembers(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	a, aToken := s.client(t)
	b, bToken := s.client(t)
	s.must(t, request{method: "PUT", path: "/v1/groups/room/members/" + a}, nil)
	s.must(t, request{method: "PATCH", path: "/v1/groups/room", body: map[string]any{"events": true}}, nil)
	pa, _ := arrive(t, s, aToken, plainHello)
	pb, _ := arrive(t, s, bToken, plainHello)
	s.must(t, request{method: "PUT", path: "/v1/groups/room/members/" + b}, nil)
	if m := pa.want("member_joined"); m.Group != "room" || m.ClientID != b {
		t.Fatalf("%+v", m)
	}
	pb.want("member_joined") // itself, which tells it that it is in
	pa.Text(`{"type":"typing","conversation_id":"room","sender_name":"Ann"}`)
	if m := pb.want("typing"); m.SenderID != a || m.SenderName != "Ann" {
		t.Fatalf("%+v", m)
	}
	s.push(t, map[string]any{"to": map[string]any{"group": "room"}, "data": 1})
	pa.want("message")
	pb.want("message")
	s.must(t, request{method: "DELETE", path: "/v1/groups/room/members/" + b}, nil)
	pa.want("member_left")
}

func TestALargeGroupIsExpandedThroughAKill(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, "127.0.0.1:0")
	const members = 2500
	ids := make([]string, members)
	inParallel(members, func(i int) {
		ids[i], _ = s.client(t)
		s.must(t, request{method: "PUT", path: "/v1/groups/crowd/members/" + ids[i]}, nil)
	})
	var r struct {
		ID string `json:"id"`
	}
	a, err := s.do(t.Context(), request{method: "POST", path: "/v1/push", body: map[string]any{"to": map[string]any{"group": "crowd"}, "data": 1}})
	if err != nil || a.status != http.StatusAccepted || json.Unmarshal(a.body, &r) != nil {
		t.Fatalf("%d %s, %v", a.status, a.body, err)
	}
	s.kill() // answered: it must go on where it was
	s = start(t, dir, "127.0.0.1:0")
	late, _ := s.client(t)
	s.must(t, request{method: "PUT", path: "/v1/groups/crowd/members/" + late}, nil)
	var st struct {
		State  string         `json:"state"`
		Counts map[string]int `json:"counts"`
	}
	defer func() { t.Logf("the push became %+v; the server said %q", st, s.stderr.String()) }()
	eventually(t, "every member has it once", func() bool {
		s.must(t, request{method: "GET", path: "/v1/push/" + r.ID + "?limit=1"}, &st)
		return st.Counts["stored"] == members
	})
	for _, id := range []string{ids[0], ids[members/2], ids[members-1]} {
		if n := s.backlog(t, id); n != 1 {
			t.Errorf("member %s has %d entries", id, n)
		}
	}
	if n := s.backlog(t, late); n != 0 {
		t.Errorf("who joined after the push has %d entries", n)
	}
}

func inParallel(n int, do func(i int)) {
	const workers = 16
	done := make(chan struct{}, workers)
	for w := range workers {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := w; i < n; i += workers {
				do(i)
			}
		}()
	}
	for range workers {
		<-done
	}
}

func (s *server) backlog(t *testing.T, id string) int {
	t.Helper()
	var c struct {
		Backlog struct {
			Count int `json:"count"`
		} `json:"backlog"`
	}
	s.must(t, request{method: "GET", path: "/v1/clients/" + id}, &c)
	return c.Backlog.Count
}

func TestAClientWithoutAnIDGetsOneOnTheSocket(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	var k struct {
		Key string `json:"key"`
	}
	s.must(t, request{method: "POST", path: "/v1/keys", body: map[string]any{"name": "page", "scopes": []string{"connect"}}}, &k)
	if !strings.HasPrefix(k.Key, "ck_") {
		t.Fatalf("a connect key reads %.3s…", k.Key)
	}
	p := dial(t, s, "/ws", k.Key)
	p.Text(plainHello)
	w := p.want("welcome")
	if w.ClientID == "" || w.Token == "" {
		t.Fatalf("welcome: %+v", w)
	}
	p.want("replay_complete")
	s.push(t, pushTo(w.ClientID, "hi"))
	p.want("message")
	again, _ := arrive(t, s, w.Token, plainHello)
	p.WantClose(4007)
	s.push(t, pushTo(w.ClientID, "hi again"))
	again.want("message")
	taken := dial(t, s, "/ws/"+w.ClientID, k.Key)
	taken.WantClose(4001)
}

func TestRefusedTokensAreToldByACloseCode(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	other, _ := s.client(t)
	for name, tc := range map[string]struct{ path, token, reason string }{
		"none":          {"/ws", "", "missing token"},
		"garbage":       {"/ws", "abc.def.ghi", "invalid or expired token"},
		"another's":     {"/ws/" + other, s.Token, "token-client mismatch"},
		"another realm": {"/ws/bank/" + s.ClientID, s.Token, "wrong realm"},
	} {
		if reason := dial(t, s, tc.path, tc.token).WantClose(4001); reason != tc.reason {
			t.Errorf("%s: reason %q, want %q", name, reason, tc.reason)
		}
	}
}

func TestARevocationClosesTheConnection(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	id, token := s.client(t)
	p, _ := arrive(t, s, token, plainHello)
	s.must(t, request{method: "POST", path: "/v1/tokens/revoke", body: map[string]any{"client": id}}, nil)
	p.WantClose(4004)
	if reason := dial(t, s, "/ws", token).WantClose(4001); reason != "invalid or expired token" {
		t.Fatalf("reason %q", reason)
	}
	s.must(t, request{method: "DELETE", path: "/v1/clients/" + id}, nil)
	a, err := s.do(t.Context(), request{method: "POST", path: "/v1/push", body: pushTo(id, 1)})
	if err != nil || a.status != http.StatusNotFound || !strings.Contains(string(a.body), "client_not_found") {
		t.Fatalf("a push to a deleted client: %d %s, %v", a.status, a.body, err)
	}
}

func TestARestoredDatabaseMakesANewIncarnation(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, "127.0.0.1:0")
	s.push(t, pushTo(s.ClientID, 1))
	s.stop(t)
	backup := readAll(t, dir)
	s = start(t, dir, "127.0.0.1:0")
	s.push(t, pushTo(s.ClientID, 2))
	p, got := arrive(t, s, s.Token, plainHello)
	p.Text(`{"type":"ack","seq":"2"}`)
	before := got[0].Incarnation
	s.stop(t)
	for name, content := range backup {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = start(t, dir, "127.0.0.1:0")
	hello := fmt.Sprintf(`{"type":"hello","cursor":"2","incarnation":%q}`, before)
	p, got = arrive(t, s, s.Token, hello)
	if got[0].Incarnation == before {
		t.Fatal("the incarnation is the old one: the client would drop new messages as old")
	}
	if len(got) != 2 || got[1].Seq != "1" {
		t.Fatalf("replayed %+v", got[1:])
	}
	s.push(t, pushTo(s.ClientID, 3))
	if m := p.want("message"); m.Seq != "2" {
		t.Fatalf("%+v", m)
	}
}

// readAll is the database's files, as a backup would copy them from a server
// that was stopped.
func readAll(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "sunzi.db*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no database in %s: %v", dir, err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		if files[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestADrainingServerSendsClientsAwayInOrder(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	p, _ := arrive(t, s, s.Token, plainHello)
	s.push(t, pushTo(s.ClientID, 1))
	p.want("message")
	p.Text(`{"type":"ack","seq":"1"}`)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.WantClose(4200)
	s.stop(t)
}
