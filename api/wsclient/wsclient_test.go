package wsclient

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

func TestFileCursorsSurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.json")
	s := NewFileCursors(path)
	if _, ok, err := s.Load(t.Context(), "a"); ok || err != nil {
		t.Fatal(ok, err)
	}
	want := Cursor{"aa", 1<<64 - 1}
	if err := s.Save(t.Context(), "a", want); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), "b", Cursor{"bb", 2}); err != nil {
		t.Fatal(err)
	}
	got, ok, err := NewFileCursors(path).Load(t.Context(), "a")
	if err != nil || !ok || got != want {
		t.Errorf("%+v %v %v", got, ok, err)
	}
	files, _ := os.ReadDir(filepath.Dir(path))
	if len(files) != 1 {
		t.Errorf("%d files are left", len(files))
	}
	if err := os.WriteFile(path, []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := NewFileCursors(path).Load(t.Context(), "a"); err == nil {
		t.Error("half a file was taken")
	}
}

func TestRunsOnceAndCloses(t *testing.T) {
	base := server(t, func(p *peer) { p.welcome(0); p.closing() })
	begun := make(chan struct{}, 8)
	r := runClient(t, Config{URL: base + "/ws/alice", OnState: func(StateChange) { begun <- struct{}{} }})
	<-begun
	if err := r.c.Run(t.Context(), nil); !errors.Is(err, ErrRunning) {
		t.Error(err)
	}
	r.c.Close()
	r.c.Close()
	if err := r.c.Run(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestConfigTellsAllProblems(t *testing.T) {
	_, err := New(Config{URL: "http://x", MaxFailures: -1, MinBackoff: time.Hour})
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{"URL", "Token", "MinBackoff", "limits"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told: %v", want, err)
		}
	}
}

func TestIdentityInPaths(t *testing.T) {
	for _, tc := range []struct{ url, realm, id, with string }{
		{"wss://h/ws", "", "", "wss://h/ws/r/a%2Fb"},
		{"wss://h/x/ws/", "", "", "wss://h/x/ws/r/a%2Fb"},
		{"wss://h/ws/alice", "", "alice", "wss://h/ws/r/a%2Fb"},
		{"wss://h/ws/bank/al%20ice", "bank", "al ice", "wss://h/ws/r/a%2Fb"},
	} {
		c, err := New(Config{URL: tc.url, Token: "t"})
		if err != nil {
			t.Fatal(err)
		}
		if realm, id := c.Identity(); realm != tc.realm || id != tc.id {
			t.Errorf("%s: %q %q", tc.url, realm, id)
		}
		if got := withIdentity(tc.url, "r", "a/b"); got != tc.with {
			t.Errorf("%s: %s", tc.url, got)
		}
	}
}

// FuzzRead feeds a server's bytes to the client's end of a socket.
func FuzzRead(f *testing.F) {
	f.Add([]byte{0x81, 0x02, '{', '}'})
	f.Add([]byte{0x01, 0x01, '{', 0x89, 0x00, 0x80, 0x01, '}'})
	f.Add([]byte{0x88, 0x02, 0x03, 0xe8})
	f.Add([]byte{0x82, 0x7f, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, p []byte) {
		w := &webSocket{conn: sink{}, r: bufio.NewReader(bytes.NewReader(p)), max: 1 << 20}
		total := 0
		for {
			b, err := w.Read()
			if err != nil {
				var closed *Failure
				if !errors.As(err, &closed) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !slices.Contains([]error{net.ErrClosed}, err) && !errors.Is(err, ws.ErrHeaderLengthMSB) && !errors.Is(err, ws.ErrHeaderLengthUnexpected) {
					t.Fatal(err)
				}
				return
			}
			if total += len(b); total > len(p) {
				t.Fatal("more came out than went in")
			}
		}
	})
}

// sink is a connection that takes everything.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error)      { return len(p), nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }
