package snowflake

import (
	"errors"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// lessor leases one number in a table of one row, as the store does: by its
// own clock, with an end that never moves back.
type lessor struct {
	clock
	ttl   time.Duration
	until time.Time
	owner int
}

// take answers a lease to whoever has the number, or finds it free.
func (l *lessor) take(who int) (Lease, bool) {
	now := l.now()
	if l.owner != who && now.Before(l.until) {
		return Lease{}, false
	}
	l.owner = who
	if end := now.Add(l.ttl); end.After(l.until) {
		l.until = end
	}
	return Lease{Now: now, Until: l.until}, true
}

// watch is a monotonic clock that tests set.
type watch struct {
	mu sync.Mutex
	d  time.Duration
}

func (w *watch) mono() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.d
}

func (w *watch) add(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.d += d
}

func newLeased(t interface{ Fatal(...any) }, w *watch, l Lease) *Leased {
	n, err := NewLeased(Config{Node: 7, Mono: w.mono, Now: func() time.Time { panic("the machine's clock was asked") }}, l)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func mustNext(t interface{ Fatal(...any) }, n *Leased) int64 {
	id, err := n.TryNext()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestALeasedNodeFollowsTheLessorsClock(t *testing.T) {
	var w watch
	n := newLeased(t, &w, Lease{Now: noon, Until: noon.Add(30 * time.Second)})
	w.add(3 * time.Second)
	if p := Explain(mustNext(t, n), time.Time{}); !p.Time.Equal(noon.Add(3*time.Second)) || p.Node != 7 {
		t.Fatalf("%+v", p)
	}
	n.Extend(Lease{Now: noon.Add(10 * time.Second), Until: noon.Add(40 * time.Second)})
	w.add(time.Second)
	if p := Explain(mustNext(t, n), time.Time{}); !p.Time.Equal(noon.Add(11 * time.Second)) {
		t.Fatalf("after an extension: %+v", p)
	}
}

func TestNoIDIsIssuedAtOrPastTheLeasesEnd(t *testing.T) {
	var w watch
	until := noon.Add(30*time.Second + 700*time.Microsecond) // its millisecond is the successor's too
	n := newLeased(t, &w, Lease{Now: noon, Until: until})
	w.add(30*time.Second - time.Millisecond)
	mustNext(t, n)
	if left := n.Left(); left != time.Millisecond {
		t.Fatalf("%s left", left)
	}
	for range maxStep {
		mustNext(t, n)
	}
	if _, err := n.TryNext(); !errors.Is(err, ErrLeaseOver) {
		t.Fatalf("an ID that carries into the end: %v", err)
	}
	w.add(15 * time.Second) // paused
	if _, err := n.TryNext(); !errors.Is(err, ErrLeaseOver) || n.Left() != 0 {
		t.Fatalf("after a pause: %v, %s left", err, n.Left())
	}
	n.Extend(Lease{Now: noon.Add(45 * time.Second), Until: noon.Add(75 * time.Second)})
	if p := Explain(mustNext(t, n), time.Time{}); !p.Time.Equal(noon.Add(45 * time.Second)) {
		t.Fatalf("extended after its end: %+v", p)
	}
}

func TestASuccessorNeverGoesBackBeforeItsLeaseBegan(t *testing.T) {
	var w watch
	n := newLeased(t, &w, Lease{Now: noon, Until: noon.Add(time.Minute)})
	if got := n.End(); got != 0 {
		t.Fatalf("End = %d of a node that issued nothing", got)
	}
	n = newLeased(t, &w, Lease{Now: noon, Until: noon.Add(time.Minute)})
	n.Extend(Lease{Now: noon.Add(-time.Hour), Until: noon.Add(time.Minute)}) // the lessor's clock stepped back
	if p := Explain(mustNext(t, n), time.Time{}); p.Time.Before(noon) {
		t.Fatalf("%+v is of the predecessor's time", p)
	}
}

func TestAnEndedNodeIssuesNothingMore(t *testing.T) {
	var w watch
	n := newLeased(t, &w, Lease{Now: noon, Until: noon.Add(time.Minute)})
	last := mustNext(t, n)
	if got := n.End(); got != last {
		t.Fatalf("End = %d, want %d", got, last)
	}
	n.Extend(Lease{Now: noon, Until: noon.Add(time.Hour)})
	if id, err := n.TryNext(); !errors.Is(err, ErrLeaseOver) || n.Left() != 0 {
		t.Fatalf("%d, %v, %s left", id, err, n.Left())
	}
	if got := n.End(); got != 0 {
		t.Fatalf("a second End = %d", got)
	}
}

func TestCallersThatRaceWithEndGetNothingAfterIt(t *testing.T) {
	var w watch
	n := newLeased(t, &w, Lease{Now: noon, Until: noon.Add(time.Hour)})
	var highest [4]int64
	var wg sync.WaitGroup
	for i := range highest {
		wg.Go(func() {
			for {
				id, err := n.TryNext()
				if err != nil {
					return
				}
				highest[i] = id
			}
		})
	}
	last := n.End()
	wg.Wait()
	for _, id := range highest {
		if id > last {
			t.Errorf("%d was issued, End answered %d", id, last)
		}
	}
}

// Holders of one number, pauses of any, steps of the lessor's clock both ways,
// extensions, restarts and takeovers in any order: no ID twice.
func TestAPredecessorAndItsSuccessorsIssueNoIDTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &lessor{clock: clock{t: noon}, ttl: 20 * time.Millisecond, owner: -1}
		type process struct {
			name int
			watch
			*Leased
		}
		processes := []*process{{name: 0}, {name: 1}}
		names := len(processes)
		seen := map[int64]bool{}
		for range rapid.IntRange(50, 200).Draw(t, "turns") {
			p := rapid.SampledFrom(processes).Draw(t, "process")
			switch rapid.SampledFrom([]string{"wait", "step", "take", "take", "restart", "issue", "issue"}).Draw(t, "turn") {
			case "wait":
				d := time.Duration(rapid.IntRange(0, 30).Draw(t, "ms")) * time.Millisecond
				l.add(d)
				for _, p := range processes {
					if rapid.Bool().Draw(t, "notices") { // a suspended machine does not
						p.add(d)
					}
				}
			case "step":
				l.add(time.Duration(rapid.IntRange(-50, 50).Draw(t, "ms")) * time.Millisecond)
			case "take":
				lease, ok := l.take(p.name)
				switch {
				case ok && p.Leased != nil:
					p.Extend(lease)
				case ok:
					p.Leased = newLeased(t, &p.watch, lease)
				}
			case "restart": // under another name: what it issued is known to nobody
				if p.Leased != nil && rapid.Bool().Draw(t, "clean") {
					if last := p.End(); last != 0 && l.owner == p.name {
						l.until = Explain(last, time.Time{}).Time.Add(time.Millisecond)
					}
				}
				p.name, p.Leased = names, nil
				names++
			case "issue":
				if p.Leased == nil {
					continue
				}
				for range rapid.SampledFrom([]int{5, 5000}).Draw(t, "ids") {
					id, err := p.TryNext()
					if err != nil {
						break
					}
					if seen[id] {
						t.Fatalf("%+v was issued twice", Explain(id, time.Time{}))
					}
					seen[id] = true
				}
			}
		}
	})
}

func TestConcurrentCallersOfALeasedNodeGetDifferentIDsWhileItIsExtended(t *testing.T) {
	var w watch
	n := newLeased(t, &w, Lease{Now: noon, Until: noon.Add(time.Second)})
	var mu sync.Mutex
	seen := map[int64]bool{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 3000 {
				id, err := n.TryNext()
				mu.Lock()
				if err != nil || seen[id] {
					t.Errorf("%d, %v", id, err)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	for i := range 100 {
		w.add(5 * time.Millisecond)
		at := noon.Add(time.Duration(i) * 5 * time.Millisecond)
		n.Extend(Lease{Now: at, Until: at.Add(time.Second)})
	}
	wg.Wait()
}

func TestNewLeasedRefusesALessorsClockThatNoIDCanHold(t *testing.T) {
	if _, err := NewLeased(Config{}, Lease{Now: DefaultOrigin.Add(-time.Hour), Until: noon}); err == nil {
		t.Fatal("was taken")
	}
}

func BenchmarkLeasedTryNext(b *testing.B) {
	n, err := NewLeased(Config{}, Lease{Now: noon, Until: noon.AddDate(1, 0, 0)})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		_, _ = n.TryNext()
	}
}
