// Package bench measures a running Sunzi from outside, as its users would:
// over HTTP and WebSocket, with the server in a process of its own whose
// memory and CPU are read from /proc.
//
// Read first: [Cluster] (the processes under test), [Fleet] (many connections
// at little cost), then one file a scenario. Every scenario answers a [Result],
// which names commit, machine and command, so that a figure can be had again.
//
// Speeds are for comparing within one run; absolute figures drift with the
// machine. [Alternate] measures several clusters in turn, so that drift falls on
// all of them. It is no test: it asserts only that what it measured was right
// (every message arrived).
package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Result is one scenario's outcome.
type Result struct {
	Scenario string    `json:"scenario"`
	On       string    `json:"on,omitempty"` // the cluster, as ParseCluster reads it
	When     time.Time `json:"when"`
	Commit   string    `json:"commit"`
	Command  string    `json:"command"`
	Machine  string    `json:"machine"`
	Figures  []Figure  `json:"figures"`
	Notes    []string  `json:"notes,omitempty"`
}

// Figure is one measured number.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"` // of several rounds: their median
	Unit  string  `json:"unit"`
	// Of several rounds: the value in each, and of clusters that are compared
	// how many times the first one's it is (the median over rounds of that).
	Rounds []float64 `json:"rounds,omitempty"`
	Times  float64   `json:"times,omitempty"`
}

// NewResult names the run.
func NewResult(scenario string) *Result {
	return &Result{
		Scenario: scenario, When: time.Now().UTC().Truncate(time.Second),
		Commit: commit(), Command: strings.Join(os.Args, " "), Machine: machine(),
	}
}

// Add appends a figure.
func (r *Result) Add(name string, value float64, unit string) {
	r.Figures = append(r.Figures, Figure{Name: name, Value: value, Unit: unit})
}

// Note appends a remark.
func (r *Result) Note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Print writes the result for people.
func (r *Result) Print(w io.Writer) {
	fmt.Fprintf(w, "%s %s  (commit %s, %s)\n", r.Scenario, r.On, r.Commit, r.Machine)
	for _, f := range r.Figures {
		fmt.Fprintf(w, "  %-44s %14.2f %s", f.Name, f.Value, f.Unit)
		if len(f.Rounds) > 1 {
			fmt.Fprintf(w, "  [%.2f to %.2f]", slices.Min(f.Rounds), slices.Max(f.Rounds))
		}
		if f.Times != 0 {
			fmt.Fprintf(w, "  %.2f times the first's", f.Times)
		}
		fmt.Fprintln(w)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "  note: %s\n", n)
	}
}

// Save appends the result to a file of JSON lines.
func (r *Result) Save(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) //nolint:gosec // G302: figures, to be committed
	if err != nil {
		return err
	}
	err = json.NewEncoder(f).Encode(r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// commit is what was measured, with "-dirty" where a file differs from it.
// Results do not count: they grow while runs are saved.
func commit() string {
	if head, err := git("rev-parse", "--short", "HEAD"); err == nil {
		changed, err := git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)bench/results")
		if err != nil || changed != "" {
			head += "-dirty"
		}
		return head
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}

func git(args ...string) (string, error) {
	out, err := exec.CommandContext(context.Background(), "git", args...).Output() //nolint:gosec // G204: commit's words
	return strings.TrimSpace(string(out)), err
}

func machine() string {
	model := "unknown CPU"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel := "unknown kernel"
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(b))
	}
	return fmt.Sprintf("%d x %s, Linux %s, %s", runtime.NumCPU(), model, kernel, runtime.Version())
}
