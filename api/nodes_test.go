package api

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// elsewhere puts a session of the client on node n2.
func (s *server) elsewhere(key push.ClientKey, jti string, connected time.Time) {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	s.world.elsewhere[key] = append(s.world.elsewhere[key], push.RemoteSession{Node: "n2", SessionInfo: push.SessionInfo{
		Client: key, ID: "s2", Transport: "sse", Remote: "192.0.2.2", Connected: connected, TokenID: jti, TokenIssued: s.world.now,
	}})
}

func onNodeOne(c *Config, _ *Deps) { c.Node = "n1" }

func TestStatusShowsTheNodeOfEachConnection(t *testing.T) {
	s := newServer(t, onNodeOne)
	s.online(clientA, "j1", s.world.now)
	s.elsewhere(clientA, "j2", s.world.now.Add(time.Second))
	bulk := s.must(200, "POST", "/v1/clients/status", `{"clients":["a","b"]}`).body["clients"].([]any)
	for name, body := range map[string]map[string]any{
		"alone": s.must(200, "GET", "/v1/clients/a", "").body, "bulk": bulk[0].(map[string]any),
	} {
		var nodes []any
		for _, c := range body["connections"].([]any) {
			nodes = append(nodes, c.(map[string]any)["node"])
		}
		if d := cmp.Diff([]any{"n1", "n2"}, nodes); d != "" || body["node"] != "n2" || body["online"] != true {
			t.Errorf("%s: %v\n%s", name, body, d)
		}
		if _, there := body["incomplete"]; there {
			t.Errorf("%s: %v is not incomplete", name, body)
		}
	}
	if b := bulk[1].(map[string]any); b["online"] != false || len(b["connections"].([]any)) != 0 {
		t.Errorf("who is nowhere: %v", b)
	}
}

func TestStatusSaysThatOtherNodesCouldNotBeAsked(t *testing.T) {
	s := newServer(t, onNodeOne)
	s.online(clientA, "j1", s.world.now)
	s.elsewhere(push.ClientKey{ID: "b"}, "j2", s.world.now)
	s.world.fail["Connections"] = errors.New("the bus is away")
	a := s.must(200, "GET", "/v1/clients/a", "").body
	if a["incomplete"] != true || a["online"] != true || len(a["connections"].([]any)) != 1 {
		t.Errorf("who is here: %v", a)
	}
	b := s.must(200, "GET", "/v1/clients/b", "").body
	if b["incomplete"] != true || b["online"] != true || len(b["connections"].([]any)) != 0 {
		t.Errorf("who is elsewhere: %v", b)
	}
}

func TestConnectionsAreClosedOnAllNodes(t *testing.T) {
	s := newServer(t)
	here := s.online(clientA, "j1", s.world.now)
	s.elsewhere(clientA, "j2", s.world.now)
	if got := s.must(200, "DELETE", "/v1/clients/a/connections", ""); got.body["closed"] != 2.0 || here.closed != push.CloseDisconnected {
		t.Errorf("answered %s", got.raw)
	}
	s.world.fail["Disconnect"] = errors.New("the bus is away")
	if got := s.must(200, "DELETE", "/v1/clients/a/connections", ""); got.body["closed"] != 1.0 || got.body["incomplete"] != true {
		t.Errorf("while other nodes can't be asked: %s", got.raw)
	}
}

func TestRevocationsCloseConnectionsOnAllNodes(t *testing.T) {
	s := newServer(t)
	mint := func(device string) string {
		_, rec, _ := s.world.Mint(t.Context(), token.MintRequest{Client: "a", Device: device})
		return rec.ID
	}
	first, refreshed, other := mint("phone"), mint("phone"), mint("tablet")
	s.elsewhere(clientA, first, s.world.now)
	s.elsewhere(clientA, refreshed, s.world.now)
	s.elsewhere(clientA, other, s.world.now)
	if got := s.must(200, "DELETE", "/v1/tokens/"+first, ""); got.body["closed"] != 2.0 {
		t.Errorf("one token: answered %s", got.raw)
	}
	var told []string
	for _, c := range s.world.disconnected {
		told = append(told, c.TokenID)
		if c.Client != clientA || c.Code != push.CloseTokenRevoked {
			t.Errorf("%+v", c)
		}
	}
	if d := cmp.Diff([]string{first, refreshed}, told); d != "" {
		t.Error(d)
	}
	if got := s.must(200, "POST", "/v1/tokens/revoke", `{"client":"a"}`); got.body["closed"] != 3.0 {
		t.Errorf("all tokens: answered %s", got.raw)
	}
	s.world.fail["Connections"] = errors.New("the bus is away")
	if got := s.must(200, "DELETE", "/v1/tokens/"+other, ""); got.body["incomplete"] != true {
		t.Errorf("while other nodes can't be asked: %s", got.raw)
	}
}
