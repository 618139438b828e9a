package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/sunzi-push/sunzi/crt"
)

// Fault is one thing that breaks, and when.
type Fault struct {
	At     time.Duration // offset from the run's start
	Lasts  time.Duration
	Kind   string // kill, stop, cut …: the executor's word
	Target string // a node's name, [Database], [Redis] or a link's name
}

func (f Fault) String() string {
	return fmt.Sprintf("%s of %s at %s for %s", f.Kind, f.Target, f.At.Round(time.Millisecond), f.Lasts.Round(time.Millisecond))
}

// Executor breaks something and answers how to heal it. heal may be nil where
// the fault is over with its begin. Both must return within a time of their
// own; an error ends the run: a fault that did not happen proves nothing.
type Executor func(ctx context.Context, f Fault) (heal func(context.Context) error, err error)

// Credentials are a registered client's.
type Credentials struct{ ID, Token string }

// Setup is all that [Run] needs. Everything but Memory and Died is required.
type Setup struct {
	Plan    *Plan
	Dir     string // of the run's logs; made if need be
	Nodes   []Node
	APIKey  string
	Clients []Credentials
	// ServerKey is the nodes' sealing identity: clients that are planned to seal
	// do so. Nil: nobody does.
	ServerKey []byte
	Faults    []Fault
	Execute   Executor
	// Undelivered counts the rows that wait in the store, at the end.
	Undelivered func(ctx context.Context) (int, error)
	// Memory answers resident bytes by node name, as far as they run.
	Memory func() map[string]int64
	// Died names the nodes that ended by themselves, once for each time. Nil:
	// nobody looks.
	Died func() []string
	// DrainWithin is how long after healing the store may take to empty.
	DrainWithin time.Duration
}

// Windows are the times of faults, for [Options].
func Windows(faults []Fault) []Window {
	w := make([]Window, len(faults))
	for i, f := range faults {
		w[i] = Window{f.At, f.At + f.Lasts}
	}
	return w
}

// Run does the plan under the faults, heals, drains, and answers what was
// logged, read back from the run's folder. It blocks for all of that. The
// error is of the harness, not of what it looked for.
func Run(ctx context.Context, s Setup) (Evidence, error) {
	j, err := NewJournal(s.Dir)
	if err != nil {
		return Evidence{}, err
	}
	r := &conductor{Setup: s, journal: j, drain: make(chan struct{})}
	undelivered, err := r.run(ctx)
	if err := errors.Join(err, j.Close()); err != nil {
		return Evidence{}, err
	}
	ev, err := ReadRun(s.Dir)
	ev.Undelivered = undelivered
	return ev, err
}

// idleConns is how many connections to a node producers keep.
const idleConns = 128

// conductor is one run at work.
type conductor struct {
	Setup
	journal *Journal
	log     *Log
	drain   chan struct{} // closed when all is healed and settled
}

func (r *conductor) run(ctx context.Context) (undelivered int, err error) {
	if r.log, err = r.journal.open(conductorLog); err != nil {
		return 0, err
	}
	living, stop := context.WithCancel(ctx)
	var clients, sampling sync.WaitGroup
	defer clients.Wait()
	defer sampling.Wait()
	defer stop()
	if err := r.startClients(living, &clients); err != nil {
		return 0, err
	}
	sampling.Go(func() { r.sample(living) })
	if err := r.push(ctx); err != nil {
		return 0, err
	}
	close(r.drain)
	undelivered, err = r.drained(ctx)
	if r.Died != nil {
		for _, node := range r.Died() {
			r.log.Add(Event{Kind: Died, Node: node})
		}
	}
	return undelivered, err
}

