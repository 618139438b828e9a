package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Options are what a [Plan] is drawn from besides its seed.
type Options struct {
	Producers int
	Clients   int
	Nodes     int
	Pushes    int           // over all producers
	Duration  time.Duration // in which pushes begin
	// Windows are the times at which something is broken, ascending. Half
	// of the pushes are begun in them, in bursts.
	Windows []Window
	// Seal has a third of the clients seal.
	Seal bool
}

// Window is a span of the run, as offsets from its start.
type Window struct{ From, To time.Duration }

// DefaultOptions are those of the long run; its windows come from the fault
// schedule.
func DefaultOptions() Options {
	return Options{Producers: 4, Clients: 200, Nodes: 3, Pushes: 200_000, Duration: 10 * time.Minute}
}

// Plan is who pushes what to whom, and when. Clients draw their lives from it
// as they go ([Plan.Lives]), since nobody knows before how many they will have.
type Plan struct {
	Seed    uint64
	Options Options
	Pushes  [][]Push // by producer, ascending in At
}

// Push is one push to be made.
type Push struct {
	N      int           // the producer's number, from 1
	At     time.Duration // of its first attempt
	Client int           // index; -1: broadcast
	Node   int           // of the first attempt; later ones take the next
	// Twin is the number of an earlier push of the producer whose data this
	// one repeats, byte for byte: only place and ID tell them apart. Zero:
	// none.
	Twin int
	// Seal is what it requires: sealed so, or refused. Empty: nothing.
	Seal string
}

// Seal is how a client seals: a third of them do, most with crt.
func (p *Plan) Seal(client int) string {
	switch {
	case client < 0 || !p.Options.Seal || client%sealEvery != 0:
		return ""
	case client/sealEvery%aeadEvery == aeadEvery-1:
		return sealAEAD
	}
	return sealCRT
}

// Key is the push's Idempotency-Key, the same for all attempts.
func (p *Plan) Key(producer int, n Push) string {
	return fmt.Sprintf("chaos-%d-%d-%d", p.Seed, producer, n.N)
}

// How the workload is mixed.
const (
	burstRate    = 5000               // pushes per second within a burst
	burstSize    = 250                // pushes of one burst
	inWindows    = 0.5                // share of pushes inside fault windows
	broadcasts   = 0.002              // share of broadcasts
	twins        = 0.02               // share of pushes with the data of another
	twinBehind   = 5                  // a twin is at most so many pushes behind
	sealEvery    = 3                  // one of so many clients seals
	aeadEvery    = 4                  // one of so many of those alone, the others in shards
	shortEvery   = 4                  // one of so many pushes is short enough for a slot
	rekeys       = 0.1                // share of connections that make new keys
	meanLife     = 5 * time.Second    // of a client's connection
	streamOfPlan = 0x9e3779b97f4a7c15 // PCG streams: one of the plan, one a client
)

// NewPlan draws a plan. The same seed and options give the same plan.
func NewPlan(seed uint64, o Options) *Plan {
	p := &Plan{Seed: seed, Options: o, Pushes: make([][]Push, o.Producers)}
	rng := rand.New(rand.NewPCG(seed, streamOfPlan)) //nolint:gosec // G404: to be repeated
	times := drawTimes(rng, o)
	for _, at := range times {
		i := rng.IntN(o.Producers)
		list := p.Pushes[i]
		push := Push{N: len(list) + 1, At: at, Client: rng.IntN(o.Clients), Node: rng.IntN(o.Nodes)}
		switch draw := rng.Float64(); {
		case draw < broadcasts:
			push.Client = -1
		case draw < broadcasts+twins && len(list) > 0:
			other := list[max(len(list)-1-rng.IntN(twinBehind), 0)]
			push.Client, push.Twin = other.Client, other.N
			if other.Twin > 0 {
				push.Twin = other.Twin
			}
		}
		if rng.IntN(2) == 0 {
			push.Seal = p.Seal(push.Client)
		}
		p.Pushes[i] = append(list, push)
	}
	return p
}

// drawTimes places bursts inside the windows and spreads the rest evenly.
func drawTimes(rng *rand.Rand, o Options) []time.Duration {
	times := make([]time.Duration, 0, o.Pushes)
	if len(o.Windows) > 0 {
		for n := int(inWindows * float64(o.Pushes)); len(times) < n; {
			w := o.Windows[rng.IntN(len(o.Windows))]
			begin := w.From + time.Duration(rng.Float64()*float64(w.To-w.From))
			for i := range min(burstSize, n-len(times)) {
				at := begin + time.Duration(i)*time.Second/burstRate
				times = append(times, min(at, w.To))
			}
		}
	}
	for len(times) < o.Pushes {
		times = append(times, time.Duration(rng.Float64()*float64(o.Duration)))
	}
	slices.Sort(times)
	return times
}

// End is how a client's connection ends.
type End uint8

// The ends. Kill forgets all that was not saved; KillInHandler strikes between
// the next handler and the save of its cursor. Silent ends leave the socket
// open and unread for a while, as a phone does that lost its network; a zero
// window does so with a small receive buffer, so that the node's writes stop.
const (
	Reset End = iota
	CleanClose
	HalfOpen
	Kill
	KillInHandler
	ZeroWindow
	ends
)

// String is the end's name in logs.
func (e End) String() string {
	return [...]string{"reset", "clean", "half_open", "kill", "kill_in_handler", "zero_window"}[e]
}

// AckHabit is when a client acks during one life.
type AckHabit uint8

// The habits.
const (
	AckAtOnce AckHabit = iota
	AckLate
	AckNever
)

// Life is one connection of a client as it is meant to go.
type Life struct {
	Lasts time.Duration
	End   End
	Ack   AckHabit
	Node  int
	// Overlap leaves the socket open and served while the next life begins.
	Overlap bool
	// Shy says no cursor in its hello, so that the node replays from its own.
	Shy bool
	// Rekey makes a handshake though the keys are good still.
	Rekey bool
	Pause time.Duration // before the next life
}

// Lives draws a client's lives one after another.
type Lives struct {
	rng   *rand.Rand
	nodes int
}

// Lives begins a client's lives. The result belongs to one goroutine.
func (p *Plan) Lives(client int) *Lives {
	return &Lives{rand.New(rand.NewPCG(p.Seed, uint64(client)+1)), p.Options.Nodes} //nolint:gosec // G404: to be repeated
}

// Next draws a life: five seconds on average, exponentially, so that many are
// over in their replay.
func (l *Lives) Next() Life {
	life := Life{
		Lasts: min(time.Duration(l.rng.ExpFloat64()*float64(meanLife)), 6*meanLife),
		End:   End(l.rng.IntN(int(ends))),
		Node:  l.rng.IntN(l.nodes),
		Shy:   l.rng.IntN(3) == 0,
		Pause: time.Duration(l.rng.Float64() * float64(500*time.Millisecond)),
	}
	switch draw := l.rng.Float64(); {
	case draw < 0.2:
		life.Ack = AckNever
	case draw < 0.5:
		life.Ack = AckLate
	}
	life.Overlap = l.rng.IntN(6) == 0
	life.Rekey = l.rng.Float64() < rekeys
	return life
}
