package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/seal"
)

// encodePlain stands for the wire's encoding of a message: the body as it is.
func encodePlain(dst, body []byte) ([]byte, error) { return append(dst, body...), nil }

func newSealing(t testing.TB, secret byte) *seal.Service {
	t.Helper()
	id, err := crt.NewIdentity(bytes.Repeat([]byte{secret}, 32))
	if err != nil {
		t.Fatal(err)
	}
	w, err := crt.NewWrapper(map[uint32][]byte{1: bytes.Repeat([]byte{secret}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	s := seal.New(seal.Config{Identity: id, Wrapper: w, Encode: encodePlain, Slots: 4})
	t.Cleanup(s.Close)
	return s
}

// sealed is a store that seals, with what its listener heard.
type sealed struct {
	*Store
	t       testing.TB
	sealing *seal.Service
	mu      sync.Mutex
	heard   map[string]*push.Message   // by client and place
	covers  map[string][]*push.Message // by client
	now     time.Time
}

func (s *sealed) Placed(m *push.Message, to []push.Placement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range to {
		s.heard[fmt.Sprint(p.Client, " ", p.Seq)] = m
	}
}

// Covered has every cover opened by its client: it holds nothing for it.
func (s *sealed) Covered(m *push.Message, to []push.ClientKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range to {
		s.covers[key.ID] = append(s.covers[key.ID], m)
	}
}

func (s *sealed) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *sealed) later(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func openSealed(t testing.TB, cfg Config, sealing *seal.Service) *sealed {
	t.Helper()
	s := &sealed{t: t, sealing: sealing, heard: make(map[string]*push.Message), covers: make(map[string][]*push.Message), now: time.Now()}
	cfg.Sealer, cfg.Listener, cfg.Clock = sealing, s, s.clock
	st, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	s.Store = st
	return s
}

// device is a client with its keys.
type device struct {
	key    push.ClientKey
	ring   crt.Ring
	cursor uint64
}

func (d *device) held() []uint32 {
	var all []uint32
	for _, k := range d.ring.Keys() {
		all = append(all, k.Grant().Generation)
	}
	return all
}

// join registers a client and makes a handshake for it.
func (s *sealed) join(id string, kind crt.Kind) *device {
	s.t.Helper()
	d := &device{key: push.ClientKey{ID: id}}
	if err := s.Register(context.Background(), d.key, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	s.shake(d, kind)
	return d
}

func (s *sealed) shake(d *device, kind crt.Kind) {
	s.t.Helper()
	ctx := context.Background()
	s.sealing.Keep(s.Store)
	hs, hello, err := crt.NewHandshake(crt.X25519, kind, crt.NameHash(d.key.Realm, d.key.ID), s.sealing.Public(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	welcome, h, err := s.sealing.Begin(ctx, d.key, hello)
	if err != nil {
		s.t.Fatal(err)
	}
	keys, confirm, err := hs.Finish(welcome)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.sealing.Complete(ctx, d.key, h, confirm); err != nil {
		s.t.Fatal(err)
	}
	d.ring.Add(keys)
}

var nextSealedID = int64(1000)

// send pushes a text to clients.
func (s *sealed) send(text string, mode push.SealMode, to ...*device) push.Outcome {
	s.t.Helper()
	nextSealedID++
	e := &push.Envelope{
		ID: nextSealedID, Accepted: s.clock(), Expires: s.clock().Add(24 * time.Hour), Body: []byte(text), Size: len(text),
		Priority: push.DefaultPriority, Store: push.StoreAlways, Seal: mode,
	}
	for _, d := range to {
		e.Target.Clients = append(e.Target.Clients, d.key.ID)
	}
	out, err := s.Accept(context.Background(), []*push.Envelope{e})
	if err != nil {
		s.t.Fatal(err)
	}
	return out[0]
}

// told is what a client finds in its mailbox after its cursor: texts, or gaps.
func (s *sealed) told(d *device) string {
	s.t.Helper()
	p, err := s.Read(context.Background(), d.key, d.cursor, 100, 1<<20)
	if err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for _, it := range p.Items {
		if it.Message == nil {
			all = append(all, fmt.Sprintf("%d-%d:%s", it.Seq, it.To, it.Reason))
			continue
		}
		all = append(all, d.open(s.t, it.Message, it.Seq))
		if h := s.heard[fmt.Sprint(d.key, " ", it.Seq)]; h != nil && h.Sealed != nil {
			if live := d.open(s.t, h, it.Seq); live != all[len(all)-1] {
				s.t.Errorf("live %q, replayed %q", live, all[len(all)-1])
			}
		}
	}
	return strings.Join(all, " ")
}

func (d *device) open(t testing.TB, m *push.Message, seq uint64) string {
	t.Helper()
	if m.Sealed == nil {
		return "clear:" + string(m.Body)
	}
	if m.Body != nil {
		t.Errorf("%s: a sealed message with a body in clear", d.key)
	}
	if p := m.Sealed.Prelude; p != nil {
		if o, err := d.ring.Open(append(append([]byte(nil), p.Head...), p.Body...)); err != nil || o.Channel == nil {
			t.Errorf("%s: the prelude does not open: %v", d.key, err)
		}
	}
	frame := append(append([]byte(nil), m.Sealed.Head...), m.Sealed.Body...)
	if m.Sealed.Channel {
		frame = append(crt.AppendPrefix(nil, seq), frame...)
	}
	o, err := d.ring.Open(frame)
	if err != nil {
		return "unopened"
	}
	if o.Seq != seq {
		t.Errorf("%s: sequence %d at place %d", d.key, o.Seq, seq)
	}
	return string(o.Message)
}

func (s *sealed) want(d *device, want string) {
	s.t.Helper()
	if got := s.told(d); got != want {
		s.t.Errorf("%s is told %q, want %q", d.key, got, want)
	}
}

// onEngines runs a test on a file and on MariaDB.
func onEngines(t *testing.T, f func(t *testing.T, cfg Config)) {
	t.Run("sqlite", func(t *testing.T) { f(t, Config{Path: filepath.Join(t.TempDir(), "s.db")}) })
	t.Run("mysql", func(t *testing.T) { f(t, Config{DSN: server.dsn(t)}) })
}

var long = strings.Repeat("long ", 300)

func TestSealedMailboxes(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, bob, eve := s.join("ann", crt.KindCRT), s.join("bob", crt.KindCRT), s.join("eve", crt.KindAEAD)
		dan := &device{key: push.ClientKey{ID: "dan"}} // without keys
		if err := s.Register(t.Context(), dan.key, time.Now()); err != nil {
			t.Fatal(err)
		}
		s.send("one", push.SealAuto, ann)
		s.send("two", push.SealAuto, ann, bob, eve, dan)
		s.send(long, push.SealAuto, ann, bob, eve, dan)
		s.send("clear", push.SealNone, ann)
		s.want(ann, "one two "+long+" clear:clear")
		s.want(bob, "two "+long)
		s.want(eve, "two "+long)
		s.want(dan, "clear:two clear:"+long)

		// A restart, with another sealer.
		again := openSealed(t, s.reopen(cfg), newSealing(t, 1))
		again.send("three", push.SealAuto, ann, bob, eve)
		again.want(ann, "one two "+long+" clear:clear three")
		again.want(bob, "two "+long+" three")
		again.want(eve, "two "+long+" three")
	})
}

// reopen closes the store where it can't be open twice.
func (s *sealed) reopen(cfg Config) Config {
	s.t.Helper()
	if cfg.Path != "" {
		if err := s.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	return cfg
}

func TestNothingSealedIsKeptInClear(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, bob, eve := s.join("ann", crt.KindCRT), s.join("bob", crt.KindCRT), s.join("eve", crt.KindAEAD)
		secret := "the secret of this test"
		s.send(secret, push.SealAuto, ann)
		s.send(secret+long, push.SealAuto, ann, bob, eve)
		s.send("to be replaced: "+secret, push.SealCRT, ann)
		for _, query := range []string{
			`SELECT COUNT(*) FROM offline_message WHERE msg IS NOT NULL`,
			`SELECT COUNT(*) FROM body`,
		} {
			var n int
			if err := s.read.QueryRowContext(t.Context(), query).Scan(&n); err != nil || n != 0 {
				t.Errorf("%s: %d, %v", query, n, err)
			}
		}
		if cfg.Path != "" {
			s.reopen(cfg)
			for _, name := range []string{cfg.Path} {
				if b := readFile(t, name); bytes.Contains(b, []byte(secret)) {
					t.Errorf("%s holds the text", filepath.Base(name))
				}
			}
		}
	})
}

// What waits is wrapped, until it is known for whom it is.
func TestWhatWaitsIsWrapped(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann := s.join("ann", crt.KindCRT)
		dan := &device{key: push.ClientKey{ID: "dan"}}
		if err := s.Register(t.Context(), dan.key, time.Now()); err != nil {
			t.Fatal(err)
		}
		for i := range push.ExpandAbove {
			if err := s.Register(t.Context(), push.ClientKey{ID: fmt.Sprint("other", i)}, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		e := func(id int64, text string) *push.Envelope {
			return &push.Envelope{
				ID: id, Accepted: s.clock(), Expires: s.clock().Add(24 * time.Hour), Body: []byte(text), Size: len(text),
				Priority: push.DefaultPriority, Store: push.StoreAlways,
			}
		}
		later := e(1, "a secret for later")
		later.NotBefore, later.Target.Clients = s.clock().Add(time.Hour), []string{"ann", "dan"}
		toAll := e(2, "a secret for all")
		toAll.Target.All = true
		out, err := s.Accept(t.Context(), []*push.Envelope{later, toAll})
		if err != nil || out[0].Err != nil || !out[0].Scheduled || out[1].Err != nil || !out[1].Expanding {
			t.Fatalf("%+v, %v", out, err)
		}
		var content, body string
		err = firstError(s.read.QueryRowContext(t.Context(), `SELECT content FROM envelope`).Scan(&content),
			s.read.QueryRowContext(t.Context(), `SELECT msg FROM body`).Scan(&body))
		if err != nil || strings.Contains(content, base64.StdEncoding.EncodeToString([]byte("a secret for"))) || strings.Contains(body, "a secret") {
			t.Errorf("%v: kept as %q and %q", err, content, body)
		}
		for n := 1; n > 0; {
			if n, err = s.Expand(t.Context(), 5000); err != nil {
				t.Fatal(err)
			}
		}
		s.later(time.Hour)
		for n := 1; n > 0; {
			if n, err = s.Release(t.Context(), s.clock(), 100); err != nil {
				t.Fatal(err)
			}
		}
		s.want(ann, "a secret for all a secret for later")
		s.want(dan, "clear:a secret for all clear:a secret for later")
	})
}

// Who has nothing in a frame gets it too, and finds that there is nothing.
func TestOthersOfTheShardGetCovers(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, bob, eve := s.join("ann", crt.KindCRT), s.join("bob", crt.KindCRT), s.join("eve", crt.KindAEAD)
		s.send("one", push.SealAuto, ann)
		s.send(long, push.SealAuto, ann)
		s.send("both", push.SealAuto, ann, bob)
		s.send("alone", push.SealAuto, eve)
		if len(s.covers["ann"]) != 0 || len(s.covers["bob"]) != 2 || len(s.covers["eve"]) != 0 {
			t.Fatalf("covers: %d for ann, %d for bob, %d for eve", len(s.covers["ann"]), len(s.covers["bob"]), len(s.covers["eve"]))
		}
		for _, m := range s.covers["bob"] {
			if got := bob.open(t, m, 0); got != "" {
				t.Errorf("a cover opens as %q", got)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if cfg.Path == "" {
			return
		}
		cfg.NoCovers = true
		bare := openSealed(t, cfg, newSealing(t, 1))
		bare.send("two", push.SealAuto, ann)
		if len(bare.covers["bob"]) != 0 {
			t.Error("a cover although there are to be none")
		}
	})
}

func TestABodyIsKeptOnceForAllShards(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		var all []*device
		for i := range 10 { // three shards of four
			all = append(all, s.join(fmt.Sprint("c", i), crt.KindCRT))
		}
		s.send(long, push.SealAuto, all...)
		for _, d := range all {
			s.want(d, long)
		}
		var bodies, frames int
		err := firstError(s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM seal_body`).Scan(&bodies),
			s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM seal_frame`).Scan(&frames))
		if err != nil || bodies != 1 || frames != 3 {
			t.Errorf("%d bodies and %d frames, want 1 and 3; %v", bodies, frames, err)
		}
	})
}

