package hub

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
	"github.com/sunzi-push/sunzi/push"
)

func TestWaysToHandATokenOver(t *testing.T) {
	cfg := testConfig()
	cfg.QueryToken = true
	r := start(t, cfg)
	for name, tc := range map[string]struct {
		h        hubtest.Handshake
		protocol string
		op       frame.Op
	}{
		"sub-protocol, JSON":        {hubtest.Handshake{Path: "/ws", Protocols: []string{wire.ProtocolJSON, "bearer.alice"}}, wire.ProtocolJSON, frame.Text},
		"sub-protocol, MessagePack": {hubtest.Handshake{Path: "/ws", Protocols: []string{"bearer.alice", wire.ProtocolMsgpack}}, wire.ProtocolMsgpack, frame.Binary},
		"only a bearer":             {hubtest.Handshake{Path: "/ws", Protocols: []string{"bearer.alice"}}, "bearer.alice", frame.Text},
		"Authorization, no sub-protocol": {hubtest.Handshake{Path: "/ws",
			Header: http.Header{"Authorization": {"Bearer alice"}}}, "", frame.Text},
		"Authorization and MessagePack": {hubtest.Handshake{Path: "/ws/alice", Protocols: []string{wire.ProtocolMsgpack},
			Header: http.Header{"Authorization": {"bearer alice"}}}, wire.ProtocolMsgpack, frame.Binary},
		"query": {hubtest.Handshake{Path: "/ws?token=alice"}, "", frame.Text},
	} {
		t.Run(name, func(t *testing.T) {
			c := hubtest.Dial(t, r.addr, tc.h)
			if got := c.Response.Header.Get("Sec-WebSocket-Protocol"); got != tc.protocol {
				t.Errorf("sub-protocol %q, want %q", got, tc.protocol)
			}
			codec := wire.JSON
			if tc.op == frame.Binary {
				codec = wire.Msgpack
			}
			c.Send(frame.Frame{Op: tc.op, Payload: wire.EncodeClient(codec, &wire.ClientMessage{Type: wire.TypeHello})})
			ev := c.NextMessage()
			m, err := wire.DecodeServer(codec, ev.Payload)
			if err != nil || ev.Op != tc.op || m.Type != wire.TypeWelcome || m.Welcome.ClientID != "alice" {
				t.Errorf("got %v %+v, %v", ev.Op, m, err)
			}
		})
	}
}

func TestQueryTokenIsOffByDefault(t *testing.T) {
	r := start(t, testConfig())
	c := hubtest.Dial(t, r.addr, hubtest.Handshake{Path: "/ws?token=alice"})
	if reason := c.WantClose(4001); reason != push.ReasonMissingToken {
		t.Errorf("reason %q", reason)
	}
}

func TestRefusedCredentialsCloseAfterTheHandshake(t *testing.T) {
	r := start(t, testConfig())
	r.office.admit = func(c push.Credentials) (push.Admission, *push.Refusal) {
		return push.Admission{}, &push.Refusal{Code: push.CloseUnauthorized, Reason: push.ReasonBadToken}
	}
	p := r.dial("whatever")
	if reason := p.WantClose(4001); reason != push.ReasonBadToken {
		t.Errorf("reason %q", reason)
	}
	until(t, "the refusal is counted", func() bool { return r.value("sunzi_closes_total", "4001", "server") == 1 })
	if got := r.value("sunzi_upgrades_total", "refused"); got != 1 {
		t.Errorf("%v refused upgrades counted, want 1", got)
	}
	if r.hub.Len() != 0 {
		t.Error("a refused connection is in the table")
	}
}

