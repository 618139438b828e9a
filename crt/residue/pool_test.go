package residue

import (
	"testing"
	"time"
)

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("not within a minute: ", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestPoolFillsAndRefills(t *testing.T) {
	p := NewPool(256, 3)
	defer p.Close()
	seen := map[string]bool{}
	for range 3 {
		waitFor(t, "three primes ready", func() bool { return p.Ready() == 3 })
		for range 4 { // one more than there are
			m := p.Take()
			if m.Width() != 256 || seen[m.Int().String()] {
				t.Fatalf("%x: of another width, or given out twice", m.Int())
			}
			seen[m.Int().String()] = true
		}
	}
}

func TestPoolGivesAfterClose(t *testing.T) {
	for _, target := range []int{0, 1, 1000} {
		p := NewPool(256, target)
		p.Close()
		p.Close()
		ready := p.Ready()
		for range ready + 2 {
			if p.Take() == nil {
				t.Fatal("nil")
			}
		}
		if p.Ready() != 0 {
			t.Error("made another after Close")
		}
	}
}

func TestPoolOfUnknownWidthPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	NewPool(300, 1)
}
