package chaos

import (
	"math/rand/v2"
	"time"
)

// FaultKind is one kind of fault with everything it may strike.
type FaultKind struct {
	Kind    string
	Targets []string
	// Least and Most bound how long it lasts.
	Least, Most time.Duration
}

// ScheduleOptions are what a fault schedule is drawn from besides its seed.
type ScheduleOptions struct {
	Kinds  []FaultKind
	Faults int           // how many; each kind comes about equally often
	From   time.Duration // quiet before: the latencies of a healthy cluster
	To     time.Duration // none lasts longer than this
}

// streamOfFaults keeps faults apart from pushes and lives of the same seed.
const streamOfFaults = 0xd1b54a32d192ed03

// NewSchedule draws faults, ascending in At: the first half of the time one
// after another, then in pairs that begin together on different targets. The
// time is shared evenly, and what is left of a share is quiet, so that each
// fault is also healed from. The same seed and options give the same schedule.
func NewSchedule(seed uint64, o ScheduleOptions) []Fault {
	rng := rand.New(rand.NewPCG(seed, streamOfFaults)) //nolint:gosec // G404: to be repeated
	if len(o.Kinds) == 0 || o.Faults <= 0 || o.To <= o.From {
		return nil
	}
	// n shares of one fault, and n of two.
	pairs := o.Faults / 3
	singles := o.Faults - 2*pairs
	share := (o.To - o.From) / time.Duration(singles+pairs)
	deck := &deck{rng: rng, kinds: o.Kinds, next: map[string]int{}}
	faults := make([]Fault, 0, o.Faults)
	for i := range singles + pairs {
		at := o.From + time.Duration(i)*share
		first := deck.draw(at, share)
		faults = append(faults, first)
		if i >= singles {
			faults = append(faults, deck.beside(first, share))
		}
	}
	return faults
}

// deck deals every kind once before any comes again, each at its targets in
// turn.
type deck struct {
	rng   *rand.Rand
	kinds []FaultKind
	left  []int
	next  map[string]int // of a kind: the target that is struck next
}

func (d *deck) draw(at, share time.Duration) Fault {
	if len(d.left) == 0 {
		d.left = d.rng.Perm(len(d.kinds))
	}
	k := d.kinds[d.left[0]]
	d.left = d.left[1:]
	target, ok := d.next[k.Kind+k.Targets[0]]
	if !ok {
		target = d.rng.IntN(len(k.Targets))
	}
	d.next[k.Kind+k.Targets[0]] = target + 1
	lasts := k.Least + time.Duration(d.rng.Float64()*float64(k.Most-k.Least))
	return Fault{
		At: at, Lasts: min(lasts, share*3/4), Kind: k.Kind, Target: k.Targets[target%len(k.Targets)],
	}
}

// beside draws a fault that strikes another target than first where the kinds
// leave a choice: two executors must not hold one process.
func (d *deck) beside(first Fault, share time.Duration) Fault {
	f := d.draw(first.At, share)
	for range 16 * len(d.kinds) {
		if f.Target != first.Target {
			break
		}
		f = d.draw(first.At, share)
	}
	return f
}
