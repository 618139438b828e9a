package bench

import (
	"slices"
	"testing"
	"time"
)

func TestClustersAreReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]string{
		"sqlite": "sqlite", "sqlite:1": "sqlite", "sqlite+tls@bin/old": "sqlite+tls",
		"mysql": "mysql:1", "mysql:3": "mysql:3", "mysql:3+tls": "mysql:3+tls",
	} {
		o, err := ParseCluster(text)
		if err != nil || o.String() != want {
			t.Errorf("%q is %s, %v; want %s", text, o, err, want)
		}
	}
	if o, err := ParseCluster("sqlite@bin/old"); err != nil || o.Binary != "bin/old" {
		t.Errorf("the binary was lost: %+v, %v", o, err)
	}
	for _, text := range []string{"", "sqlite:2", "mysql:0", "mysql:many", "redis", "sqlite+ssl"} {
		if _, err := ParseCluster(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

// round is a result of one figure.
func round(v float64) *Result {
	return &Result{Figures: []Figure{{Name: "pushes", Value: v, Unit: "per second"}}}
}

func TestRatiosAreTakenWithinARound(t *testing.T) {
	// The machine is half as fast in the second round, and for both.
	first := merge([]*Result{round(100), round(50), round(102)})
	other := merge([]*Result{round(200), round(100), round(204)})
	compare(other, first)
	f := other.Figures[0]
	if f.Value != 200 || !slices.Equal(f.Rounds, []float64{200, 100, 204}) || f.Times != 2 {
		t.Errorf("%+v", f)
	}
	if first.Figures[0].Times != 0 {
		t.Error("the first was compared with itself")
	}
	alone, base := merge([]*Result{round(30)}), merge([]*Result{round(20)})
	compare(alone, base)
	if f := alone.Figures[0]; f.Times != 1.5 || f.Rounds != nil {
		t.Errorf("of one round: %+v", f)
	}
	compare(alone, merge([]*Result{round(0)}))
	if f := alone.Figures[0]; f.Times != 0 {
		t.Errorf("a multiple of nothing: %+v", f)
	}
}

func TestMedian(t *testing.T) {
	for want, of := range map[float64][]float64{0: nil, 3: {9, 3, 1}, 2.5: {4, 1, 2, 3}} {
		if got := median(of); got != want {
			t.Errorf("median of %v is %v, want %v", of, got, want)
		}
	}
}

func TestNoLatencyIsLeftOut(t *testing.T) {
	h := newHistogram()
	for _, d := range []time.Duration{-time.Second, 0, time.Millisecond, time.Hour} {
		h.record(d)
	}
	r := NewResult("x")
	h.report(r, "wait", 50, 100)
	if h.h.TotalCount() != 4 || r.Figures[1].Name != "wait max" || r.Figures[1].Value < 59_000 {
		t.Errorf("%d counted, %+v", h.h.TotalCount(), r.Figures)
	}
}
