// Package bench measures a running Sunzi from outside, as its users would:
// over HTTP and WebSocket, with the server in a process of its own whose
// memory and CPU are read from /proc.
//
// Read first: [Server] (the process under test), [Fleet] (many connections at
// little cost), then one file a scenario. Every scenario answers a [Result],
// which names commit, machine and command, so that a figure can be had again.
//
// Speeds are for comparing within one run; absolute figures drift with the
// machine. It is no test: it asserts only that what it measured was right
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
	"strings"
	"time"
)

// Result is one scenario's outcome.
type Result struct {
	Scenario string             `json:"scenario"`
	When     time.Time          `json:"when"`
	Commit   string             `json:"commit"`
	Command  string             `json:"command"`
	Machine  string             `json:"machine"`
	Figures  []Figure           `json:"figures"`
	Notes    []string           `json:"notes,omitempty"`
	Raw      map[string][]int64 `json:"raw,omitempty"`
}

// Figure is one measured number.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
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
	r.Figures = append(r.Figures, Figure{name, value, unit})
}

// Note appends a remark.
func (r *Result) Note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Print writes the result for people.
func (r *Result) Print(w io.Writer) {
	fmt.Fprintf(w, "%s  (commit %s, %s)\n", r.Scenario, r.Commit, r.Machine)
	for _, f := range r.Figures {
		fmt.Fprintf(w, "  %-44s %14.2f %s\n", f.Name, f.Value, f.Unit)
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

func commit() string {
	if out, err := exec.CommandContext(context.Background(), "git", "describe", "--always", "--dirty").Output(); err == nil {
		return strings.TrimSpace(string(out))
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