func TestKeyPeriodsGoOn(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, bob, eve := s.join("ann", crt.KindCRT), s.join("bob", crt.KindCRT), s.join("eve", crt.KindAEAD)
		s.send("one", push.SealAuto, ann, bob, eve)
		for i := range 2 {
			s.later(keyPeriod)
			s.send(fmt.Sprint("after-", i), push.SealAuto, ann, bob, eve)
		}
		var least, most int
		if err := s.read.QueryRowContext(t.Context(), `SELECT MIN(period), MAX(period) FROM seal_key WHERE state = 1`).Scan(&least, &most); err != nil || least < 2 {
			t.Errorf("key periods %d to %d, %v", least, most, err)
		}
		for _, d := range []*device{ann, bob, eve} {
			s.want(d, "one after-0 after-1")
		}
	})
}

func TestLostKeysAreTold(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, bob := s.join("ann", crt.KindCRT), s.join("bob", crt.KindCRT)
		s.send("one", push.SealAuto, ann, bob)
		ann.ring = crt.Ring{} // its storage was wiped
		if err := s.Hold(t.Context(), ann.key, push.SealCRT, ann.held()); err != nil {
			t.Fatal(err)
		}
		s.want(ann, "1-1:key_lost")
		out := s.send("required", push.SealCRT, ann)
		if out.Err == nil || out.Err.Code != push.CodeNoSealKey {
			t.Errorf("a push that has to be sealed was answered %+v", out)
		}
		if out := s.send("to both", push.SealCRT, ann, bob); out.Err != nil || len(out.Placed) != 1 || len(out.Rejected) != 1 || out.Rejected[0].Code != push.CodeNoSealKey {
			t.Errorf("a push to one with keys and one without: %+v", out)
		}
		s.shake(ann, crt.KindCRT)
		s.send("two", push.SealCRT, ann, bob)
		s.want(ann, "1-1:key_lost two")
		s.want(bob, "one to both two")
		if err := s.Hold(t.Context(), ann.key, push.SealCRT, ann.held()); err != nil {
			t.Fatal(err)
		}
		s.want(ann, "1-1:key_lost two")
		m, err := s.Open(t.Context(), ann.key)
		if err != nil || m.Seal != push.SealCRT || m.SealGeneration != 2 {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

// A client that makes a new handshake keeps the old keys until all under them
// is acked.
func TestTwoGenerationsInOneMailbox(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann := s.join("ann", crt.KindCRT)
		s.send("one", push.SealAuto, ann)
		s.shake(ann, crt.KindCRT)
		s.send("two", push.SealAuto, ann)
		s.shake(ann, crt.KindAEAD)
		s.send("three", push.SealAuto, ann)
		if err := s.Hold(t.Context(), ann.key, push.SealAEAD, ann.held()); err != nil {
			t.Fatal(err)
		}
		s.want(ann, "one two three")
		// It wants none from now on.
		if err := s.Hold(t.Context(), ann.key, "", ann.held()); err != nil {
			t.Fatal(err)
		}
		s.send("four", push.SealAuto, ann)
		s.want(ann, "one two three clear:four")
		var keys, members int
		err := firstError(s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM seal_key`).Scan(&keys),
			s.read.QueryRowContext(t.Context(), `SELECT SUM(members) FROM seal_shard`).Scan(&members))
		if err != nil || keys != 0 || members != 0 {
			t.Errorf("%d keys and %d members are left, %v", keys, members, err)
		}
	})
}

func TestAForgottenClientsKeysAreGone(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, bob := s.join("ann", crt.KindCRT), s.join("bob", crt.KindCRT)
		s.send("one", push.SealAuto, ann, bob)
		if err := s.Forget(t.Context(), ann.key); err != nil {
			t.Fatal(err)
		}
		s.send("two", push.SealAuto, bob)
		s.want(bob, "one two")
		var n int
		if err := s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM seal_key WHERE client_id = 'ann'`).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d keys are left, %v", n, err)
		}
		// What is sealed since is not for its keys, even in its slot.
		p, err := s.Read(t.Context(), bob.key, 1, 1, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if got := ann.open(t, p.Items[0].Message, 2); got != "unopened" {
			t.Errorf("the forgotten client reads %q", got)
		}
		again := s.join("ann", crt.KindCRT)
		s.send("three", push.SealAuto, again)
		s.want(again, "three")
	})
}

