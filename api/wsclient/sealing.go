package wsclient

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/crt"
)

// The sealings of [Config.Seal].
const (
	SealCRT  = "crt"  // one x for the clients of a shard
	SealAEAD = "aead" // frames of this client alone
	SealNone = "none" // no more: the keys are given up, and what waits sealed is lost
)

// seals reports whether the client asks for sealing.
func (c *Config) seals() bool { return c.Seal == SealCRT || c.Seal == SealAEAD }

// Conditions of sealing that end a run.
var (
	// ErrNotSealed: the server does not seal for this client, or sent a
	// message that is not sealed.
	ErrNotSealed = errors.New("wsclient: the server does not seal, and plain messages are not allowed")
	// ErrServerKey: the server's identity key is not [Config.ServerKey].
	ErrServerKey = errors.New("wsclient: the server has another identity key than the one that is pinned")
	// ErrSaySeal: the client has sealing keys from before, and Config.Seal is
	// empty.
	ErrSaySeal = errors.New("wsclient: what is pushed to this client is sealed: set Config.Seal as before, or to none to give its keys up")
	// ErrUnopened is the error of [KindFailed] for a sealed message that could
	// not be opened.
	ErrUnopened = errors.New("wsclient: a sealed message did not open")
)

// codeUnopened is the dead letter's code of what did not open
// (api/wire/SPEC.md section 9).
const codeUnopened = -1

// Times of handshakes: a new one heals keys that were stolen without being
// noticed (crt/SPEC.md section 3).
const (
	sealEvery    = 24 * time.Hour
	sealRetry    = time.Hour
	sealDeadline = 10 * time.Second
	// A server waits a second for hello, and then serves as if there were none
	// (api/wire/SPEC.md section 4.1): what it does not offer then says nothing.
	helloWait = 800 * time.Millisecond
)

// SealStats is what became of sealed frames since the client was made.
type SealStats struct {
	Sealed        uint64 // opened, covers among them
	Covers        uint64 // without a message
	DecryptFailed uint64 // did not open
	Generation    uint32 // of the newest keys; zero: there are none
}

type sealCounts struct {
	sealed, covers, failed atomic.Uint64
	generation             atomic.Uint32
}

// SealStats tells how sealed frames fared.
func (c *Client) SealStats() SealStats {
	n := &c.seals
	return SealStats{n.sealed.Load(), n.covers.Load(), n.failed.Load(), n.generation.Load()}
}

// sealing is a connection's part of it.
type sealing struct {
	timer    *time.Timer          // the next handshake, or the deadline of a step
	hello    *crt.ClientHandshake // waits for seal_welcome
	fresh    *generation          // its keys; waits for sealed
	doubtful *generation          // were fresh when an error came, which may have been about something else
	stated   bool                 // hello said which keys are held
	usable   bool                 // the client holds the newest keys, and the server knows
	sender   *crt.Sender          // seals what is sent; nil: it goes in clear
	on       bool                 // the server seals everything that has content
	receiver *crt.Receiver        // of what is sealed for this connection; nil: there are no keys yet
	replayed bool                 // replay_complete has come
	unopened uint64               // frames that did not open since the last place
	vain     uint64               // key periods stepped for frames that did not open
	marks    []mark               // not yet acked
	last     mark
	brought  map[uint64]uint32 // by channel, the epoch whose secret came last on this connection
}

// mark is where messages under other keys than before begin.
type mark struct {
	seq    uint64
	gen    *generation
	period uint32
}

func (s *session) kind() crt.Kind {
	if s.cfg.Seal == SealAEAD {
		return crt.KindAEAD
	}
	return crt.KindCRT
}

// loadKeys reads the client's keys once it is known who it is. Without them
// nothing goes on: they would be overwritten.
func (s *session) loadKeys(ctx context.Context, realm, clientID string) *ending {
	key := storeKey(s.origin, realm, clientID)
	if !s.cfg.seals() || clientID == "" || s.keys.key == key {
		return nil
	}
	fresh := keyring{who: crt.NameHash(realm, clientID), channels: new(crt.Ring)}
	state, ok, err := s.cfg.SealKeys.Load(ctx, key)
	if err == nil && ok {
		err = fresh.unmarshal(state)
	}
	if err != nil {
		return s.keysFailed(err)
	}
	fresh.key = key
	s.keys = fresh
	s.tellGeneration()
	return nil
}

// holdKeys has hello say which keys the client holds. While nobody knows whose
// those are it says nothing of them, and there will be a handshake.
func (s *session) holdKeys(ctx context.Context, hello *wire.ClientMessage) *ending {
	hello.Seal = s.cfg.Seal
	if !s.cfg.seals() {
		return nil
	}
	realm, clientID := s.speaksAs()
	if end := s.loadKeys(ctx, realm, clientID); end != nil {
		return end
	}
	if s.seal.stated = s.keys.key != ""; s.seal.stated {
		hello.SealHeld = s.keys.held()
	}
	return nil
}

