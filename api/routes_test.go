package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// fakeSession is a live session that remembers how it was closed.
type fakeSession struct {
	info   push.SessionInfo
	closed push.CloseCode
}

func (f *fakeSession) Offer(*push.Message, uint64)      {}
func (f *fakeSession) Live(*push.Message) bool          { return true }
func (f *fakeSession) Notify(push.Notice)               {}
func (f *fakeSession) Close(c push.CloseCode, _ string) { f.closed = c }
func (f *fakeSession) Info() push.SessionInfo           { return f.info }

// online puts a session of the client into the table.
func (s *server) online(key push.ClientKey, jti string, issued time.Time) *fakeSession {
	f := &fakeSession{info: push.SessionInfo{
		Client: key, ID: "s1", Transport: "websocket", Remote: "192.0.2.1", Connected: s.world.now,
		LastMessage: s.world.now, TokenID: jti, TokenIssued: issued, Outbound: 3,
	}}
	s.world.mu.Lock()
	s.world.sessions[key] = append(s.world.sessions[key], f)
	s.world.mu.Unlock()
	return f
}

func TestPushAnswersWhetherSomebodyIsThere(t *testing.T) {
	s := newServer(t)
	off := s.must(202, "POST", "/v1/push", `{"to":{"client":"a"},"topic":"t","data":{"x": [1, 2]}}`)
	if off.body["stored"] != 1.0 || off.body["online"] != 0.0 || off.body["duplicate"] != false {
		t.Errorf("receipt is %s", off.raw)
	}
	if got := string(s.world.pushed[0].Data); got != `{"x":[1,2]}` {
		t.Errorf("data is %s, want it compact", got)
	}
	s.online(push.ClientKey{ID: "a"}, "j", s.world.now)
	s.must(201, "POST", "/v1/push", `{"to":{"client":"a"},"data":"text"}`)
}

func TestPushTakesEveryFieldOfTheContract(t *testing.T) {
	s := newServer(t)
	out := s.must(202, "POST", "/v1/push", `{
		"to":{"clients":["a","nobody"]}, "topic":"orders", "data_base64":"AAH/", "ttl":60, "priority":5, "collapse_key":"k",
		"store":"offline", "seal":"none", "not_before":"2030-01-02T03:04:05.006Z",
		"attachment":{"url":"https://files.example.com/a","type":"image/png","size":12,"name":"a.png"}}`)
	ttl := time.Minute
	want := push.Request{
		Target: push.Target{Clients: []string{"a", "nobody"}}, Topic: "orders", Bytes: []byte{0, 1, 255}, TTL: &ttl, Priority: 5,
		CollapseKey: "k", Store: push.StoreOffline, Seal: push.SealNone,
		NotBefore:  time.Date(2030, 1, 2, 3, 4, 5, 6e6, time.UTC),
		Attachment: &push.Attachment{URL: "https://files.example.com/a", Type: "image/png", Size: 12, Name: "a.png"},
	}
	if diff := cmp.Diff(want, s.world.pushed[0]); diff != "" {
		t.Error(diff)
	}
	rejected := out.body["rejected"].([]any)[0].(map[string]any)
	if rejected["client"] != "nobody" || rejected["name"] != "client_not_found" || out.body["scheduled"] != true {
		t.Errorf("receipt is %s", out.raw)
	}
	s.must(202, "POST", "/v1/push", `{"to":{"all":true},"data":1}`)
	if got := s.world.pushed[1]; got.Store != push.StoreNever || !got.Target.All || !got.NotBefore.IsZero() {
		t.Errorf("push to all is %+v", got)
	}
	s.must(202, "POST", "/v1/push", `{"to":{"group":"g"},"data":null,"not_before":1900000000000}`)
	if got := s.world.pushed[2]; got.Target.Group != "g" || got.NotBefore.UnixMilli() != 1_900_000_000_000 || string(got.Data) != "null" {
		t.Errorf("push to a group is %+v", got)
	}
}

