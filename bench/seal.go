package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sunzi-push/sunzi/api/wsclient"
)

// SealOptions shape a run that compares ways to seal.
type SealOptions struct {
	Clients int           // connected receivers
	Slots   []int         // of crt: clients that share a shard
	Sizes   []int         // bytes of a message as it stands in a seal
	One     int           // pushes to one client each that are on their way at once
	All     int           // pushes to all clients that are
	Warm    time.Duration // how long to push before it counts
	For     time.Duration // how long to push in each case
}

// Seal measures durable pushes to clients that get them in clear, sealed with
// AEAD, and sealed with CRT in shards of each size: to one client each, and to
// all of them at once. A push is followed by the next when all its receivers
// have opened it and found in it what was pushed; all is acked before a case
// ends.
//
// All variants' servers run beside each other, with one under load at a time:
// in each case they are measured one after the other, in another order each
// round, so that ratios count although the machine drifts. Every round begins
// with empty stores.
func Seal(ctx context.Context, on ClusterOptions, rounds int, o SealOptions) (*SealReport, error) {
	if on.MySQL || on.TLS {
		return nil, errors.New("seal measures what SQLite stores and what goes over plain connections: --on sqlite")
	}
	for _, size := range o.Sizes {
		if sealText(size) < serialLen {
			return nil, fmt.Errorf("a message of %d bytes has no room for a serial number: 38 fill a slot", size)
		}
	}
	report := &SealReport{options: o, result: NewResult("seal")}
	report.result.On = "sqlite"
	for _, c := range o.cases() {
		report.cases = append(report.cases, &sealCase{sealKind: c, rounds: make(map[string][]*Result), shapes: make(map[string]string)})
	}
	for round := range rounds {
		if err := report.round(ctx, on, round); err != nil {
			return nil, fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	report.finish(rounds)
	return report, nil
}

func (o SealOptions) variants() []sealVariant {
	v := append(make([]sealVariant, 0, 2+2*len(o.Slots)), sealVariant{Name: "none"}, sealVariant{Name: "aead", Mode: wsclient.SealAEAD})
	for _, slots := range o.Slots {
		name := fmt.Sprintf("crt %d", slots)
		v = append(v, sealVariant{Name: name, Mode: wsclient.SealCRT, Slots: slots},
			sealVariant{Name: name + bareName, Mode: wsclient.SealCRT, Slots: slots, Bare: true})
	}
	return v
}

const bareName = ", no covers"

// sealKind is what is pushed to whom.
type sealKind struct {
	All  bool
	Size int
}

func (k sealKind) String() string {
	to := "to one"
	if k.All {
		to = "to all"
	}
	return fmt.Sprintf("%s, %s", to, bytesText(k.Size))
}

// in reports whether the variant is measured: a push to all leaves nobody to
// cover.
func (k sealKind) in(v sealVariant) bool { return !k.All || !v.Bare }

func bytesText(n int) string {
	if n >= 1<<10 && n%(1<<10) == 0 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

func (o SealOptions) cases() (kinds []sealKind) {
	for _, all := range []bool{false, true} {
		for _, size := range o.Sizes {
			kinds = append(kinds, sealKind{all, size})
		}
	}
	return kinds
}

// sealText is how long the text in the data is for a message of a size as it
// stands in a seal (crt/SPEC.md, section 6): an array's head, an ID, a time, a
// topic and a TTL of a week are around it, and the text's own head. In clear the
// message is JSON, which is some 60 bytes longer.
func sealText(size int) int {
	rest := size - (1 + 9 + 1 + 1 + len(sealTopic) + 5)
	switch {
	case rest <= 1+31:
		return rest - 1
	case rest <= 2+255:
		return rest - 2
	}
	return rest - 3
}

// round measures every case on every variant, once.
func (r *SealReport) round(ctx context.Context, on ClusterOptions, round int) (err error) {
	var sites []*sealSite
	defer func() {
		for _, s := range sites {
			r.notes = append(r.notes, s.said()...)
			if n := s.again.Load(); n > 0 {
				r.notes = append(r.notes, fmt.Sprintf("%s: clients had to connect again %d times", s.variant.Name, n))
			}
			err = errors.Join(err, s.close())
		}
	}()
	for _, v := range r.options.variants() {
		s, err := openSite(ctx, on, v, r.options.Clients)
		if err != nil {
			return err
		}
		sites = append(sites, s)
	}
	if sites[0].cluster.inMemory() {
		r.notes = append(r.notes, "the data lay in memory, where a flush costs nothing")
	}
	if err := calm(ctx, sites); err != nil {
		return err
	}
	for _, c := range r.cases {
		for i := range sites {
			s := sites[(i+round)%len(sites)]
			if !c.in(s.variant) {
				continue
			}
			figures, err := r.measure(ctx, s, c.sealKind)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c, s.variant.Name, err)
			}
			c.rounds[s.variant.Name] = append(c.rounds[s.variant.Name], figures)
			c.shapes[s.variant.Name] = s.seen.shape()
		}
	}
	return nil
}

// calm waits until the servers have made the primes that they keep ready, which
// they do on the side after their start.
func calm(ctx context.Context, sites []*sealSite) error {
	const look, idle = 500 * time.Millisecond, 50 * time.Millisecond
	var before time.Duration
	for deadline := time.Now().Add(time.Minute); ; {
		var now time.Duration
		for _, s := range sites {
			u, err := s.cluster.Usage()
			if err != nil {
				return err
			}
			now += u.Nodes
		}
		if now-before <= idle {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("the servers do not come to rest")
		}
		before = now
		if err := sleep(ctx, look); err != nil {
			return err
		}
	}
}

// measure is one case on one variant in one round.
func (r *SealReport) measure(ctx context.Context, s *sealSite, k sealKind) (*Result, error) {
	if _, _, err := r.load(s, k, r.options.Warm); err != nil {
		return nil, err
	}
	if err := s.settle(); err != nil {
		return nil, err
	}
	s.seen.reset()
	covers, err := s.covers()
	if err != nil {
		return nil, err
	}
	stored, err := s.cluster.Nodes[0].stored()
	if err != nil {
		return nil, err
	}
	m, err := s.cluster.meter(ctx)
	if err != nil {
		return nil, err
	}
	n, took, err := r.load(s, k, r.options.For)
	if err == nil {
		err = s.settle()
	}
	if err != nil {
		return nil, err
	}
	each := float64(n)
	result := &Result{}
	result.Add(sealRate, each/took.Seconds(), "per second")
	result.Add(sealBytes, float64(s.seen.bytes.Load())/each, "B/message")
	if err := m.report(ctx, result, each, "us/message"); err != nil {
		return nil, err
	}
	storedNow, err := s.cluster.Nodes[0].stored()
	if err != nil {
		return nil, err
	}
	result.Add(sealStored, float64(storedNow-stored)/each, "B/message")
	if s.variant.Mode == "" {
		return result, nil
	}
	coversNow, err := s.covers()
	if err != nil {
		return nil, err
	}
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	result.Add(sealFrames, float64(s.seen.sealed)/each, "B/message")
	result.Add(sealBatch, each/float64(len(s.seen.frames)), "messages")
	result.Add(sealCovers, float64(coversNow-covers)/each, "per message")
	return result, nil
}

// Names of figures.
const (
	sealRate   = "received and acked"
	sealBytes  = "received by a client for each of its messages"
	sealCPU    = "server CPU"         // the meter's
	sealLoad   = "load generator CPU" // the meter's: producers, and clients that open
	sealStored = "stored in all"
	sealFrames = "stored of sealed frames"
	sealBatch  = "in a frame"
	sealCovers = "covers"
)

// stored is the size of the node's database.
func (s *Server) stored() (int64, error) { return sqliteSize(s.data + "/sunzi.db") }

// load pushes for a while, and answers how many messages were received in what
// time.
func (r *SealReport) load(s *sealSite, k sealKind, during time.Duration) (int64, time.Duration, error) {
	text, workers := sealText(k.Size), r.options.One
	if k.All {
		workers = r.options.All
	}
	var received atomic.Int64
	start := time.Now()
	err := Parallel(workers, workers, func(int) error {
		for time.Since(start) < during {
			n, err := s.push(text, k.All)
			if err != nil {
				return err
			}
			received.Add(int64(n))
		}
		return nil
	})
	return received.Load(), time.Since(start), err
}

// SealReport is what a run of [Seal] found.
type SealReport struct {
	options SealOptions
	result  *Result
	cases   []*sealCase
	notes   []string
}

// sealCase is what was found in one case, by variant's name.
type sealCase struct {
	sealKind
	rounds  map[string][]*Result
	figures map[string]*Result // medians
	shapes  map[string]string  // what the messages' frames were
}

// Result is the run in the form of all others: a figure's name says case and
// variant, and its Times compare with none in the same case and round.
func (r *SealReport) Result() *Result { return r.result }

func (r *SealReport) finish(rounds int) {
	o := r.options
	r.result.Note("%d clients, each with a connection of its own to one node; messages are of so many bytes as they stand in a seal; to one client each %d pushes at once, to all %d; a push is followed by the next when it was received; %d rounds",
		o.Clients, o.One, o.All, rounds)
	for _, c := range r.cases {
		c.figures = make(map[string]*Result)
		for _, v := range o.variants() {
			if !c.in(v) {
				continue
			}
			f := merge(c.rounds[v.Name])
			if v.Name != "none" {
				compare(f, c.figures["none"])
			}
			c.figures[v.Name] = f
			for _, fig := range f.Figures {
				fig.Name = fmt.Sprintf("%s, %s: %s", c, v.Name, fig.Name)
				r.result.Figures = append(r.result.Figures, fig)
			}
		}
	}
	r.result.Notes = append(r.result.Notes, slices.Compact(r.notes)...)
}
