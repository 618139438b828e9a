package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sunzi": main, "same": same, "fromlog": fromLog, "stubborn": stubborn})
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
			"await":   await,
			"taken":   taken,
			"readenv": readEnv,
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

// readEnv sets a variable to the first line of a file: readenv VAR FILE.
func readEnv(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: readenv VAR FILE")
	}
	line, _, _ := strings.Cut(ts.ReadFile(args[1]), "\n")
	ts.Setenv(args[0], line)
}

// same is a command that compares values of two files of JSON:
// same FILE1 FILE2 KEY...
func same() {
	one, two := readJSON(os.Args[1]), readJSON(os.Args[2])
	for _, key := range os.Args[3:] {
		if one[key] == nil || one[key] != two[key] {
			fmt.Fprintf(os.Stderr, "%s: %v and %v\n", key, one[key], two[key])
			os.Exit(1)
		}
	}
}

// fromLog is a command that writes the URL of the server whose log it reads
// to the file url: fromlog FILE.
func fromLog() {
	for key, value := range readJSON(os.Args[1]) {
		if key != "address" {
			continue
		}
		if err := os.WriteFile("url", []byte(fmt.Sprintf("http://%s\n", value)), 0o600); err == nil {
			return
		}
	}
	os.Exit(1)
}

// stubborn is a command that tells its file of the first signal and does not
// end by itself.
func stubborn() {
	say := func(text string) {
		if err := os.WriteFile("said", []byte(text), 0o600); err != nil {
			os.Exit(2)
		}
	}
	ctx, _ := untilSignal(context.Background())
	say("ready")
	<-ctx.Done()
	say("draining")
	time.Sleep(time.Minute) // the second signal must end this
}

// readJSON reads the first object in a file.
func readJSON(path string) map[string]any {
	f, err := os.Open(path)
	if err == nil {
		m := map[string]any{}
		if err = json.NewDecoder(f).Decode(&m); err == nil {
			return m
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
	return nil
}

func TestTool(t *testing.T) { scripts(t, "tool_*.txtar") }

func TestServer(t *testing.T) { scripts(t, "server_*.txtar") }
