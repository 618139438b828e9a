package hub

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
	"github.com/sunzi-push/sunzi/push"
)

func routes(h *Hub) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/ws", h)
	mux.Handle("/ws/", h)
	mux.Handle("/echo", h.EchoHandler())
	return mux
}

// session is the only session of the client.
func (r *rig) session(name string) push.Session {
	r.tb.Helper()
	list := r.hub.Of(key(name))
	if len(list) != 1 {
		r.tb.Fatalf("%d sessions of %s, want 1", len(list), name)
	}
	return list[0]
}

func TestAMessageIsOfferedSentAndAcked(t *testing.T) {
	r := start(t, testConfig())
	p := r.dial("alice")
	w := p.hello()
	if w.ClientID != "alice" || w.Incarnation != "00000000000000aa" || w.HeartbeatMS != 25000 || len(w.Session) != 16 || w.Generation == 0 {
		t.Errorf("welcome %+v", w)
	}
	p.live()
	r.office.commit(r.hub, "one", "alice", "bob")
	m := p.next(wire.TypeMessage)
	if m.Delivery.Seq != 1 || m.Delivery.Replayed || string(m.Delivery.Data) != `"one"` {
		t.Errorf("got %+v", m.Delivery)
	}
	p.say(`{"type":"ack","seq":"1","failed":[{"seq":"1","code":7}]}`)
	until(t, "the ack arrives", func() bool {
		r.office.mu.Lock()
		defer r.office.mu.Unlock()
		return len(r.office.acks) == 1 && r.office.acks[0].Seq == 1 && r.office.acks[0].Client == key("alice") &&
			len(r.office.acks[0].Failed) == 1 && r.office.acks[0].Failed[0] == push.FailedEntry{Seq: 1, Code: 7}
	})
}

func TestReplayStartsAtTheCursorOfTheHello(t *testing.T) {
	r := start(t, testConfig())
	for _, s := range []string{"1", "2", "3", "4"} {
		r.office.commit(r.hub, s, "alice")
	}
	r.office.box(key("alice")).entries[2] = nil // a gap
	p := r.dial("alice")
	p.say(`{"type":"hello","cursor":"1","incarnation":"00000000000000aa"}`)
	if w := p.next(wire.TypeWelcome).Welcome; w.Cursor != 1 || w.Backlog != 4 {
		t.Errorf("welcome %+v", w)
	}
	if m := p.next(wire.TypeMessage); m.Delivery.Seq != 2 || !m.Delivery.Replayed {
		t.Errorf("got %+v", m.Delivery)
	}
	if m := p.next(wire.TypeGap); m.From != 3 || m.To != 3 || m.Reason != string(push.GapExpired) {
		t.Errorf("got %+v", m)
	}
	if m := p.next(wire.TypeMessage); m.Delivery.Seq != 4 {
		t.Errorf("got %+v", m.Delivery)
	}
	if m := p.next(wire.TypeReplayComplete); m.Seq != 4 {
		t.Errorf("got %+v", m)
	}
	until(t, "the replay is counted", func() bool { return r.value("sunzi_replays_total", "complete") == 1 })
}

func TestAClientThatSaysNothingIsServedFromTheServersCursor(t *testing.T) {
	cfg := testConfig()
	cfg.HelloWait = 50 * time.Millisecond
	r := start(t, cfg)
	r.office.commit(r.hub, "one", "alice")
	r.office.commit(r.hub, "two", "alice")
	r.office.Ack(key("alice"), 1, nil)
	p := r.dial("alice")
	p.next(wire.TypeWelcome)
	if m := p.next(wire.TypeMessage); m.Delivery.Seq != 2 {
		t.Errorf("got %+v", m.Delivery)
	}
	p.live()
	p.say(`{"type":"hello","cursor":"0"}`) // late: heard, and nothing changes
	p.say(`{"type":"ping","id":"x"}`)
	if m := p.next(wire.TypePong); m.ID != "x" {
		t.Errorf("got %+v", m)
	}
}

// What hello may not leave out is the domain's to say; a client that says none
// is told so too.
func TestASessionThatIsRefusedIsClosed(t *testing.T) {
	cfg := testConfig()
	cfg.HelloWait = 50 * time.Millisecond
	r := start(t, cfg)
	r.office.refusals = map[push.ClientKey]*push.Refusal{
		key("alice"): {Code: push.CloseHelloTimeout, Reason: push.ReasonSaySeal},
		key("bob"):   {Code: push.CloseUnsealed, Reason: "say seal"},
	}
	if reason := r.dial("alice").WantClose(4106); reason != push.ReasonSaySeal {
		t.Errorf("reason %q", reason)
	}
	p := r.dial("bob")
	p.say(`{"type":"hello"}`)
	p.WantClose(4009)
	r.office.mu.Lock()
	defer r.office.mu.Unlock()
	if h := r.office.hellos; len(h) != 2 || !h[0].Unsaid || h[1].Unsaid {
		t.Errorf("the backend heard %+v", h)
	}
}