func (r *conductor) startClients(ctx context.Context, wg *sync.WaitGroup) error {
	seen := newFrames()
	for i, c := range r.Clients {
		log, err := r.journal.open(clientLog + c.ID)
		if err != nil {
			return err
		}
		one := &client{
			id: c.ID, token: c.Token, log: log, nodes: r.Nodes, lives: r.Plan.Lives(i), draining: r.drain,
			sealing:  newSealing(r.Plan.Seal(i), r.ServerKey, c.ID, crt.Suite(1+i%2), seen),
			sessions: map[*session]struct{}{},
		}
		wg.Go(func() { one.run(ctx) })
	}
	return nil
}

// push runs producers and faults to their ends.
func (r *conductor) push(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: idleConns}}
	defer web.CloseIdleConnections()
	ids := make([]string, len(r.Clients))
	for i, c := range r.Clients {
		ids[i] = c.ID
	}
	var producing sync.WaitGroup
	defer producing.Wait()
	for i := range r.Plan.Pushes {
		log, err := r.journal.open(fmt.Sprintf("%s%d", producerLog, i+1))
		if err != nil {
			cancel()
			return err
		}
		p := &producer{number: i + 1, plan: r.Plan, log: log, nodes: r.Nodes, clients: ids, key: r.APIKey, http: web, elapsed: r.journal.Elapsed}
		producing.Go(func() { p.run(ctx) })
	}
	err := r.breakAll(ctx, cancel)
	r.log.Add(Event{Kind: Healed})
	producing.Wait()
	return err
}

// breakAll has all faults begin and end. One that fails ends the run.
func (r *conductor) breakAll(ctx context.Context, cancel func()) error {
	var breaking sync.WaitGroup
	errs := make([]error, len(r.Faults))
	over := make([]chan struct{}, len(r.Faults)) // each closed by its fault
	for i := range over {
		over[i] = make(chan struct{})
	}
	for i, f := range r.Faults {
		breaking.Go(func() {
			defer close(over[i])
			for _, j := range before(r.Faults, i) {
				<-over[j]
			}
			if errs[i] = r.breakIt(ctx, f); errs[i] != nil {
				cancel()
			}
		})
	}
	breaking.Wait()
	return errors.Join(errs...)
}

// before are the faults of the same target that are planned to be over when fault i
// begins. It waits for them: on a busy machine a node may take longer to start than
// the plan has it down, and a process that is not there yet can't be paused.
func before(faults []Fault, i int) (all []int) {
	for j, f := range faults {
		if j != i && f.Target == faults[i].Target && f.At+f.Lasts <= faults[i].At {
			all = append(all, j)
		}
	}
	return all
}

// breakIt has one fault begin and end. It is healed even when ctx ends.
func (r *conductor) breakIt(ctx context.Context, f Fault) error {
	if !sleep(ctx, f.At-r.journal.Elapsed()) {
		return ctx.Err()
	}
	r.log.Add(Event{Kind: FaultBegin, Fault: f.Kind, Target: f.Target})
	heal, err := r.Execute(ctx, f)
	if err != nil {
		return fmt.Errorf("chaos: %s of %s: %w", f.Kind, f.Target, err)
	}
	sleep(ctx, f.Lasts)
	if heal != nil {
		if err := heal(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("chaos: healing %s of %s: %w", f.Kind, f.Target, err)
		}
	}
	r.log.Add(Event{Kind: FaultEnd, Fault: f.Kind, Target: f.Target})
	return nil
}

func (r *conductor) sample(ctx context.Context) {
	if r.Memory == nil {
		return
	}
	for sleep(ctx, time.Second) {
		for node, bytes := range r.Memory() {
			r.log.Add(Event{Kind: Memory, Node: node, Bytes: bytes})
		}
	}
}

// drained waits until nothing waits in the store, or time is up: how many do
// then is the judge's business.
func (r *conductor) drained(ctx context.Context) (n int, err error) {
	deadline := time.Now().Add(r.DrainWithin)
	for {
		n, err = r.Undelivered(ctx)
		if err == nil && n == 0 || time.Now().After(deadline) || ctx.Err() != nil {
			return n, errors.Join(err, ctx.Err())
		}
		sleep(ctx, lookAround)
	}
}
