package pushclient

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seen is one request as the fake server got it.
type seen struct {
	method, uri, key, auth, body string
}

// script answers requests in order and keeps them. It is a transport, so that
// tests can run on a synthetic clock.
type script struct {
	mu      sync.Mutex
	answers []answer
	got     []seen
}

type answer struct {
	status int
	body   string
	header map[string]string
	hang   bool // until the request's context ends
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.got = append(s.got, seen{r.Method, r.URL.RequestURI(), r.Header.Get("Idempotency-Key"), r.Header.Get("Authorization"), string(body)})
	if len(s.answers) == 0 {
		s.mu.Unlock()
		return nil, errors.New("no more answers")
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	s.mu.Unlock()
	if a.hang {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	w := httptest.NewRecorder()
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(a.status)
	_, _ = w.WriteString(a.body)
	return w.Result(), nil
}

func scripted(t *testing.T, answers ...answer) (*Client, *script) {
	t.Helper()
	s := &script{answers: answers}
	c, err := New("https://push.example/base/", "k1", WithHTTP(&http.Client{Transport: s}))
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

const receipt = `{"id":"1873452934823936","accepted":1700000000123,"online":1,"stored":1,"duplicate":false,"rejected":[{"client":"x","code":40401,"name":"client_not_found"}]}`

func TestPushSaysWhatWasAsked(t *testing.T) {
	c, s := scripted(t, answer{status: 201, body: receipt})
	got, err := c.Push(t.Context(), Push{To: Target{Client: "alice"}, Topic: "t", Data: map[string]int{"n": 1},
		TTL: For(1500 * time.Millisecond), Priority: 5, NotBefore: time.UnixMilli(1700000000000), Store: StoreOffline})
	if err != nil {
		t.Fatal(err)
	}
	want := Receipt{ID: "1873452934823936", Accepted: 1700000000123, Online: 1, Stored: 1, Rejected: []Rejection{{"x", 40401, "client_not_found"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	r := s.got[0]
	if r.method != "POST" || r.uri != "/base/v1/push" || r.auth != "Bearer k1" || len(r.key) != 32 {
		t.Errorf("%+v", r)
	}
	if r.body != `{"to":{"client":"alice"},"topic":"t","data":{"n":1},"ttl":2,"priority":5,"store":"offline","not_before":1700000000000}` {
		t.Error(r.body)
	}
}

func TestPushIsRepeatedUnderOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t,
			answer{hang: true},
			answer{status: 503, body: `{"type":"https://x/problems/store_unavailable","code":50300,"retryable":true}`, header: map[string]string{"Retry-After": "7"}},
			answer{status: 500, body: "<html>"},
			answer{status: 202, body: receipt})
		start := time.Now()
		if _, err := c.Push(t.Context(), Push{To: Target{Client: "alice"}}); err != nil {
			t.Fatal(err)
		}
		if len(s.got) != 4 {
			t.Fatalf("%d tries", len(s.got))
		}
		for _, r := range s.got[1:] {
			if r != s.got[0] || r.key == "" {
				t.Errorf("%+v is not %+v", r, s.got[0])
			}
		}
		// The timeout, Retry-After, and two delays of full jitter.
		if took := time.Since(start); took < 22*time.Second || took > 22*time.Second+1500*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestTriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, slices.Repeat([]answer{{status: 503}}, 9)...)
		_, err := c.Push(t.Context(), Push{To: Target{All: true}})
		var e *Error
		if !errors.As(err, &e) || e.Status != 503 || len(s.got) != 5 {
			t.Errorf("%v after %d tries", err, len(s.got))
		}
		// A context ends the wait.
		c, s = scripted(t, slices.Repeat([]answer{{status: 429, header: map[string]string{"Retry-After": "50"}}}, 9)...)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = c.Push(ctx, Push{To: Target{All: true}})
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &e) || e.Status != 429 || len(s.got) != 1 {
			t.Errorf("%v after %d tries", err, len(s.got))
		}
	})
}

func TestRefusalsAreNotRepeated(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 409, 413, 422} {
		c, s := scripted(t, answer{status: status}, answer{status: 201, body: receipt})
		if _, err := c.Push(t.Context(), Push{To: Target{Client: "alice"}}); err == nil || len(s.got) != 1 {
			t.Errorf("%d: %v after %d tries", status, err, len(s.got))
		}
	}
}

func TestRegisterIsNotRepeatedBlindly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, answer{status: 503}, answer{status: 500}, answer{status: 201, body: `{}`})
		if _, err := c.Register(t.Context(), Registration{}); err == nil || len(s.got) != 2 {
			t.Errorf("%v after %d tries", err, len(s.got))
		}
		c, s = scripted(t, answer{hang: true}, answer{status: 201, body: `{}`})
		if _, err := c.Register(t.Context(), Registration{}); err == nil || len(s.got) != 1 {
			t.Errorf("%v after %d tries", err, len(s.got))
		}
	})
}

