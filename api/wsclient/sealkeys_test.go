package wsclient

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/crt"
)

// recorder is a store that tells of each save, and fails where it is told to.
type recorder struct {
	*MemorySealKeys
	saves chan []byte
	fail  error
}

func (s *recorder) Save(ctx context.Context, key string, state []byte) error {
	if s.fail != nil {
		return s.fail
	}
	err := s.MemorySealKeys.Save(ctx, key, state)
	s.saves <- slices.Clone(state)
	return err
}

func TestKeysAreKeptBeforeTheyAreConfirmed(t *testing.T) {
	s := newSealer(t)
	store := &recorder{NewMemorySealKeys(), make(chan []byte, 8), nil}
	done := make(chan struct{})
	base := serial(t, func(p *peer) {
		defer close(done)
		s.welcome(p, SealCRT, 0)
		s.answer(p)
		p.message(wire.TypeSealConfirm)
		if _, ok, _ := store.Load(t.Context(), storeKey(p.base(), "", "alice")); !ok {
			t.Error("the confirmation came before the keys were kept")
		}
		p.closing()
	})
	cfg := s.config(base, SealCRT)
	cfg.SealKeys = store
	r := runClient(t, cfg)
	<-store.saves
	r.c.Close()
	<-done
}

func TestKeysThatCantBeKeptAreNotConfirmed(t *testing.T) {
	s := newSealer(t)
	codes := make(chan uint16, 8)
	base := serial(t, func(p *peer) {
		s.welcome(p, SealCRT, 0)
		s.answer(p)
		codes <- p.closing() // passes over what is no close, and confirm is
	})
	told := make(chan Event, 8)
	cfg := s.config(base, SealCRT)
	cfg.SealKeys = &recorder{NewMemorySealKeys(), nil, errors.New("disk full")}
	cfg.MaxFailures = 1
	cfg.OnEvent = func(e Event) {
		if e.Kind == KindSealKeys {
			told <- e
		}
	}
	r := runClient(t, cfg)
	if err := <-r.done; err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Error(err)
	}
	if got := <-codes; got != codeComeBack {
		t.Errorf("closed with %d", got)
	}
	<-told
}

// TestKeysAreForgottenOnceAllIsAcked: of earlier key periods, then of an
// earlier generation.
func TestKeysAreForgottenOnceAllIsAcked(t *testing.T) {
	s := newSealer(t)
	store := &recorder{NewMemorySealKeys(), make(chan []byte, 16), nil}
	visits := 0
	next := make(chan struct{})
	base := serial(t, func(p *peer) {
		visits++
		s.welcome(p, SealCRT, 2*uint64(visits-1))
		if visits == 1 {
			s.handshake(p)
			old := s.shard
			s.shard = s.later(2)
			p.binary(s.frame(1, `1`))
			p.message(wire.TypeAck)
			<-next
			s.shard = old
			p.binary(s.frame(2, `2`)) // under a period that is gone
			s.shard = s.later(2)
			p.binary(s.cover())
			s.tell(p, wire.AppendGap(nil, p.codec, 2, 2, "expired")) // 2 is told after all
			p.message(wire.TypeAck)
			s.gen = 41 // somebody else made a handshake
			return
		}
		s.handshake(p)
		p.binary(s.frame(3, `3`))
		p.message(wire.TypeAck)
		p.closing()
	})
	cfg := s.config(base, SealCRT)
	cfg.SealKeys = store
	r := runClient(t, cfg)
	state := func(want string) {
		t.Helper()
		k := keyring{}
		if err := k.unmarshal(<-store.saves); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, g := range k.gens {
			got += fmt.Sprint(" ", g.keys.Grant().Generation, "@", g.keys.Chain().Period)
		}
		if got != want {
			t.Errorf("kept%s, want%s", got, want)
		}
	}
	state(" 1@7")
	state(" 1@7") // complete
	r.wants(t, 1, `1`)
	state(" 1@9")
	close(next)
	state(" 42@7 1@9")
	state(" 42@7 1@9")
	r.wants(t, 3, `3`)
	state(" 42@7")
	if n := r.c.SealStats().DecryptFailed; n != 1 {
		t.Errorf("%d did not open", n)
	}
}

// TestUnconfirmedKeysAreDropped: the server never completed the handshake, and
// says so.
func TestUnconfirmedKeysAreDropped(t *testing.T) {
	s := newSealer(t)
	visits := 0
	base := serial(t, func(p *peer) {
		visits++
		if h := s.welcome(p, SealCRT, 0); visits == 2 && fmt.Sprint(h.SealHeld) != "[1]" {
			t.Errorf("%+v", h)
		}
		if visits == 1 {
			s.answer(p)
			p.message(wire.TypeSealConfirm)
			return // without a word
		}
		s.handshake(p)
		p.binary(s.frame(1, `1`))
		p.message(wire.TypeAck)
		p.closing()
	})
	store := &recorder{NewMemorySealKeys(), make(chan []byte, 8), nil}
	cfg := s.config(base, SealCRT)
	cfg.SealKeys = store
	r := runClient(t, cfg)
	r.wants(t, 1, `1`)
	<-store.saves
	k := keyring{}
	if err := k.unmarshal(<-store.saves); err != nil || len(k.gens) != 1 {
		t.Errorf("%d generations are kept, %v", len(k.gens), err)
	}
}

