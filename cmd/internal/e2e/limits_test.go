package e2e

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sunzi-push/sunzi/hub/hubtest"
)

func TestAFullMailboxRefusesAndLosesNothing(t *testing.T) {
	t.Setenv("SUNZI_PUSH_MAILBOX_ENTRIES", "3")
	s := start(t, t.TempDir(), "127.0.0.1:0")
	for i := range 3 {
		s.push(t, pushTo(s.ClientID, i))
	}
	a, err := s.do(t.Context(), request{method: "POST", path: "/v1/push", body: pushTo(s.ClientID, 3)})
	if err != nil || a.status != http.StatusTooManyRequests || !strings.Contains(string(a.body), "mailbox_full") {
		t.Fatalf("the fourth: %d %s, %v", a.status, a.body, err)
	}
	p, got := arrive(t, s, s.Token, plainHello)
	if len(got) != 4 {
		t.Fatalf("replayed %+v", got[1:])
	}
	p.Text(`{"type":"ack","seq":"3"}`)
	eventually(t, "room again", func() bool {
		a, err := s.do(t.Context(), request{method: "POST", path: "/v1/push", body: pushTo(s.ClientID, 3)})
		return err == nil && a.status < 300
	})
	p.want("message")
}

func TestAFullMailboxDropsWhereThatIsChosen(t *testing.T) {
	t.Setenv("SUNZI_PUSH_MAILBOX_ENTRIES", "2")
	t.Setenv("SUNZI_PUSH_OVERFLOW", "drop")
	s := start(t, t.TempDir(), "127.0.0.1:0")
	keep := s.push(t, with(pushTo(s.ClientID, "important"), "priority", 5))
	lost := s.push(t, pushTo(s.ClientID, "usual"))
	s.push(t, pushTo(s.ClientID, "newer"))
	if a, b := s.stateOf(t, keep), s.stateOf(t, lost); a != "stored" || b != "dropped" {
		t.Fatalf("the important one is %s, the usual one %s", a, b)
	}
	_, got := arrive(t, s, s.Token, plainHello)
	if len(got) != 4 || got[2].Type != "gap" || got[2].Reason != "dropped" {
		t.Fatalf("told %+v", got[1:])
	}
}

func TestPagesOfOtherOriginsOpenNoSocket(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	for origin, status := range map[string]int{
		"https://evil.example": http.StatusForbidden,
		s.URL:                  http.StatusSwitchingProtocols,
	} {
		conn, err := net.Dial("tcp", s.addr())
		if err != nil {
			t.Fatal(err)
		}
		resp, err := hubtest.Upgrade(conn, hubtest.Handshake{
			Path: "/ws", Protocols: []string{"sunzi.v1.json", "bearer." + s.Token}, Header: http.Header{"Origin": {origin}},
		})
		if resp == nil || resp.StatusCode != status {
			t.Errorf("origin %s: %v, %v", origin, resp, err)
		}
		_ = conn.Close()
	}
}

func TestATokenOfADeviceServesThatDevice(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	var c struct {
		Token string `json:"token"`
	}
	s.must(t, request{method: "POST", path: "/v1/clients", body: map[string]any{"device": "phone-1"}}, &c)
	p := dial(t, s, "/ws", c.Token)
	p.Text(`{"type":"hello","device":"tablet-2"}`)
	if reason := p.WantClose(4001); reason != "token-client mismatch" {
		t.Fatalf("reason %q", reason)
	}
	p = dial(t, s, "/ws", c.Token)
	p.Text(`{"type":"hello","device":"phone-1"}`)
	p.want("welcome")
}

func TestATokenIsRefreshedOnTheConnection(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	id, token := s.client(t)
	p, _ := arrive(t, s, token, plainHello)
	var fresh struct {
		Token string `json:"token"`
	}
	s.must(t, request{method: "POST", path: "/v1/tokens", body: map[string]any{"client": id}}, &fresh)
	p.Text(`{"type":"refresh","token":"` + fresh.Token + `"}`)
	p.want("refreshed")
	p.Text(`{"type":"refresh","token":"` + s.Token + `"}`) // another client's
	if p.want("error").Code == 0 {
		t.Fatal("an error without a code")
	}
}

func TestAClientThatSaysNoHelloIsServed(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	s.push(t, pushTo(s.ClientID, "hi"))
	p := dial(t, s, "/ws", s.Token)
	p.want("welcome")
	p.want("message")
	p.want("replay_complete")
}
