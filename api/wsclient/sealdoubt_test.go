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
	"github.com/sunzi-push/sunzi/crt"
)

// An error while a new handshake waits for its end may be about something else:
// the server then seals for the session under the new keys all the same.
func TestAnErrorDoesNotUndoAHandshake(t *testing.T) {
	primes()
	synctest.Test(t, func(t *testing.T) {
		s := newSealer(t)
		cfg := s.config("ws://push.example", SealCRT)
		cfg.Token = "t"
		ended := make(chan uint16, 1)
		cfg.NetDial = func(context.Context, string, string) (net.Conn, error) {
			client, srv := net.Pipe()
			go func() {
				defer srv.Close()
				up := ws.Upgrader{Protocol: func(b []byte) bool { return string(b) == wire.ProtocolJSON }}
				if _, err := up.Upgrade(srv); err != nil {
					t.Error(err)
					return
				}
				p := &peer{t: t, conn: srv, r: bufio.NewReader(srv)}
				s.welcome(p, SealCRT, 0)
				s.handshake(p)
				p.pongs(time.Now().Add(sealEvery - 45*time.Second))
				time.Sleep(10 * time.Second)
				p.send(wire.AppendPong(nil, p.codec, "")) // so that no ping comes before the next handshake
				pending, g := s.answer(p)
				chain, err := pending.Confirm(p.message(wire.TypeSealConfirm).Handshake)
				if err != nil {
					t.Error(err)
				}
				p.send(wire.AppendError(nil, p.codec, 40000, "typing: conversation_id is 1 to 100 characters"))
				s.complete(p, chain, g)
				s.session = crt.NewSessionSender(alice, s.nonce, s.gen, pending.Session())
				s.tell(p, []byte(`{"type":"member_joined","group":"g","client_id":"x"}`))
				ended <- p.closing()
			}()
			return client, nil
		}
		told := make(chan Event, 1)
		cfg.OnEvent = func(e Event) {
			if e.Kind == KindMemberJoined {
				told <- e
			}
		}
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- c.Run(t.Context(), nil) }()
		select {
		case <-told:
		case code := <-ended:
			t.Errorf("closed with %d", code)
		}
		c.Close()
		<-done
	})
}
