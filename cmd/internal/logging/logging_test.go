package logging

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name+".log"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(b)
}

func TestEachNamedLogHasItsFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	log, c, err := Open(Config{Format: "json", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	log = log.With("node", 7)
	log.Info("start")
	Named(log, APILog).With("route", "/v1/push").Info("call")
	Named(log, StoreLog).WithGroup("tx").Warn("commit", "ms", 3)
	Named(log, HubLog).Error("gone")
	Named(log, HubLog).Debug("unseen")
	Named(log, "other").Info("elsewhere")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		ServerLog: {`"msg":"start"`, `"log":"other"`},
		APILog:    {`"msg":"call","node":7,"log":"api","route":"/v1/push"`},
		StoreLog:  {`"msg":"commit","node":7,"log":"store","tx":{"ms":3}`},
		HubLog:    {`"level":"ERROR","msg":"gone","node":7,"log":"hub"`},
	} {
		got := read(t, dir, name)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %s in %s", name, w, got)
			}
		}
		if n := strings.Count(got, "\n"); n != len(want) {
			t.Errorf("%s: %d lines, want %d", name, n, len(want))
		}
	}
}

func TestFilesRotateBySize(t *testing.T) {
	dir := t.TempDir()
	log, c, err := Open(Config{Format: "text", Dir: dir, MaxSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 64<<10)
	for range 20 {
		log.Info(line)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	rotated, err := filepath.Glob(filepath.Join(dir, "server-*.log"))
	if err != nil || len(rotated) != 1 {
		t.Fatalf("rotated files: %q, %v", rotated, err)
	}
	for _, path := range append(rotated, filepath.Join(dir, "server.log")) {
		s, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if s.Size() > 1<<20 || s.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, mode %v", path, s.Size(), s.Mode())
		}
	}
}

func TestTheLevelAndTheFormatCount(t *testing.T) {
	var b bytes.Buffer
	log, c, err := Open(Config{Level: slog.LevelWarn, Format: "text", Out: &b})
	if err != nil {
		t.Fatal(err)
	}
	Named(log, APILog).Info("quiet")
	Named(log, APILog).Warn("loud")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, "level=WARN msg=loud log=api") || strings.Contains(got, "quiet") {
		t.Fatal(got)
	}
}

func TestAFolderThatCantBeWrittenToIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(Config{Dir: filepath.Join(path, "log")}); err == nil {
		t.Fatal("a folder inside a file was taken")
	}
}
