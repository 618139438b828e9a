package hubtest

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/sunzi-push/sunzi/hub/frame"
)

// Dialer gives a new connection to the endpoint under test, upgraded (see
// [Upgrade]) for [Conformance], not yet for [DeclinesCompression].
type Dialer func(t *testing.T) net.Conn

// Conformance runs all cases but kind 9 on an echo endpoint, which must take
// messages of up to 256 KiB. Each is a subtest with the suite's number.
func Conformance(t *testing.T, dial Dialer) {
	cases := Cases()
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range cases {
		runCase(t, c, dial)
	}
}

// ConformanceLimits runs kind 9: messages of up to 16 MiB, in one piece, in
// fragments, and in small writes. lim is what the endpoint allows: what is
// beyond it must be answered with 1009.
func ConformanceLimits(t *testing.T, dial Dialer, lim frame.Limits) {
	rows := limitRows()
	if len(rows) == 0 {
		t.Fatal("no cases")
	}
	for _, r := range rows {
		runCase(t, r.build(lim), dial)
	}
}

func runCase(t *testing.T, c Case, dial Dialer) {
	t.Run(c.ID, func(t *testing.T) {
		conn := dial(t)
		defer func() { _ = conn.Close() }()
		if err := c.Run(conn); err != nil {
			t.Errorf("%s: %v", c.What, err)
		}
	})
}

// DeclinesCompression offers permessage-deflate (RFC 7692) in the forms that
// browsers and libraries send: the upgrade must be accepted without it, and a
// frame with RSV1 must still be a violation.
func DeclinesCompression(t *testing.T, dial Dialer, h Handshake) {
	for _, offer := range []string{
		"permessage-deflate",
		"permessage-deflate; client_max_window_bits",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
		"permessage-deflate; server_max_window_bits=10, permessage-deflate",
		"x-webkit-deflate-frame",
	} {
		t.Run(offer, func(t *testing.T) {
			conn := dial(t)
			defer func() { _ = conn.Close() }()
			if err := declines(conn, h, offer); err != nil {
				t.Error(err)
			}
		})
	}
}

// declines upgrades conn with the offer, and sends a frame as if it had been
// taken up.
func declines(conn net.Conn, h Handshake, offer string) error {
	if h.Header = h.Header.Clone(); h.Header == nil {
		h.Header = http.Header{}
	}
	h.Header.Set("Sec-WebSocket-Extensions", offer)
	resp, err := Upgrade(conn, h)
	if err != nil {
		return err
	}
	if got := resp.Header.Values("Sec-WebSocket-Extensions"); len(got) != 0 {
		return fmt.Errorf("the server negotiated %q", got)
	}
	return Case{Steps: one(0, frames(rsv(4, text("x")))), Close: protocolError}.Run(conn)
}
