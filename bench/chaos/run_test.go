package chaos

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A fault waits until those of its target are over that are planned to be: a node
// that takes long to start is not paused before it runs. Others go on.
func TestFaultsOfOneTargetDoNotMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal, err := NewJournal(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		log, err := journal.open(conductorLog)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := journal.Close(); err != nil {
				t.Error(err)
			}
		}()
		var mu sync.Mutex
		var order []string
		add := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, what)
		}
		faults := []Fault{
			{Kind: "pause", Target: "n1", At: 3 * time.Second, Lasts: time.Second},
			{Kind: "kill", Target: "n1", At: time.Second, Lasts: time.Second},
			{Kind: "cut", Target: "link-1", At: 4 * time.Second, Lasts: time.Second},
		}
		r := conductor{journal: journal, log: log, Setup: Setup{Faults: faults, Execute: func(_ context.Context, f Fault) (func(context.Context) error, error) {
			add(f.Kind)
			return func(context.Context) error {
				if f.Kind == "kill" {
					time.Sleep(10 * time.Second) // the start
				}
				add("healed " + f.Kind)
				return nil
			}, nil
		}}}
		if err := r.breakAll(t.Context(), func() { t.Error("a fault failed") }); err != nil {
			t.Error(err)
		}
		if want := []string{"kill", "cut", "healed cut", "healed kill", "pause", "healed pause"}; !slices.Equal(order, want) {
			t.Errorf("%q, want %q", order, want)
		}
	})
}