// Keys that nobody confirmed are given up, and their slot with them.
func TestReservedKeysEnd(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		key := push.ClientKey{ID: "ann"}
		if err := s.Register(t.Context(), key, time.Now()); err != nil {
			t.Fatal(err)
		}
		var at push.SealPlace
		for want := uint32(1); want <= 3; want++ {
			var err error
			if at, err = s.Reserve(t.Context(), key, push.SealCRT, 512, 4); err != nil || at.Generation != want || at.Slot != 0 {
				t.Fatalf("reserved %+v, %v", at, err)
			}
		}
		s.later(reservedFor)
		for n := 1; n > 0; {
			var err error
			if n, err = s.Sweep(t.Context(), s.clock(), 100); err != nil {
				t.Fatal(err)
			}
		}
		err := s.Activate(t.Context(), key, at, func(uint32) ([]byte, error) { return []byte("secret"), nil })
		if !push.HasCode(err, push.CodeInvalidField) {
			t.Errorf("activated: %v", err)
		}
		if m, err := s.Open(t.Context(), key); err != nil || m.Seal != "" {
			t.Errorf("%+v, %v", m, err)
		}
		var members int
		if err := s.read.QueryRowContext(t.Context(), `SELECT SUM(members) FROM seal_shard`).Scan(&members); err != nil || members != 0 {
			t.Errorf("%d members, %v", members, err)
		}
	})
}

