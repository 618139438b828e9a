//go:build !race

// The race detector changes what is measured here.

package hub

import (
	"fmt"
	"net"
	"runtime"
	"testing"
	"unsafe"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
	"github.com/sunzi-push/sunzi/hub/poll"
)

// idleBudget is the live heap that one idle session may cost, in bytes:
// everything of it, the table's entry and the client ID included. At GOGC=100
// the process holds twice as much.
const idleBudget = 400

func TestAConnectionFitsItsSizeClass(t *testing.T) {
	if size := unsafe.Sizeof(conn{}); size > 256 { // the next class of the allocator is 288
		t.Errorf("a conn has %d bytes", size)
	}
}

// TestIdleSessionsAreSmall opens sessions, lets them come to rest, and divides
// the growth of the live heap by their number. The clients' ends are bare
// descriptors, which cost no heap.
func TestIdleSessionsAreSmall(t *testing.T) {
	cfg := testConfig()
	r := start(t, cfg)
	r.hub.Serve(quiet{r.office})
	const warm, n = 500, 2000
	fds := make([]int, 0, warm+n)
	t.Cleanup(func() {
		for _, fd := range fds {
			_ = poll.Close(fd)
		}
	})
	open := func(count int) {
		for range count {
			fds = append(fds, openIdle(t, r.addr, fmt.Sprintf("18274550142%08d", len(fds)))) // as long as a Snowflake ID
		}
		until(t, "all are at rest", func() bool {
			return r.value("sunzi_replays_total", "complete") == float64(len(fds))
		})
	}
	open(warm)
	before := liveHeap()
	open(n)
	each := float64(liveHeap()-before) / n
	t.Logf("%.0f bytes of live heap an idle session", each)
	if each > idleBudget {
		t.Errorf("an idle session costs %.0f bytes of heap, the budget is %d", each, idleBudget)
	}
	if r.hub.Len() != warm+n {
		t.Errorf("%d sessions, want %d", r.hub.Len(), warm+n)
	}
}

// liveHeap is what a collection leaves. Two, because pools survive one.
func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// idleTLSBudget is the same over TLS. What is beyond a plain session is
// crypto/tls: the tls.Conn, its two ciphers, and its input buffer, which has
// grown to the longest record (with 512 bytes of room) that the peer has sent
// in the life of the connection, up to 17 KiB, and is never given back.
const idleTLSBudget = 9 << 10

func TestIdleSessionsOverTLSAreBounded(t *testing.T) {
	r := start(t, testConfig())
	addr := r.secure()
	r.hub.Serve(quiet{r.office})
	const warm, n = 100, 500
	var fds []int
	t.Cleanup(func() {
		for _, fd := range fds {
			_ = poll.Close(fd)
		}
	})
	open := func(version uint16, count int) {
		for range count {
			var below net.Conn
			tc := dialTLS(t, addr, version, func(nc net.Conn) net.Conn { below = nc; return nc })
			if _, err := hubtest.Upgrade(tc, hubtest.Handshake{Path: "/ws", Protocols: []string{wire.ProtocolJSON, fmt.Sprintf("bearer.%012d", len(fds))}}); err != nil {
				t.Fatal(err)
			}
			if _, err := tc.Write(frame.AppendMasked(nil, frame.Text, [4]byte{1, 2, 3, 4}, []byte(`{"type":"hello"}`))); err != nil {
				t.Fatal(err)
			}
			fd, err := poll.Detach(below)
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, fd)
		}
		until(t, "all are at rest", func() bool {
			return r.value("sunzi_replays_total", "complete") == float64(len(fds))
		})
	}
	for name, version := range tlsVersions {
		open(version, warm)
		before := liveHeap()
		open(version, n)
		each := float64(liveHeap()-before) / n
		t.Logf("TLS %s: %.0f bytes of live heap an idle session", name, each)
		if each > idleTLSBudget {
			t.Errorf("TLS %s: an idle session costs %.0f bytes of heap, the budget is %d", name, each, idleTLSBudget)
		}
	}
}
