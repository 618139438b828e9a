package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wsclient"
)

// command runs sunzi, and answers what it says on stderr.
func command(t *testing.T, ok bool, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // for a server that starts, and should not
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Run(); (err == nil) != ok || ctx.Err() != nil {
		t.Fatalf("sunzi %s: %v: %s", strings.Join(args, " "), err, said.String())
	}
	return said.String()
}

// refusesToStart has a server end at its start, with these words.
func refusesToStart(t *testing.T, dir string, words ...string) {
	t.Helper()
	said := command(t, false, "dev", "--listen", "127.0.0.1:0", "--data", dir)
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("said %q, want %q in it", said, w)
		}
	}
}

// waiting is a server's life in which a sealing client goes away. One push waits
// for it sealed, one for a time soon, one for a time that does not come.
func waiting(t *testing.T, dir string) (ann *sealer) {
	t.Helper()
	s := start(t, dir, "127.0.0.1:0")
	ann = newSealer(t, s, "ann", wsclient.SealCRT, s.SealKey)
	end := ann.connect(s)
	s.must(t, request{method: "POST", path: "/v1/push", body: pushTo("ann", "one")}, nil)
	ann.wants(`"one"`)
	s.must(t, request{method: "PUT", path: "/v1/groups/room/members/ann"}, nil)
	s.must(t, request{method: "POST", path: "/v1/push", body: map[string]any{"to": map[string]any{"group": "room"}, "data": "two"}}, nil)
	ann.wants(`"one"`, `"two"`)
	end()
	s.must(t, request{method: "POST", path: "/v1/push", body: pushTo("ann", "offline")}, nil)
	for text, in := range map[string]time.Duration{"later": 5 * time.Second, "never": time.Hour} {
		later := pushTo("ann", text)
		later["not_before"] = time.Now().Add(in).UTC().Format(time.RFC3339Nano)
		s.must(t, request{method: "POST", path: "/v1/push", body: later}, nil)
	}
	s.stop(t)
	return ann
}

// The wrapping key is rotated: the old one can be forgotten once nothing is under
// it, not earlier, and everything opens at every step.
func TestTheWrappingKeyIsRotated(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "seal.keys")
	ann := waiting(t, dir)
	want := []string{`"one"`, `"two"`, `"offline"`}
	restart := func() {
		t.Helper()
		s := start(t, dir, "127.0.0.1:0")
		end := ann.connect(s)
		text := fmt.Sprint("push ", len(want))
		s.must(t, request{method: "POST", path: "/v1/push", body: map[string]any{"to": map[string]any{"group": "room"}, "data": text}}, nil)
		want = append(want, fmt.Sprintf("%q", text))
		ann.wantsBeside(`"later"`, want...)
		end()
		s.stop(t)
	}
	command(t, true, "key", "rotate", file)
	if said := command(t, false, "key", "rotate", "--forget", "--data", dir, file); !strings.Contains(said, "rewrap") {
		t.Errorf("said %q", said)
	}
	restart()
	if said := command(t, false, "key", "rotate", "--forget", "--data", dir, file); !strings.Contains(said, "rewrap") {
		t.Errorf("said %q", said)
	}
	if said := command(t, true, "key", "rewrap", "--data", dir); !strings.Contains(said, "keys of 1 clients, secrets of 1 groups") || strings.Contains(said, " 0 pushes") {
		t.Errorf("said %q", said)
	}
	restart()
	command(t, true, "key", "rotate", "--forget", "--data", dir, file)
	restart()
	s := start(t, dir, "127.0.0.1:0")
	end := ann.connect(s)
	eventually(t, "what was to come later came", func() bool {
		ann.mu.Lock()
		defer ann.mu.Unlock()
		return strings.Contains(strings.Join(ann.texts, " "), `"later"`)
	})
	end()
	if ann.stats.DecryptFailed > 0 || ann.failed() != "" {
		t.Errorf("%d frames did not open; %s", ann.stats.DecryptFailed, ann.failed())
	}
}

