package wsclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
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
	nonce    []byte               // of hello: what is sealed for this connection opens on no other
	conn     string               // welcome's name of it, for the other way
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
	s.seal.nonce = make([]byte, wire.SealNonceLen)
	_, _ = rand.Read(s.seal.nonce) // never fails
	hello.SealNonce = s.seal.nonce
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
	s.seal.on, s.seal.conn = true, w.Session
	s.keys.completed(w.SealGeneration)
	s.seal.usable = s.seal.stated && s.keys.holds(w.SealGeneration, s.kind())
	if i := slices.IndexFunc(s.keys.gens, func(g *generation) bool { return g.keys.Grant().Generation == w.SealGeneration }); s.seal.usable && i >= 0 {
		s.sealUp(s.keys.gens[i])
		s.sealDown(s.keys.gens[i])
	}
	s.tellGeneration()
	return nil
}
