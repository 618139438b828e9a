//go:build !race

package crt

import "testing"

// The race detector allocates on its own.
func TestSealingAllocatesNothing(t *testing.T) {
	c := newCrew(t, 16)
	slots := make([]Slot, 16)
	for i := range slots {
		slots[i] = inline(uint64(i+1), "a message of some bytes")
	}
	dst := make([]byte, 0, c.shard.FrameSize(0))
	for range 8 { // until the shard has made its tables
		c.seal(Direct, 0, nil, nil)
	}
	if n := testing.AllocsPerRun(50, func() {
		if _, err := c.shard.Seal(dst, Direct, 0, slots, nil, &c.scr); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a seal", n)
	}
	f := c.seal(Direct, 0, nil, nil)
	parsed, err := ParseFrame(f)
	if err != nil {
		t.Fatal(err)
	}
	k := c.rings[4].Keys()[0]
	if n := testing.AllocsPerRun(50, func() {
		if _, err := k.openSlot(&parsed); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations an open", n)
	}
}
