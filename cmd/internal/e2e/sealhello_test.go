package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wsclient"
)

// unsealed runs a client library that does not ask for sealing until it gives up
// or has handled a message, and answers its error and what it handled.
func unsealed(t *testing.T, s *server, token, seal string) (texts []string, err error) {
	t.Helper()
	c, err := wsclient.New(wsclient.Config{URL: "ws://" + s.addr() + "/ws", Token: token, Seal: seal})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = c.Run(ctx, func(_ context.Context, m *wsclient.Message) error {
		texts = append(texts, string(m.Data))
		cancel()
		return nil
	})
	return texts, err
}

// Whoever has a client's token may open a session: what its hello leaves out
// costs the client nothing, what it says does.
func TestAHelloThatLeavesSealOutDestroysNothing(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	ann := newSealer(t, s, "ann", wsclient.SealCRT, s.SealKey)
	ann.connect(s)()
	s.must(t, request{method: "POST", path: "/v1/push", body: pushTo("ann", "kept")}, nil)
	if texts, err := unsealed(t, s, ann.token, ""); !errors.Is(err, wsclient.ErrSaySeal) || len(texts) > 0 {
		t.Fatalf("the run without seal handled %q and ended with %v", texts, err)
	}
	end := ann.connect(s)
	ann.wants(`"kept"`)
	end()
	s.must(t, request{method: "POST", path: "/v1/push", body: pushTo("ann", "given up")}, nil)
	ran := make(chan string)
	go func() {
		texts, err := unsealed(t, s, ann.token, wsclient.SealNone)
		ran <- fmt.Sprintf("%s, %v", strings.Join(texts, " "), err)
	}()
	eventually(t, "the keys are given up", func() bool {
		var history struct{ Messages []struct{ Reason string } }
		s.must(t, request{method: "GET", path: "/v1/clients/ann/messages"}, &history)
		return slices.ContainsFunc(history.Messages, func(m struct{ Reason string }) bool { return m.Reason == "key_lost" })
	})
	s.must(t, request{method: "POST", path: "/v1/push", body: pushTo("ann", "in clear")}, nil)
	if got := <-ran; got != `"in clear", context canceled` {
		t.Errorf("the run with none handled %s", got)
	}
}