// TestCompleteKeysStayWhateverTheServerSays: it has destroyed its own, and what
// was sealed before waits.
func TestCompleteKeysStayWhateverTheServerSays(t *testing.T) {
	s := newSealer(t)
	visits := 0
	base := serial(t, func(p *peer) {
		visits++
		s.welcome(p, SealCRT, uint64(visits)-1)
		old := s.shard
		s.handshake(p)
		if visits == 1 {
			p.binary(s.frame(1, `1`))
			p.message(wire.TypeAck)
			s.gen = 0
			return
		}
		s.shard = old
		p.binary(s.frame(2, `2`))
		p.message(wire.TypeAck)
		p.closing()
	})
	r := runClient(t, s.config(base, SealCRT))
	r.wants(t, 1, `1`)
	r.wants(t, 2, `2`)
}

func TestKeysSurviveARestart(t *testing.T) {
	s := newSealer(t)
	path := filepath.Join(t.TempDir(), "keys.json")
	group := crt.NewChannelKey(9, 2, "room")
	visits := 0
	base := serial(t, func(p *peer) {
		visits++
		h := s.welcome(p, SealCRT, uint64(visits)-1)
		if visits == 1 {
			s.handshake(p)
			body, err := group.SealRekeyBody()
			if err != nil {
				t.Error(err)
			}
			p.binary(s.slot(crt.Rekey, crt.Slot{Type: crt.SlotRekey, Data: group.Secret[:]}, body))
			p.binary(s.frame(1, `1`))
			p.message(wire.TypeAck)
			p.closing()
			return
		}
		if fmt.Sprint(h.SealHeld) != "[1]" {
			t.Errorf("%+v", h)
		}
		p.binary(s.frame(2, `2`))
		f, err := s.sealer.SealChannel(group, s.message(3, `3`))
		if err != nil {
			t.Error(err)
		}
		p.binary(append(crt.AppendPrefix(nil, 3), f...))
		p.message(wire.TypeAck)
		p.closing()
	})
	cfg := s.config(base, SealCRT)
	cfg.SealKeys = NewFileSealKeys(path)
	r := runClient(t, cfg)
	r.wants(t, 1, `1`)
	r.c.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	cfg.SealKeys = NewFileSealKeys(path)
	r = runClient(t, cfg)
	r.wants(t, 2, `2`)
	r.wants(t, 3, `3`)
}

func TestDamagedKeysAreNotOverwritten(t *testing.T) {
	s := newSealer(t)
	base := serial(t, func(p *peer) { p.closing() })
	store := NewMemorySealKeys()
	_ = store.Save(t.Context(), storeKey(base, "", "alice"), []byte(`{"generations":[{"chain":"AA=="}]}`))
	cfg := s.config(base, SealCRT)
	cfg.SealKeys, cfg.MaxFailures = store, 1
	r := runClient(t, cfg)
	select {
	case err := <-r.done:
		if err == nil || !strings.Contains(err.Error(), errSavedKeys.Error()) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on without them")
	}
}

// TestPlainPathsNameTheKeysOfTheirToken: and where nothing says whose keys to
// name there is a handshake, for the server sends nothing before it knows.
func TestPlainPathsNameTheKeysOfTheirToken(t *testing.T) {
	s := newSealer(t)
	keys := NewMemorySealKeys()
	hellos := make(chan wire.ClientMessage, 3)
	visits := 0
	base := serial(t, func(p *peer) {
		visits++
		hellos <- s.welcome(p, SealCRT, uint64(visits)-1)
		if visits != 2 {
			s.handshake(p)
		}
		p.binary(s.frame(uint64(visits), `1`))
		p.message(wire.TypeAck)
		p.closing()
	})
	subject := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"alice"}`))
	for i, c := range []struct{ path, token, held string }{
		{"/ws/alice", "", "[]"}, {"/ws", "h." + subject + ".s", "[1]"}, {"/ws", "opaque", "nil"},
	} {
		cfg := s.config(base, SealCRT)
		cfg.URL, cfg.Token, cfg.SealKeys = base+c.path, c.token, keys
		r := runClient(t, cfg)
		r.wants(t, uint64(i)+1, `1`)
		held := "nil"
		if h := <-hellos; h.SealHeld != nil {
			held = fmt.Sprint(h.SealHeld)
		}
		if held != c.held {
			t.Errorf("%s %q: holds %s, want %s", c.path, c.token, held, c.held)
		}
		r.c.Close()
	}
}

// TestAHelloThatNamesKeysSaysTheCursor: an ack may have been lost after which the
// keys of what it covered were forgotten, and without the cursor the server would
// tell those places as lost (key_lost).
func TestAHelloThatNamesKeysSaysTheCursor(t *testing.T) {
	s := newSealer(t)
	hellos := make(chan wire.ClientMessage, 2)
	visits := 0
	base := serial(t, func(p *peer) {
		visits++
		hellos <- s.welcome(p, SealCRT, uint64(visits)-1)
		if visits == 1 {
			s.handshake(p)
		}
		p.binary(s.frame(uint64(visits), `1`))
		p.message(wire.TypeAck)
		p.closing()
	})
	cfg := s.config(base, SealCRT)
	cfg.SealKeys, cfg.Cursors = NewMemorySealKeys(), NewMemoryCursors()
	cfg.URL, cfg.Token = base+"/ws", "h."+base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"alice"}`))+".s"
	for i := range uint64(2) {
		r := runClient(t, cfg)
		r.wants(t, i+1, `1`)
		h := <-hellos
		switch {
		case i == 0 && (len(h.SealHeld) != 0 || h.Cursor != nil):
			t.Errorf("at first: %+v", h)
		case i == 1 && (fmt.Sprint(h.SealHeld) != "[1]" || h.Cursor == nil || *h.Cursor != 1 || h.Incarnation != "aa"):
			t.Errorf("holds %v, cursor %v in %q", h.SealHeld, h.Cursor, h.Incarnation)
		}
		r.c.Close()
	}
}
