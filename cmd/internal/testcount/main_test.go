package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goOutput = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Test":"A","Output":"    a_test.go:1: broken\n"}
{"Action":"fail","Package":"p","Test":"A","Elapsed":0}
{"Action":"output","Package":"p","Test":"B","Output":"unseen\n"}
{"Action":"pass","Package":"p","Test":"B","Elapsed":0}
{"Action":"skip","Package":"p","Test":"C","Elapsed":0}
{"Action":"fail","Package":"p","Elapsed":0.1}
{"ImportPath":"q","Action":"build-output","Output":"q.go:1: syntax error\n"}
{"ImportPath":"q","Action":"build-fail"}
{"Action":"output","Package":"q","Output":"FAIL q [build failed]\n"}
{"Action":"fail","Package":"q","Elapsed":0,"FailedBuild":"q"}
{"Action":"pass","Package":"r","Test":"D/sub","Elapsed":0}
{"Action":"pass","Package":"r","Elapsed":0}
go: downloading something
`

func TestGoOutputIsCounted(t *testing.T) {
	var out bytes.Buffer
	c := Counts{}
	if err := (goJSON{}).read(strings.NewReader(goOutput), &out, &c); err != nil {
		t.Fatal(err)
	}
	if c.Passed != 2 || c.Failed != 2 || len(c.Skipped) != 1 || c.Skipped[0] != "p C" {
		t.Errorf("%+v", c)
	}
	for _, want := range []string{"--- p A\n    a_test.go:1: broken", "FAIL p", "q.go:1: syntax error", "FAIL q [build failed]", "ok   r", "go: downloading"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "unseen") {
		t.Error("the output of a passed test is shown")
	}
}

func TestNodeOutputIsCounted(t *testing.T) {
	for _, mark := range []string{"#", "ℹ"} {
		c := Counts{Name: "js"}
		var out bytes.Buffer
		text := strings.ReplaceAll("ok 1 - pass 9\n  ---\n  duration_ms: 1\n  ...\nnot ok 2 - x\n  ---\n  error: 'broken'\n@ tests 7\n@ pass 3\n@ fail 1\n@ cancelled 1\n@ skipped 2\n@ todo 0\n", "@", mark)
		if err := (nodeSummary{}).read(strings.NewReader(text), &out, &c); err != nil {
			t.Fatal(err)
		}
		if c.Passed != 3 || c.Failed != 2 || len(c.Skipped) != 2 {
			t.Errorf("%s: %+v", mark, c)
		}
		if got := out.String(); !strings.Contains(got, "not ok 2 - x") || !strings.Contains(got, "broken") || strings.Contains(got, "pass 9") {
			t.Errorf("shown: %s", got)
		}
	}
}

func steps(t *testing.T, args ...[]string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "counts")
	var out bytes.Buffer
	for _, a := range args {
		a = append([]string{"run", "-counts", file, "-name", "step"}, a...)
		if err := command(a, &out); err != nil {
			t.Fatal(err)
		}
	}
	err := command([]string{"sum", "-counts", file}, &out)
	return out.String(), err
}

func TestTheTotalIsTheLastLineAndDecides(t *testing.T) {
	dir := t.TempDir()
	goFile := filepath.Join(dir, "go.json")
	if err := os.WriteFile(goFile, []byte(goOutput), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		args [][]string
		last string
		ok   bool
	}{
		"all well":               {[][]string{{"-kind", "exit", "--", "true"}, {"-kind", "node", "--", "echo", "# pass 4"}}, "5 passed, 0 failed", true},
		"a failed test":          {[][]string{{"-kind", "exit", "--", "true"}, {"-kind", "go", "--", "cat", goFile}}, "3 passed, 2 failed", false},
		"a step that exits with": {[][]string{{"-kind", "exit", "--", "true"}, {"-kind", "exit", "--", "false"}}, "1 passed, 1 failed", false},
		"a crash after a pass":   {[][]string{{"-kind", "node", "--", "sh", "-c", "echo '# pass 4'; exit 7"}}, "4 passed, 1 failed", false},
		"a missing tool":         {[][]string{{"-kind", "go", "--", "/nonexistent"}}, "0 passed, 1 failed", false},
		"a step without tests":   {[][]string{{"-kind", "exit", "--", "true"}, {"-kind", "go", "--", "true"}}, "1 passed, 1 failed", false},
	} {
		out, err := steps(t, x.args...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if got := lines[len(lines)-1]; got != x.last || (err == nil) != x.ok || (err != nil && !errors.Is(err, errFailed)) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := steps(t); err == nil {
		t.Error("no step at all passed")
	}
}