func TestThePathNamesTheClient(t *testing.T) {
	for path, want := range map[string]*push.ClientKey{
		"/ws":                     nil,
		"/ws/":                    nil,
		"/ws/alice":               {ID: "alice"},
		"/ws/shop/alice":          {Realm: "shop", ID: "alice"},
		"/ws/%E5%AD%99/a%20b":     {Realm: "孙", ID: "a b"},
		"/ws/account%3A42%2B":     {ID: "account:42+"},
		"/ws/shop/alice/":         {Realm: "shop", ID: "alice"},
		"/ws/user@example.com/x+": {Realm: "user@example.com", ID: "x+"},
	} {
		got, ok := pathClient(mustURL(t, path))
		if !ok || !cmp.Equal(got, want) {
			t.Errorf("%s: got %v %v, want %v", path, got, ok, want)
		}
	}
	for _, path := range []string{"/wsx", "/ws/a/b/c", "/ws//a", "/ws/a%2Fb", "/ws/%00", "/ws/" + strings.Repeat("x", 101), "/other"} {
		if got, ok := pathClient(mustURL(t, path)); ok {
			t.Errorf("%s: taken as %v", path, got)
		}
	}
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.ParseRequestURI(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestWhatIsNoUpgradeIsAnsweredOverHTTP(t *testing.T) {
	r := start(t, testConfig())
	good := map[string]string{"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
	for name, tc := range map[string]struct {
		method, path string
		set          map[string]string
		status       int
		header       string
	}{
		"no upgrade":           {"GET", "/ws", map[string]string{"Upgrade": ""}, 426, "Upgrade"},
		"no connection header": {"GET", "/ws", map[string]string{"Connection": "close"}, 426, "Upgrade"},
		"POST":                 {"POST", "/ws", nil, 405, "Allow"},
		"old version":          {"GET", "/ws", map[string]string{"Sec-WebSocket-Version": "8"}, 426, "Sec-WebSocket-Version"},
		"no key":               {"GET", "/ws", map[string]string{"Sec-WebSocket-Key": ""}, 400, ""},
		"short key":            {"GET", "/ws", map[string]string{"Sec-WebSocket-Key": "c2hvcnQ="}, 400, ""},
		"foreign sub-protocol": {"GET", "/ws", map[string]string{"Sec-WebSocket-Protocol": "graphql-ws"}, 400, ""},
		"forbidden origin":     {"GET", "/ws", map[string]string{"Origin": "https://evil.example"}, 403, ""},
		"null origin":          {"GET", "/ws", map[string]string{"Origin": "null"}, 403, ""},
		"bad path":             {"GET", "/ws/a/b/c", nil, 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(tc.method, "http://"+r.addr+tc.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range good {
				req.Header.Set(k, v)
			}
			for k, v := range tc.set {
				req.Header.Set(k, v)
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			var problem struct {
				Status, Code int
				Detail       string
			}
			if err := json.Unmarshal(body, &problem); err != nil || problem.Status != tc.status || problem.Code == 0 || problem.Detail == "" {
				t.Errorf("problem %s: %v", body, err)
			}
			if resp.StatusCode != tc.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tc.status)
			}
			if tc.header != "" && resp.Header.Get(tc.header) == "" {
				t.Errorf("no %s header", tc.header)
			}
		})
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestOrigins(t *testing.T) {
	for _, tc := range []struct {
		list         []string
		origin, host string
		want         bool
	}{
		{nil, "", "h", true},
		{nil, "https://push.example", "push.example", true},
		{nil, "http://PUSH.example:8080", "push.example:8080", true},
		{nil, "http://push.example:8081", "push.example:8080", false},
		{nil, "https://evil.example", "push.example", false},
		{nil, "null", "push.example", false},
		{[]string{"https://app.example"}, "https://app.example", "x", true},
		{[]string{"https://app.example"}, "http://app.example", "x", false},
		{[]string{"https://app.example"}, "https://app.example.evil", "x", false},
		{[]string{"https://*.app.example"}, "https://a.b.app.example", "x", true},
		{[]string{"https://*.app.example"}, "https://app.example", "x", false},
		{[]string{"https://*.app.example"}, "https://evilapp.example", "x", false},
		{[]string{"*"}, "null", "x", true},
	} {
		if got := newOrigins(tc.list).allows(tc.origin, tc.host); got != tc.want {
			t.Errorf("%q allows %q at %q: %v", tc.list, tc.origin, tc.host, got)
		}
	}
}

func TestRefreshTokenAndMintedTokenReachTheClient(t *testing.T) {
	r := start(t, testConfig())
	r.office.admit = func(push.Credentials) (push.Admission, *push.Refusal) {
		a, _ := (&office{}).Admit(t.Context(), push.Credentials{Token: "alice"})
		a.Refreshed, a.Minted = "fresh.token", "minted.token"
		return a, nil
	}
	p := r.dial("ck_x")
	if got := p.Response.Header.Get("refresh-token"); got != "fresh.token" {
		t.Errorf("refresh-token %q", got)
	}
	if w := p.hello(); w.Token != "minted.token" || w.TokenExpiresMS == 0 {
		t.Errorf("welcome %+v", w)
	}
}

func TestBytesBehindTheRequestAreNotLost(t *testing.T) {
	r := start(t, testConfig())
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	var b bytes.Buffer
	b.WriteString("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer alice\r\n\r\n")
	hello := frame.AppendMasked(nil, frame.Text, [4]byte{1, 2, 3, 4}, []byte(`{"type":"hello"}`))
	b.Write(hello)
	ping := frame.AppendMasked(nil, frame.Ping, [4]byte{5, 6, 7, 8}, []byte("whole"))
	b.Write(ping[:8]) // and the beginning of another
	if _, err := conn.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 0, 256)
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, one...) {
		if _, err := conn.Read(one); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Contains(head, []byte("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) { // RFC 6455 section 1.3
		t.Errorf("accept key is not the RFC's: %s", head)
	}
	c := hubtest.NewConn(conn)
	ev := frame.Event{Op: frame.Ping} // the sweep may come first
	for ev.Op == frame.Ping {
		if ev, err = c.Read(); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := wire.DecodeServer(wire.JSON, ev.Payload); err != nil || m.Type != wire.TypeWelcome {
		t.Errorf("got %q, %v", ev.Payload, err)
	}
	if err := c.SendRaw(ping[8:]); err != nil {
		t.Fatal(err)
	}
	for ev.Op != frame.Pong {
		if ev, err = c.Read(); err != nil {
			t.Fatal(err)
		}
	}
	if string(ev.Payload) != "whole" {
		t.Errorf("pong %q", ev.Payload)
	}
}
