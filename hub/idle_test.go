package hub

import (
	"net"
	"testing"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
	"github.com/sunzi-push/sunzi/hub/poll"
	"github.com/sunzi-push/sunzi/push"
)

// quiet is a backend that keeps nothing per client.
type quiet struct{ *office }

func (quiet) Open(_ push.Identity, _ push.Hello, done func(push.Opened, error)) {
	done(push.Opened{Mailbox: push.Mailbox{Incarnation: "00000000000000aa"}}, nil)
}

// openIdle opens a session whose client's end is a bare descriptor.
func openIdle(t testing.TB, addr, token string) int {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hubtest.Upgrade(nc, hubtest.Handshake{Path: "/ws", Protocols: []string{wire.ProtocolJSON, "bearer." + token}}); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write(frame.AppendMasked(nil, frame.Text, [4]byte{1, 2, 3, 4}, []byte(`{"type":"hello"}`))); err != nil {
		t.Fatal(err)
	}
	fd, err := poll.Detach(nc)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}
