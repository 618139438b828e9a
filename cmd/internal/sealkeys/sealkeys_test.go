package sealkeys

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeysAreMadeOnceAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.keys")
	if _, err := Open(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a missing file: %v", err)
	}
	made := New()
	if err := made.Save(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	again, err := Open(path)
	if err != nil || !bytes.Equal(again.Identity, made.Identity) || !bytes.Equal(again.Wrap[1], made.Wrap[1]) {
		t.Errorf("other keys, %v", err)
	}
	one, _ := made.Public()
	two, _ := again.Public()
	if len(one) != 43 || one != two {
		t.Errorf("public keys %q and %q", one, two)
	}
	rotated := made.Rotated()
	if len(rotated.Wrap) != 2 || !bytes.Equal(rotated.Wrap[1], made.Wrap[1]) || bytes.Equal(rotated.Wrap[2], made.Wrap[1]) || len(made.Wrap) != 1 {
		t.Errorf("rotated into %d keys", len(rotated.Wrap))
	}
	if err := rotated.Save(path); err != nil {
		t.Fatal(err)
	}
	if last, err := Open(path); err != nil || len(last.Wrap) != 2 {
		t.Errorf("%v", err)
	}
}

func TestKeysThatOthersCanReadAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.keys")
	if err := New().Save(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("got %v", err)
	}
}

func TestBadKeysAreRefusedWithoutShowingThem(t *testing.T) {
	good := `"` + strings.Repeat("QUJD", 10) + `QUI="` // 32 bytes
	if _, err := Parse([]byte(`{"identity":` + good + `,"wrap":{"3":` + good + `}}`)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"no JSON":    good,
		"short":      `{"identity":"QUJD","wrap":{"1":` + good + `}}`,
		"no wrap":    `{"identity":` + good + `,"wrap":{}}`,
		"wrap":       `{"identity":` + good + `,"wrap":{"1":"QUJD"}}`,
		"zero":       `{"identity":` + good + `,"wrap":{"0":` + good + `}}`,
		"number":     `{"identity":` + good + `,"wrap":{"-1":` + good + `}}`,
		"unknown":    `{"identity":` + good + `,"wrap":{"1":` + good + `},"x":1}`,
		"two values": `{"identity":` + good + `,"wrap":{"1":` + good + `}} {}`,
	} {
		if _, err := Parse([]byte(text)); err == nil || strings.Contains(err.Error(), "QUJD") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := New().Save(filepath.Join(t.TempDir(), "no folder", "seal.keys")); err == nil {
		t.Error("made a file in no folder")
	}
}
