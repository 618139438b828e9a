package store

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
)

func TestSealedMailboxes(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, bob, eve := s.join("ann", crt.KindCRT), s.join("bob", crt.KindCRT), s.join("eve", crt.KindAEAD)
		dan := &device{key: push.ClientKey{ID: "dan"}} // without keys
		if err := s.Register(t.Context(), dan.key, time.Now()); err != nil {
			t.Fatal(err)
		}
		s.send("one", push.SealAuto, ann)
		s.send("two", push.SealAuto, ann, bob, eve, dan)
		s.send(long, push.SealAuto, ann, bob, eve, dan)
		s.send("clear", push.SealNone, ann)
		s.want(ann, "one two "+long+" clear:clear")
		s.want(bob, "two "+long)
		s.want(eve, "two "+long)
		s.want(dan, "clear:two clear:"+long)

		// A restart, with another sealer.
		again := openSealed(t, s.reopen(cfg), newSealing(t, 1))
		again.send("three", push.SealAuto, ann, bob, eve)
		again.want(ann, "one two "+long+" clear:clear three")
		again.want(bob, "two "+long+" three")
		again.want(eve, "two "+long+" three")
	})
}

// Who has nothing in a frame gets it too, and finds that there is nothing.
func TestOthersOfTheShardGetCovers(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		cfg.Covers = push.CoverAll
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, bob, eve := s.join("ann", crt.KindCRT), s.join("bob", crt.KindCRT), s.join("eve", crt.KindAEAD)
		s.send("one", push.SealAuto, ann)
		s.send(long, push.SealAuto, ann)
		s.send("both", push.SealAuto, ann, bob)
		s.send("alone", push.SealAuto, eve)
		if len(s.covers["ann"]) != 0 || len(s.covers["bob"]) != 2 || len(s.covers["eve"]) != 0 {
			t.Fatalf("covers: %d for ann, %d for bob, %d for eve", len(s.covers["ann"]), len(s.covers["bob"]), len(s.covers["eve"]))
		}
		for _, m := range s.covers["bob"] {
			if got := bob.open(t, m, 0); got != "" {
				t.Errorf("a cover opens as %q", got)
			}
		}
	})
}

// What is covered is a choice: what has a body costs everybody its bytes.
func TestCoversAreAsConfigured(t *testing.T) {
	for covers, want := range map[push.Covers]int{"": 1, push.CoverNone: 0, push.CoverDirect: 1, push.CoverAll: 2} {
		t.Run(string(covers), func(t *testing.T) {
			onEngines(t, func(t *testing.T, cfg Config) {
				cfg.Covers = covers
				s := openSealed(t, cfg, newSealing(t, 1))
				ann, _ := s.join("ann", crt.KindCRT), s.join("bob", crt.KindCRT)
				s.send("one", push.SealAuto, ann)
				s.send(long, push.SealAuto, ann)
				if got := s.covers["bob"]; len(got) != want || want == 1 && got[0].Sealed.Body != nil {
					t.Errorf("%d covers, want %d", len(got), want)
				}
			})
		})
	}
	if _, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "db"), Covers: "true"}); err == nil || !strings.Contains(err.Error(), "none, direct or all") {
		t.Errorf("an unknown word: %v", err)
	}
}

func TestABodyIsKeptOnceForAllShards(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		var all []*device
		for i := range 10 { // three shards of four
			all = append(all, s.join(fmt.Sprint("c", i), crt.KindCRT))
		}
		s.send(long, push.SealAuto, all...)
		for _, d := range all {
			s.want(d, long)
		}
		var bodies, frames int
		err := firstError(s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM seal_body`).Scan(&bodies),
			s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM seal_frame`).Scan(&frames))
		if err != nil || bodies != 1 || frames != 3 {
			t.Errorf("%d bodies and %d frames, want 1 and 3; %v", bodies, frames, err)
		}
	})
}

func TestASealedDeadLetterStays(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann := s.join("ann", crt.KindCRT)
		s.send("one", push.SealAuto, ann)
		if err := s.Ack(t.Context(), []push.Ack{{Client: ann.key, Seq: 1, Failed: []push.FailedEntry{{Seq: 1, Code: -1}}, At: time.Now()}}); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Redrive(t.Context(), ann.key, nil); n != 0 || !push.HasCode(err, push.CodeInvalidField) || !strings.Contains(err.Error(), "POST /v1/push") {
			t.Errorf("redrove %d, %v", n, err)
		}
		p, err := s.History(t.Context(), ann.key, push.HistoryQuery{PageQuery: push.PageQuery{Limit: 10}})
		if err != nil || len(p.Entries) != 1 || p.Entries[0].State != push.StateFailed || p.Entries[0].Body != nil {
			t.Errorf("history %+v, %v", p, err)
		}
	})
}

// Two nodes seal for one shard: neither uses what the other has taken.
func TestTwoNodesSealForOneShard(t *testing.T) {
	cfg := Config{DSN: server.dsn(t)}
	one, two := openSealed(t, cfg, newSealing(t, 1)), openSealed(t, cfg, newSealing(t, 1))
	ann, bob := one.join("ann", crt.KindCRT), two.join("bob", crt.KindCRT)
	var wg sync.WaitGroup
	for n, s := range []*sealed{one, two} {
		wg.Go(func() {
			for i := range 20 {
				e := &push.Envelope{
					ID: int64(5000 + 100*n + i), Accepted: time.Now(), Expires: time.Now().Add(time.Hour), Body: []byte("m"), Size: 1,
					Target: push.Target{Clients: []string{"ann", "bob"}}, Priority: 3, Store: push.StoreAlways,
				}
				if out, err := s.Accept(context.Background(), []*push.Envelope{e}); err != nil || out[0].Err != nil {
					t.Errorf("%+v, %v", out, err)
				}
				if i == 10 {
					s.later(keyPeriod)
				}
			}
		})
	}
	wg.Wait()
	for _, d := range []*device{ann, bob} {
		one.want(d, strings.TrimSpace(strings.Repeat("m ", 40)))
	}
}
