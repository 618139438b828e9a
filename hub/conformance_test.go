package hub

import (
	"net"
	"testing"

	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
)

func echoDialer(r *rig) hubtest.Dialer {
	return func(t *testing.T) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := hubtest.Upgrade(conn, hubtest.Handshake{Path: "/echo"}); err != nil {
			_ = conn.Close()
			t.Fatal(err)
		}
		return conn
	}
}

func TestEchoEndpointConformsToRFC6455(t *testing.T) {
	r := start(t, testConfig())
	hubtest.Conformance(t, echoDialer(r))
}

func TestEchoEndpointTakesLargeMessages(t *testing.T) {
	r := start(t, testConfig())
	hubtest.ConformanceLimits(t, echoDialer(r), frame.Limits{Frame: echoMessage, Message: echoMessage})
}

func TestCompressionIsDeclined(t *testing.T) {
	r := start(t, testConfig())
	hubtest.DeclinesCompression(t, func(t *testing.T) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}, hubtest.Handshake{Path: "/echo"})
}
