package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sunzi-push/sunzi/bench/chaos"
)

// Play is one run.
type Play struct {
	Seed    uint64
	Options Options
	Clients int
	Pushes  int
	Faults  int
	Kinds   []string      // of faults; nil: all
	For     time.Duration // in which pushes begin
	// Calm is how long nothing breaks at the beginning, and Rest at the end:
	// what latencies are compared by.
	Calm, Rest time.Duration
	// Drain is how long after healing the store may take to empty.
	Drain time.Duration
	Terms chaos.Terms
}

// LongPlay is the run that GUARANTEES.md stands on.
func LongPlay(seed uint64) Play {
	return Play{
		Seed: seed, Options: Options{Nodes: 3}, Clients: 200, Pushes: 200_000, Faults: 96, For: 10 * time.Minute,
		Calm: 30 * time.Second, Rest: 75 * time.Second, Drain: 90 * time.Second,
		Terms: chaos.Terms{Clock: chaos.WithClock, Kindness: 1, MemoryBytes: maxMemory, Sealed: leastSealed},
	}
}

// ShortPlay is a tenth of it, on a machine that may be busy with other tests.
func ShortPlay(seed uint64) Play {
	return Play{
		Seed: seed, Options: Options{Nodes: 3}, Clients: 200, Pushes: 20_000, Faults: 16, For: time.Minute,
		Calm: 2 * time.Second, Rest: 5 * time.Second, Drain: 90 * time.Second,
		Terms: chaos.Terms{Kindness: 0.1, MemoryBytes: maxMemory, Sealed: leastSealed},
	}
}

// PlantedPlay is as short as a planted defect needs to be seen. Nodes wait less
// for the database, as faults are shorter; with some defects the store never
// empties.
func PlantedPlay(seed uint64, defect string) Play {
	return Play{
		Seed: seed, Options: Options{Nodes: 3, Plant: defect, Env: []string{"SUNZI_STORE_TIMEOUT=500ms"}},
		Clients: 50, Pushes: 6_000, Faults: 12, For: 16 * time.Second,
		Calm: 500 * time.Millisecond, Rest: 500 * time.Millisecond, Drain: 30 * time.Second,
	}
}

// leastSealed is the share of receipts that have to be sealed: a third of the
// clients asks for it.
const leastSealed = 0.2

// maxMemory bounds a node: some hundred MB more than it has ever needed.
const maxMemory = 512 << 20

// Report is what a run came to.
type Report struct {
	Play
	Scheduled []chaos.Fault
	Evidence  chaos.Evidence
	Found     []chaos.Violation
}

// Run starts the nodes, plays, and judges. It blocks for all of that. Logs of
// nodes and of the run stay in the options' folder, whose name must be that of
// no other run. The error is of the harness: what it looked for is in Found.
func (p Play) Run(ctx context.Context, services *Services) (Report, error) {
	if err := os.MkdirAll(p.Options.Dir, 0o755); err != nil { //nolint:gosec // G301: to be read by people
		return Report{}, err
	}
	s, err := Open(ctx, services, p.Options)
	if err != nil {
		return Report{}, err
	}
	r, err := p.on(ctx, s)
	if err := errors.Join(err, s.Close(context.WithoutCancel(ctx))); err != nil {
		return Report{}, fmt.Errorf("seed %d: %w", p.Seed, err)
	}
	r.Found = chaos.Judge(r.Evidence, p.Terms)
	return r, nil
}

func (p Play) on(ctx context.Context, s *Stage) (r Report, err error) {
	r.Play = p
	r.Scheduled = chaos.NewSchedule(p.Seed, chaos.ScheduleOptions{
		Kinds: s.Kinds(p.Kinds), Faults: p.Faults, From: p.Calm, To: p.For - p.Rest,
	})
	clients, err := s.Register(ctx, p.Clients)
	if err != nil {
		return r, err
	}
	o := chaos.DefaultOptions()
	o.Clients, o.Nodes, o.Pushes, o.Duration = p.Clients, p.Options.Nodes, p.Pushes, p.For
	o.Seal = true
	o.Windows = chaos.Windows(r.Scheduled)
	r.Evidence, err = chaos.Run(ctx, chaos.Setup{
		Plan: chaos.NewPlan(p.Seed, o), Dir: filepath.Join(p.Options.Dir, "logs"), Nodes: s.Nodes(), APIKey: s.key,
		Clients: clients, ServerKey: s.identity, Faults: r.Scheduled, Execute: s.Execute, Undelivered: s.Undelivered(clients),
		Memory: s.Memory, Died: s.Died, DrainWithin: p.Drain,
	})
	return r, err
}