func TestPushRefusesByField(t *testing.T) {
	s := newServer(t)
	long := strings.Repeat("x", 201)
	for _, c := range []struct {
		body string
		code push.Code
		says string
	}{
		{``, push.CodeMediaType, "application/json"},
		{`{`, push.CodeInvalidJSON, "too early"},
		{`{"to":}`, push.CodeInvalidJSON, "at byte 7"},
		{`[]`, push.CodeInvalidField, "object"},
		{`{"to":{"client":"a"}} {}`, push.CodeInvalidJSON, "more than one"},
		{"{\"topic\":\"\xff\"}", push.CodeInvalidJSON, "UTF-8"},
		{`{"to":{"client":"a"},"tpoic":1}`, push.CodeInvalidField, "tpoic"},
		{`{"to":{"client":"a","clinet":1}}`, push.CodeInvalidField, "clinet"},
		{`{"to":{"client":"a"},"ttl":"1"}`, push.CodeInvalidField, "ttl"},
		{`{"to":{"client":"a"},"ttl":1.5}`, push.CodeInvalidField, "ttl"},
		{`{"to":{"client":"a"},"ttl":-1}`, push.CodeInvalidField, "ttl"},
		{`{"to":{"client":"a"},"ttl":9223372036854775807}`, push.CodeInvalidField, "ttl"},
		{`{"to":{"client":"a"},"ttl":2592001}`, push.CodeInvalidField, "2592000"},
		{`{"to":{"client":"a"},"ttl":0,"store":"always"}`, push.CodeInvalidField, "ttl"},
		{`{"to":{"client":"a"},"priority":0}`, push.CodeInvalidField, "priority"},
		{`{"to":{"client":"a"},"priority":6}`, push.CodeInvalidField, "priority"},
		{`{"to":{"client":"a"},"topic":"` + long + `"}`, push.CodeInvalidField, "topic"},
		{`{"to":{"client":"a"},"topic":"a\u0000"}`, push.CodeInvalidField, "topic"},
		{`{"to":{"client":"a"},"store":"sometimes"}`, push.CodeInvalidField, "store"},
		{`{"to":{"client":"a"},"data":1,"data_base64":"AA=="}`, push.CodeInvalidField, "data"},
		{`{"to":{"client":"a"},"data_base64":"A"}`, push.CodeInvalidField, "data_base64"},
		{`{"to":{"client":"a"},"not_before":"tomorrow"}`, push.CodeInvalidField, "RFC 3339"},
		{`{"to":{"client":"a"},"attachment":{"url":"javascript:1"}}`, push.CodeInvalidField, "attachment.url"},
		{`{"to":{"client":"a"},"idempotency_key":"k"}`, push.CodeInvalidField, "header"},
		{`{"to":{"client":"a"},"data":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`, push.CodeInvalidField, "64"},
		{`{"to":{"client":"a"},"data":"` + strings.Repeat("x", 300_000) + `"}`, push.CodeTooLarge, "262144"},
		{`{"to":{"client":"a"},"data":"` + strings.Repeat("x", 3_000_000) + `"}`, push.CodeTooLarge, "2097152"},
		{`{}`, push.CodeInvalidTarget, "to"},
		{`{"to":{}}`, push.CodeInvalidTarget, "exactly one"},
		{`{"to":{"client":"a","group":"g"}}`, push.CodeInvalidTarget, "exactly one"},
		{`{"to":{"client":"a","clients":["b"]}}`, push.CodeInvalidTarget, "exactly one"},
		{`{"to":{"client":""}}`, push.CodeInvalidTarget, "to.clients[0]"},
		{`{"to":{"clients":["a","a"]}}`, push.CodeInvalidTarget, "twice"},
		{`{"to":{"client":"a/b"}}`, push.CodeInvalidTarget, "slash"},
		{`{"to":{"client":"a","realm":" "}}`, push.CodeInvalidField, "realm"},
		{`{"to":{"client":"stranger"}}`, push.CodeNoClient, "stranger"},
	} {
		out := s.mustFail(c.code, "POST", "/v1/push", c.body)
		if !strings.Contains(out.body["detail"].(string), c.says) {
			t.Errorf("%.80s: detail is %q, want %q in it", c.body, out.body["detail"], c.says)
		}
	}
}

