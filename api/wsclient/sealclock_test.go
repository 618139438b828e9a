package wsclient

import (
	"bufio"
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/sunzi-push/sunzi/api/wire"
)

// TestANewHandshakeEveryDay plays a day of connection on a fake clock, over a
// pipe: on one, and half of it on a second.
func TestANewHandshakeEveryDay(t *testing.T) {
	primes()
	for _, first := range []time.Duration{12 * time.Hour, 48 * time.Hour} {
		synctest.Test(t, func(t *testing.T) { day(t, first) })
	}
}

func day(t *testing.T, first time.Duration) {
	t.Helper()
	s := newSealer(t)
	began, again := make(chan time.Time, 1), make(chan time.Time, 1)
	visits := 0
	cfg := s.config("ws://push.example", SealCRT)
	cfg.Token = "t"
	cfg.NetDial = func(context.Context, string, string) (net.Conn, error) {
		client, srv := net.Pipe()
		visits++
		visit := visits
		go func() {
			defer srv.Close()
			up := ws.Upgrader{Protocol: func(b []byte) bool { return string(b) == wire.ProtocolJSON }}
			if _, err := up.Upgrade(srv); err != nil {
				t.Error(err)
				return
			}
			p := &peer{t: t, conn: srv, r: bufio.NewReader(srv)}
			s.welcome(p, SealCRT, 0)
			if visit == 1 {
				s.handshake(p)
				began <- time.Now()
				if at := p.pongs(time.Now().Add(first)); first > sealEvery {
					again <- at
					p.closing()
				}
				return
			}
			again <- p.pongs(time.Now().Add(48 * time.Hour))
			p.closing()
		}()
		return client, nil
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(t.Context(), nil) }()
	from := <-began
	if got := (<-again).Sub(from); got < sealEvery-time.Minute || got > sealEvery+time.Minute {
		t.Errorf("a new handshake after %v", got)
	}
	c.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// pongs answers pings until something else comes, or the time is over. It
// answers when that was.
func (p *peer) pongs(until time.Time) time.Time {
	for time.Now().Before(until) {
		_, b, err := p.next()
		var m wire.ClientMessage
		if err != nil || wire.DecodeClient(p.codec, b, &m) != nil || m.Type != wire.TypePing {
			if m.Type != wire.TypeSealHello {
				p.t.Errorf("%q, %v", b, err)
			}
			return time.Now()
		}
		p.send(wire.AppendPong(nil, p.codec, ""))
	}
	return time.Now()
}
