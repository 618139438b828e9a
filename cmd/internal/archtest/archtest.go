// Package archtest holds the import rules of the repository, and the length of
// its files, as a test: who may know whom is written in [Rooms] and nowhere
// else.
//
// Read first: [Rooms]. The package reads source files and runs nothing.
package archtest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Module is the module's path.
const Module = "github.com/sunzi-push/sunzi"

// MaxLines is how long a source file may be. About 300 is usual; what is
// beyond this has two subjects.
const MaxLines = 600

// Room is a folder with what it, and what is below it, may import.
type Room struct {
	Path string
	// May lists packages of ours, each with everything below it. What a
	// room has below itself is always allowed to the room, not the reverse.
	May []string
	// Never lists other packages; /... stands for everything below as well.
	Never []string
}

// noIO is forbidden where nothing may touch the outside world.
var noIO = []string{"net/http/...", "net", "os", "os/exec", "database/sql/...", "golang.org/x/sys/...", "syscall"}

// noWeb is forbidden to what must not depend on HTTP or SQL.
var noWeb = []string{"net/http/...", "database/sql/..."}

// noSockets is forbidden to all but hub and bench.
var noSockets = []string{"golang.org/x/sys/..."}

// Rooms are the rules; the longest path that matches a package counts.
var Rooms = []Room{
	{Path: "crt", May: []string{"crt/residue"}, Never: append([]string{"time"}, noIO...)},
	// noIO but for golang.org/x/sys/cpu: kernels ask what the processor can.
	{Path: "crt/residue", Never: []string{
		"time", "net/http/...", "net", "os", "os/exec", "database/sql/...", "syscall",
		"golang.org/x/sys/unix/...", "golang.org/x/sys/windows/...", "golang.org/x/sys/plan9/...",
	}},
	// A comparison for benchmarks, behind a build tag.
	{Path: "crt/residue/flint", May: []string{"crt/residue"}, Never: noWeb},
	{Path: "push", May: []string{"push/snowflake", "push/token"}, Never: noIO},
	{Path: "push/snowflake", Never: noIO},
	{Path: "push/token", Never: noIO},
	{Path: "push/seal", May: []string{"push", "crt", "crt/residue"}, Never: noIO},
	{Path: "push/pushtest", May: []string{"push", "push/snowflake", "push/token"}, Never: noWeb},
	// Servers for tests and for the chaos run; they know nothing of ours.
	{Path: "push/pushtest/daemons", Never: noWeb},
	{Path: "push/cluster", May: []string{"push", "push/token"}, Never: noWeb},
	{Path: "hub", May: []string{"push", "api/wire", "hub/frame", "hub/poll"}, Never: []string{"database/sql/..."}},
	{Path: "hub/frame", Never: noIO},
	{Path: "hub/poll", Never: noWeb},
	{Path: "hub/hubtest", May: []string{"hub", "push", "api/wire", "hub/frame"}, Never: []string{"database/sql/..."}},
	// store takes an flock, which is a file's.
	{Path: "store", May: []string{"push", "push/token", "store/migrations"}, Never: []string{"net/http/...", "net"}},
	{Path: "api", May: []string{"push", "push/token", "api/wire"}, Never: append([]string{"database/sql/..."}, noSockets...)},
	{Path: "api/wire", Never: noIO},
	{Path: "api/pushclient", Never: append([]string{"database/sql/..."}, noSockets...)},
	{Path: "api/wsclient", May: []string{"api/wire", "crt", "crt/residue"}, Never: append([]string{"database/sql/..."}, noSockets...)},
	{Path: "api/js", Never: append([]string{"database/sql/..."}, noSockets...)},
	{Path: "api/console", Never: append([]string{"database/sql/..."}, noSockets...)},
	{Path: "bankshop", May: []string{"api/pushclient", "api/wsclient", "bankshop"}, Never: noSockets},
	{Path: "bench", May: []string{"api/pushclient", "api/wsclient", "api/wire", "hub/frame", "push/pushtest/daemons", "bench/faultproxy", "crt"}, Never: []string{"database/sql/..."}},
	{Path: "bench/faultproxy", Never: noWeb},
	{Path: "bench/chaos/planted", May: []string{"push"}, Never: noIO},
	{Path: "cmd", May: []string{"crt", "push", "hub", "store", "api", "bankshop", "bench", "cmd"}, Never: append([]string{"database/sql/..."}, noSockets...)},
}