func TestASealedDeadLetterStays(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann := s.join("ann", crt.KindCRT)
		s.send("one", push.SealAuto, ann)
		if err := s.Ack(t.Context(), []push.Ack{{Client: ann.key, Seq: 1, Failed: []push.FailedEntry{{Seq: 1, Code: -1}}, At: time.Now()}}); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Redrive(t.Context(), ann.key, nil); n != 0 || !push.HasCode(err, push.CodeInvalidField) {
			t.Errorf("redrove %d, %v", n, err)
		}
		p, err := s.History(t.Context(), ann.key, push.HistoryQuery{PageQuery: push.PageQuery{Limit: 10}})
		if err != nil || len(p.Entries) != 1 || p.Entries[0].State != push.StateFailed || p.Entries[0].Body != nil {
			t.Errorf("history %+v, %v", p, err)
		}
	})
}

func TestWithoutTheWrappingKeyNothingIsSealed(t *testing.T) {
	cfg := Config{Path: filepath.Join(t.TempDir(), "s.db")}
	s := openSealed(t, cfg, newSealing(t, 1))
	ann := s.join("ann", crt.KindCRT)
	s.send("one", push.SealAuto, ann)
	other := openSealed(t, s.reopen(cfg), newSealing(t, 2))
	e := &push.Envelope{ID: 5, Accepted: time.Now(), Body: []byte("x"), Size: 1, Target: push.Target{Clients: []string{"ann"}}, Priority: 3, Store: push.StoreAlways}
	if out, err := other.Accept(t.Context(), []*push.Envelope{e}); err == nil && out[0].Err == nil {
		t.Error("a push was sealed with keys that can't be read")
	}
	other.want(ann, "one")
}