func TestProblemsAreDecoded(t *testing.T) {
	c, _ := scripted(t, answer{status: 404, body: `{"type":"https://push.example/problems/client_not_found","title":"The client does not exist","status":404,"detail":"client bob","code":40401,"retryable":false,"request_id":"r1"}`})
	_, err := c.Client(t.Context(), "", "bob")
	var e *Error
	want := Error{Status: 404, Code: 40401, Name: "client_not_found", Title: "The client does not exist", Detail: "client bob", RequestID: "r1"}
	if !errors.As(err, &e) || *e != want {
		t.Errorf("%+v", err)
	}
	if strings.Contains(err.Error(), "k1") {
		t.Error("the key is in the error")
	}
}

func TestBatchKeepsOrderAndErrors(t *testing.T) {
	c, s := scripted(t, answer{status: 200, body: `{"results":[{"status":201,"id":"1","accepted":5,"online":1,"stored":1,"duplicate":false,"rejected":[]},{"status":404,"error":{"code":40401,"name":"client_not_found","detail":"d","retryable":false}}]}`})
	got, err := c.PushBatch(t.Context(), []Push{{To: Target{Client: "a"}, IdempotencyKey: "mine"}, {To: Target{Client: "b"}, Bytes: []byte{1}}})
	if err != nil || len(got) != 2 || got[0].ID != "1" || got[0].Err != nil || got[1].Err == nil || got[1].Err.Code != 40401 {
		t.Fatalf("%+v, %v", got, err)
	}
	if s.got[0].body != `{"pushes":[{"to":{"client":"a"},"data":null,"idempotency_key":"mine"},{"to":{"client":"b"},"data_base64":"AQ=="}]}` {
		t.Error(s.got[0].body)
	}
	c, _ = scripted(t, answer{status: 200, body: `{"results":[]}`})
	if _, err := c.PushBatch(t.Context(), make([]Push, 1)); err == nil {
		t.Error("a lost result is no error")
	}
}