// testMay is what tests of a room may import beside what it may itself.
var testMay = map[string][]string{
	"push":         {"push/pushtest", "push/pushtest/daemons"},
	"push/cluster": {"push/pushtest", "push/pushtest/daemons"},
	"hub":          {"hub/hubtest", "push/pushtest", "push/token"},
	"store":        {"push/pushtest", "push/pushtest/daemons", "push/snowflake", "push/seal", "crt"},
	"api":          {"push/pushtest", "push/snowflake"},
}

// File is one source file with its imports.
type File struct {
	Package string // folder below the module's root
	Name    string
	Imports []string
	Lines   int
}

func (f File) isTest() bool { return strings.HasSuffix(f.Name, "_test.go") }

// roomOf is the room of a package; the zero Room has no Path.
func roomOf(pkg string) (best Room) {
	for _, r := range Rooms {
		if within(pkg, r.Path) && len(r.Path) > len(best.Path) {
			best = r
		}
	}
	return best
}

func within(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }

func forbidden(imp string, never []string) bool {
	for _, n := range never {
		if root, all := strings.CutSuffix(n, "/..."); imp == n || all && within(imp, root) {
			return true
		}
	}
	return false
}

// Check answers the breaches of one file.
func Check(f File) (breaches []string) {
	breach := func(format string, args ...any) {
		breaches = append(breaches, path.Join(f.Package, f.Name)+": "+fmt.Sprintf(format, args...))
	}
	if f.Lines > MaxLines {
		breach("has %d lines; split it at %d", f.Lines, MaxLines)
	}
	room := roomOf(f.Package)
	if room.Path == "" {
		breach("is in no room: add its folder to archtest.Rooms")
		return breaches
	}
	for _, imp := range f.Imports {
		ours, ok := strings.CutPrefix(imp, Module+"/")
		switch {
		case !ok && forbidden(imp, room.Never) && !forTests(f, imp):
			breach("imports %s, which %s must not", imp, room.Path)
		case !ok:
		case within(ours, "cmd") && room.Path != "cmd":
			breach("imports %s; only cmd may import cmd", ours)
		case !allowed(f, room, ours):
			breach("imports %s, which is not among what %s may", ours, room.Path)
		}
	}
	return breaches
}

// forTests says that tests may read files, and use sockets and time.
func forTests(f File, imp string) bool {
	return f.isTest() && imp != "database/sql"
}

func allowed(f File, room Room, ours string) bool {
	// Its own packages, as long as these have no stricter room of their own.
	if within(ours, room.Path) && roomOf(ours).Path == room.Path {
		return true
	}
	for _, may := range room.May {
		if ours == may || room.Path == "cmd" && within(ours, may) {
			return true
		}
		// push stands for its ports, and for everything below it where the
		// room says so by name.
		if within(ours, may) && roomOf(ours).Path == may {
			return true
		}
	}
	if f.isTest() {
		for _, may := range testMay[room.Path] {
			if ours == may {
				return true
			}
		}
		// An external test may import what it tests, and what is beside it.
		return within(ours, room.Path)
	}
	return false
}

// skipped folders hold nothing of ours that is compiled.
var skipped = map[string]bool{".git": true, ".cache": true, "node_modules": true, "testdata": true, "bin": true, "data": true}

// Read parses the imports of every Go file below root.
func Read(root string) (files []File, err error) {
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipped[d.Name()] && p != root {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(p) != ".go" {
			return nil
		}
		f, err := readFile(root, p)
		if err == nil {
			files = append(files, f)
		}
		return err
	})
	return files, err
}

func readFile(root, p string) (File, error) {
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, p, nil, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return File{}, err
	}
	rel, err := filepath.Rel(root, p)
	if err != nil {
		return File{}, err
	}
	f := File{
		Package: filepath.ToSlash(filepath.Dir(rel)), Name: filepath.Base(rel),
		Lines: fset.File(parsed.Pos()).LineCount(),
	}
	for _, s := range parsed.Imports {
		imp, err := strconv.Unquote(s.Path.Value)
		if err != nil {
			return File{}, err
		}
		f.Imports = append(f.Imports, imp)
	}
	return f, nil
}