func TestADeviceBoundTokenNeedsItsDevice(t *testing.T) {
	cfg := testConfig()
	cfg.HelloWait = 50 * time.Millisecond
	r := start(t, cfg)
	p := r.dial("alice:dev1")
	p.say(`{"type":"hello","device":"dev2"}`)
	if reason := p.WantClose(4001); reason != push.ReasonMismatch {
		t.Errorf("reason %q", reason)
	}
	r.dial("alice:dev1").WantClose(4106) // silent
	p = r.dial("alice:dev1")
	p.say(`{"type":"hello","device":"dev1"}`)
	p.next(wire.TypeWelcome)
}

func TestWhatAClientMaySay(t *testing.T) {
	r := start(t, testConfig())
	p := r.greet("alice").live()
	r.office.commit(r.hub, "one", "alice")
	p.next(wire.TypeMessage)

	p.say(`{"type":"ack","seq":"2"}`)
	if m := p.next(wire.TypeError); m.Code != int(push.CodeInvalidField) {
		t.Errorf("an ack of what was not sent: got %+v", m)
	}
	p.say(`{"type":"ack","seq":"1","failed":[{"seq":"9","code":1}]}`)
	p.next(wire.TypeError)
	p.say(`{"type":"read","seq":"2"}`)
	p.next(wire.TypeError)
	p.say(`{"type":"typing","conversation_id":"a/b"}`)
	p.next(wire.TypeError)
	p.say(`{"type":"read","seq":"1"}`)
	p.say(`{"type":"typing","conversation_id":"order:1","sender_name":"Al"}`)
	p.say(`{"type":"dance"}`)
	p.Ping("are you there")
	p.Want(frame.Pong, "are you there")
	p.say(`{"type":"ping"}`)
	p.next(wire.TypePong)

	r.office.mu.Lock()
	defer r.office.mu.Unlock()
	if len(r.office.acks) != 0 || len(r.office.reads) != 1 || len(r.office.typing) != 1 {
		t.Errorf("acks %v, reads %v, typing %v", r.office.acks, r.office.reads, r.office.typing)
	}
	if got := r.value("sunzi_messages_in_total", "unknown"); got != 1 {
		t.Errorf("%v unknown messages counted, want 1", got)
	}
}

func TestMalformedMessagesClose(t *testing.T) {
	r := start(t, testConfig())
	for _, s := range []string{`{`, `[]`, `{"type":"ack","seq":1.5}`, `{"type":"read"}`, ``} {
		p := r.greet("alice").live()
		p.say(s)
		p.WantClose(4002)
	}
	p := r.greet("alice").live()
	p.Binary([]byte(`{"type":"ping"}`))
	p.WantClose(1003)
}

func TestViolationsAreAnsweredBeforeTheSocketCloses(t *testing.T) {
	cfg := testConfig()
	cfg.MaxFrame, cfg.MaxMessage = 1000, 1500
	r := start(t, cfg)
	for name, tc := range map[string]struct {
		frames []frame.Frame
		code   uint16
	}{
		"reserved bit":   {[]frame.Frame{{Op: frame.Text, Rsv: 4, Payload: []byte("x")}}, 1002},
		"bad UTF-8":      {[]frame.Frame{{Op: frame.Text, Payload: []byte{0xff}}}, 1007},
		"large frame":    {[]frame.Frame{{Op: frame.Text, Payload: make([]byte, 1001)}}, 1009},
		"large message":  {[]frame.Frame{{Op: frame.Text, More: true, Payload: make([]byte, 1000)}, {Payload: make([]byte, 501)}}, 1009},
		"bad close code": {[]frame.Frame{{Op: frame.Close, Payload: []byte{0x03, 0xed}}}, 1002},
		// bytes behind the violation must not reset the connection
		"and more": {[]frame.Frame{{Op: 3}, {Op: frame.Text, Payload: make([]byte, 900)}, {Op: frame.Text}}, 1002},
	} {
		t.Run(name, func(t *testing.T) {
			p := r.greet("alice").live()
			p.Send(tc.frames...)
			p.WantClose(tc.code)
		})
	}
	until(t, "all are gone", func() bool { return r.hub.gate.total.Load() == 0 })
}

