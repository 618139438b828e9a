package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// plain shows what a step prints; its exit code is the one test.
type plain struct{}

func (plain) read(r io.Reader, out io.Writer, _ *Counts) error {
	_, err := io.Copy(out, r)
	return err
}

// event is one line of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

// goJSON counts tests and subtests alike, and shows the output of failed ones.
type goJSON struct{}

type goState struct {
	out     io.Writer
	c       *Counts
	output  map[string][]string // by package and test
	failing map[string]bool     // packages with a failed test
}

func (goJSON) read(r io.Reader, out io.Writer, c *Counts) error {
	s := &goState{out: out, c: c, output: map[string][]string{}, failing: map[string]bool{}}
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadBytes('\n')
		var e event
		if len(line) > 0 && line[0] == '{' && json.Unmarshal(line, &e) == nil {
			s.event(e)
		} else if len(line) > 0 {
			fmt.Fprint(out, string(line)) // of the go command itself
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// maxOutput bounds what is kept of one test's output, in lines.
const maxOutput = 2000

func (s *goState) event(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "output":
		if len(s.output[key]) < maxOutput {
			s.output[key] = append(s.output[key], e.Output)
		}
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.packageEnd(e, s.output[key])
		} else {
			s.testEnd(e, s.output[key])
		}
		delete(s.output, key)
	}
}

func (s *goState) testEnd(e event, output []string) {
	switch e.Action {
	case "pass":
		s.c.Passed++
	case "skip":
		s.c.Skipped = append(s.c.Skipped, e.Package+" "+e.Test)
	case "fail":
		s.c.Failed++
		s.failing[e.Package] = true
		fmt.Fprintf(s.out, "--- %s %s\n%s", e.Package, e.Test, strings.Join(output, ""))
	}
}

func (s *goState) packageEnd(e event, output []string) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(s.out, "ok   %s %.1fs\n", e.Package, e.Elapsed)
	case "fail":
		if !s.failing[e.Package] { // did not build, panicked, leaked
			s.c.Failed++
			fmt.Fprint(s.out, strings.Join(output, ""))
		}
		fmt.Fprintf(s.out, "FAIL %s %.1fs\n", e.Package, e.Elapsed)
	}
}

// nodeSummary reads the end of node --test, of its tap and spec reporters.
type nodeSummary struct{}

var nodeCount = regexp.MustCompile(`^(?:#|ℹ) (pass|fail|cancelled|skipped|todo) (\d+)\s*$`)

// nodeNoise is what the tap reporter says of tests that passed.
var nodeNoise = regexp.MustCompile(`^\s*(?:# Subtest: |ok \d+ |---$|\.\.\.$|duration_ms: |type: |# duration_ms )`)

func (nodeSummary) read(r io.Reader, out io.Writer, c *Counts) error {
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadString('\n')
		if !nodeNoise.MatchString(line) {
			fmt.Fprint(out, line)
		}
		if m := nodeCount.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[2]) // digits, by the expression
			switch m[1] {
			case "pass":
				c.Passed += n
			case "fail", "cancelled":
				c.Failed += n
			default:
				for i := range n {
					c.Skipped = append(c.Skipped, fmt.Sprintf("%s: %s %d", c.Name, m[1], i+1))
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