// What is kept of a body says nothing to who can't guess the key that it came
// with: one body under two keys has two hashes, and none of them is its own.
func TestTheHashOfABodyIsKeyed(t *testing.T) {
	s := newServer(t)
	const body = `{"to":{"client":"a"},"data":1}`
	s.must(202, "POST", "/v1/push", body, "Idempotency-Key: k")
	s.must(202, "POST", "/v1/push", body, "Idempotency-Key: l")
	one, two := s.world.pushed[0].Idempotency, s.world.pushed[1].Idempotency
	if one.Body == two.Body || one.Body == sha256.Sum256([]byte(body)) {
		t.Errorf("hashes %x and %x", one.Body, two.Body)
	}
	m := hmac.New(sha256.New, []byte("k"))
	m.Write([]byte("sunzi idempotent body\x00" + body))
	if !hmac.Equal(m.Sum(nil), one.Body[:]) {
		t.Errorf("kept %x", one.Body)
	}
}

func TestIdempotencyKeyIsOfTheAPIKeyAndTheBody(t *testing.T) {
	s := newServer(t)
	const body = `{"to":{"client":"a"},"data":1}`
	first := s.must(202, "POST", "/v1/push", body, "Idempotency-Key: k")
	again := s.must(202, "POST", "/v1/push", body, "Idempotency-Key: k")
	if again.body["duplicate"] != true || again.body["id"] != first.body["id"] {
		t.Errorf("repeated: %s after %s", again.raw, first.raw)
	}
	s.mustFail(push.CodeKeyReused, "POST", "/v1/push", `{"to":{"client":"a"},"data":2}`, "Idempotency-Key: k")
	other := s.must(202, "POST", "/v1/push", body, "Idempotency-Key: k", "Authorization: Bearer sk_shop")
	if other.body["duplicate"] != false {
		t.Error("another API key's Idempotency-Key counted")
	}
	s.mustFail(push.CodeInvalidField, "POST", "/v1/push", body, "Idempotency-Key: "+strings.Repeat("k", 256))
}

func TestBulkPushAnswersPerItemInOrder(t *testing.T) {
	s := newServer(t)
	const body = `{"pushes":[{"to":{"client":"a"},"data":1},{"to":{"client":"nobody"}},{"tpoic":1},
		{"to":{"client":"a","realm":"x"}},{"to":{"client":"b"},"idempotency_key":"mine"}]}`
	var codes []int
	for _, auth := range []string{"Authorization: Bearer sk_shop", "Authorization: Bearer " + allScopes} {
		out := s.must(200, "POST", "/v1/push/batch", body, auth, "Idempotency-Key: h")
		var got struct{ Results []batchError }
		if err := json.Unmarshal(out.raw, &got); err != nil {
			t.Fatal(err)
		}
		for _, r := range got.Results {
			codes = append(codes, r.Status)
			if r.Error != nil {
				codes = append(codes, r.Error.Code)
			}
		}
	}
	want := []int{202, 404, 40401, 400, 40003, 403, 40302, 404, 40401, 202, 404, 40401, 400, 40003, 404, 40401, 202}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Error(diff)
	}
	again := s.must(200, "POST", "/v1/push/batch", body, "Idempotency-Key: h")
	if n := strings.Count(string(again.raw), `"duplicate":true`); n != 2 {
		t.Errorf("%d items of the repeated bulk are duplicates, want 2: %s", n, again.raw)
	}
	s.mustFail(push.CodeInvalidField, "POST", "/v1/push/batch", `{"pushes":[]}`)
	s.mustFail(push.CodeInvalidField, "POST", "/v1/push/batch", `{"pushes":[`+strings.Repeat("{},", 1000)+`{}]}`)
	s.world.fail["PushBatch"] = push.Errorf(push.CodeNoStore, "no store")
	s.mustFail(push.CodeNoStore, "POST", "/v1/push/batch", body)
}

