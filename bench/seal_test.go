package bench

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gobwas/ws"
)

// Not how fast: that it runs, and that sizes are what crt/SPEC.md says.
func TestSealingIsMeasured(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "sunzi")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/sunzi-push/sunzi/cmd/sunzi").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	report, err := Seal(t.Context(), ClusterOptions{Binary: binary, Nodes: 1}, 1, SealOptions{
		Clients: 4, Slots: []int{4}, Sizes: []int{38, 39}, One: 4, All: 2, Warm: 20 * time.Millisecond, For: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	const header, frameHeader, slot = 76, 4, 64
	for name, want := range map[string]float64{
		"to all, 38 B, aead: " + sealBytes:             frameHeader + header + 8 + 38 + 16,
		"to all, 38 B, crt 4: " + sealBytes:            frameHeader + header + 4*slot,
		"to all, 38 B, crt 4: " + sealBatch:            4,
		"to all, 38 B, crt 4: " + sealFrames:           header/4.0 + slot,
		"to all, 38 B, crt 4: " + sealCovers:           0,
		"to all, 39 B, crt 4: " + sealBytes:            frameHeader + header + 4*slot + 39 + 16,
		"to one, 39 B, crt 4: " + sealBytes:            4 * (frameHeader + header + 4*slot + 39 + 16),
		"to one, 39 B, crt 4: " + sealCovers:           3,
		"to one, 39 B, crt 4, no covers: " + sealBytes: frameHeader + header + 4*slot + 39 + 16,
	} {
		if got, ok := report.Result().figure(name); !ok || got != want {
			t.Errorf("%s: %g, want %g", name, got, want)
		}
	}
	stored := 0.0
	for _, c := range report.cases {
		direct := map[int]string{38: "direct", 39: "envelope"}[c.Size]
		if c.shapes["none"] != "plain" || c.shapes["aead"] != "down" || c.shapes["crt 4"] != direct {
			t.Errorf("%s: %v", c, c.shapes)
		}
		for _, f := range c.figures {
			one, _ := f.figure(sealStored)
			stored += one
		}
	}
	if stored <= 0 { // few messages may find room in pages that are there
		t.Error("nothing was stored")
	}
	if compared := report.Result().Figures[len(report.cases[0].figures["none"].Figures)]; compared.Times == 0 {
		t.Errorf("%s is not compared with none's", compared.Name)
	}
	wantReadable(t, report)
}

// wantReadable fails where table or plot are none.
func wantReadable(t *testing.T, report *SealReport) {
	t.Helper()
	var table, plot bytes.Buffer
	report.Print(&table)
	if n := strings.Count(table.String(), "\n| crt 4 "); n != 4 {
		t.Errorf("%d rows of crt in:\n%s", n, &table)
	}
	if err := report.Plot(&plot); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(&plot); ; {
		switch _, err := d.Token(); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			t.Fatal(err)
		}
	}
}

func TestTextsFillTheMessage(t *testing.T) {
	for size, want := range map[int]int{38: 15, 54: 31, 56: 32, 279: 255, 281: 256, 1024: 999} {
		if got := sealText(size); got != want {
			t.Errorf("%d bytes: a text of %d, want %d", size, got, want)
		}
	}
}

// readOnly is a connection that gives what its reader does.
type readOnly struct {
	net.Conn
	io.Reader
}

func (c readOnly) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func sealedFrame(mode byte, batch uint64, body string) []byte {
	f := make([]byte, sealHeader)
	copy(f, "CB\x01")
	f[3] = mode
	binary.BigEndian.PutUint64(f[16:], batch)
	binary.BigEndian.PutUint32(f[40:], uint32(len(body)))
	copy(f[44:], body)
	return append(f, body...)
}

func TestATapSeesEveryFrame(t *testing.T) {
	var in bytes.Buffer
	in.WriteString("HTTP/1.1 101 Switching Protocols\r\nX: y\r\n\r\n")
	upgrade := in.Len()
	for _, f := range []ws.Frame{
		ws.NewTextFrame([]byte(`{"type":"message","seq":"1"}`)),
		ws.NewTextFrame(nil),
		ws.NewPingFrame([]byte("CB")),
		ws.NewBinaryFrame(sealedFrame(1, 1, "")),
		ws.NewBinaryFrame(sealedFrame(2, 2, "body")),
		ws.NewBinaryFrame(sealedFrame(2, 2, "body")), // the same, to another
		ws.NewBinaryFrame(sealedFrame(2, 3, "body")), // another shard's
		ws.NewBinaryFrame(sealedFrame(2, 4, strings.Repeat("long", 1<<15))),
		ws.NewTextFrame([]byte(`{"type":"message","seq":"2"}`)),
	} {
		if err := ws.WriteFrame(&in, f); err != nil {
			t.Fatal(err)
		}
	}
	all := in.Bytes()
	for name, r := range map[string]io.Reader{"at once": bytes.NewReader(all), "in bytes": iotest.OneByteReader(bytes.NewReader(all))} {
		var seen onWire
		seen.reset()
		if _, err := io.Copy(io.Discard, &tap{Conn: readOnly{Reader: r}, to: &seen}); err != nil {
			t.Fatal(err)
		}
		if got, want := seen.bytes.Load(), int64(len(all)-upgrade); got != want {
			t.Errorf("%s: %d bytes, want %d", name, got, want)
		}
		if seen.shapes[modePlain] != 2 || seen.shapes[1] != 1 || seen.shapes[2] != 4 || len(seen.frames) != 4 {
			t.Errorf("%s: %v, %d frames", name, seen.shapes, len(seen.frames))
		}
		if want := int64(4*sealHeader + len("body") + 4<<15); seen.sealed != want {
			t.Errorf("%s: %d bytes sealed, want %d", name, seen.sealed, want)
		}
	}
}

func TestADatabaseIsAsLargeAsItsLastCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	write := func(name string, b []byte) {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantPages := func(what string, pages int64) {
		t.Helper()
		if got, err := sqliteSize(path); err != nil || got != pages*4096 {
			t.Errorf("%s: %d bytes, %v; want %d pages", what, got, err, pages)
		}
	}
	head := make([]byte, 4096)
	binary.BigEndian.PutUint16(head[16:], 4096)
	binary.BigEndian.PutUint32(head[28:], 5)
	write(path, head)
	wantPages("without a log", 5)
	wal := make([]byte, 32)
	copy(wal[16:], "saltsalt")
	write(path+"-wal", wal)
	wantPages("with an empty log", 5)
	for _, f := range []struct {
		salt  string
		pages uint32
	}{{"saltsalt", 0}, {"saltsalt", 7}, {"saltsalt", 0}, {"old salt", 9}} {
		frame := make([]byte, 24+4096)
		binary.BigEndian.PutUint32(frame[4:], f.pages)
		copy(frame[8:], f.salt)
		wal = append(wal, frame...)
	}
	write(path+"-wal", wal)
	wantPages("with a log that was used before", 7)
	write(path, []byte("short"))
	if _, err := sqliteSize(path); err == nil {
		t.Error("what is no database has a size")
	}
}
