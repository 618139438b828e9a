package chaos

import (
	"reflect"
	"testing"
	"time"
)

func longFaults() ScheduleOptions {
	nodes := []string{"n1", "n2", "n3"}
	kind := func(name string, targets ...string) FaultKind {
		return FaultKind{name, targets, time.Second, 15 * time.Second}
	}
	return ScheduleOptions{
		Kinds: []FaultKind{
			kind("kill", nodes...), kind("term", nodes...), kind("pause", nodes...),
			kind("kill", Database), kind("pause", Database), kind("kill", Redis), kind("flush", Redis),
		},
		Faults: 96, From: 30 * time.Second, To: 10 * time.Minute,
	}
}

func TestAScheduleStrikesSinglyAndThenInPairs(t *testing.T) {
	o := longFaults()
	faults := NewSchedule(7, o)
	if !reflect.DeepEqual(faults, NewSchedule(7, o)) || reflect.DeepEqual(faults, NewSchedule(8, o)) {
		t.Error("the seed does not fix the schedule")
	}
	if len(faults) != o.Faults {
		t.Fatalf("%d faults, want %d", len(faults), o.Faults)
	}
	kinds := map[[2]string]int{}
	at := map[time.Duration][]Fault{}
	for _, f := range faults {
		kinds[[2]string{f.Kind, f.Target}]++
		at[f.At] = append(at[f.At], f)
		if f.At < o.From || f.At+f.Lasts > o.To || f.Lasts <= 0 {
			t.Errorf("%+v is outside the schedule", f)
		}
	}
	if len(kinds) != 13 {
		t.Errorf("struck %v, want 13 combinations of kind and target", kinds)
	}
	pairs := 0
	for _, together := range at {
		if len(together) == 1 {
			continue
		}
		pairs++
		if len(together) != 2 || together[0].Target == together[1].Target {
			t.Errorf("together came %+v", together)
		}
	}
	if pairs != o.Faults/3 || len(at[faults[0].At]) != 1 {
		t.Errorf("%d pairs", pairs)
	}
}

func TestAScheduleOfNothingIsEmpty(t *testing.T) {
	if got := NewSchedule(7, ScheduleOptions{}); len(got) > 0 {
		t.Errorf("drew %+v", got)
	}
}