// speaksAs is whose keys and cursor hello names: before the first welcome, where
// it names keys, whom the token is about. The one does not go without the other:
// what the cursor covers would be told as lost where the keys of it are gone.
func (s *session) speaksAs() (realm, clientID string) {
	realm, clientID = s.Identity()
	if clientID == "" && s.cfg.seals() {
		return subject(s.token)
	}
	return realm, clientID
}

// subject is whom a token of the server's own is about; empty where it does not
// say. Nothing but the choice of keys and of the cursor to name depends on it.
func subject(token string) (realm, clientID string) {
	_, payload, _ := strings.Cut(token, ".")
	payload, _, _ = strings.Cut(payload, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	var claims struct {
		Sub   string `json:"sub"`
		Realm string `json:"realm"`
	}
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return "", ""
	}
	return claims.Realm, claims.Sub
}

func (s *session) tellGeneration() {
	var n uint32
	if len(s.keys.gens) > 0 {
		n = s.keys.gens[0].keys.Grant().Generation
	}
	s.seals.generation.Store(n)
}

// saveKeys outlives the run's end, as the cursor does.
func (s *session) saveKeys() error {
	state, err := s.keys.marshal()
	if err != nil {
		return err
	}
	defer clear(state)
	return s.cfg.SealKeys.Save(context.Background(), s.keys.key, state)
}

func (s *session) keysFailed(err error) *ending {
	s.notify(Event{Kind: KindSealKeys, Err: err})
	end := s.leave("the store of sealing keys failed")
	end.Err = fmt.Errorf("the store of sealing keys failed: %w", err)
	return end
}

// refuse ends the run: it would not get better by trying again.
func (s *session) refuse(err error) *ending {
	s.t.Close(1000, "")
	return &ending{Failure: &Failure{Err: err}, giveUp: true}
}

// checkSeal looks at what welcome offers, before anything of the connection
// counts.
func (s *session) checkSeal(ctx context.Context, w *wire.Welcome) *ending {
	switch {
	case !s.cfg.seals():
		return nil
	case w.Seal == "" && s.cfg.AllowPlain:
		return s.loadKeys(ctx, w.Realm, w.ClientID) // for what was sealed before
	case w.Seal == "" && time.Since(s.began) >= helloWait:
		return s.leave("welcomed without sealing, perhaps before hello was heard")
	case w.Seal != s.cfg.Seal:
		return s.refuse(ErrNotSealed)
	case !bytes.Equal(w.SealKey, s.cfg.ServerKey):
		return s.refuse(ErrServerKey)
	}
	if end := s.loadKeys(ctx, w.Realm, w.ClientID); end != nil {
		return end
	}
	s.seal.on = true
	s.keys.completed(w.SealGeneration)
	s.seal.usable = s.seal.stated && s.keys.holds(w.SealGeneration, s.kind())
	if i := slices.IndexFunc(s.keys.gens, func(g *generation) bool { return g.keys.Grant().Generation == w.SealGeneration }); s.seal.usable && i >= 0 {
		s.sealUp(s.keys.gens[i])
		s.sealDown(s.keys.gens[i])
	}
	s.tellGeneration()
	return nil
}

// startSealing makes a handshake where the newest keys are missing, or the server
// was not told that they are held; and times the next one.
func (s *session) startSealing(w *wire.Welcome) *ending {
	switch {
	case !s.cfg.seals() || w.Seal == "":
		return nil
	case !s.seal.usable:
		return s.handshake()
	case s.sealedAt.IsZero():
		s.sealedAt = time.Now() // by an earlier process, nobody knows when
	}
	s.seal.timer.Reset(max(time.Until(s.sealedAt.Add(sealEvery)), 0))
	return nil
}

func (s *session) handshake() *ending {
	h, hello, err := crt.NewHandshake(crt.X25519MLKEM768, s.kind(), s.keys.who, s.cfg.ServerKey, rand.Reader)
	if err != nil {
		return s.refuse(err)
	}
	s.seal.hello, s.seal.fresh, s.seal.doubtful = h, nil, nil
	s.seal.timer.Reset(sealDeadline)
	return s.send(&wire.ClientMessage{Type: wire.TypeSealHello, Handshake: hello})
}

// sealDue is the timer.
func (s *session) sealDue() *ending {
	if s.shaking() {
		return s.leave("the handshake was not answered")
	}
	return s.handshake()
}

func (s *session) shaking() bool { return s.seal.hello != nil || s.seal.fresh != nil }