func TestPushStatusAndCancel(t *testing.T) {
	s := newServer(t)
	out := s.must(200, "GET", "/v1/push/77?limit=2&page=x", "")
	if out.body["id"] != "77" || out.body["next"] != "more" || out.body["clients"].([]any)[1].(map[string]any)["seq"] != "1152921504606846976" {
		t.Errorf("status is %s", out.raw)
	}
	if got := s.must(200, "DELETE", "/v1/push/77", ""); got.body["cancelled"] != 2.0 {
		t.Errorf("cancel answered %s", got.raw)
	}
	for _, path := range []string{"/v1/push/x", "/v1/push/-1", "/v1/push/99999999999999999999", "/v1/push/1?limit=0", "/v1/push/1?limit=1001"} {
		s.mustFail(push.CodeInvalidField, "GET", path, "")
	}
}

func TestClientsLife(t *testing.T) {
	s := newServer(t)
	made := s.must(201, "POST", "/v1/clients", `{}`)
	if made.body["client_id"] == "" || made.body["token"] == "" || made.body["realm"] != "" {
		t.Errorf("registration answered %s", made.raw)
	}
	if bare := s.must(201, "POST", "/v1/clients", ""); bare.body["client_id"] == made.body["client_id"] || bare.body["client_id"] == "" {
		t.Errorf("without a body: %s", bare.raw)
	}
	own := s.must(201, "POST", "/v1/clients", `{"client_id":"käse 1","device":"d","ttl":60}`, "Authorization: Bearer sk_shop")
	if own.body["realm"] != "shop" || own.body["expires"] != float64(s.world.now.Add(time.Minute).UnixMilli()) {
		t.Errorf("registration answered %s", own.raw)
	}
	key := push.ClientKey{Realm: "shop", ID: "käse 1"}
	gone := s.online(key, "j", s.world.now)
	st := s.must(200, "GET", "/v1/clients/k%C3%A4se%201?realm=shop", "")
	conn := st.body["connections"].([]any)[0].(map[string]any)
	if st.body["online"] != true || conn["transport"] != "websocket" || conn["outbound"] != 3.0 || st.body["backlog"].(map[string]any)["count"] != 0.0 {
		t.Errorf("status is %s", st.raw)
	}
	if got := s.must(200, "DELETE", "/v1/clients/k%C3%A4se%201/connections?realm=shop", ""); got.body["closed"] != 1.0 || gone.closed != push.CloseDisconnected {
		t.Errorf("disconnect answered %s, session closed with %d", got.raw, gone.closed)
	}
	s.must(204, "DELETE", "/v1/clients/k%C3%A4se%201?realm=shop", "")
	s.mustFail(push.CodeNoClient, "GET", "/v1/clients/k%C3%A4se%201?realm=shop", "")

	s.mustFail(push.CodeClientExists, "POST", "/v1/clients", `{"client_id":"a"}`)
	for _, body := range []string{`{"client_id":""}`, `{"ttl":0}`, `{"ttl":99999999999}`, `{"device":"a/b"}`} {
		s.mustFail(push.CodeInvalidField, "POST", "/v1/clients", body)
	}
	s.mustFail(push.CodeInvalidField, "GET", "/v1/clients/a%2Fb", "")
}

func TestBulkStatusNamesTheUnknown(t *testing.T) {
	s := newServer(t)
	out := s.must(200, "POST", "/v1/clients/status", `{"clients":["a","nobody"]}`)
	list := out.body["clients"].([]any)
	if list[0].(map[string]any)["head"] != "0" || list[1].(map[string]any)["error"].(map[string]any)["name"] != "client_not_found" {
		t.Errorf("answered %s", out.raw)
	}
	s.mustFail(push.CodeInvalidField, "POST", "/v1/clients/status", `{"clients":[]}`)
	s.mustFail(push.CodeInvalidField, "POST", "/v1/clients/status", `{"clients":[""]}`)
}

