package pushtest

import (
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/sunzi-push/sunzi/push"
)

// The model: what each place of one mailbox holds, kept by the obvious rules.
// Random operations go to the store and to the model, and after each a random
// read has to agree.

const modelRetention = 2 * time.Hour

func modelConfig(c *push.Config) {
	c.HistoryRetention = modelRetention
	c.MailboxEntries, c.MailboxBytes = 0, 0
}

type modelPlace struct {
	env   *push.Envelope
	ended push.GapReason // by cancel, collapse, a dead letter
	dead  bool           // a dead letter
}

type model struct {
	w      *world
	client string
	places []modelPlace // of sequence index+1
	cursor uint64
	swept  bool // Expire or Sweep ran: what they may delete may be missing
}

func readModel(w *world) {
	n := 0
	rapid.Check(w.T, func(rt *rapid.T) {
		n++
		m := &model{w: w, client: fmt.Sprintf("model-%d", n)}
		w.register(m.client)
		rt.Repeat(map[string]func(*rapid.T){
			"push":   m.push,
			"ack":    m.ack,
			"fail":   m.fail,
			"cancel": m.cancel,
			"pass": func(rt *rapid.T) {
				w.pass(rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, 6 * time.Hour}).Draw(rt, "time"))
			},
			"expire": func(*rapid.T) {
				m.swept = true
				_, err := w.s.Expire(w.ctx, w.clock(), 10_000)
				must(w, err)
			},
			"sweep": func(*rapid.T) {
				m.swept = true
				_, err := w.s.Sweep(w.ctx, w.clock(), 10_000)
				must(w, err)
			},
			"": m.read,
		})
	})
}

func (m *model) push(rt *rapid.T) {
	ttl := rapid.SampledFrom([]time.Duration{10 * time.Second, 10 * time.Minute, 5 * time.Hour}).Draw(rt, "ttl")
	e := m.w.envelope(one(m.client), func(e *push.Envelope) {
		e.Expires = e.Accepted.Add(ttl)
		e.Store = rapid.SampledFrom([]push.StoreMode{push.StoreAlways, push.StoreOffline}).Draw(rt, "store")
		e.CollapseKey = rapid.SampledFrom([]string{"", "", "k", "l"}).Draw(rt, "collapse")
	})
	if rapid.Bool().Draw(rt, "long") { // an implementation may keep long bodies elsewhere
		e.Body = push.BuildBody(push.BodyFields{ID: e.ID, Sent: e.Accepted, Data: []byte(`"` + strings.Repeat("x", 3000) + `"`), Expires: e.Expires})
	}
	o := m.w.accept(e)
	equal(m.w, "the new place", o.Placed[0].Seq, uint64(len(m.places)+1))
	for i := range m.places {
		p := &m.places[i]
		if e.CollapseKey != "" && p.env.CollapseKey == e.CollapseKey && m.waits(i) {
			p.ended = push.GapCollapsed
		}
	}
	m.places = append(m.places, modelPlace{env: e})
}

// waits reports whether the place is neither acked nor ended.
func (m *model) waits(i int) bool {
	p := m.places[i]
	return p.ended == "" && uint64(i+1) > m.cursor && p.env.Expires.After(m.w.clock())
}

func (m *model) draw(rt *rapid.T) int {
	if len(m.places) == 0 {
		rt.Skip("nothing is there yet")
	}
	return rapid.IntRange(0, len(m.places)-1).Draw(rt, "place")
}

func (m *model) ack(rt *rapid.T) {
	seq := uint64(m.draw(rt) + 1)
	m.w.ack(m.client, seq)
	m.cursor = max(m.cursor, seq)
}

func (m *model) fail(rt *rapid.T) {
	i := m.draw(rt)
	if !m.waits(i) {
		return
	}
	m.w.ack(m.client, uint64(i+1), push.FailedEntry{Seq: uint64(i + 1), Code: 1})
	m.cursor = max(m.cursor, uint64(i+1))
	m.places[i].ended, m.places[i].dead = push.GapAcked, true
}

func (m *model) cancel(rt *rapid.T) {
	i := m.draw(rt)
	p := &m.places[i]
	waits, dead := m.waits(i), p.dead
	ended, err := m.w.s.Cancel(m.w.ctx, nil, p.env.ID)
	switch {
	case waits, dead && (!m.swept || err == nil): // retention may have deleted a dead letter
		must(m.w, err)
		if len(ended) != 1 || ended[0].Seq != uint64(i+1) {
			rt.Fatalf("cancelling place %d ended %+v", i+1, ended)
		}
		p.ended, p.dead = push.GapCancelled, false
	case !push.HasCode(err, push.CodeNotCancellable) && !push.HasCode(err, push.CodeNoPush):
		rt.Fatalf("cancelling place %d, which does not wait, answers %v", i+1, err)
	}
}

func (m *model) read(rt *rapid.T) {
	head := uint64(len(m.places))
	after := rapid.Uint64Range(0, head).Draw(rt, "after")
	entries := rapid.IntRange(1, 8).Draw(rt, "entries")
	p, err := m.w.s.Read(m.w.ctx, key(m.client), after, entries, rapid.IntRange(1, 2000).Draw(rt, "bytes"))
	must(m.w, err)
	if p.Head != head {
		rt.Fatalf("the head is %d, want %d", p.Head, head)
	}
	next, messages := after+1, 0
	for i, it := range p.Items {
		if it.Seq != next {
			rt.Fatalf("item %d begins at %d, want %d", i, it.Seq, next)
		}
		if it.Message != nil {
			messages++
			m.checkMessage(rt, it)
			next++
			continue
		}
		if i > 0 && p.Items[i-1].Message == nil && p.Items[i-1].Reason == it.Reason {
			rt.Fatalf("two gaps of %s stand side by side at %d", it.Reason, it.Seq)
		}
		for ; next <= it.To; next++ {
			m.checkGap(rt, next, it.Reason)
		}
	}
	if next != p.Through+1 || messages > entries || p.Through == after && after < head {
		rt.Fatalf("the page after %d goes to %d and says it goes through %d, with %d of at most %d messages", after, next-1, p.Through, messages, entries)
	}
}

func (m *model) checkMessage(rt *rapid.T, it push.Item) {
	if want := m.reason(it.Seq); want != "" {
		rt.Fatalf("place %d is a message, want a gap: %s", it.Seq, want)
	}
	if e := m.places[it.Seq-1].env; it.Message.ID != e.ID || string(it.Message.Body) != string(e.Body) {
		rt.Fatalf("place %d holds push %d, want %d", it.Seq, it.Message.ID, e.ID)
	}
}

func (m *model) checkGap(rt *rapid.T, seq uint64, got push.GapReason) {
	want := m.reason(seq)
	e := m.places[seq-1].env
	forgotten := m.swept && got == push.GapExpired &&
		(want != "" || seq <= m.cursor && !e.Accepted.Add(modelRetention).After(m.w.clock()))
	if got != want && !forgotten {
		rt.Fatalf("place %d is a gap: %s, want %q", seq, got, want)
	}
}

// reason is why the place holds nothing, empty where it holds its message.
func (m *model) reason(seq uint64) push.GapReason {
	p := m.places[seq-1]
	switch {
	case p.ended != "":
		return p.ended
	case p.env.Store == push.StoreOffline && seq <= m.cursor:
		return push.GapAcked
	case !p.env.Expires.After(m.w.clock()):
		return push.GapExpired
	}
	return ""
}