// sealWelcomed goes on with a handshake. The keys are kept before they are
// confirmed: from then on messages are sealed for them.
func (s *session) sealWelcomed(welcome []byte) *ending {
	h := s.seal.hello
	if h == nil {
		return nil
	}
	s.seal.hello = nil
	keys, confirm, err := h.Finish(welcome)
	if err != nil {
		end := s.leave("the handshake failed")
		end.Err = err
		return end
	}
	s.seal.fresh = s.keys.add(keys)
	if err := s.saveKeys(); err != nil {
		return s.keysFailed(err)
	}
	s.seal.timer.Reset(sealDeadline)
	if end := s.send(&wire.ClientMessage{Type: wire.TypeSealConfirm, Handshake: confirm}); end != nil {
		return end
	}
	s.sealUp(s.seal.fresh) // the server takes no other keys from here on
	return nil
}

// sealUp seals what the session sends under these keys, in mode aead.
func (s *session) sealUp(g *generation) {
	if s.kind() == crt.KindAEAD {
		s.seal.sender = crt.NewSender(s.keys.who, g.keys.Up())
	}
}

// sealDown opens what is sealed for this connection under these keys, from here on.
func (s *session) sealDown(g *generation) {
	s.seal.receiver = crt.NewSessionReceiver(s.keys.who, g.keys.Grant().Generation, g.keys.Session())
}

// inClear reports whether the message must have come sealed (api/wire/SPEC.md
// section 9): whatever has content, and before welcome, which says whether the
// server seals, as well.
func (s *session) inClear(t wire.Type) bool {
	return (s.seal.on || s.cfg.seals() && s.welcomed.IsZero()) && hasContent(t)
}

func hasContent(t wire.Type) bool {
	switch t {
	case wire.TypeMessage, wire.TypeGap, wire.TypeTombstone, wire.TypeMemberJoined, wire.TypeMemberLeft, wire.TypeTyping:
		return true
	default:
		return false
	}
}

// told takes a frame that was sealed for this connection alone. Each is the next
// one: what is not ends the connection.
func (s *session) told(ctx context.Context, p []byte) *ending {
	if s.seal.receiver == nil {
		return s.leave("a session frame before there are keys")
	}
	format, text, err := s.seal.receiver.Open(p)
	if err != nil {
		s.seals.failed.Add(1)
		return s.leave("a session frame that does not open, or not in this place")
	}
	s.seals.sealed.Add(1)
	codec := wire.JSON
	if format == crt.MsgPack {
		codec = wire.Msgpack
	}
	m, err := wire.DecodeServer(codec, text)
	if err != nil || !hasContent(m.Type) {
		return s.leave("malformed message in a session frame")
	}
	return s.take(ctx, &m, int64(len(p)), sealedMessage)
}

// sealedUp is a message as it is sent: sealed, but for hello and handshakes.
func (s *session) sealedUp(m *wire.ClientMessage, text []byte) ([]byte, error) {
	if s.seal.sender == nil || m.Type == wire.TypeHello || m.Type == wire.TypeSealHello || m.Type == wire.TypeSealConfirm {
		return text, nil
	}
	format := crt.JSON
	if s.codec == wire.Msgpack {
		format = crt.MsgPack
	}
	return s.seal.sender.Seal(format, text)
}

func (s *session) sealed(generation uint32) *ending {
	g := cmp.Or(s.seal.fresh, s.seal.doubtful)
	if g == nil {
		return nil
	}
	if g.keys.Grant().Generation != generation {
		return s.leave("another handshake was confirmed")
	}
	s.seal.fresh, s.seal.doubtful, s.seal.usable, s.sealedAt = nil, nil, true, time.Now()
	s.seal.timer.Reset(sealEvery)
	g.complete = true
	s.sealDown(g)
	if err := s.saveKeys(); err != nil { // the next welcome says it again
		s.notify(Event{Kind: KindSealKeys, Err: err})
	}
	s.tellGeneration()
	s.notify(Event{Kind: KindSealed, Generation: generation})
	return nil
}

// sealRefused takes an error for the answer to a handshake. With keys that are
// good still there is time.
func (s *session) sealRefused() *ending {
	s.seal.hello, s.seal.fresh, s.seal.doubtful = nil, nil, s.seal.fresh
	if !s.seal.usable {
		return s.leave("the handshake was refused")
	}
	s.seal.timer.Reset(sealRetry)
	return nil
}

// isSealed tells a sealed frame from the messages of either sub-protocol: none
// of those begins so.
func isSealed(p []byte) bool { return len(p) >= 2 && p[0] == 'C' && (p[1] == 'B' || p[1] == 'P') }