func TestThePeersCloseIsAnswered(t *testing.T) {
	r := start(t, testConfig())
	p := r.greet("alice").live()
	p.Leave(4000, "bye")
	p.WantClose(4000)
	p = r.greet("alice").live()
	p.Leave(1005, "")
	p.WantClose(1005)
	p = r.greet("alice").live()
	_ = p.Conn.Close()
	until(t, "the connections are gone", func() bool { return r.hub.Len() == 0 && r.hub.gate.total.Load() == 0 })
	if got := r.value("sunzi_closes_total", "1006", "none"); got != 1 {
		t.Errorf("%v closes without a close frame, want 1", got)
	}
	if got := r.value("sunzi_closes_total", "other", "client"); got != 1 {
		t.Errorf("%v closes of an unknown code, want 1", got)
	}
	if got := r.value("sunzi_closes_total", "other", "none"); got != 0 {
		t.Errorf("%v closes counted twice", got)
	}
}

func TestNoticesAndLiveMessages(t *testing.T) {
	r := start(t, testConfig())
	p := r.dial("alice")
	until(t, "the session is in the table", func() bool { return r.hub.Online(key("alice")) })
	s := r.session("alice")
	if s.Live(message(1, "early")) {
		t.Error("a live-only message was taken before welcome")
	}
	p.hello()
	p.live()
	r.office.commit(r.hub, "one", "alice")
	p.next(wire.TypeMessage)
	if !s.Live(message(2, "now")) {
		t.Error("a live-only message was not taken")
	}
	if m := p.next(wire.TypeMessage); m.Delivery.Seq != 0 || string(m.Delivery.Data) != `"now"` {
		t.Errorf("got %+v", m.Delivery)
	}
	s.Notify(push.Notice{Kind: push.NoticeTombstone, PushID: 1, Seq: 1})
	if m := p.next(wire.TypeTombstone); m.ID != "1" || m.Seq != 1 {
		t.Errorf("got %+v", m)
	}
	s.Notify(push.Notice{Kind: push.NoticeTombstone, PushID: 5, Seq: 5}) // not sent yet: nothing to take back
	s.Notify(push.Notice{Kind: push.NoticeMemberJoined, Group: "g", ClientID: "bob"})
	if m := p.next(wire.TypeMemberJoined); m.Group != "g" || m.ClientID != "bob" {
		t.Errorf("got %+v", m)
	}
	s.Notify(push.Notice{Kind: push.NoticeMemberLeft, Group: "g", ClientID: "bob"})
	p.next(wire.TypeMemberLeft)
	s.Notify(push.Notice{Kind: push.NoticeTyping, Group: "g", ClientID: "bob", SenderName: "Bob", SenderType: "client"})
	if m := p.next(wire.TypeTyping); m.Conversation != "g" || m.SenderID != "bob" || m.SenderName != "Bob" || m.SenderType != "client" {
		t.Errorf("got %+v", m)
	}
	s.Close(push.CloseDisconnected, "by the application")
	s.Close(push.CloseDeleted, "too late")
	if reason := p.WantClose(4005); reason != "by the application" {
		t.Errorf("reason %q", reason)
	}
	until(t, "the session is out of the table", func() bool { return !r.hub.Online(key("alice")) })
	if s.Live(message(3, "late")) {
		t.Error("a live-only message was taken after the close")
	}
	if got := r.value("sunzi_live_drops_total", "gone"); got != 1 {
		t.Errorf("%v drops because gone, want 1", got)
	}
}

func TestSessionInfo(t *testing.T) {
	r := start(t, testConfig())
	before := time.Now().Truncate(time.Millisecond)
	p := r.greet("shop/alice").live()
	s := r.session("shop/alice")
	if i := s.Info(); i.Client != key("shop/alice") || i.Transport != "websocket" || i.TokenID != "AAECAwQFBgcICQoLDA0ODw" ||
		!strings.HasPrefix(i.Remote, "127.0.0.1:") || i.Connected.Before(before) || i.TokenIssued.IsZero() || !i.LastHeartbeat.IsZero() {
		t.Errorf("got %+v", i)
	}
	p.Ping("")
	p.Want(frame.Pong, "")
	said := s.Info().LastMessage
	until(t, "a later message would have another time", func() bool { return time.Since(said) > 2*time.Millisecond })
	p.say(`{"type":"ping"}`)
	p.next(wire.TypePong)
	if i := s.Info(); !i.LastMessage.Equal(said) {
		t.Error("a JSON ping is a heartbeat, not a message")
	}
	if i := s.Info(); i.LastHeartbeat.Before(before) {
		t.Errorf("no heartbeat in %+v", i)
	}
}

