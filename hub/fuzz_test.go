package hub

import (
	"net"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
)

// FuzzSession says anything to a session, as raw bytes or as the payload of
// whole frames: whatever it is, the connection can be ended, the server counts
// it as gone, and serves the next one.
func FuzzSession(f *testing.F) {
	f.Add([]byte(`{"type":"hello","cursor":"3"}`), uint8(1))
	f.Add([]byte(`{"type":"ack","seq":"1","failed":[{"seq":"1","code":2}]}`), uint8(1))
	f.Add([]byte(`{"type":"typing","conversation_id":"g"}`), uint8(1))
	f.Add([]byte(`{"type":"refresh","token":"t"}`), uint8(1))
	f.Add([]byte(`{"type":"seal_hello","data":"AQ"}`), uint8(1))
	f.Add([]byte(`{"type":"seal_confirm","data":"AQ"}`), uint8(1))
	f.Add([]byte("CB\x01\x06"), uint8(2))
	f.Add([]byte("x"), uint8(2))
	f.Add([]byte{0x03, 0xe8}, uint8(8))
	f.Add([]byte{0x81, 0x85, 1, 2, 3, 4, 5}, uint8(0))
	f.Add(frame.AppendMasked(nil, frame.Ping, [4]byte{1, 2, 3, 4}, []byte("ping")), uint8(0))
	cfg := testConfig()
	cfg.CloseTimeout = 200 * time.Millisecond
	r := start(f, cfg)
	r.office.refresh = refuseRefresh
	f.Fuzz(func(t *testing.T, p []byte, op uint8) {
		nc, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = nc.Close() }()
		if _, err := hubtest.Upgrade(nc, hubtest.Handshake{Path: "/ws", Protocols: []string{"bearer.fuzz"}}); err != nil {
			t.Fatal(err)
		}
		c := hubtest.NewConn(nc)
		if op == 0 {
			err = c.SendRaw(p)
		} else {
			hello := frame.Frame{Op: frame.Text, Payload: []byte(`{"type":"hello"}`)}
			err = c.Send(hello, frame.Frame{Op: frame.Op(op & 15), Payload: p, Rsv: op >> 4 & 7, More: op >= 128})
		}
		_ = err // the server may have ended it already
		if err := nc.(*net.TCPConn).CloseWrite(); err == nil {
			for err == nil {
				_, err = c.Read()
			}
		}
		_ = nc.Close()
		until(t, "it is gone", func() bool { return r.hub.gate.total.Load() == 0 })
	})
}
