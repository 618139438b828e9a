package chaos

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Journal is all logs of one run, each in memory and as a file of JSON lines
// in the run's folder.
type Journal struct {
	dir   string
	start time.Time

	mu   sync.Mutex
	logs []*Log
}

// Log is one party's events, only ever appended to.
type Log struct {
	Name string // unique in the run: producer-1, client-7, conductor

	start time.Time

	mu     sync.Mutex
	events []Event
	file   *os.File
	out    *bufio.Writer
	err    error // the first of writing
}

// The names of logs begin with the party's kind.
const (
	producerLog  = "producer-"
	clientLog    = "client-"
	conductorLog = "conductor"
)

// NewJournal makes the folder and starts the run's clock. A folder with logs is
// an error: they would be read with this run's.
func NewJournal(dir string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // G301: to be read by people
		return nil, err
	}
	if there, err := filepath.Glob(filepath.Join(dir, "*.jsonl")); err != nil || len(there) > 0 {
		return nil, errors.Join(err, fmt.Errorf("chaos: %s holds the logs of another run: name another folder", dir))
	}
	return &Journal{dir: dir, start: time.Now()}, nil
}

// Elapsed is the time since the run's start.
func (j *Journal) Elapsed() time.Duration { return time.Since(j.start) }

func (j *Journal) open(name string) (*Log, error) {
	f, err := os.Create(filepath.Join(j.dir, name+".jsonl"))
	if err != nil {
		return nil, err
	}
	l := &Log{Name: name, start: j.start, file: f, out: bufio.NewWriterSize(f, 64<<10)}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.logs = append(j.logs, l)
	return l, nil
}

// Add stamps the event and appends it. It never fails: an error of the file
// is told by [Journal.Close]. Time is taken under the lock, so that a log's
// times never go back.
func (l *Log) Add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.At = ns(time.Since(l.start))
	l.events = append(l.events, e)
	if l.err != nil {
		return
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = l.out.Write(append(line, '\n'))
	}
	l.err = err
}

// Close writes what is buffered. No event may be added afterwards.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	errs := make([]error, 0, 3*len(j.logs))
	for _, l := range j.logs {
		l.mu.Lock()
		errs = append(errs, l.err, l.out.Flush(), l.file.Close())
		l.mu.Unlock()
	}
	return errors.Join(errs...)
}

// ReadRun reads the logs of a run's folder. A folder without logs is an
// error: nothing would be found in it.
func ReadRun(dir string) (Evidence, error) {
	var ev Evidence
	paths, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return ev, err
	}
	if len(paths) == 0 {
		return ev, fmt.Errorf("chaos: no logs in %s", dir)
	}
	for _, p := range paths {
		events, err := readLog(p)
		if err != nil {
			return ev, err
		}
		name := strings.TrimSuffix(filepath.Base(p), ".jsonl")
		if id, ok := strings.CutPrefix(name, clientLog); ok {
			ev.Clients = append(ev.Clients, Party{id, events})
		} else if _, ok := strings.CutPrefix(name, producerLog); ok {
			ev.Producers = append(ev.Producers, Party{name, events})
		} else {
			ev.Conductor = append(ev.Conductor, events...)
		}
	}
	return ev, nil
}

func readLog(path string) (events []Event, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("chaos: %s line %s: %w", filepath.Base(path), strconv.Itoa(n), err)
		}
		events = append(events, e)
	}
	return events, lines.Err()
}

// Tell is one line about a run, for people: how much happened.
func Tell(ev Evidence) string {
	count, results := counts(ev)
	sealed := 0
	for _, p := range ev.Clients {
		for _, e := range p.Events {
			if e.Kind == Received && e.Sealed {
				sealed++
			}
		}
	}
	return fmt.Sprintf("%d faults; %d pushes settled in %d attempts, %d refused, %d not sent, %d unknown; %d connections, %d receipts, %d handled, %d kills in a handler, %d gaps; %d receipts sealed, %d of %d handshakes complete, %d distinct frames, %d covers, %d unopened",
		count[FaultBegin], count[Settled], count[Attempt], results[Refused], results[Unsent], results[Unknown],
		count[Connected], count[Received], count[Handled], count[Killed], count[Gap],
		sealed, count[Sealed], count[Offered], count[Framed], covers(ev), count[Unopened])
}