func TestHistoryAndRedrive(t *testing.T) {
	s := newServer(t)
	out := s.must(200, "GET", "/v1/clients/a/messages?after=5&before=9&from=1&to=2030-01-01T00:00:00Z&status=acked&limit=10", "")
	list := out.body["messages"].([]any)
	if list[0].(map[string]any)["seq"] != "6" || list[0].(map[string]any)["message"].(map[string]any)["topic"] != "t" || out.body["next"] != "n" {
		t.Errorf("history is %s", out.raw)
	}
	if _, there := list[1].(map[string]any)["message"]; there {
		t.Error("an expired entry has a message")
	}
	for _, q := range []string{"after=x", "before=-1", "from=x", "to=x", "status=x"} {
		s.mustFail(push.CodeInvalidField, "GET", "/v1/clients/a/messages?"+q, "")
	}
	if got := s.must(200, "POST", "/v1/clients/a/redrive", `{"seqs":["3","4"]}`); got.body["redriven"] != 2.0 {
		t.Errorf("redrive answered %s", got.raw)
	}
	s.must(200, "POST", "/v1/clients/a/redrive", "")
	s.mustFail(push.CodeInvalidField, "POST", "/v1/clients/a/redrive", `{"seqs":[]}`)
	s.mustFail(push.CodeInvalidField, "POST", "/v1/clients/a/redrive", `{"seqs":["x"]}`)
}

func TestGroups(t *testing.T) {
	s := newServer(t)
	s.mustFail(push.CodeNoGroup, "GET", "/v1/groups/g", "")
	s.must(200, "PUT", "/v1/groups/g/members/a", "")
	s.must(200, "PUT", "/v1/groups/g/members/b", "")
	out := s.must(200, "GET", "/v1/groups/g?limit=10", "")
	if out.body["members"] != 2.0 || out.body["epoch"] != "2" || len(out.body["clients"].([]any)) != 2 {
		t.Errorf("group is %s", out.raw)
	}
	if got := s.must(200, "PATCH", "/v1/groups/g", `{"events":true}`); got.body["events"] != true {
		t.Errorf("group is %s", got.raw)
	}
	s.mustFail(push.CodeInvalidField, "PATCH", "/v1/groups/g", `{}`)
	if got := s.must(200, "DELETE", "/v1/groups/g/members/b", ""); got.body["members"] != 1.0 {
		t.Errorf("group is %s", got.raw)
	}
}

func TestTokensAreMintedAndRevoked(t *testing.T) {
	s := newServer(t)
	made := s.must(201, "POST", "/v1/tokens", `{"client":"a","ttl":60}`)
	jti := made.body["jti"].(string)
	s.mustFail(push.CodeNoClient, "POST", "/v1/tokens", `{"client":"nobody"}`)
	s.mustFail(push.CodeInvalidField, "POST", "/v1/tokens", `{}`)

	key := push.ClientKey{ID: "a"}
	mine, other := s.online(key, jti, s.world.now), s.online(key, "other", s.world.now.Add(time.Hour))
	if got := s.must(200, "DELETE", "/v1/tokens/"+jti, ""); got.body["closed"] != 1.0 || mine.closed != push.CloseTokenRevoked || other.closed != 0 {
		t.Errorf("revocation answered %s and closed %d, %d", got.raw, mine.closed, other.closed)
	}
	s.mustFail(push.CodeNoToken, "DELETE", "/v1/tokens/unknown", "")
	s.mustFail(push.CodeNoToken, "DELETE", "/v1/tokens/"+jti, "", "Authorization: Bearer sk_shop")

	mine.closed = 0
	before := s.world.now.Add(time.Second).UnixMilli()
	got := s.must(200, "POST", "/v1/tokens/revoke", `{"client":"a","issued_before":`+string(mustJSON(before))+`}`)
	if got.body["revoked"] != 1.0 || mine.closed != push.CloseTokenRevoked || other.closed != 0 {
		t.Errorf("revocation answered %s and closed %d, %d", got.raw, mine.closed, other.closed)
	}
	s.must(200, "POST", "/v1/tokens/revoke", `{"client":"a"}`)
}

