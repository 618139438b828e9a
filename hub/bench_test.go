//go:build linux

package hub

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/hub/poll"
)

// BenchmarkFanOut sends one message of 128 bytes to all of 1,000 sessions, an
// operation per commit, and reports what a delivery costs this process: the
// receivers in it included. It stops the clock when the last byte was received,
// not when it was queued, or it would measure nothing but the queue.
func BenchmarkFanOut(b *testing.B) {
	for _, burst := range []int{1, 32} {
		b.Run(fmt.Sprintf("burst=%d", burst), func(b *testing.B) { fanOut(b, 1000, burst) })
	}
}

func fanOut(b *testing.B, sessions, burst int) {
	cfg := testConfig()
	cfg.Heartbeat = time.Hour
	r := start(b, cfg)
	r.hub.Serve(quiet{r.office})
	names := make([]string, sessions)
	d := newDrain(b)
	for i := range names {
		names[i] = fmt.Sprint("client", i)
		d.add(openIdle(b, r.addr, names[i]))
	}
	until(b, "all are live", func() bool { return r.value("sunzi_replays_total", "complete") == float64(sessions) })
	sum := func(f func(*counters) uint64) (n uint64) { // a scrape would cost more than a commit
		for _, l := range r.hub.loops {
			n += f(&l.count)
		}
		return n
	}
	bytes := func(c *counters) uint64 { return c.bytesOut.Load() }
	writes := func(c *counters) uint64 { return c.writes.Load() }
	messages := func(c *counters) uint64 { return c.out[wire.TypeMessage].Load() }
	settled := func() {
		until(b, "all was received", func() bool { return uint64(d.got.Load()) == sum(bytes) })
	}
	settled()
	before, cpu := sum(writes), cpuTime(b)
	b.ResetTimer()
	for i := 0; i < b.N; i += burst {
		for range burst {
			r.office.commit(r.hub, "a body so long that the frame has about 128 bytes", names...)
		}
		for want := uint64(sessions * (i + burst)); sum(messages) < want; {
			time.Sleep(20 * time.Microsecond)
		}
	}
	settled()
	b.StopTimer()
	deliveries := float64(sum(messages))
	b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/deliveries, "cpu-ns/delivery")
	b.ReportMetric(float64(sum(writes)-before)/deliveries, "writes/delivery")
}

// cpuTime is what the process has used, the kernel's work for it included.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// drain reads and drops what comes on many sockets.
type drain struct {
	tb   testing.TB
	p    *poll.Poller
	fds  []int
	got  atomic.Int64
	stop atomic.Bool
	wg   sync.WaitGroup
}

func newDrain(tb testing.TB) *drain {
	p, err := poll.New()
	if err != nil {
		tb.Fatal(err)
	}
	d := &drain{tb: tb, p: p}
	d.wg.Go(d.run)
	tb.Cleanup(func() {
		d.stop.Store(true)
		p.Wake()
		d.wg.Wait()
		for _, fd := range d.fds {
			_ = poll.Close(fd)
		}
		_ = p.Close()
	})
	return d
}

func (d *drain) add(fd int) {
	d.fds = append(d.fds, fd)
	if err := d.p.Add(fd, int32(fd), poll.Readable); err != nil {
		d.tb.Fatal(err)
	}
}

func (d *drain) run() {
	buf := make([]byte, 64<<10)
	for !d.stop.Load() {
		events, err := d.p.Wait(time.Second)
		if err != nil {
			d.tb.Error(err)
			return
		}
		for _, ev := range events {
			n, _ := poll.Read(int(ev.Token), buf)
			d.got.Add(int64(n))
		}
	}
}
