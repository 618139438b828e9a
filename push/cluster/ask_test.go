package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

func TestLiveReachesClientsAndEverybody(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b, c := start(t, r.URL(), "a"), start(t, r.URL(), "b"), start(t, r.URL(), "c")
	together(t, a, b, c)
	x, y := b.attach(client("x")), c.attach(client("y"))
	foreign := c.attach(push.ClientKey{Realm: "bank", ID: "y"})
	eventually(t, "a sees them", func() bool { return a.sees(client("x")) && a.sees(client("y")) })
	reached, err := a.Live(t.Context(), "shop", []string{"x", "nobody"}, &push.Message{ID: 1, Body: []byte(`{"to":"x"}`)})
	if err != nil || len(reached) != 1 || reached[0] != "x" {
		t.Fatalf("reached %q, %v", reached, err)
	}
	eventually(t, "the client hears it", func() bool { return x.heard(`{"to":"x"}`) })
	if _, err := a.Live(t.Context(), "shop", nil, &push.Message{ID: 2, Body: []byte(`{"to":"all"}`)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everybody hears it", func() bool { return x.heard(`{"to":"all"}`) && y.heard(`{"to":"all"}`) })
	if y.heard(`{"to":"x"}`) || foreign.heard(`{"to":"all"}`) {
		t.Error("somebody heard what was not for them")
	}
	a.Notify([]push.ClientKey{client("y")}, push.Notice{Kind: push.NoticeTyping})
	eventually(t, "the notice arrives", func() bool { return y.noticed() == 1 })
	a.GroupChanged("shop", "g")
	for _, n := range []*node{b, c} {
		if got := <-n.changed; got != "shop/g" {
			t.Errorf("group %q changed", got)
		}
	}
}

// hexes wraps so that a test can tell, and shows what it wrapped.
type hexes struct{ seen chan string }

func (h hexes) wrap(text []byte, owner any) []byte {
	h.seen <- fmt.Sprintf("%v %s", owner, text)
	return fmt.Appendf(nil, "%v %x", owner, text)
}

func (h hexes) unwrap(w []byte, owner any) (text []byte, err error) {
	_, err = fmt.Sscanf(string(w), fmt.Sprint(owner, " %x"), &text)
	return text, err
}

func (h hexes) WrapLive(id int64, body []byte) []byte               { return h.wrap(body, id) }
func (h hexes) UnwrapLive(id int64, wrapped []byte) ([]byte, error) { return h.unwrap(wrapped, id) }
func (h hexes) WrapNotice(notice []byte) []byte                     { return h.wrap(notice, "notice") }
func (h hexes) UnwrapNotice(wrapped []byte) (notice []byte, _ error) {
	return h.unwrap(wrapped, "notice")
}

// Bodies of live-only pushes, and notices, cross Redis wrapped where the nodes have
// a key; what a push requires goes with it.
func TestContentCrossesRedisWrapped(t *testing.T) {
	r := daemons.StartRedis(t)
	wrapping := hexes{make(chan string, 2)}
	keyed := Deps{Wrapping: wrapping}
	a, b, c := startWith(t, r.URL(), "a", keyed), startWith(t, r.URL(), "b", keyed), start(t, r.URL(), "c")
	together(t, a, b, c)
	x, y := b.attach(client("x")), c.attach(client("y"))
	eventually(t, "a sees them", func() bool { return a.sees(client("x")) && a.sees(client("y")) })
	if _, err := a.Live(t.Context(), "shop", []string{"y", "x"}, &push.Message{ID: 7, Body: []byte("secret "), Require: push.SealCRT}); err != nil {
		t.Fatal(err)
	}
	if w := <-wrapping.seen; w != "7 secret " {
		t.Errorf("%q was wrapped", w)
	}
	eventually(t, "the client hears it", func() bool { return x.heard("secret crt") })
	eventually(t, "who can't read it drops it", func() bool { return malformed(c) == 1 })

	notice := push.Notice{Kind: push.NoticeTyping, Group: "room", ClientID: "z", SenderName: "Zoë", SenderType: "client"}
	a.Notify([]push.ClientKey{client("x"), client("y")}, notice)
	if w := <-wrapping.seen; !strings.Contains(w, "Zoë") || !strings.HasPrefix(w, "notice ") {
		t.Errorf("%q was wrapped", w)
	}
	eventually(t, "the client is told", func() bool { return x.noticed() == 1 })
	eventually(t, "who can't read it drops it", func() bool { return malformed(c) == 2 })
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.notices[0] != notice {
		t.Errorf("told %+v", x.notices[0])
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.lives) > 0 || len(y.notices) > 0 {
		t.Errorf("a node without the key told %q, %v", y.lives, y.notices)
	}
}

func malformed(n *node) float64 {
	return testutil.ToFloat64(n.met.letters.WithLabelValues("malformed"))
}

func TestSessionsAreAskedForInTheOrderOfKeys(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b, c := start(t, r.URL(), "a"), start(t, r.URL(), "b"), start(t, r.URL(), "c")
	together(t, a, b, c)
	b.attach(client("x"))
	c.attach(client("y")).info.Remote = "192.0.2.1"
	eventually(t, "a sees them", func() bool { return a.sees(client("x")) && a.sees(client("y")) })
	got, err := a.Sessions(t.Context(), []push.ClientKey{client("y"), client("nobody"), client("x")})
	if err != nil || len(got) != 3 || len(got[0]) != 1 || len(got[1]) != 0 || len(got[2]) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if y := got[0][0]; y.Node != "c" || y.Remote != "192.0.2.1" || y.Client != client("y") {
		t.Errorf("%+v", y)
	}
}

func TestCloseEndsMatchingSessionsOnOtherNodes(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a"), start(t, r.URL(), "b")
	together(t, a, b)
	key := client("x")
	s := &session{info: push.SessionInfo{Client: key, TokenID: "t1", TokenIssued: time.Now()}}
	b.Came(key, s, b.table.Attach(key, s))
	how := push.Closing{Client: key, Code: push.CloseTokenRevoked, TokenID: "t2"}
	if n, err := a.Close(t.Context(), how); n != 0 || err != nil {
		t.Errorf("another token's: %d, %v", n, err)
	}
	how.TokenID, how.IssuedBefore = "", time.Now().Add(-time.Hour)
	if n, err := a.Close(t.Context(), how); n != 0 || err != nil {
		t.Errorf("an earlier token's: %d, %v", n, err)
	}
	how.IssuedBefore = time.Now().Add(time.Hour)
	if n, err := a.Close(t.Context(), how); n != 1 || err != nil || s.closed() != push.CloseTokenRevoked {
		t.Errorf("its token's: %d, %v, closed with %d", n, err, s.closed())
	}
}

func TestSilentNodeHoldsUpNoQuestionBeyondItsTime(t *testing.T) {
	r := daemons.StartRedis(t)
	soon := func(c *Config) { c.Ask = 100 * time.Millisecond }
	a, b := start(t, r.URL(), "a", longLease, soon), start(t, r.URL(), "b", longLease)
	together(t, a, b)
	b.leaves = false
	b.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if n, err := a.Close(ctx, push.Closing{Client: client("x")}); n != 0 || err != nil || ctx.Err() != nil {
		t.Errorf("%d, %v, %v", n, err, ctx.Err())
	}
}

func TestQuestionsFailPlainlyWithoutRedis(t *testing.T) {
	r := daemons.StartRedis(t)
	a, b := start(t, r.URL(), "a", longLease), start(t, r.URL(), "b", longLease)
	together(t, a, b)
	r.Kill()
	if _, err := a.Sessions(t.Context(), []push.ClientKey{client("x")}); !push.HasCode(err, push.CodeOverloaded) {
		t.Errorf("sessions: %v", err)
	}
	if _, err := a.Close(t.Context(), push.Closing{Client: client("x")}); !push.HasCode(err, push.CodeOverloaded) {
		t.Errorf("close: %v", err)
	}
	if _, err := a.Live(t.Context(), "shop", nil, &push.Message{}); !push.HasCode(err, push.CodeOverloaded) {
		t.Errorf("live: %v", err)
	}
}