// frame takes a sealed frame.
func (s *session) frame(ctx context.Context, p []byte) *ending {
	if s.welcomed.IsZero() {
		return s.leave("a sealed frame before welcome")
	}
	if len(p) > modeAt && crt.Mode(p[modeAt]) == crt.Session && p[1] == 'B' {
		return s.told(ctx, p)
	}
	o, g, ok := s.keys.open(p)
	if !ok {
		s.seal.unopened++
		s.seals.failed.Add(1)
		if s.seal.vain += o.Steps; s.seal.vain > crt.MaxSteps { // crt/SPEC.md section 4
			return s.leave("frames that do not open cost too much")
		}
		return nil
	}
	s.seals.sealed.Add(1)
	switch {
	case o.Channel != nil:
		s.brought(o.Channel)
		if err := s.saveKeys(); err != nil { // before a message that needs it can be acked
			return s.keysFailed(err)
		}
		return nil
	case o.Message == nil:
		s.seals.covers.Add(1)
		return nil
	}
	if !s.expected(o.Seq, o.Seq) {
		return s.leave("a hole in the sequence")
	}
	if o.Seq != 0 && g != nil {
		s.mark(mark{o.Seq, g, binary.BigEndian.Uint32(p[periodAt:])})
	}
	s.deliver(o, int64(len(p)))
	return nil
}

// deliver puts an opened message in the inbox. What opens and is no message is
// as what does not open, but that its place is known.
func (s *session) deliver(o crt.Opened, size int64) {
	d, err := wire.DecodeSealed(o.Message)
	if err != nil {
		s.seals.failed.Add(1)
		if o.Seq != 0 {
			s.lost(o.Seq, o.Seq)
		}
		return
	}
	d.Seq, d.Replayed = o.Seq, o.Seq != 0 && !s.seal.replayed
	m := newMessage(d)
	m.Sealed = true
	s.inbox.put(item{m: m, size: size})
}

// explained takes the places before to as failed where no more are missing
// than frames did not open.
func (s *session) explained(to uint64) bool {
	if to <= s.next || to-s.next > s.seal.unopened {
		return false
	}
	s.lost(s.next, to-1)
	s.next, s.seal.unopened = to, 0
	return true
}

// lost puts places whose messages did not open in the inbox.
func (s *session) lost(from, to uint64) {
	s.inbox.put(item{e: Event{Kind: KindFailed, From: from, To: to, Code: codeUnopened, Err: ErrUnopened}})
}

// replayEnded is replay_complete.
func (s *session) replayEnded(seq uint64) *ending {
	s.seal.replayed = true
	if s.seal.unopened > 0 && seq >= s.next && !s.explained(seq+1) {
		return s.leave("a hole in the sequence")
	}
	if s.retireChannels() {
		s.saveFewer()
	}
	return nil
}

// brought notes the secret that a rekey frame brought.
func (s *session) brought(k *crt.ChannelKey) {
	if s.seal.brought == nil {
		s.seal.brought = make(map[uint64]uint32)
	}
	s.seal.brought[k.Channel] = k.Epoch
	s.retireChannels()
}

// retireChannels forgets, once the replay is over, all secrets of channels but
// those that came last on this connection: the server brings any other again
// before a message that needs it (api/wire/SPEC.md section 9).
func (s *session) retireChannels() bool {
	if !s.seal.replayed || s.keys.channels == nil {
		return false
	}
	return s.keys.channels.RetireChannels(func(k *crt.ChannelKey) bool {
		epoch, there := s.seal.brought[k.Channel]
		return there && epoch == k.Epoch
	})
}

// saveFewer saves what is left: where that fails more is kept than is needed, and
// nothing is missing.
func (s *session) saveFewer() {
	if err := s.saveKeys(); err != nil {
		s.notify(Event{Kind: KindSealKeys, Err: err})
	}
}

// mark notes where messages under other keys begin.
func (s *session) mark(m mark) {
	if m.gen == s.seal.last.gen && m.period == s.seal.last.period {
		return
	}
	s.seal.last = m
	s.seal.marks = append(s.seal.marks, m)
}

// forget forgets the keys of everything that is acked, which was saved before:
// mailboxes are in the order in which they were sealed.
func (s *session) forget(acked uint64) {
	var m mark
	for len(s.seal.marks) > 0 && s.seal.marks[0].seq <= acked {
		m = s.seal.marks[0]
		s.seal.marks = s.seal.marks[1:]
	}
	if m.gen == nil {
		return
	}
	changed := false
	for i, g := range s.keys.gens {
		if g == m.gen {
			changed = s.keys.retire(i + 1)
			break
		}
	}
	if m.period > m.gen.keys.Chain().Period {
		m.gen.keys.Forget(m.period)
		changed = true
	}
	if changed {
		s.saveFewer()
	}
}
