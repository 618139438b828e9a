package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/store"
)

var benchData = []byte(`{"text":"a body of about a hundred and fifty bytes, as chat and order events have","n":12345678,"at":"2026-01-01T00:00:00Z"}`)

func benchStore(b *testing.B, clients int) (*store.Store, []string) {
	limits := push.DefaultConfig()
	limits.MailboxEntries, limits.MailboxBytes = 0, 0
	s, err := store.Open(b.Context(), store.Config{Path: b.TempDir() + "/bench.db", Limits: limits})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	ids := make([]string, clients)
	var wg sync.WaitGroup
	for i := range ids {
		ids[i] = fmt.Sprintf("client-%d", i)
		wg.Go(func() {
			if err := s.Register(context.Background(), push.ClientKey{ID: ids[i]}, time.Now()); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	return s, ids
}

func benchEnvelope(id int64, client string) *push.Envelope {
	now := time.Now()
	return &push.Envelope{
		ID: id, Accepted: now, Target: push.Target{Clients: []string{client}}, Size: len(benchData),
		Body:    push.BuildBody(push.BodyFields{ID: id, Sent: now, Topic: "t", Data: benchData}),
		Expires: now.Add(time.Hour), Priority: push.DefaultPriority, Store: push.StoreAlways,
	}
}

// report adds pushes per second, and the processor time of each: the figure
// that a busy machine disturbs least.
func report(b *testing.B, pushes int, before time.Duration) {
	b.ReportMetric(float64(pushes)/b.Elapsed().Seconds(), "pushes/s")
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/1e3/float64(pushes), "cpu-µs/push")
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAccept is one push a call, from 64 callers, each answered after its
// commit is flushed.
func BenchmarkAccept(b *testing.B) {
	s, ids := benchStore(b, 1000)
	var next atomic.Int64
	next.Store(1 << 40)
	b.SetParallelism(32) // of two processors: 64 goroutines
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := next.Add(1)
			out, err := s.Accept(context.Background(), []*push.Envelope{benchEnvelope(id, ids[id%1000])})
			if err != nil || out[0].Err != nil {
				b.Fatal(err, out)
			}
		}
	})
	report(b, b.N, before)
}

// BenchmarkAcceptBulk is a thousand pushes a call, from one caller.
func BenchmarkAcceptBulk(b *testing.B) {
	s, ids := benchStore(b, 1000)
	id := int64(1 << 40)
	b.ResetTimer()
	before := cpu()
	for b.Loop() {
		envs := make([]*push.Envelope, 1000)
		for i := range envs {
			id++
			envs[i] = benchEnvelope(id, ids[i])
		}
		if _, err := s.Accept(context.Background(), envs); err != nil {
			b.Fatal(err)
		}
	}
	report(b, 1000*b.N, before)
}

// BenchmarkRead replays mailboxes of a thousand entries in pages of 256.
func BenchmarkRead(b *testing.B) {
	s, ids := benchStore(b, 1)
	for i := range 1000 {
		if _, err := s.Accept(b.Context(), []*push.Envelope{benchEnvelope(int64(1<<40+i), ids[0])}); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	entries := 0
	for b.Loop() {
		for after := uint64(0); after < 1000; {
			p, err := s.Read(context.Background(), push.ClientKey{ID: ids[0]}, after, 256, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			entries += len(p.Items)
			after = p.Through
		}
	}
	b.ReportMetric(float64(entries)/b.Elapsed().Seconds(), "entries/s")
}
