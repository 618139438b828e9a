package seal

import (
	"testing"

	"github.com/sunzi-push/sunzi/push"
)

// BenchmarkShard is what a change of one member, or of the key period, costs
// before the next batch, beside a shard that is made anew.
func BenchmarkShard(b *testing.B) {
	w := newWorld(b, 16)
	for i := range 16 {
		w.join(i)
	}
	full := w.row
	w.leave(7)
	without, stepped := w.row, full
	stepped.Members = nil
	stepped.Period++
	for i := range full.Members {
		m := full.Members[i]
		var err error
		if m.Secret, err = w.s.Step(&m); err != nil {
			b.Fatal(err)
		}
		m.Period++
		stepped.Members = append(stepped.Members, m)
	}
	shard := func(b *testing.B, row *push.SealShard, old *ready) *ready {
		made, err := w.s.makeShard(row, old)
		if err != nil {
			b.Fatal(err)
		}
		return made
	}
	fromFull, fromWithout := shard(b, &full, nil), shard(b, &without, nil)
	for _, c := range []struct {
		name string
		row  *push.SealShard
		old  *ready
	}{{"anew", &full, nil}, {"join", &full, fromWithout}, {"step", &stepped, fromFull}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				shard(b, c.row, c.old)
			}
		})
	}
}
