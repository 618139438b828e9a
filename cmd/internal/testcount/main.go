// Command testcount runs the steps of the test suite and counts what they
// say, so that the suite ends with one line that can be trusted.
//
//	testcount run -counts FILE -kind go|node|exit -name NAME -- COMMAND...
//	testcount sum -counts FILE
//
// run shows a step as people want to see it (packages in a line each, failed
// tests with their output) and adds its counts to the file; it fails only
// where the file can't be written, so that every step runs. sum prints the
// total and fails where anything failed or nothing ran.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	if err := command(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		os.Exit(1)
	}
}

// Counts are those of one step.
type Counts struct {
	Name    string   `json:"name"`
	Passed  int      `json:"passed"`
	Failed  int      `json:"failed"`
	Skipped []string `json:"skipped,omitempty"` // names, or a number of unnamed ones
	Seconds float64  `json:"seconds"`
}

func command(args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("run or sum")
	}
	flags := flag.NewFlagSet("testcount", flag.ContinueOnError)
	file := flags.String("counts", "", "file of the counts")
	kind := flags.String("kind", "exit", "go: go test -json; node: node --test; exit: one test, the exit code")
	name := flags.String("name", "", "of the step")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if *file == "" {
		return errors.New("-counts is missing")
	}
	switch {
	case args[0] == "sum":
		return sum(*file, out)
	case args[0] == "run" && flags.NArg() > 0:
		return run(*file, *kind, *name, flags.Args(), out)
	}
	return fmt.Errorf("%q is not run (with a command) or sum", args[0])
}

// reader counts what a step prints while it prints it.
type reader interface {
	read(r io.Reader, out io.Writer, c *Counts) error
}

func run(file, kind, name string, argv []string, out io.Writer) error {
	readers := map[string]reader{"go": goJSON{}, "node": nodeSummary{}, "exit": plain{}}
	r, ok := readers[kind]
	if !ok {
		return fmt.Errorf("kind %q is not go, node or exit", kind)
	}
	fmt.Fprintf(out, "\n== %s\n", name)
	c, start := Counts{Name: name}, time.Now()
	err := execute(argv, r, out, &c)
	c.Seconds = time.Since(start).Round(time.Second / 10).Seconds()
	switch {
	case err != nil && c.Failed == 0:
		// A step that fails without a failed test (it does not build, it
		// crashed, a tool is missing) must not be lost.
		c.Failed++
		fmt.Fprintf(out, "FAIL %s: %v\n", name, err)
	case err == nil && kind == "exit":
		c.Passed++
	case err == nil && c.Passed+c.Failed == 0:
		c.Failed++
		fmt.Fprintf(out, "FAIL %s: no test ran\n", name)
	}
	fmt.Fprintf(out, "== %s: %d passed, %d failed, %d skipped in %.1f s\n", name, c.Passed, c.Failed, len(c.Skipped), c.Seconds)
	return add(file, c)
}

func execute(argv []string, r reader, out io.Writer, c *Counts) error {
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec,noctx // G204: the step we are given; it has its own limits of time
	pr, pw := io.Pipe()
	cmd.Stdout = pw
	cmd.Stderr = pw
	cmd.WaitDelay = 10 * time.Second // what a step left running must not hold us
	read := make(chan error, 1)
	go func() {
		err := r.read(pr, out, c)
		_, rest := io.Copy(out, pr) // never let the step block on us
		read <- errors.Join(err, rest)
	}()
	err := cmd.Run()
	return errors.Join(err, pw.Close(), <-read)
}

func add(file string, c Counts) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644) //nolint:gosec // G302: counts, for whoever reads them
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Close())
}

var errFailed = errors.New("the suite failed")

func sum(file string, out io.Writer) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("no step ran: %w", err)
	}
	var total Counts
	fmt.Fprintln(out)
	for dec := json.NewDecoder(bytes.NewReader(b)); ; {
		var c Counts
		if err := dec.Decode(&c); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		fmt.Fprintf(out, "%-28s %5d passed %4d failed %4d skipped %7.1f s\n", c.Name, c.Passed, c.Failed, len(c.Skipped), c.Seconds)
		total.Passed += c.Passed
		total.Failed += c.Failed
		total.Skipped = append(total.Skipped, c.Skipped...)
	}
	if len(total.Skipped) > 0 {
		fmt.Fprintf(out, "%d skipped:\n  %s\n", len(total.Skipped), strings.Join(total.Skipped, "\n  "))
	}
	fmt.Fprintf(out, "%d passed, %d failed\n", total.Passed, total.Failed)
	if total.Failed > 0 || total.Passed == 0 {
		return errFailed
	}
	return nil
}