func TestRewrap(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, eve := s.join("ann", crt.KindCRT), s.join("eve", crt.KindAEAD)
		old, err := crt.NewWrapper(map[uint32][]byte{1: bytes.Repeat([]byte{1}, 32)})
		if err != nil {
			t.Fatal(err)
		}
		next, err := crt.NewWrapper(map[uint32][]byte{2: bytes.Repeat([]byte{2}, 32)})
		if err != nil {
			t.Fatal(err)
		}
		n, err := s.Rewrap(t.Context(), func(key push.ClientKey, secret []byte) ([]byte, error) {
			who := crt.NameHash(key.Realm, key.ID)
			plain, err := old.Unwrap(crt.LabelChain, who[:], secret)
			return next.Wrap(nil, crt.LabelChain, who[:], plain), err
		})
		if err != nil || n != 2 {
			t.Fatalf("%d were wrapped anew, %v", n, err)
		}
		id, err := crt.NewIdentity(bytes.Repeat([]byte{1}, 32))
		if err != nil {
			t.Fatal(err)
		}
		sealing := seal.New(seal.Config{Identity: id, Wrapper: next, Encode: encodePlain, Slots: 4})
		t.Cleanup(sealing.Close)
		again := openSealed(t, s.reopen(cfg), sealing)
		again.send("one", push.SealAuto, ann, eve)
		again.want(ann, "one")
		again.want(eve, "one")
	})
}

