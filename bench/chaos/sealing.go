package chaos

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/crt"
)

// The sealings that clients ask for and pushes may require. The empty one is
// none for a client, and the client's own for a push.
const (
	sealCRT  = "crt"
	sealAEAD = "aead"
)

// sealing is what a client opens sealed frames with. It is guarded by the
// client's mu.
type sealing struct {
	kind   string // empty: the client does not seal
	server []byte // the server's identity key, pinned
	who    crt.Who
	suite  crt.Suite
	seen   *frames
	gens   []*generation // newest first, as on the device: saved before they are used
}

// generation is the keys of one handshake in a ring of their own. They are
// changed by nothing but their own forgetting, which is saved at once: what is
// on the device is what is in memory.
type generation struct {
	keys *crt.Keys
	ring crt.Ring
	// first is the lowest place that was sealed so; zero: none has come.
	first uint64
	// steps are the first places of later key periods, ascending.
	steps []step
}

type step struct {
	seq    uint64
	period uint32
}

func newSealing(kind string, server []byte, id string, suite crt.Suite, seen *frames) sealing {
	return sealing{kind: kind, server: server, who: crt.NameHash("", id), suite: suite, seen: seen}
}

func (l *sealing) add(k *crt.Keys) {
	g := &generation{keys: k}
	g.ring.Add(k)
	l.gens = slices.Insert(l.gens, 0, g)
	for _, old := range l.gens[min(len(l.gens), wire.MaxSealHeld):] {
		old.keys.Wipe()
	}
	l.gens = l.gens[:min(len(l.gens), wire.MaxSealHeld)]
}

// held are the generations, for hello. Empty is a word too: that there are none.
func (l *sealing) held() []uint32 {
	all := make([]uint32, 0, len(l.gens))
	for _, g := range l.gens {
		all = append(all, g.keys.Grant().Generation)
	}
	return all
}

func (l *sealing) holds(n uint32) bool { return n != 0 && slices.Contains(l.held(), n) }

// prune forgets keys that the server never completed.
func (l *sealing) prune(newest uint32) {
	l.gens = slices.DeleteFunc(l.gens, func(g *generation) bool { return g.keys.Grant().Generation > newest })
}

// open opens a frame, and notes the place that was in it.
func (l *sealing) open(b []byte, period uint32) (crt.Opened, error) {
	for _, g := range l.gens {
		o, err := g.ring.Open(b)
		if err != nil {
			continue
		}
		if o.Seq > 0 {
			g.note(o.Seq, period)
		}
		return o, nil
	}
	return crt.Opened{}, crt.ErrOpen
}

func (g *generation) note(seq uint64, period uint32) {
	if g.first == 0 || seq < g.first {
		g.first = seq
	}
	last := g.keys.Chain().Period
	if n := len(g.steps); n > 0 {
		last = g.steps[n-1].period
	}
	if period > last {
		g.steps = append(g.steps, step{seq, period})
	}
}

// forget forgets the keys of everything below what is acked: mailboxes are in
// the order in which they were sealed.
func (l *sealing) forget(acked uint64) {
	for i, g := range l.gens {
		if g.first == 0 || g.first > acked {
			continue
		}
		for len(g.steps) > 0 && g.steps[0].seq <= acked {
			g.keys.Forget(g.steps[0].period)
			g.steps = g.steps[1:]
		}
		for _, old := range l.gens[i+1:] {
			old.keys.Wipe()
		}
		l.gens = l.gens[:i+1]
		return
	}
}

// frames are the frames that some client of the run has written down: each is
// logged once, however many it was sent to.
type frames struct {
	mu   sync.Mutex
	seen map[[16]byte]struct{}
}

func newFrames() *frames { return &frames{seen: map[[16]byte]struct{}{}} }

// first reports whether nobody has had the frame.
func (f *frames) first(sum [16]byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, there := f.seen[sum]
	f.seen[sum] = struct{}{}
	return !there
}

// shake is the state of a session's handshakes. It is guarded by the client's
// mu.
type shake struct {
	hello  *crt.ClientHandshake // waits for seal_welcome
	fresh  uint32               // the generation that waits for sealed; zero: none
	usable bool                 // the client holds the newest keys
	wanted bool                 // one is to be made once no other session says hello
	until  time.Time            // of the step that is under way
	on     bool                 // the server seals for this connection
	nonce  []byte               // of hello
	told   *crt.Receiver        // of what is sealed for this connection alone; nil: no keys yet
}

// sealWelcomed looks at what welcome offers.
func (s *session) sealWelcomed(w *wire.Welcome) over {
	l := &s.c.sealing
	switch {
	case l.kind == "":
		return false
	case w.Seal == "" && time.Since(s.dialed) >= helloWait:
		s.end("late hello", 0)
		return true
	case w.Seal != l.kind || !slices.Equal(w.SealKey, l.server):
		s.log(Event{Kind: NotOffered, Seal: w.Seal})
		s.end("not offered", 0)
		return true
	}
	if !s.c.shaking(s) {
		l.prune(w.SealGeneration)
	}
	s.shake.usable = l.holds(w.SealGeneration)
	s.shake.on = true
	s.hear(w.SealGeneration)
	s.shake.wanted = !s.shake.usable || s.life.Rekey
	return false
}

// shaking reports whether another socket of the client has a handshake under
// way.
func (c *client) shaking(but *session) bool {
	for s := range c.sessions {
		if s != but && (s.shake.hello != nil || s.shake.fresh != 0) {
			return true
		}
	}
	return false
}

// greeting reports whether another socket waits for its welcome: what it said
// to hold must not be out of date when the server reads it.
func (c *client) greeting() bool {
	for s := range c.sessions {
		if !s.welcomed {
			return true
		}
	}
	return false
}

