package bench

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"

	"github.com/gobwas/ws"
)

// onWire is what a site's clients have received, as the connections saw it.
type onWire struct {
	bytes atomic.Int64 // everything after the upgrade, frame headers included

	mu     sync.Mutex
	shapes map[byte]int          // messages' frames by mode, each copy counted
	frames map[[16]byte]struct{} // sealed frames by sealer and batch: each once
	bodies map[[32]byte]struct{} // their bodies by hash
	sealed int64                 // bytes of both
}

// modePlain stands beside the modes of sealed frames (crt/SPEC.md, section 5).
const modePlain = 0

var modes = map[byte]string{modePlain: "plain", 1: "direct", 2: "envelope", 3: "rekey", 4: "channel", 5: "down"}

func (w *onWire) reset() {
	w.bytes.Store(0)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shapes = make(map[byte]int)
	w.frames = make(map[[16]byte]struct{})
	w.bodies = make(map[[32]byte]struct{})
	w.sealed = 0
}

// shape is the mode that most frames had.
func (w *onWire) shape() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	best, most := byte(0), 0
	for mode, n := range w.shapes {
		if n > most {
			best, most = mode, n
		}
	}
	return modes[best]
}

// frame takes a data frame by its first bytes.
func (w *onWire) frame(op ws.OpCode, head []byte, length int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case op == ws.OpText && bytes.HasPrefix(head, []byte(`{"type":"message"`)):
		w.shapes[modePlain]++
	case op == ws.OpBinary && len(head) == sealHeader && head[0] == 'C' && head[1] == 'B':
		w.shapes[head[3]]++
		id := [16]byte(append(bytes.Clone(head[24:32]), head[16:24]...))
		if _, seen := w.frames[id]; seen {
			return
		}
		w.frames[id] = struct{}{}
		body := int64(binary.BigEndian.Uint32(head[40:]))
		w.sealed += length - body
		if _, seen := w.bodies[[32]byte(head[44:76])]; !seen {
			w.bodies[[32]byte(head[44:76])] = struct{}{}
			w.sealed += body
		}
	}
}

// sealHeader is how long a sealed frame's header is.
const sealHeader = 76

// tap is a client's connection that counts what is read from it, without TLS.
// It keeps to the order of the bytes and changes none. Its state is the
// reader's.
type tap struct {
	net.Conn
	to       *onWire
	upgraded bool
	buf      []byte    // of the upgrade's answer its last bytes; then a frame's first
	h        ws.Header // of the frame
	known    bool      // h is
	want     int       // how much of the payload is looked at
	left     int64     // of the payload, not read yet
}

// Read implements [net.Conn].
func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.see(p[:n])
	return n, err
}

var endOfUpgrade = []byte("\r\n\r\n")

func (t *tap) see(p []byte) {
	for len(p) > 0 && !t.upgraded {
		t.buf = append(t.buf[max(0, len(t.buf)-3):], p[0])
		p = p[1:]
		if bytes.Equal(t.buf, endOfUpgrade) {
			t.upgraded, t.buf = true, t.buf[:0]
		}
	}
	t.to.bytes.Add(int64(len(p)))
	for len(p) > 0 {
		p = t.step(p)
	}
}

// step takes a byte of a frame's header, or what there is of its payload.
func (t *tap) step(p []byte) []byte {
	if !t.known {
		t.buf = append(t.buf, p[0])
		h, err := ws.ReadHeader(bytes.NewReader(t.buf))
		if err == nil { // else it takes more bytes
			t.h, t.known, t.buf = h, true, t.buf[:0]
			t.want, t.left = int(min(h.Length, sealHeader)), h.Length
			t.done()
		}
		return p[1:]
	}
	n := int(min(t.left, int64(len(p))))
	if missing := t.want - len(t.buf); missing > 0 {
		t.buf = append(t.buf, p[:min(n, missing)]...)
	}
	t.left -= int64(n)
	t.done()
	return p[n:]
}

func (t *tap) done() {
	if t.left > 0 {
		return
	}
	t.to.frame(t.h.OpCode, t.buf, t.h.Length)
	t.known, t.buf = false, t.buf[:0]
}
