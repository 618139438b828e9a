package main

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sunzi-push/sunzi/bench/chaos"
	"github.com/sunzi-push/sunzi/bench/chaos/planted"
	"github.com/sunzi-push/sunzi/bench/chaos/stage"
)

// asCommand in the environment makes this test binary sunzi-bench: the nodes of
// a run are processes of it.
const asCommand = "SUNZI_BENCH_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// serve starts database and Redis for the tests of one function.
func serve(t *testing.T, mode stage.Mode) *stage.Services {
	t.Helper()
	dir, err := os.MkdirTemp("", "sunzi") // t.TempDir is too long for a Unix socket
	if err != nil {
		t.Fatal(err)
	}
	services, err := stage.OpenServices(t.Context(), dir, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := services.Close(); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return services
}

// play does one run, whose logs are kept below SUNZI_CHAOS_LOGS if that is set.
func play(t *testing.T, services *stage.Services, p stage.Play) stage.Report {
	t.Helper()
	p.Options.Node = []string{os.Args[0], "node"}
	p.Options.Env = append(p.Options.Env, asCommand+"=1")
	p.Options.Dir = t.TempDir()
	if keep := os.Getenv("SUNZI_CHAOS_LOGS"); keep != "" {
		p.Options.Dir = filepath.Join(keep, strings.ReplaceAll(t.Name(), "/", "-"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), p.For+4*time.Minute)
	defer cancel()
	report, err := p.Run(ctx, services)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d: %s", p.Seed, chaos.Tell(report.Evidence))
	return report
}

// wantClean fails for what was found.
func wantClean(t *testing.T, r stage.Report) {
	t.Helper()
	for _, v := range r.Found[:min(len(r.Found), 20)] {
		t.Error(v)
	}
	if t.Failed() {
		for _, f := range r.Scheduled {
			t.Log(f)
		}
	}
}

// The short runs: schedules are the seeds', interleavings are new each time.
// With the third Redis is a cluster.
func TestShortChaosLosesNothing(t *testing.T) {
	drawn := map[string]bool{}
	for seed := range uint64(3) {
		mode := stage.Single
		if seed == 2 {
			mode = stage.Cluster
		}
		t.Run(string(mode)+"-"+string('1'+rune(seed)), func(t *testing.T) {
			r := play(t, serve(t, mode), stage.ShortPlay(seed+1))
			wantClean(t, r)
			for _, f := range r.Scheduled {
				drawn[f.Kind] = true
			}
		})
	}
	want := []string{
		"clock", "db-deaf", "db-halt", "db-kill", "db-killed-connections", "db-latency", "db-partition", "db-readonly",
		"db-reset", "front-partition", "front-reset", "halt", "kill", "redis-drop-subscribers", "redis-flush",
		"redis-halt", "redis-kill", "redis-latency", "redis-partition", "terminate",
	}
	if os.Getuid() == 0 {
		want = append(want, "db-full") // which takes a file system of its own
	}
	for _, kind := range want {
		if !drawn[kind] {
			t.Errorf("no short run has %s among its faults: %v", kind, slices.Sorted(maps.Keys(drawn)))
		}
	}
}

func TestSteppedClocksLoseNothing(t *testing.T) {
	p := stage.PlantedPlay(1, "")
	p.Kinds = []string{"clock"}
	wantClean(t, play(t, serve(t, stage.Single), p))
}

// seedsToFind is how many seeds a planted defect may take here. That each is
// found in nine of ten is measured: see bench/results.
const seedsToFind = 3

func TestEachPlantedDefectIsFound(t *testing.T) {
	services := serve(t, stage.Single)
	t.Run("none", func(t *testing.T) { wantClean(t, play(t, services, stage.PlantedPlay(1, ""))) })
	for _, name := range planted.Names() {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(seedsToFind) {
				r := play(t, services, stage.PlantedPlay(seed+1, name))
				if len(r.Found) > 0 {
					t.Log(r.Found[0])
					return
				}
			}
			t.Errorf("%s was not found", name)
		})
	}
}
