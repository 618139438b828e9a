package store

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
)

const testWindow = 200 * time.Millisecond

// inWindow runs f on the clock of a bubble, which goes on only while everybody
// waits.
func inWindow(t *testing.T, window time.Duration, f func(t *testing.T, s *sealed)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.db")
	synctest.Test(t, func(t *testing.T) {
		f(t, openSealed(t, Config{Path: path, Window: window}, newSealing(t, 7)))
	})
}

func frameOf(t *testing.T, s *sealed, d *device) *push.Sealed {
	t.Helper()
	p, err := s.Read(context.Background(), d.key, 0, 10, 1<<20)
	if err != nil || len(p.Items) != 1 || p.Items[0].Message == nil || p.Items[0].Message.Sealed == nil {
		t.Fatalf("%s has %+v, %v", d.key, p.Items, err)
	}
	return p.Items[0].Message.Sealed
}

func TestPushesWithinTheWindowShareAFrame(t *testing.T) {
	share := func(window, apart time.Duration) (same bool) {
		inWindow(t, window, func(t *testing.T, s *sealed) {
			a, b := s.join("a", crt.KindCRT), s.join("b", crt.KindCRT)
			var first sync.WaitGroup
			first.Go(func() { s.send("to a", push.SealAuto, a) })
			synctest.Wait()
			time.Sleep(apart)
			s.later(time.Second)
			s.sendAs(2, "to b", push.SealAuto, b)
			first.Wait()
			s.want(a, "to a")
			s.want(b, "to b")
			same = string(frameOf(t, s, a).Head) == string(frameOf(t, s, b).Head)
		})
		return same
	}
	if !share(testWindow, testWindow-time.Millisecond) {
		t.Error("two pushes within the window are in two frames")
	}
	if share(testWindow, testWindow+time.Millisecond) {
		t.Error("a push after the window is in the frame of the one before it")
	}
	if share(0, time.Millisecond) {
		t.Error("without a window a push waits for others")
	}
}

func TestTheWindowHoldsUpPushesAlone(t *testing.T) {
	inWindow(t, testWindow, func(t *testing.T, s *sealed) {
		took := func(what string, want time.Duration, f func()) {
			t.Helper()
			start := time.Now()
			f()
			if d := time.Since(start); d != want {
				t.Errorf("%s took %s, want %s", what, d, want)
			}
		}
		var a *device
		took("a handshake", 0, func() { a = s.join("a", crt.KindCRT) })
		took("a push", testWindow, func() { s.send("x", push.SealAuto, a) })
		took("an ack", 0, func() {
			if err := s.Ack(context.Background(), []push.Ack{{Client: a.key, Seq: 1}}); err != nil {
				t.Error(err)
			}
		})
		took("a word on keys", 0, func() { s.hold(a.key, push.SealNone, nil) })
		took("a full group", 0, func() {
			var pushes sync.WaitGroup
			for i := range groupOps {
				pushes.Go(func() { s.sendAs(int64(1000+i), "y", push.SealAuto, a) })
			}
			pushes.Wait()
		})
	})
}

func TestAPushInTheWindowIsWithdrawnAtItsDeadline(t *testing.T) {
	inWindow(t, testWindow, func(t *testing.T, s *sealed) {
		a := s.join("a", crt.KindCRT)
		ctx, cancel := context.WithTimeout(context.Background(), testWindow/2)
		defer cancel()
		e := &push.Envelope{ID: 1, Accepted: s.clock(), Body: []byte("x"), Priority: 3, Store: push.StoreAlways, Target: push.Target{Clients: []string{"a"}}}
		if _, err := s.Accept(ctx, []*push.Envelope{e}); !push.HasCode(err, push.CodeNoStore) {
			t.Errorf("the push ended with %v, want that nothing was accepted", err)
		}
		time.Sleep(testWindow)
		synctest.Wait()
		s.want(a, "")
	})
}

func TestACloseDoesNotWaitForTheWindow(t *testing.T) {
	inWindow(t, testWindow, func(t *testing.T, s *sealed) {
		a := s.join("a", crt.KindCRT)
		var p sync.WaitGroup
		p.Go(func() { s.send("x", push.SealAuto, a) }) // it is answered: what waits is committed
		synctest.Wait()
		start := time.Now()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		p.Wait()
		if d := time.Since(start); d != 0 {
			t.Errorf("the close took %s", d)
		}
	})
}
