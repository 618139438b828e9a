package store

import (
	"bytes"
	"context"
	"crypto/rand"
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
	if _, err := s.sealing.Complete(ctx, d.key, nil, h, confirm); err != nil {
		s.t.Fatal(err)
	}
	d.ring.Add(keys)
}

// hold is a client's word on its keys, without a cursor. It answers whether that
// changed anything.
func (s *sealed) hold(key push.ClientKey, want push.SealMode, held []uint32) bool {
	s.t.Helper()
	changed, err := s.Hold(context.Background(), key, want, held, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	return changed
}

var nextSealedID = int64(1000)

// send pushes a text to clients.
func (s *sealed) send(text string, mode push.SealMode, to ...*device) push.Outcome {
	s.t.Helper()
	nextSealedID++
	return s.sendAs(nextSealedID, text, mode, to...)
}

// sendAs is send with an ID of the caller's, for several at once.
func (s *sealed) sendAs(id int64, text string, mode push.SealMode, to ...*device) push.Outcome {
	s.t.Helper()
	e := &push.Envelope{
		ID: id, Accepted: s.clock(), Expires: s.clock().Add(24 * time.Hour), Body: []byte(text), Size: len(text),
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

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
