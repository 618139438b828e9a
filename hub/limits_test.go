package hub

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
)

func TestDefaultConfigIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesAllProblems(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Heartbeat = 0
	cfg.PerClient = 0
	cfg.Outbound = 1
	cfg.CloseTimeout = 365 * 24 * time.Hour
	cfg.ConnectBurst = 0
	cfg.Origins = []string{"app.example", "https://a.*.example", "https://ok.example"}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{"Heartbeat is", "PongWait (10s)", "PerClient", "Outbound", "CloseTimeout", "ConnectBurst", `"app.example"`, `"https://a.*.example"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "ok.example") {
		t.Errorf("a good origin is refused: %v", err)
	}
	if _, err := New(cfg, Deps{}); err == nil {
		t.Error("New took it")
	}
}

// tryDial answers the status of an upgrade, and keeps the connection open.
func (r *rig) tryDial(token string) int {
	r.tb.Helper()
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.tb.Fatal(err)
	}
	r.tb.Cleanup(func() { _ = nc.Close() })
	resp, err := hubtest.Upgrade(nc, hubtest.Handshake{Path: "/ws", Protocols: []string{"bearer." + token}})
	if resp == nil {
		r.tb.Fatal(err)
	}
	if resp.StatusCode == 503 && resp.Header.Get("Retry-After") == "" {
		r.tb.Error("no Retry-After")
	}
	return resp.StatusCode
}

func TestConnectionsAreBoundedInTotal(t *testing.T) {
	cfg := testConfig()
	cfg.MaxConnections = 3
	r := start(t, cfg)
	for i := range 3 {
		if got := r.tryDial(fmt.Sprint(i)); got != 101 {
			t.Fatalf("connection %d: %d", i, got)
		}
	}
	if got := r.tryDial("one too many"); got != 503 {
		t.Errorf("got %d", got)
	}
	for _, s := range r.hub.table.all() {
		s.Close(4005, "")
	}
	if got := r.value("sunzi_upgrades_total", "limited"); got != 1 {
		t.Errorf("%v limited upgrades counted", got)
	}
}

func TestConnectionsAreBoundedPerAddress(t *testing.T) {
	cfg := testConfig()
	cfg.PerAddress = 2
	r := start(t, cfg)
	first := r.greet("a")
	if got := r.tryDial("b"); got != 101 {
		t.Fatalf("got %d", got)
	}
	if got := r.tryDial("c"); got != 503 {
		t.Errorf("got %d", got)
	}
	_ = first.Conn.Close()
	until(t, "the place is free", func() bool { return r.hub.gate.total.Load() == 1 })
	if got := r.tryDial("c"); got != 101 {
		t.Errorf("after one left: got %d", got)
	}
}

func TestConnectionsAreBoundedInRate(t *testing.T) {
	now := time.Unix(1700000000, 0)
	g := newGatekeeper(Config{ConnectRate: 10, ConnectBurst: 3})
	addr := netip.MustParseAddr("192.0.2.1")
	admitted := func(n int) (yes int) {
		for range n {
			if g.admit(addr, now) {
				yes++
			}
		}
		return yes
	}
	if got := admitted(10); got != 3 {
		t.Errorf("%d of a burst, want 3", got)
	}
	now = now.Add(250 * time.Millisecond)
	if got := admitted(10); got != 2 {
		t.Errorf("%d after a quarter second, want 2", got)
	}
	now = now.Add(time.Hour)
	if got := admitted(10); got != 3 {
		t.Errorf("%d after an hour, want 3", got)
	}
	if got := g.total.Load(); got != 8 {
		t.Errorf("%d places taken, want 8", got)
	}
}

func TestAddressBlocks(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "fe80::1%eth0": "fe80::",
	} {
		if got := addressBlock(netip.MustParseAddr(in)); got.String() != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// TestAChattyClientIsHeardAtItsRate: what it sends beyond is read later, not
// dropped.
func TestAChattyClientIsHeardAtItsRate(t *testing.T) {
	cfg := testConfig()
	cfg.MessageRate, cfg.MessageBurst = 100, 10
	r := start(t, cfg)
	p := r.greet("alice").live()
	begin := time.Now()
	const n = 40
	for i := range n {
		p.say(fmt.Sprintf(`{"type":"ping","id":"%d"}`, i))
		if m := p.next(wire.TypePong); m.ID != fmt.Sprint(i) {
			t.Fatalf("got %+v", m)
		}
	}
	if took := time.Since(begin); took < time.Duration(n-cfg.MessageBurst-1)*10*time.Millisecond {
		t.Errorf("%d messages in %v", n, took)
	}
	if r.value("sunzi_rate_stops_total") == 0 {
		t.Error("no stop counted")
	}
}

func TestIPv6(t *testing.T) {
	r := start(t, testConfig())
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	stop := serve(t, ln, routes(r.hub))
	defer stop()
	r.addr = ln.Addr().String()
	p := r.greet("alice").live()
	if got := r.session("alice").Info().Remote; !strings.HasPrefix(got, "[::1]:") {
		t.Errorf("remote %q", got)
	}
	p.Ping("x")
	p.Want(frame.Pong, "x")
}
