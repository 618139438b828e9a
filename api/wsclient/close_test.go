package wsclient

import (
	"context"
	"runtime"
	"testing"

	"github.com/sunzi-push/sunzi/api/wire"
)

func TestCloseAcksWhatTheHandlerAtWorkHasHandled(t *testing.T) {
	acked := make(chan uint64, 1)
	base := server(t, func(p *peer) {
		p.welcome(0)
		p.send(p.pushBytes(1, `0`))
		acked <- p.message(wire.TypeAck).Seq
		p.closing()
	})
	c, err := New(Config{URL: base + "/ws/alice", Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	ran, at := make(chan error, 1), make(chan struct{})
	go func() {
		ran <- c.Run(t.Context(), func(ctx context.Context, _ *Message) error {
			close(at)
			<-ctx.Done() // Close was called
			for range 10_000 {
				runtime.Gosched() // the connection's goroutine has every chance to leave
			}
			return nil
		})
	}()
	<-at
	c.Close()
	if err := <-ran; err != nil {
		t.Errorf("Run: %v", err)
	}
	if got := <-acked; got != 1 {
		t.Errorf("acked %d", got)
	}
}
