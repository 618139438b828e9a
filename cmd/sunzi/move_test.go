package main

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

// TestMoveCarriesTheStore makes a key in a file, moves the file, and finds the
// key in the database.
func TestMoveCarriesTheStore(t *testing.T) {
	dsn := daemons.StartMariaDB(t).DSN("moved")
	data := t.TempDir()
	sunzi := func(args ...string) (out, errOut string) {
		t.Helper()
		var o, e bytes.Buffer
		if code := run(args, strings.NewReader(""), &o, &e); code != 0 {
			t.Fatalf("sunzi %s: exit code %d, %s", strings.Join(args, " "), code, e.String())
		}
		return o.String(), e.String()
	}
	sunzi("key", "create", "till", "--local", "--data", data, "--scopes", "push")
	before, _ := sunzi("key", "list", "--local", "--data", data)

	t.Setenv("SUNZI_STORE_DSN", dsn)
	out, told := sunzi("move", "--data", data)
	if want := filepath.Join(data, "sunzi.db.moved"); !strings.Contains(out, want) {
		t.Errorf("move says %q, want %s named", out, want)
	}
	if !regexp.MustCompile(`(?m)^api_key +1 rows$`).MatchString(told) {
		t.Errorf("move tells %q, want one row of api_key", told)
	}
	if after, _ := sunzi("key", "list", "--local", "--data", data); after != before {
		t.Errorf("the database lists %q, the file listed %q", after, before)
	}
}
