package devdata

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sunzi-push/sunzi/push/token"
)

func open(t *testing.T, dir string) *Data {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestASecondStartKeepsWhatTheFirstMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	d := open(t, dir)
	if len(d.Secrets.TokenSecret) < token.MinSecret || !strings.HasPrefix(d.Secrets.APIKey, "sk_") {
		t.Fatalf("%d bytes of secret, a key of %d", len(d.Secrets.TokenSecret), len(d.Secrets.APIKey))
	}
	d.Secrets.ClientID, d.Secrets.Token = "42", "t"
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	if again := open(t, dir); again.Secrets != d.Secrets {
		t.Fatal("the second start has other secrets")
	}
	if other := open(t, t.TempDir()); other.Secrets.APIKey == d.Secrets.APIKey {
		t.Fatal("another folder has the same key")
	}
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, secretsFile): 0o600} {
		s, err := os.Stat(path)
		if err != nil || s.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v", path, s.Mode(), err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestBrokenFoldersAreOneSentence(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"{":                                  "no valid JSON",
		"{}":                                 "not complete",
		`{"token_secret":"a"`:                "no valid JSON",
		`{"token_secret":"a","api_key":"b"}`: "not complete",
	} {
		if err := os.WriteFile(filepath.Join(dir, secretsFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", text, err)
		}
		if b, _ := os.ReadFile(filepath.Join(dir, secretsFile)); string(b) != text {
			t.Errorf("%s was written over", text)
		}
	}
	if _, err := Open(filepath.Join(file, "data")); err == nil || !strings.Contains(err.Error(), "can't be made: not a directory") {
		t.Errorf("a folder inside a file: %v", err)
	}
	if os.Getuid() != 0 { // root writes everywhere
		closed := t.TempDir()
		if err := os.Chmod(closed, 0o500); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(closed); err == nil || !strings.Contains(err.Error(), "can't be written to: permission denied") {
			t.Errorf("a read-only folder: %v", err)
		}
	}
}

func TestTheServerOfAFolderIsKept(t *testing.T) {
	type info struct{ URL string }
	d := open(t, t.TempDir())
	var got info
	if err := ReadServer(d.Dir, &got); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("none: %v", err)
	}
	if err := d.SaveServer(info{"http://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	if err := ReadServer(d.Dir, &got); err != nil || got.URL != "http://127.0.0.1:1" {
		t.Fatalf("%+v, %v", got, err)
	}
}
