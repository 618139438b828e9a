package e2e

import (
	"encoding/json"
	"testing"

	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
)

// peer is a client at the level of messages, for what the client library
// would hide.
type peer struct {
	t *testing.T
	*hubtest.Client
}

// said is any message from the server.
type said struct {
	Type        string          `json:"type"`
	ID          string          `json:"id"`
	Seq         string          `json:"seq"`
	Replayed    bool            `json:"replayed"`
	Topic       string          `json:"topic"`
	Data        json.RawMessage `json:"data"`
	From        string          `json:"from"`
	To          string          `json:"to"`
	Reason      string          `json:"reason"`
	Group       string          `json:"group"`
	ClientID    string          `json:"client_id"`
	Realm       string          `json:"realm"`
	Token       string          `json:"token"`
	Incarnation string          `json:"incarnation"`
	Cursor      string          `json:"cursor"`
	Code        int             `json:"code"`
	SenderID    string          `json:"sender_id"`
	SenderName  string          `json:"sender_name"`
}

// dial opens a socket with a token (or connect key) and says nothing.
func dial(t *testing.T, s *server, path, token string) *peer {
	t.Helper()
	protocols := []string{"sunzi.v1.json"}
	if token != "" {
		protocols = append(protocols, "bearer."+token)
	}
	return &peer{t, hubtest.Dial(t, s.addr(), hubtest.Handshake{Path: path, Protocols: protocols})}
}

// arrive dials, says hello and reads up to replay_complete, whose
// predecessors it answers: welcome first.
func arrive(t *testing.T, s *server, token, hello string) (*peer, []said) {
	t.Helper()
	p := dial(t, s, "/ws", token)
	p.Text(hello)
	var all []said
	for {
		m := p.next()
		if m.Type == "replay_complete" {
			return p, all
		}
		all = append(all, m)
	}
}

const plainHello = `{"type":"hello"}`

// next is the next message, pings answered.
func (p *peer) next() said {
	p.t.Helper()
	ev := p.NextMessage()
	if ev.Op != frame.Text {
		p.t.Fatalf("got opcode %d: %s (code %d)", ev.Op, ev.Payload, ev.Code)
	}
	var m said
	if err := json.Unmarshal(ev.Payload, &m); err != nil {
		p.t.Fatalf("%v in %s", err, ev.Payload)
	}
	return m
}

// want is next, of that type.
func (p *peer) want(typ string) said {
	p.t.Helper()
	m := p.next()
	if m.Type != typ {
		p.t.Fatalf("got %+v, want a %s", m, typ)
	}
	return m
}

// client registers one and answers its ID and token.
func (s *server) client(t *testing.T) (id, token string) {
	t.Helper()
	var c struct {
		ClientID string `json:"client_id"`
		Token    string `json:"token"`
	}
	s.must(t, request{method: "POST", path: "/v1/clients", body: map[string]any{}}, &c)
	return c.ClientID, c.Token
}

// push pushes and answers the push's ID.
func (s *server) push(t *testing.T, body map[string]any) string {
	t.Helper()
	var r struct {
		ID string `json:"id"`
	}
	s.must(t, request{method: "POST", path: "/v1/push", body: body}, &r)
	return r.ID
}

// stateOf is what became of a push for its only client.
func (s *server) stateOf(t *testing.T, id string) string {
	t.Helper()
	var st struct {
		Clients []struct {
			State string `json:"state"`
		} `json:"clients"`
	}
	s.must(t, request{method: "GET", path: "/v1/push/" + id}, &st)
	if len(st.Clients) != 1 {
		t.Fatalf("push %s has %d clients", id, len(st.Clients))
	}
	return st.Clients[0].State
}

// with adds fields to a push.
func with(body map[string]any, fields ...any) map[string]any {
	for i := 0; i < len(fields); i += 2 {
		body[fields[i].(string)] = fields[i+1]
	}
	return body
}
