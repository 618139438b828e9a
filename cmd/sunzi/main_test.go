package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sunzi": main})
}

func scripts(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "script", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts are %s: %v", pattern, err)
	}
	testscript.Run(t, testscript.Params{
		Files:               files,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			// What the machine has set must not change what is tested.
			e.Setenv("SUNZI_TOKENS_SECRET", "")
			e.Vars = withoutSunzi(e.Vars)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await,
			"taken": taken,
		},
	})
}

func withoutSunzi(vars []string) (kept []string) {
	for _, v := range vars {
		if !strings.HasPrefix(v, "SUNZI_") {
			kept = append(kept, v)
		}
	}
	return kept
}

// await waits until a file is there and has the text: await FILE TEXT.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE TEXT")
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(b), args[1]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s: no %q in time (%v)", args[0], args[1], err)
		}
		time.Sleep(10 * time.Millisecond) // polls another process's file
	}
}

// taken takes a port until the script ends, and sets the variable to its
// address: taken VAR.
func taken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: taken VAR")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() }) // nothing was sent
	ts.Setenv(args[0], l.Addr().String())
}

func TestTool(t *testing.T) { scripts(t, "tool_*.txtar") }

func TestServer(t *testing.T) { scripts(t, "server_*.txtar") }
