package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/sunzi-push/sunzi/api/wsclient"
)

// told waits until the client was told of that event.
func (c *sealer) told(kind wsclient.Kind) {
	c.t.Helper()
	eventually(c.t, c.id+" is told of "+string(kind), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return slices.Contains(c.events, string(kind)) || len(c.failures) > 0
	})
	if f := c.failed(); f != "" {
		c.t.Fatal(f)
	}
}

// Whatever a client that seals is sent, of whatever kind and from whatever node,
// its connection never shows: what was stored in clear before it had keys or
// because a push wants it so, what is not stored at all, and notices.
func TestNothingIsInClearOnTheWireOfAClientThatSeals(t *testing.T) {
	file, public := sealKeys(t)
	n := together(t, append(quick, "SUNZI_SEAL_KEY_FILE="+file)...)
	a, b := n.start(), n.start()
	const secret = "hush"
	for _, mode := range []string{wsclient.SealCRT, wsclient.SealAEAD} {
		c := newSealer(t, a, mode, mode, public)
		var want []string
		push := func(s *server, more map[string]any) {
			t.Helper()
			text := fmt.Sprint(secret, " ", len(want))
			body := map[string]any{"to": map[string]any{"client": mode}, "topic": secret + "-topic", "data": text}
			for k, v := range more {
				body[k] = v
			}
			s.must(t, request{method: "POST", path: "/v1/push", body: body}, nil)
			want = append(want, fmt.Sprintf("%q", text))
		}
		push(a, nil) // in clear: it has no keys yet
		end := c.connect(a)
		c.wants(want...)
		push(a, map[string]any{"seal": "none"})
		push(b, nil)
		c.wants(want...)
		for _, s := range []*server{a, b} { // from its node, and from another one
			push(s, map[string]any{"store": "never"})
			c.wants(want...)
			push(s, map[string]any{"store": "never", "seal": mode})
			c.wants(want...)
		}
		other := map[string]string{wsclient.SealCRT: wsclient.SealAEAD, wsclient.SealAEAD: wsclient.SealCRT}[mode]
		ans, err := a.do(t.Context(), request{method: "POST", path: "/v1/push", body: map[string]any{
			"to": map[string]any{"client": mode}, "store": "never", "seal": other, "data": secret,
		}})
		if err != nil || ans.status != http.StatusUnprocessableEntity || !bytes.Contains(ans.body, []byte("no_key")) {
			t.Errorf("a live push that requires other keys: %d %s, %v", ans.status, ans.body, err)
		}
		room := secret + "-room-" + mode
		a.must(t, request{method: "PUT", path: "/v1/groups/" + room + "/members/" + mode}, nil)
		a.must(t, request{method: "PATCH", path: "/v1/groups/" + room, body: map[string]any{"events": true}}, nil)
		hushed := secret + "-member-" + mode
		token := register(t, b, hushed)
		b.must(t, request{method: "PUT", path: "/v1/groups/" + room + "/members/" + hushed}, nil)
		c.told(wsclient.KindMemberJoined)
		p, _ := arrive(t, b, token, plainHello)
		p.Text(fmt.Sprintf(`{"type":"typing","conversation_id":%q,"sender_name":"%s-name"}`, room, secret))
		c.told(wsclient.KindTyping)
		b.must(t, request{method: "DELETE", path: "/v1/groups/" + room + "/members/" + hushed}, nil)
		c.told(wsclient.KindMemberLeft)
		push(b, nil)
		c.wants(want...)
		end()
		if c.stats.DecryptFailed != 0 {
			t.Errorf("%s: %d frames did not open", mode, c.stats.DecryptFailed)
		}
		for _, text := range []string{secret, `"typing"`, `"message"`, "member_"} {
			if bytes.Contains(c.wire.seen, []byte(text)) {
				t.Errorf("%s: %q was on the wire", mode, text)
			}
		}
		if !bytes.Contains(c.wire.seen, []byte(`"welcome"`)) || len(c.wire.frames) < len(want) {
			t.Errorf("%s: the wire was not listened to: %d frames", mode, len(c.wire.frames))
		}
	}
}