// wantsBeside is wants, where one more text may have come at any place.
func (c *sealer) wantsBeside(other string, texts ...string) {
	c.t.Helper()
	want := strings.Join(texts, " ")
	eventually(c.t, c.id+" has its messages", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		var got []string
		for _, text := range c.texts {
			if text != other {
				got = append(got, text)
			}
		}
		return strings.Join(got, " ") == want
	})
}

// A server whose sealing keys are missing, or are others, refuses to start on a
// store that has something sealed under them; and starts again with them, or
// when they are given up.
func TestAServerWithoutItsSealingKeysDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "seal.keys")
	ann := waiting(t, dir)
	kept := file + ".kept"
	if err := os.Rename(file, kept); err != nil {
		t.Fatal(err)
	}
	refusesToStart(t, dir, "seal.keys", "backup", "sunzi key abandon")
	if _, err := os.Stat(file); err == nil {
		t.Error("other keys were made")
	}
	command(t, true, "key", "make", file)
	refusesToStart(t, dir, "another one", "sunzi key abandon")
	if err := os.Rename(kept, file); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir, "127.0.0.1:0")
	end := ann.connect(s)
	ann.wantsBeside(`"later"`, `"one"`, `"two"`, `"offline"`)
	end()
	s.must(t, request{method: "POST", path: "/v1/push", body: pushTo("ann", "sealed")}, nil)
	s.stop(t)

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	command(t, false, "key", "abandon", "--data", dir)
	refusesToStart(t, dir, "sunzi key abandon")
	if said := command(t, true, "key", "abandon", "--yes", "--data", dir); !strings.Contains(said, "keys of 1 clients, secrets of 1 groups") {
		t.Errorf("said %q", said)
	}
	s = start(t, dir, "127.0.0.1:0")
	ans, err := s.do(t.Context(), request{method: "POST", path: "/v1/push", body: map[string]any{"to": map[string]any{"client": "ann"}, "data": "x", "seal": "crt"}})
	if err != nil || ans.status != http.StatusUnprocessableEntity {
		t.Errorf("answered %d %s, %v", ans.status, ans.body, err)
	}
	bob := newSealer(t, s, "bob", wsclient.SealCRT, s.SealKey)
	endBob := bob.connect(s)
	s.must(t, request{method: "POST", path: "/v1/push", body: pushTo("bob", "new")}, nil)
	bob.wants(`"new"`)
	endBob()
}

// Where nothing was sealed, nothing is lost with the keys.
func TestKeysThatNothingIsSealedUnderAreMadeAnew(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, "127.0.0.1:0")
	first := s.SealKey
	s.stop(t)
	if err := os.Remove(filepath.Join(dir, "seal.keys")); err != nil {
		t.Fatal(err)
	}
	if s = start(t, dir, "127.0.0.1:0"); s.SealKey == first || s.SealKey == "" {
		t.Errorf("the identity is %q after %q", s.SealKey, first)
	}
}

// refused runs a node that does not start, and answers what it says.
func (n *nodes) refused(env ...string) string {
	n.t.Helper()
	cmd := n.command("serve", "--listen", "127.0.0.1:0")
	cmd.Env = append(cmd.Env, env...)
	var said strings.Builder
	cmd.Stderr = &said
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	if err := cmd.Run(); err == nil || !late.Stop() {
		n.t.Errorf("the node started: %s", said.String())
	}
	return said.String()
}

// Servers of one database have the same sealing keys, or do not start.
func TestNodesHaveTheSameSealingKeys(t *testing.T) {
	file, public := sealKeys(t)
	other, _ := sealKeys(t)
	n := together(t, append(quick, "SUNZI_SEAL_KEY_FILE="+file)...)
	a := n.start()
	ann := newSealer(t, a, "ann", wsclient.SealCRT, public)
	ann.connect(a)()
	for _, key := range []string{"SUNZI_SEAL_KEY_FILE=" + other, "SUNZI_SEAL_KEY_FILE="} {
		if said := n.refused(key); !strings.Contains(said, "sunzi key abandon") {
			t.Errorf("%s: said %q", key, said)
		}
	}
}