// handshake begins one where it is wanted, and no other socket of the client is
// in its way: a library has one at a time. The caller holds mu.
func (s *session) handshake() error {
	if !s.shake.wanted || s.shake.hello != nil || s.c.greeting() || s.c.shaking(s) {
		return nil
	}
	l := &s.c.sealing
	kind := crt.KindCRT
	if l.kind == sealAEAD {
		kind = crt.KindAEAD
	}
	h, hello, err := crt.NewHandshake(l.suite, kind, l.who, l.server, rand.Reader)
	if err != nil {
		return err
	}
	s.shake.wanted, s.shake.hello, s.shake.until = false, h, time.Now().Add(shakeWithin)
	s.log(Event{Kind: Offered})
	return s.sock.say(wire.ClientMessage{Type: wire.TypeSealHello, Handshake: hello})
}

// abandon gives up handshakes of the client's other sockets that have no keys
// yet: the hello that is about to be said would not name these.
func (s *session) abandon() {
	for o := range s.c.sessions {
		if o != s && o.shake.hello != nil {
			o.shake.hello, o.shake.wanted = nil, true
		}
	}
}

// unanswered reports whether the server owes a step of a handshake.
func (s *session) unanswered(now time.Time) bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return (s.shake.hello != nil || s.shake.fresh != 0) && now.After(s.shake.until)
}

// granted takes seal_welcome: the keys are on the device before they are
// confirmed.
func (s *session) granted(welcome []byte) over {
	h := s.shake.hello
	if h == nil {
		return false
	}
	s.shake.hello = nil
	keys, confirm, err := h.Finish(welcome)
	if err != nil {
		s.end("handshake", 0)
		return true
	}
	s.c.sealing.add(keys)
	s.shake.fresh, s.shake.until = keys.Grant().Generation, time.Now().Add(shakeWithin)
	if s.sock.say(wire.ClientMessage{Type: wire.TypeSealConfirm, Handshake: confirm}) != nil {
		s.end("broken", 0)
		return true
	}
	return false
}

func (s *session) sealed(generation uint32) over {
	if generation != s.shake.fresh {
		s.end("handshake", 0)
		return true
	}
	s.shake.fresh, s.shake.usable = 0, true
	s.hear(generation)
	s.log(Event{Kind: Sealed, Generation: generation})
	return false
}

// hear opens what is sealed for the connection under the keys of that
// generation, where the client holds them.
func (s *session) hear(generation uint32) {
	for _, g := range s.c.sealing.gens {
		if g.keys.Grant().Generation == generation {
			s.shake.told = crt.NewSessionReceiver(s.c.sealing.who, s.shake.nonce, generation, g.keys.Session())
		}
	}
}

// tell takes a frame that was sealed for this connection alone. One that does not
// open is written down, and ends the connection.
func (s *session) tell(p []byte, at Event) over {
	text, err := []byte(nil), crt.ErrOpen
	if s.shake.told != nil {
		_, text, err = s.shake.told.Open(p)
	}
	if err != nil {
		at.Kind, at.Hash, at.Generation = Unopened, "", s.c.newest()
		s.log(at)
		s.end("malformed", 0)
		return true
	}
	m, err := wire.DecodeServer(wire.JSON, text)
	if err != nil {
		s.end("malformed", 0)
		return true
	}
	return s.act(&m)
}

// complained takes an error, which is the answer to a handshake where one is
// under way. With keys that are good still it is not missed.
func (s *session) complained() over {
	if s.shake.hello == nil && s.shake.fresh == 0 {
		return false
	}
	s.shake.hello, s.shake.fresh = nil, 0
	if s.shake.usable {
		return false
	}
	s.end("handshake", 0)
	return true
}

// frame takes what came in a binary message.
func (s *session) frame(p []byte) over {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.epoch != s.c.epoch {
		s.end(Kill.String(), 0)
		return true
	}
	_, bare := crt.CutPrefix(p)
	f, err := crt.ParseFrame(bare)
	if err != nil || !s.welcomed {
		s.end("malformed", 0)
		return true
	}
	at := Event{Sealer: hex.EncodeToString(f.Sealer[:]), Batch: f.Batch, Lane: int(f.Lane), How: f.Mode.String()}
	sum := [16]byte(sumOf(bare))
	if s.c.sealing.seen.first(sum) {
		at.Kind, at.Hash = Framed, hex.EncodeToString(sum[:])
		s.log(at)
	}
	if f.Mode == crt.Session {
		at.Period = f.Period
		return s.tell(p, at)
	}
	o, err := s.c.sealing.open(p, f.Period)
	switch {
	case err != nil:
		at.Kind, at.Hash, at.Generation, at.Period = Unopened, "", s.c.newest(), f.Period
		s.log(at)
		return false
	case o.Message == nil:
		s.covers++
		return false
	}
	d, err := wire.DecodeSealed(o.Message)
	if err != nil {
		s.end("malformed", 0)
		return true
	}
	d.Seq = o.Seq
	return s.delivery(&d, true)
}

func sumOf(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:16]
}

func (c *client) newest() uint32 {
	if len(c.sealing.gens) == 0 {
		return 0
	}
	return c.sealing.gens[0].keys.Grant().Generation
}

// forgetKeys forgets what no socket of the client may still be sent.
func (c *client) forgetKeys(acked uint64) {
	if c.sealing.kind == "" {
		return
	}
	for s := range c.sessions {
		if !s.welcomed {
			return
		}
		acked = min(acked, s.count)
	}
	c.sealing.forget(acked)
}