func TestNewestConnectionWins(t *testing.T) {
	r := start(t, testConfig())
	first := r.greet("alice").live()
	second := r.greet("alice").live()
	first.WantClose(4007)
	r.office.commit(r.hub, "one", "alice")
	second.next(wire.TypeMessage)
	if n := r.hub.Len(); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

func TestSeveralConnectionsWhereAllowed(t *testing.T) {
	cfg := testConfig()
	cfg.PerClient = 2
	r := start(t, cfg)
	first := r.greet("alice").live()
	second := r.greet("alice").live()
	r.office.commit(r.hub, "one", "alice")
	first.next(wire.TypeMessage)
	second.next(wire.TypeMessage)
	third := r.greet("alice").live()
	first.WantClose(4007)
	r.office.commit(r.hub, "two", "alice")
	second.next(wire.TypeMessage)
	third.next(wire.TypeMessage)
}

func TestRefreshInBand(t *testing.T) {
	cfg := testConfig()
	cfg.ExpiryWarning = time.Hour
	r := start(t, cfg)
	r.office.ttl = 30 * time.Minute
	expires := time.Now().Add(48 * time.Hour).Truncate(time.Millisecond)
	r.office.refresh = func(id push.Identity, token string) (push.Identity, error) {
		if token != "new" {
			return id, push.Errorf(push.CodeBadCredentials, push.ReasonBadToken)
		}
		id.TokenID, id.Expires = "not-base64-of-16", expires
		return id, nil
	}
	p := r.greet("alice").live()
	if m := p.next(wire.TypeTokenExpiring); m.InMS <= 0 || m.InMS > 30*60*1000 {
		t.Errorf("got %+v", m)
	}
	p.say(`{"type":"refresh","token":"new"}`)
	if m := p.next(wire.TypeRefreshed); m.ExpiresMS != expires.UnixMilli() {
		t.Errorf("got %+v", m)
	}
	if i := r.session("alice").Info(); i.TokenID != "not-base64-of-16" {
		t.Errorf("token ID %q", i.TokenID)
	}
	p.say(`{"type":"refresh","token":"stolen"}`)
	if m := p.next(wire.TypeError); m.Code != int(push.CodeBadCredentials) {
		t.Errorf("got %+v", m)
	}
	if reason := p.WantClose(4001); reason != push.ReasonBadToken {
		t.Errorf("reason %q", reason)
	}
}

func TestAMailboxThatCantBeOpened(t *testing.T) {
	r := start(t, testConfig())
	r.office.openErr = push.Errorf(push.CodeNoClient, "no such client")
	p := r.dial("alice")
	p.say(`{"type":"hello"}`)
	p.WantClose(4006)
	r.office.mu.Lock()
	r.office.openErr = push.Errorf(push.CodeInternal, "damaged")
	r.office.mu.Unlock()
	p = r.dial("alice")
	p.say(`{"type":"hello"}`)
	p.WantClose(4100)
}

func TestMessagePackIsBinaryFromEndToEnd(t *testing.T) {
	r := start(t, testConfig())
	c := hubtest.Dial(t, r.addr, hubtest.Handshake{Path: "/ws", Protocols: []string{wire.ProtocolMsgpack, "bearer.alice"}})
	c.Binary(wire.EncodeClient(wire.Msgpack, &wire.ClientMessage{Type: wire.TypeHello}))
	next := func(want wire.Type) wire.ServerMessage {
		t.Helper()
		ev := c.NextMessage()
		m, err := wire.DecodeServer(wire.Msgpack, ev.Payload)
		if err != nil || ev.Op != frame.Binary || m.Type != want {
			t.Fatalf("got %v %s %+v, %v, want %s", ev.Op, m.Type, m, err, want)
		}
		return m
	}
	next(wire.TypeWelcome)
	next(wire.TypeReplayComplete)
	m := r.office.commit(r.hub, "one", "alice")
	if got := next(wire.TypeMessage); got.Delivery.Seq != 1 || string(got.Delivery.Data) != `"one"` {
		t.Errorf("got %+v", got)
	}
	if m.Encoded[wire.Msgpack].Load() == nil || m.Encoded[wire.JSON].Load() != nil {
		t.Error("the body was not encoded once, for the codec that is spoken")
	}
}

func refuseRefresh(id push.Identity, _ string) (push.Identity, error) {
	return id, push.Errorf(push.CodeBadCredentials, push.ReasonBadToken)
}