// broadcast pushes to a group.
func (s *sealed) broadcast(group, text string) push.Outcome {
	s.t.Helper()
	nextSealedID++
	out, err := s.Accept(context.Background(), []*push.Envelope{{
		ID: nextSealedID, Accepted: s.clock(), Expires: s.clock().Add(24 * time.Hour), Body: []byte(text), Size: len(text),
		Priority: push.DefaultPriority, Store: push.StoreAlways, Target: push.Target{Group: group},
	}})
	if err != nil || out[0].Err != nil {
		s.t.Fatal(out, err)
	}
	return out[0]
}

func (s *sealed) member(d *device, group string, in bool) {
	s.t.Helper()
	change := s.Leave
	if in {
		change = s.Join
	}
	if _, _, err := change(context.Background(), d.key.Realm, group, d.key.ID); err != nil {
		s.t.Fatal(err)
	}
}

// A broadcast is sealed once; who joined can't read what came before, who left
// can't read what follows, and who was away gets what it belonged to.
func TestBroadcastsUnderChannelKeys(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		var all []*device
		for i := range 6 { // two shards
			all = append(all, s.join(fmt.Sprint("c", i), crt.KindCRT))
		}
		aead := s.join("aead", crt.KindAEAD)
		for _, d := range append(all[:5:5], aead) {
			s.member(d, "room", true)
		}
		s.broadcast("room", "one")
		s.broadcast("room", "two "+long)
		s.member(all[0], "room", false)
		s.member(all[5], "room", true)
		s.broadcast("room", "three")
		s.want(all[0], "one two "+long)
		s.want(all[5], "three")
		s.want(aead, "one two "+long+" three")
		for _, d := range all[1:5] {
			s.want(d, "one two "+long+" three")
		}
		var frames, channels, secrets int
		err := firstError(s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM offline_message WHERE generation = -1`).Scan(&channels),
			s.read.QueryRowContext(t.Context(), `SELECT COUNT(DISTINCT frame) FROM offline_message WHERE generation = -1`).Scan(&frames),
			s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM seal_channel`).Scan(&secrets))
		if err != nil || channels != 15 || frames != 3 || secrets != 2 {
			t.Errorf("%d entries in %d frames under %d secrets, want 15, 3 and 2; %v", channels, frames, secrets, err)
		}
		// A thief of a member's keys of after it left, or before it joined, has the
		// secret of no other epoch.
		for _, d := range []*device{all[0], all[5]} {
			if n := len(d.ring.Channels()); n != 1 {
				t.Errorf("%s has %d secrets, want the one of its epoch", d.key, n)
			}
		}
		// A restart, and new keys: the secrets come again.
		again := openSealed(t, s.reopen(cfg), newSealing(t, 1))
		again.shake(all[1], crt.KindCRT)
		all[1].ring = *keysOnly(&all[1].ring)
		again.want(all[1], "one two "+long+" three")
		again.broadcast("room", "four")
		again.want(all[1], "one two "+long+" three four")
	})
}

