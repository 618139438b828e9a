package archtest

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestTheRepositoryKeepsItsRules(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	files, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range files {
		seen[roomOf(f.Package).Path] = true
		for _, b := range Check(f) {
			t.Error(b)
		}
	}
	// What finds nothing proves nothing.
	for _, room := range []string{"push", "push/token", "hub/frame", "store", "api", "api/wire", "cmd"} {
		if !seen[room] {
			t.Errorf("no file of %s was read", room)
		}
	}
}

func TestBreachesAreFound(t *testing.T) {
	ours := func(p string) string { return Module + "/" + p }
	for _, x := range []struct {
		pkg, name, imp string
		breach         bool
	}{
		{"push", "a.go", "net/http", true},
		{"push", "a.go", "net/netip", false},
		{"push", "a_test.go", "net/http", false},
		{"push", "a.go", ours("push/token"), false},
		{"push", "a.go", ours("push/pushtest"), true},
		{"push", "a_test.go", ours("push/pushtest"), false},
		{"push", "a.go", ours("hub"), true},
		{"push", "a_test.go", ours("store"), true},
		{"push/token", "a.go", ours("push"), true},
		{"push/snowflake", "a.go", "os", true},
		{"push/cluster", "a.go", ours("push"), false},
		{"push/cluster", "a_test.go", ours("push/pushtest/daemons"), false},
		{"push/pushtest/daemons", "a.go", ours("push"), true},
		{"push/pushtest/daemons", "a.go", "database/sql", true},
		{"push", "a.go", ours("push/pushtest/daemons"), true},
		{"store", "a_test.go", ours("push/pushtest/daemons"), false},
		{"bench", "a.go", ours("push/pushtest/daemons"), false},
		{"bench", "a.go", ours("bench/faultproxy"), false},
		{"bench/faultproxy", "a.go", ours("api/wsclient"), true},
		{"hub", "a.go", ours("push"), false},
		{"hub", "a.go", ours("api/wire"), false},
		{"hub", "a.go", ours("api"), true},
		{"hub", "a.go", ours("store"), true},
		{"hub", "a.go", ours("hub/frame"), false},
		{"hub", "a.go", "golang.org/x/sys/unix", false},
		{"hub/frame", "a.go", "net/http", true},
		{"hub/frame", "a.go", ours("push"), true},
		{"store", "a.go", "database/sql", false},
		{"store", "a.go", "net/http", true},
		{"store", "a.go", ours("store/migrations"), false},
		{"store", "a.go", ours("api"), true},
		{"api", "a.go", "database/sql", true},
		{"api", "a_test.go", "database/sql", true},
		{"api", "a.go", ours("hub"), true},
		{"api", "a.go", ours("push/token"), false},
		{"api/wire", "a.go", ours("push"), true},
		{"api/wsclient", "a.go", ours("api/wire"), false},
		{"api/wsclient", "a.go", ours("hub/frame"), true},
		{"bankshop/shop", "a.go", ours("bankshop/web"), false},
		{"bankshop/shop", "a.go", ours("push"), true},
		{"crt", "a.go", "time", true},
		{"cmd/sunzi", "a.go", ours("hub/frame"), false},
		{"cmd/sunzi", "a.go", ours("store"), false},
		{"cmd/sunzi", "a.go", "golang.org/x/sys/unix", true},
		{"bench", "a.go", ours("cmd/internal/config"), true},
		{"api", "a_test.go", ours("cmd/internal/config"), true},
		{"elsewhere", "a.go", "fmt", true},
	} {
		got := Check(File{Package: x.pkg, Name: x.name, Imports: []string{x.imp}})
		if (len(got) > 0) != x.breach {
			t.Errorf("%s/%s imports %s: breaches %q", x.pkg, x.name, x.imp, got)
		}
	}
	if got := Check(File{Package: "push", Name: "a.go", Lines: MaxLines + 1}); len(got) != 1 || !strings.Contains(got[0], "lines") {
		t.Errorf("a long file: %q", got)
	}
}
