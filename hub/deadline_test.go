package hub

import (
	"net"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
	"github.com/sunzi-push/sunzi/push"
)

// Deadlines are set short, and the tests wait for the outcome.

func TestHalfAFrameIsNotWaitedForLong(t *testing.T) {
	cfg := testConfig()
	cfg.MessageTimeout = 100 * time.Millisecond
	r := start(t, cfg)
	whole := frame.AppendMasked(nil, frame.Text, [4]byte{1, 2, 3, 4}, []byte(`{"type":"ping"}`))
	for name, piece := range map[string][]byte{
		"half a header":  whole[:1],
		"half a frame":   whole[:10],
		"half a message": frame.Frame{Op: frame.Text, More: true, Masked: true, Payload: []byte(`{"ty`)}.Append(nil),
	} {
		t.Run(name, func(t *testing.T) {
			p := r.greet("alice").live()
			p.SendRaw(piece)
			p.WantClose(4107)
		})
	}
}

func TestWholeMessagesDoNotAgeTheNext(t *testing.T) {
	cfg := testConfig()
	cfg.MessageTimeout = 300 * time.Millisecond
	cfg.MessageRate = 0
	r := start(t, cfg)
	p := r.greet("alice").live()
	whole := frame.AppendMasked(nil, frame.Text, [4]byte{1, 2, 3, 4}, []byte(`{"type":"ping"}`))
	// Each write ends one message and begins another, for longer than the
	// deadline of any one.
	p.SendRaw(whole[:5])
	for begin := time.Now(); time.Since(begin) < 2*cfg.MessageTimeout; {
		p.SendRaw(append(append([]byte(nil), whole[5:]...), whole[:5]...))
		p.next(wire.TypePong)
	}
	p.SendRaw(whole[5:])
	p.next(wire.TypePong)
}

func TestSilentPeersAreFoundWithinTwoIntervals(t *testing.T) {
	cfg := testConfig()
	cfg.Heartbeat, cfg.PongWait = 300*time.Millisecond, 150*time.Millisecond
	cfg.CloseTimeout = 50 * time.Millisecond
	r := start(t, cfg)
	silent := r.greet("silent").live()
	begin := time.Now()
	until(t, "the silent one is gone", func() bool { return r.hub.gate.total.Load() == 0 })
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if got := r.value("sunzi_pong_timeouts_total"); got != 1 {
		t.Errorf("%v pong timeouts, want 1", got)
	}
	silent.WantClose(4104)
}

func TestAnyByteCountsAsLife(t *testing.T) {
	cfg := testConfig()
	cfg.Heartbeat, cfg.PongWait = 200*time.Millisecond, 200*time.Millisecond
	cfg.MessageRate = 0 // beyond it nothing is read, and nobody pinged
	r := start(t, cfg)
	p := r.greet("alice").live()
	// No pong is ever sent: only JSON pings, each answered before the next.
	for pings, begin := 0, time.Now(); time.Since(begin) < 6*cfg.Heartbeat; {
		p.say(`{"type":"ping"}`)
		for {
			ev := p.Next()
			if ev.Op == frame.Ping {
				pings++
				continue
			}
			if ev.Op != frame.Text {
				t.Fatalf("frame %d %d %q after %d pings", ev.Op, ev.Code, ev.Payload, pings)
			}
			break
		}
	}
	if r.value("sunzi_heartbeats_total", "ping", "out") < 3 {
		t.Error("no pings were sent: the test shows nothing")
	}
}

func TestIdleConnectionsCloseWhereConfigured(t *testing.T) {
	cfg := testConfig()
	cfg.Heartbeat, cfg.PongWait = 100*time.Millisecond, 100*time.Millisecond
	cfg.IdleTimeout = 300 * time.Millisecond
	r := start(t, cfg)
	p := r.greet("alice").live()
	for { // heartbeats pass, and do not count
		ev := p.Next()
		if ev.Op == frame.Ping {
			p.Pong(ev.Payload)
			continue
		}
		if ev.Op != frame.Close || ev.Code != uint16(push.CloseIdle) {
			t.Fatalf("frame %d %d %q", ev.Op, ev.Code, ev.Payload)
		}
		break
	}
	p.Leave(4105, "")
	p.WantEnd()
}

func TestATokenThatEndsWarnsAndCloses(t *testing.T) {
	cfg := testConfig()
	cfg.ExpiryWarning = 400 * time.Millisecond
	r := start(t, cfg)
	r.office.ttl = 600 * time.Millisecond
	p := r.greet("alice").live()
	if m := p.next(wire.TypeTokenExpiring); m.InMS <= 0 || m.InMS > 400 {
		t.Errorf("got %+v", m)
	}
	p.WantClose(4003)
}

func TestAPeerThatDoesNotAnswerACloseIsCut(t *testing.T) {
	cfg := testConfig()
	cfg.CloseTimeout = 100 * time.Millisecond
	r := start(t, cfg)
	p := r.greet("alice").live()
	r.session("alice").Close(push.CloseDisconnected, "")
	for p.Next().Op != frame.Close {
	}
	if r.hub.Online(key("alice")) {
		t.Error("a session that is being closed is still in the table")
	}
	p.SendRaw(frame.AppendMasked(nil, frame.Text, [4]byte{}, []byte("talks on")))
	p.WantEnd()
	until(t, "its place is free", func() bool { return r.hub.gate.total.Load() == 0 })
}

// TestHalfDoneConnectionsDoNotHoldUpAFreshOne is the attack with all of them
// at once.
func TestHalfDoneConnectionsDoNotHoldUpAFreshOne(t *testing.T) {
	cfg := testConfig()
	cfg.HelloWait = 100 * time.Millisecond
	cfg.MessageTimeout = 500 * time.Millisecond
	cfg.CloseTimeout = 100 * time.Millisecond
	r := start(t, cfg)
	for range 100 {
		nc, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = nc.Close() }()
		if _, err := hubtest.Upgrade(nc, hubtest.Handshake{Path: "/echo"}); err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Write(frame.AppendMasked(nil, frame.Text, [4]byte{1, 2, 3, 4}, make([]byte, 60000))[:1000]); err != nil {
			t.Fatal(err)
		}
	}
	fresh := r.greet("fresh").live()
	begin := time.Now()
	fresh.Ping("x")
	fresh.Want(frame.Pong, "x")
	if took := time.Since(begin); took > time.Second {
		t.Errorf("an echo took %v", took)
	}
	until(t, "the others are gone", func() bool { return r.hub.gate.total.Load() == 1 })
}