// TestRequests holds every other call to its method, path and body, as they
// stand in openapi.yaml.
func TestRequests(t *testing.T) {
	ctx := t.Context()
	for _, tc := range []struct {
		name   string
		call   func(*Client) (any, error)
		answer answer
		want   seen
		result any
	}{
		{"status", func(c *Client) (any, error) { return c.Status(ctx, "7", Page{Limit: 10, Token: "p/1"}) },
			answer{status: 200, body: `{"id":"7","accepted":1,"state":"stored","counts":{"stored":1},"clients":[{"client":"a","seq":"9007199254740993","state":"stored"}],"next":"n"}`},
			seen{method: "GET", uri: "/base/v1/push/7?limit=10&page=p%2F1"},
			PushStatus{ID: "7", Accepted: 1, State: StateStored, Counts: map[State]int{StateStored: 1}, Clients: []ClientState{{Client: "a", Seq: 9007199254740993, State: StateStored}}, Next: "n"}},
		{"cancel", func(c *Client) (any, error) { return c.Cancel(ctx, "7") }, answer{status: 200, body: `{"id":"7","cancelled":2}`},
			seen{method: "DELETE", uri: "/base/v1/push/7"}, 2},
		{"register", func(c *Client) (any, error) {
			return c.Register(ctx, Registration{ClientID: "a", Realm: "r", Device: "d", TTL: time.Hour})
		}, answer{status: 201, body: `{"client_id":"a","realm":"r","jti":"j","token":"t","expires":5}`},
			seen{method: "POST", uri: "/base/v1/clients", body: `{"client_id":"a","realm":"r","device":"d","ttl":3600}`}, Token{"a", "r", "j", "t", 5}},
		{"client", func(c *Client) (any, error) { return c.Client(ctx, "r", "a/b c") },
			answer{status: 200, body: `{"client_id":"a","realm":"r","online":true,"connections":[],"incarnation":"i","head":"9","cursor":"8","read_cursor":"7","backlog":{"count":1,"bytes":2,"oldest":3}}`},
			seen{method: "GET", uri: "/base/v1/clients/a%2Fb%20c?realm=r"},
			ClientStatus{ClientID: "a", Realm: "r", Online: true, Connections: []Connection{}, Incarnation: "i", Head: 9, Cursor: 8, ReadCursor: 7, Backlog: Backlog{1, 2, 3}}},
		{"clients", func(c *Client) (any, error) { return c.Clients(ctx, "", []string{"a"}) }, answer{status: 200, body: `{"clients":[{"client_id":"a","error":{"code":40401,"name":"client_not_found"}}]}`},
			seen{method: "POST", uri: "/base/v1/clients/status", body: `{"clients":["a"]}`}, []ClientStatus{{ClientID: "a", Error: &ItemError{Code: 40401, Name: "client_not_found"}}}},
		{"forget", func(c *Client) (any, error) { return nil, c.Forget(ctx, "", "a") }, answer{status: 204},
			seen{method: "DELETE", uri: "/base/v1/clients/a"}, nil},
		{"disconnect", func(c *Client) (any, error) { return c.Disconnect(ctx, "", "a") }, answer{status: 200, body: `{"closed":1}`},
			seen{method: "DELETE", uri: "/base/v1/clients/a/connections"}, 1},
		{"history", func(c *Client) (any, error) {
			return c.History(ctx, "r", "a", HistoryQuery{After: 3, Before: 9, From: time.UnixMilli(1), To: time.UnixMilli(2), State: StateAcked, Page: Page{Limit: 5}})
		}, answer{status: 200, body: `{"messages":[{"seq":"4","id":"1","state":"acked","sent":1,"message":{"id":"1"}}]}`},
			seen{method: "GET", uri: "/base/v1/clients/a/messages?after=3&before=9&from=1&limit=5&realm=r&status=acked&to=2"},
			History{Messages: []HistoryEntry{{Seq: 4, ID: "1", State: StateAcked, Sent: 1, Message: json.RawMessage(`{"id":"1"}`)}}}},
		{"redrive", func(c *Client) (any, error) { return c.Redrive(ctx, "", "a", 1, 1<<60) }, answer{status: 200, body: `{"redriven":2}`},
			seen{method: "POST", uri: "/base/v1/clients/a/redrive", body: `{"seqs":["1","1152921504606846976"]}`}, 2},
		{"group", func(c *Client) (any, error) { return c.Group(ctx, "", "g", Page{}) }, answer{status: 200, body: `{"group":"g","realm":"","epoch":"5","members":1,"events":true,"clients":["a"]}`},
			seen{method: "GET", uri: "/base/v1/groups/g"}, Group{Name: "g", Epoch: 5, Members: 1, Events: true, Clients: []string{"a"}}},
		{"join", func(c *Client) (any, error) { return c.Join(ctx, "r", "g", "a") }, answer{status: 200, body: `{}`},
			seen{method: "PUT", uri: "/base/v1/groups/g/members/a?realm=r"}, Group{}},
		{"leave", func(c *Client) (any, error) { return c.Leave(ctx, "", "g", "a") }, answer{status: 200, body: `{}`},
			seen{method: "DELETE", uri: "/base/v1/groups/g/members/a"}, Group{}},
		{"tell members", func(c *Client) (any, error) { return c.TellMembers(ctx, "", "g") }, answer{status: 200, body: `{}`},
			seen{method: "PATCH", uri: "/base/v1/groups/g", body: `{"events":true}`}, Group{}},
		{"hush", func(c *Client) (any, error) { return c.Hush(ctx, "", "g") }, answer{status: 200, body: `{}`},
			seen{method: "PATCH", uri: "/base/v1/groups/g", body: `{"events":false}`}, Group{}},
		{"mint", func(c *Client) (any, error) { return c.Mint(ctx, Mint{Client: "a"}) }, answer{status: 201, body: `{"client_id":"a","token":"t"}`},
			seen{method: "POST", uri: "/base/v1/tokens", body: `{"client":"a"}`}, Token{ClientID: "a", Token: "t"}},
		{"revoke", func(c *Client) (any, error) { return c.Revoke(ctx, "j") }, answer{status: 200, body: `{"revoked":1,"closed":2}`},
			seen{method: "DELETE", uri: "/base/v1/tokens/j"}, Revoked{Tokens: 1, Connections: 2}},
		{"revoke client", func(c *Client) (any, error) { return c.RevokeClient(ctx, "", "a", time.UnixMilli(9)) }, answer{status: 200, body: `{"revoked":1,"closed":0}`},
			seen{method: "POST", uri: "/base/v1/tokens/revoke", body: `{"client":"a","issued_before":9}`}, Revoked{Tokens: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := scripted(t, tc.answer)
			got, err := tc.call(c)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.auth = "Bearer k1"
			if s.got[0] != tc.want {
				t.Errorf("asked\n%+v, want\n%+v", s.got[0], tc.want)
			}
			if !reflect.DeepEqual(got, tc.result) {
				t.Errorf("got\n%+v, want\n%+v", got, tc.result)
			}
		})
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for _, base := range []string{"", "push.example", "ftp://x", "http://", "https://u:p@x", "https://x?y"} {
		if _, err := New(base, "k"); err == nil {
			t.Errorf("%q was taken", base)
		}
	}
	for _, key := range []string{"", "a b", "a\n"} {
		if _, err := New("http://x", key); err == nil {
			t.Errorf("key %q was taken", key)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	c, s := scripted(t, answer{status: 200, body: strings.Repeat(" ", maxResponse+1)})
	if _, err := c.Clients(t.Context(), "", nil); !errors.Is(err, errAnswer) || len(s.got) != 1 {
		t.Errorf("%v after %d tries", err, len(s.got))
	}
}
