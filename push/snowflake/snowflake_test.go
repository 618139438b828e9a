package snowflake

import (
	"slices"
	"sync"
	"testing"
	"time"

	bw "github.com/bwmarrin/snowflake"
	"pgregory.net/rapid"
)

// clock is a clock that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

var noon = time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC)

func newNode(t testing.TB, c Config) *Node {
	t.Helper()
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestExplainGivesBackWhatAnIDIsMadeOf(t *testing.T) {
	c := &clock{t: noon}
	n := newNode(t, Config{Node: 613, Now: c.now})
	n.Next()
	got := Explain(n.Next(), time.Time{})
	if want := (Parts{Time: noon, Node: 613, Step: 1}); got != want {
		t.Fatalf("Explain = %+v, want %+v", got, want)
	}
}

// The layout is the library's: its own parser reads our IDs alike.
func TestLayoutIsBwmarrins(t *testing.T) {
	if bw.NodeBits != nodeBits || bw.StepBits != stepBits {
		t.Fatalf("library: %d node bits and %d step bits", bw.NodeBits, bw.StepBits)
	}
	c := &clock{t: noon}
	id := newNode(t, Config{Node: MaxNode, Now: c.now}).Next()
	want := noon.UnixMilli() - DefaultOrigin.UnixMilli() + bw.Epoch
	if got := bw.ID(id); got.Time() != want || got.Node() != MaxNode || got.Step() != 0 {
		t.Fatalf("library reads time %d (want %d), node %d, step %d", got.Time(), want, got.Node(), got.Step())
	}
}

func TestIDsGrowWhateverTheClockDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &clock{t: noon}
		n, err := New(Config{Node: 7, Now: c.now})
		if err != nil {
			t.Fatal(err)
		}
		last := int64(-1)
		for range rapid.IntRange(1, 50).Draw(t, "turns") {
			c.add(time.Duration(rapid.Int64Range(-5000, 5000).Draw(t, "ms")) * time.Millisecond)
			for range rapid.IntRange(1, 9000).Draw(t, "ids") {
				id := n.Next()
				if id <= last {
					t.Fatalf("%d after %d", id, last)
				}
				if Explain(id, time.Time{}).Node != 7 {
					t.Fatalf("%d: node bits were overrun", id)
				}
				last = id
			}
		}
	})
}

func TestTheTimeFollowsTheClockAgainOnceItCatchesUp(t *testing.T) {
	c := &clock{t: noon}
	n := newNode(t, Config{Now: c.now})
	first := n.Next()
	c.add(-time.Hour)
	if got := Explain(n.Next(), time.Time{}); !got.Time.Equal(Explain(first, time.Time{}).Time) {
		t.Fatalf("after a step back the time is %s", got.Time)
	}
	c.add(2 * time.Hour)
	if got := Explain(n.Next(), time.Time{}); !got.Time.Equal(noon.Add(time.Hour)) || got.Step != 0 {
		t.Fatalf("after catching up: %+v", got)
	}
}

func TestARestartWithAnEarlierClockRepeatsNothing(t *testing.T) {
	c := &clock{t: noon}
	before := newNode(t, Config{Now: c.now}).Next()
	c.add(-time.Minute)
	if after := newNode(t, Config{Now: c.now, After: before}).Next(); after <= before {
		t.Fatalf("%d after %d", after, before)
	}
}

func TestConcurrentCallersGetDifferentIDs(t *testing.T) {
	c := &clock{t: noon}
	n := newNode(t, Config{Now: c.now})
	const callers, each = 8, 5000
	ids := make([][]int64, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range each {
				ids[i] = append(ids[i], n.Next())
			}
		})
	}
	wg.Wait()
	all := slices.Concat(ids...)
	slices.Sort(all)
	if got := len(slices.Compact(all)); got != callers*each {
		t.Fatalf("%d different IDs of %d", got, callers*each)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"a node below 0":                {Node: -1},
		"a node above 1023":             {Node: 1024},
		"an origin in the future":       {Origin: noon.Add(time.Hour)},
		"an origin 70 years ago":        {Origin: noon.AddDate(-70, 0, 0)},
		"an origin between millisecond": {Origin: noon.Add(-time.Microsecond)},
	} {
		cfg.Now = func() time.Time { return noon }
		if _, err := New(cfg); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	n := newNode(b, Config{})
	for b.Loop() {
		n.Next()
	}
}