// TestRevocationReachesSessionsOnSuccessors: a session may stand on a token
// that the revoked one was refreshed to.
func TestRevocationReachesSessionsOnSuccessors(t *testing.T) {
	s := newServer(t)
	mint := func(device string) string {
		_, rec, _ := s.world.Mint(t.Context(), token.MintRequest{Client: "a", Device: device})
		return rec.ID
	}
	first, refreshed, other := mint("phone"), mint("phone"), mint("tablet")
	successor := s.online(clientA, refreshed, s.world.now)
	apart, outside := s.online(clientA, other, s.world.now), s.online(clientA, "of an outside issuer", s.world.now)
	got := s.must(200, "DELETE", "/v1/tokens/"+first, "")
	if got.body["closed"] != 1.0 || successor.closed != push.CloseTokenRevoked {
		t.Errorf("answered %s, the successor's session was closed with %d", got.raw, successor.closed)
	}
	if apart.closed != 0 || outside.closed != 0 {
		t.Errorf("sessions of other tokens were closed with %d and %d", apart.closed, outside.closed)
	}
	s.world.fail["Token"] = errors.New("down")
	s.must(200, "DELETE", "/v1/tokens/"+other, "")
	if outside.closed != push.CloseTokenRevoked {
		t.Error("a session stays whose record can't be read")
	}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func TestKeysAreMadeListedAndRevoked(t *testing.T) {
	s := newServer(t)
	made := s.must(201, "POST", "/v1/keys", `{"name":"app","scopes":["push","read"]}`)
	id := made.body["id"].(string)
	if made.body["key"] == nil || made.body["realm"] != nil {
		t.Errorf("made %s", made.raw)
	}
	bound := s.must(201, "POST", "/v1/keys", `{"name":"app","scopes":["connect"]}`, "Authorization: Bearer sk_shop")
	if bound.body["realm"] != "shop" {
		t.Errorf("a bound key made %s", bound.raw)
	}
	all := s.must(200, "GET", "/v1/keys", "")
	if strings.Contains(string(all.raw), "secret") || len(all.body["keys"].([]any)) != 5 {
		t.Errorf("list is %s", all.raw)
	}
	if some := s.must(200, "GET", "/v1/keys", "", "Authorization: Bearer sk_shop"); len(some.body["keys"].([]any)) != 2 {
		t.Errorf("a bound key sees %s", some.raw)
	}
	s.mustFail(push.CodeNoKey, "DELETE", "/v1/keys/"+id, "", "Authorization: Bearer sk_shop")
	s.must(204, "DELETE", "/v1/keys/"+id, "")
	s.mustFail(push.CodeNoKey, "DELETE", "/v1/keys/unknown", "")
	s.mustFail(push.CodeBadCredentials, "GET", "/v1/keys", "", "Authorization: Bearer "+made.body["key"].(string))
	for _, body := range []string{`{"name":"x"}`, `{"name":"x","scopes":["root"]}`, `{"name":"x","scopes":["push","connect"]}`, `{"name":"x","scopes":["push","push"]}`, `{"scopes":["push"]}`} {
		s.mustFail(push.CodeInvalidField, "POST", "/v1/keys", body)
	}
	s.mustFail(push.CodeWrongRealm, "POST", "/v1/keys", `{"name":"x","scopes":["push"],"realm":"other"}`, "Authorization: Bearer sk_shop")
}

func TestAckTakesTokensOnly(t *testing.T) {
	s := newServer(t)
	raw, _, _ := s.world.Mint(t.Context(), token.MintRequest{Client: "a"})
	auth := "Authorization: Bearer " + raw
	for range 12 {
		s.world.commit(clientA, `1`)
	}
	s.must(204, "POST", "/v1/ack", `{"seq":"12","failed":[{"seq":"3","code":5}],"read":"9"}`, auth)
	want := []push.Ack{
		{Client: push.ClientKey{ID: "a"}, Seq: 12, Failed: []push.FailedEntry{{Seq: 3, Code: 5}}},
		{Client: push.ClientKey{ID: "a"}, Read: 9},
	}
	if diff := cmp.Diff(want, s.world.acks); diff != "" {
		t.Error(diff)
	}
	s.mustFail(push.CodeInvalidField, "POST", "/v1/ack", `{}`, auth)
	s.mustFail(push.CodeInvalidField, "POST", "/v1/ack", `{"failed":[{"code":5}]}`, auth)
	s.mustFail(push.CodeNotSignedIn, "POST", "/v1/ack", `{}`, "Authorization:")
	s.mustFail(push.CodeBadCredentials, "POST", "/v1/ack", `{}`, "Authorization: Bearer ck_x")
}
