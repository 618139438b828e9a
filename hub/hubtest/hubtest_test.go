package hubtest

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sunzi-push/sunzi/hub/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var roomy = frame.Limits{Frame: 16 << 20, Message: 16 << 20}

func TestTheWholeListIsThere(t *testing.T) {
	var ids []string
	for _, c := range Cases() {
		ids = append(ids, c.ID)
	}
	for _, r := range limitRows() {
		ids = append(ids, r.id)
	}
	perKind := map[string]int{}
	for _, id := range ids {
		perKind[strings.SplitN(id, ".", 2)[0]]++
	}
	want := map[string]int{"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1, "S": 14}
	if fmt.Sprint(perKind) != fmt.Sprint(want) {
		t.Errorf("cases per kind: %v, want %v", perKind, want)
	}
	slices.Sort(ids)
	if n := len(ids); len(slices.Compact(ids)) != n {
		t.Error("a number is used twice")
	}
}

func TestPlainEchoPassesAllCases(t *testing.T) {
	e := startEcho(t, roomy, fault{})
	Conformance(t, e.dialUpgraded)
}

func TestPlainEchoPassesAllLimitCases(t *testing.T) {
	lim := roomy
	if testing.Short() { // not some hundred megabytes: larger ones must answer 1009
		lim = frame.Limits{Frame: 1 << 20, Message: 1 << 20}
	}
	e := startEcho(t, lim, fault{})
	ConformanceLimits(t, e.dialUpgraded, lim)
}

func TestLimitCasesBeyondTheLimitWant1009(t *testing.T) {
	lim := frame.Limits{Frame: 512 << 10, Message: 1 << 20}
	e := startEcho(t, lim, fault{})
	ConformanceLimits(t, e.dialUpgraded, lim)
}

func TestPlainEchoDeclinesCompression(t *testing.T) {
	e := startEcho(t, roomy, fault{})
	DeclinesCompression(t, e.dial, Handshake{Path: "/echo"})
}

// Each fault must be found by the cases that it concerns, and by no other of
// those that are run: where all fail, a few do, as each waits in vain.
func TestCasesFindFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		wrong fault
		fail  string // matches the numbers of the cases that must fail
		among string // matches those that are run; empty: all
	}{
		{"none", fault{}, `^$`, ``},
		{"no pongs", fault{silent: true}, `^(2\.([1-46]|9|10|11)|5\.([678]|19|20)|6\.4\.[12]|S\.9)$`, ``},
		{"all echoed as binary", fault{binary: true}, `^(1\.1\..*|3\.[234]|4\.[12]\.[345]|5\.([3-8]|15|19|20)|6\.([12]\..*|(5|7|9|22|23)\..*|11\.[1-4]|6\.(2|5|7|9|11))|7\.1\.[16]|10\.1\.1|S\.9)$`, ``},
		{"ends without a close frame", fault{rude: true}, `.`, `^(1\..\.[12]|2\.[1-3]|6\.5\.[12]|7\.1\.1|7\.7\.[12])$`},
		{"does not end connections", fault{clings: true}, `.`, `^(1\..\.[12]|2\.[1-3]|6\.5\.[12]|7\.1\.1|7\.7\.[12])$`},
		{"talks after its close frame", fault{chatty: true}, `.`, `^(1\..\.[12]|2\.[1-3]|6\.5\.[12]|7\.1\.1|7\.7\.[12])$`},
		{"closes with 1000 only", fault{code: 1000}, `^(2\.5|3\..*|4\..*|5\.([12]|9|1[0-8])|6\.(3|4|8|10|12|13|14|15|16|17|18|19|20|21)\..*|6\.6\.(1|3|4|6|8|10)|6\.11\.5|7\.3\.[26]|7\.5\.1|7\.9\..*|7\.13\..*|S\.([1-7]|10)|S\.7\.9\.1)$`, ``},
		{"pongs only between messages", fault{late: true}, `^(5\.([678]|19|20)|6\.4\.[12]|S\.9)$`, ``},
		{"UTF-8 looked at frame by frame", fault{slowUTF8: true}, `^(6\.4\.[34])$`, `^6\.4\.`},
		{"echoes twice", fault{twice: true}, `^(1\..*|6\.5\..*|7\.1\.1)$`, `^(1\..\.[12]|2\.[1-3]|6\.5\.[12]|7\.1\.1|7\.7\.[12])$`},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := startEcho(t, roomy, c.wrong)
			must := regexp.MustCompile(c.fail)
			among := regexp.MustCompile(c.among)
			for _, k := range Cases() {
				if !among.MatchString(k.ID) {
					continue
				}
				if must.MatchString(k.ID) {
					k.Timeout = shortly // in vain, as a rule
				}
				conn := e.dialUpgraded(t)
				err := k.Run(conn)
				_ = conn.Close()
				if (err != nil) != must.MatchString(k.ID) {
					t.Errorf("%s %s: %v", k.ID, k.What, err)
				}
			}
		})
	}
}

func TestLimitCasesFindAServerWithoutALimit(t *testing.T) {
	e := startEcho(t, roomy, fault{unlimited: true})
	c := limitRows()[2].build(frame.Limits{Frame: 1 << 18, Message: 1 << 18})
	c.Timeout = shortly
	conn := e.dialUpgraded(t)
	defer func() { _ = conn.Close() }()
	if err := c.Run(conn); err == nil {
		t.Error("a message of 1 MiB was echoed under a limit of 256 KiB, and nobody minds")
	}
}

func TestDeclinesCompressionFindsAServerThatAccepts(t *testing.T) {
	e := startEcho(t, roomy, fault{deflates: true})
	conn := e.dial(t)
	defer func() { _ = conn.Close() }()
	if err := declines(conn, Handshake{}, "permessage-deflate"); err == nil {
		t.Error("nobody minds a negotiated extension")
	}
}

func TestUpgradeChecksTheAnswer(t *testing.T) {
	e := startEcho(t, roomy, fault{badHeaders: true})
	conn := e.dial(t)
	defer func() { _ = conn.Close() }()
	if _, err := Upgrade(conn, Handshake{}); err == nil {
		t.Error("a wrong Sec-WebSocket-Accept passed")
	}
}

func TestHandshakeSendsWhatItIsTold(t *testing.T) {
	h := Handshake{
		Path:      "/ws/42?x=1",
		Protocols: []string{"sunzi.v1.json", "bearer.abc"},
		Header:    http.Header{"Origin": {"https://example.org"}, "Host": {"push.example.org"}},
	}
	got := string(h.request("ignored:1", "a2V5"))
	for _, line := range []string{
		"GET /ws/42?x=1 HTTP/1.1", "Host: push.example.org", "Origin: https://example.org",
		"Sec-Websocket-Protocol: sunzi.v1.json, bearer.abc", "Sec-Websocket-Version: 13", "Sec-Websocket-Key: a2V5",
	} {
		if !strings.Contains(got, line+"\r\n") {
			t.Errorf("%q is not in\n%s", line, got)
		}
	}
}

func TestClientTalks(t *testing.T) {
	e := startEcho(t, roomy, fault{})
	c := Dial(t, e.ln.Addr().String(), Handshake{})
	c.Text("one")
	c.Want(frame.Text, "one")
	c.Ping("two")
	c.Binary([]byte("three"))
	if ev := c.NextMessage(); ev.Op != frame.Binary || string(ev.Payload) != "three" {
		t.Errorf("got %s", describe(ev))
	}
	c.WantSilence(shortly / 3)
	c.Leave(4000, "bye")
	c.WantClose(4000)
}

// shortly is how long a wrong server is waited for.
const shortly = 100 * time.Millisecond
