package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// PushOptions shape a push run.
type PushOptions struct {
	Clients     int           // connected receivers, pushed to in turn
	Connections int           // concurrent HTTP connections
	Bulk        int           // pushes a request; 1 is POST /v1/push
	Payload     int           // bytes of data
	Store       string        // always, offline or never
	For         time.Duration // how long
}

// Push measures pushes through HTTP, each to one client, committed before the
// answer, and waits until every one of them has arrived.
func Push(ctx context.Context, s *Server, o PushOptions) (*Result, error) {
	r := NewResult("push")
	fleet := NewFleet(s)
	defer fleet.Close()
	clients, err := fleet.Register(ctx, o.Clients)
	if err != nil {
		return nil, err
	}
	latency := newLatency()
	fleet.OnMessage = latency.message
	if err := fleet.Connect(ctx, clients); err != nil {
		return nil, err
	}
	cpu0, err := s.CPU()
	if err != nil {
		return nil, err
	}
	answered := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
	var mu sync.Mutex
	var sent, turn atomic.Int64
	start := time.Now()
	err = Parallel(o.Connections, o.Connections, func(int) error {
		own := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
		for time.Since(start) < o.For && ctx.Err() == nil {
			t0 := time.Now()
			if err := fleet.push(ctx, o, clients, &turn); err != nil {
				return err
			}
			_ = own.RecordValue(time.Since(t0).Microseconds())
			sent.Add(int64(o.Bulk))
		}
		mu.Lock()
		answered.Merge(own)
		mu.Unlock()
		return nil
	})
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	if err := fleet.waitFor(ctx, sent.Load()); err != nil {
		return nil, err
	}
	cpu1, err := s.CPU()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("store=%s, %d B, %d connections, %d a request", o.Store, o.Payload, o.Connections, o.Bulk)
	r.Note("%s; %d clients connected, every push received", name, o.Clients)
	r.Add("pushes answered", float64(sent.Load())/took.Seconds(), "per second")
	r.Add("server CPU", (cpu1-cpu0).Seconds()/float64(sent.Load())*1e6, "us/push")
	for _, q := range []float64{50, 99} {
		r.Add(fmt.Sprintf("request p%g", q), float64(answered.ValueAtQuantile(q))/1000, "ms")
	}
	for _, q := range []float64{50, 99} {
		r.Add(fmt.Sprintf("push to receive p%g", q), latency.quantile(q), "ms")
	}
	return r, nil
}

func (f *Fleet) push(ctx context.Context, o PushOptions, clients []Client, turn *atomic.Int64) error {
	item := func() string {
		c := clients[int(turn.Add(1))%len(clients)]
		text := fmt.Sprintf(`{"t":%d,"p":"`, time.Now().UnixMicro())
		return fmt.Sprintf(`{"to":{"client":%q},"topic":"bench","store":%q,"data":%s%s"}}`,
			c.ID, o.Store, text, strings.Repeat("x", max(0, o.Payload-len(text)-2)))
	}
	if o.Bulk == 1 {
		return f.Post(ctx, "/v1/push", []byte(item()), nil)
	}
	var b bytes.Buffer
	b.WriteString(`{"pushes":[`)
	for i := range o.Bulk {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(item())
	}
	b.WriteString(`]}`)
	var answer struct {
		Results []struct {
			Status int `json:"status"`
		} `json:"results"`
	}
	if err := f.Post(ctx, "/v1/push/batch", b.Bytes(), &answer); err != nil {
		return err
	}
	for i, item := range answer.Results {
		if item.Status >= 300 {
			return fmt.Errorf("item %d of a bulk push: status %d", i, item.Status)
		}
	}
	return nil
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

// latency gathers push-to-receive times from the "t" that data carries.
type latency struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

func newLatency() *latency {
	return &latency{h: hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)}
}

func (l *latency) message(_ int, payload []byte) {
	now := time.Now().UnixMicro()
	var m struct {
		Data struct {
			T int64 `json:"t"`
		} `json:"data"`
	}
	if json.Unmarshal(payload, &m) != nil || m.Data.T == 0 {
		return
	}
	l.mu.Lock()
	_ = l.h.RecordValue(now - m.Data.T)
	l.mu.Unlock()
}

func (l *latency) quantile(q float64) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return float64(l.h.ValueAtQuantile(q)) / 1000
}

// Fanout measures one push to everybody, again and again, store=never.
func Fanout(ctx context.Context, s *Server, receivers, rounds, payload int) (*Result, error) {
	r := NewResult("fanout")
	fleet := NewFleet(s)
	defer fleet.Close()
	clients, err := fleet.Register(ctx, receivers)
	if err != nil {
		return nil, err
	}
	if err := fleet.Connect(ctx, clients); err != nil {
		return nil, err
	}
	body := fmt.Appendf(nil, `{"to":{"all":true},"topic":"bench","data":%q}`, strings.Repeat("x", payload))
	cpu0, err := s.CPU()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	for round := range rounds {
		if err := fleet.Post(ctx, "/v1/push", body, nil); err != nil {
			return nil, err
		}
		if err := fleet.waitFor(ctx, int64(receivers)*int64(round+1)); err != nil {
			return nil, err
		}
	}
	took := time.Since(start)
	cpu1, err := s.CPU()
	if err != nil {
		return nil, err
	}
	n := float64(receivers) * float64(rounds)
	r.Add("deliveries", n/took.Seconds(), "per second")
	r.Add("server CPU", (cpu1-cpu0).Seconds()/n*1e6, "us/delivery")
	r.Note("%d receivers, %d rounds, %d B, each round waited for", receivers, rounds, payload)
	return r, nil
}
