package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// began is what times of a run count from: pushes carry theirs in "t" as
// microseconds since, by a clock that nobody sets back.
var began = time.Now()

func sinceBegan(t time.Time) int64 { return t.Sub(began).Microseconds() }

// histogram is of latencies, safe for several goroutines.
type histogram struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

// longest is what a longer latency counts as.
const longest = time.Minute

func newHistogram() *histogram {
	return &histogram{h: hdrhistogram.New(1, longest.Microseconds(), 3)}
}

func (h *histogram) record(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.h.RecordValue(min(max(d.Microseconds(), 1), longest.Microseconds())) // fails beyond its bounds
}

func (h *histogram) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.Reset()
}

// report adds quantiles in milliseconds, 100 being the longest.
func (h *histogram) report(r *Result, name string, quantiles ...float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, q := range quantiles {
		label := fmt.Sprintf("%s p%g", name, q)
		if q == 100 {
			label = name + " max"
		}
		r.Add(label, float64(h.h.ValueAtQuantile(q))/1000, "ms")
	}
}

// message is what a fleet calls: it takes the time from the "t" of the data.
func (h *histogram) message(_ int, payload []byte) {
	now := sinceBegan(time.Now())
	var m struct {
		Data struct {
			T int64 `json:"t"`
		} `json:"data"`
	}
	if json.Unmarshal(payload, &m) != nil || m.Data.T == 0 {
		return
	}
	h.record(time.Duration(now-m.Data.T) * time.Microsecond)
}

// item is a push that was begun at a time, as JSON.
func item(to Client, store string, payload int, begun time.Time) string {
	text := fmt.Sprintf(`{"t":%d,"p":"`, sinceBegan(begun))
	return fmt.Sprintf(`{"to":{"client":%q},"topic":"bench","store":%q,"data":%s%s"}}`,
		to.ID, store, text, strings.Repeat("x", max(0, payload-len(text)-2)))
}

// acked is what a note says of it.
func acked(yes bool) string {
	if yes {
		return " and acked"
	}
	return ""
}

// waitFor returns when so many messages have arrived.
func (f *Fleet) waitFor(ctx context.Context, n int64) error {
	deadline := time.Now().Add(30 * time.Second)
	for f.Received.Load() < n {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d messages arrived", f.Received.Load(), n)
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