// keysOnly is a ring that has forgotten all channels.
func keysOnly(r *crt.Ring) *crt.Ring {
	next := new(crt.Ring)
	for i := len(r.Keys()) - 1; i >= 0; i-- {
		next.Add(r.Keys()[i])
	}
	return next
}

// A push to more members than one transaction places is sealed once as well.
func TestALargeBroadcastIsSealedOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, zoe := s.join("aaa", crt.KindCRT), s.join("zzz", crt.KindCRT)
		s.member(ann, "all", true)
		s.member(zoe, "all", true)
		for i := range push.ExpandAbove {
			d := &device{key: push.ClientKey{ID: fmt.Sprint("m", i)}}
			if err := s.Register(t.Context(), d.key, time.Now()); err != nil {
				t.Fatal(err)
			}
			s.member(d, "all", true)
		}
		if out := s.broadcast("all", "to many"); !out.Expanding {
			t.Fatalf("%+v", out)
		}
		for n := 1; n > 0; {
			var err error
			if n, err = s.Expand(t.Context(), 300); err != nil {
				t.Fatal(err)
			}
		}
		s.want(ann, "to many")
		s.want(zoe, "to many")
		var frames int
		if err := s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM seal_frame`).Scan(&frames); err != nil || frames != 1 {
			t.Errorf("%d frames, %v", frames, err)
		}
	})
}

// Two nodes seal for one shard: neither uses what the other has taken.
func TestTwoNodesSealForOneShard(t *testing.T) {
	cfg := Config{DSN: server.dsn(t)}
	one, two := openSealed(t, cfg, newSealing(t, 1)), openSealed(t, cfg, newSealing(t, 1))
	ann, bob := one.join("ann", crt.KindCRT), two.join("bob", crt.KindCRT)
	var wg sync.WaitGroup
	for n, s := range []*sealed{one, two} {
		wg.Go(func() {
			for i := range 20 {
				e := &push.Envelope{
					ID: int64(5000 + 100*n + i), Accepted: time.Now(), Expires: time.Now().Add(time.Hour), Body: []byte("m"), Size: 1,
					Target: push.Target{Clients: []string{"ann", "bob"}}, Priority: 3, Store: push.StoreAlways,
				}
				if out, err := s.Accept(context.Background(), []*push.Envelope{e}); err != nil || out[0].Err != nil {
					t.Errorf("%+v, %v", out, err)
				}
				if i == 10 {
					s.later(keyPeriod)
				}
			}
		})
	}
	wg.Wait()
	for _, d := range []*device{ann, bob} {
		one.want(d, strings.TrimSpace(strings.Repeat("m ", 40)))
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
