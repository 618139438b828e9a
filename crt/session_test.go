package crt

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
)

// conn is what names a connection in tests.
var conn = []byte("of the connection")

func newSession(generation uint32) (key [KeySize]byte, s *Sender, r *Receiver) {
	rand.Read(key[:])
	return key, NewSessionSender(who, conn, generation, key), NewSessionReceiver(who, conn, generation, key)
}

func sealed(t *testing.T, s *Sender, format Format, text string) []byte {
	t.Helper()
	f, err := s.Seal(format, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestASessionIsToldOnceAndInOrder(t *testing.T) {
	key, s, r := newSession(3)
	var frames [][]byte
	for _, text := range []string{`{"type":"typing"}`, "two", "three"} {
		frames = append(frames, sealed(t, s, JSON, text))
	}
	if format, text, err := r.Open(frames[0]); err != nil || format != JSON || string(text) != `{"type":"typing"}` {
		t.Fatal(format, text, err)
	}
	stranger := sealed(t, NewSessionSender(who, conn, 3, key), JSON, "another connection")
	for name, bad := range map[string][]byte{"again": frames[0], "a hole": frames[2], "another sender": stranger, "junk": []byte("junk")} {
		if _, _, err := r.Open(bad); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, f := range frames[1:] {
		if _, _, err := r.Open(f); err != nil {
			t.Error(err)
		}
	}
	for name, fresh := range map[string]*Receiver{
		"another generation": NewSessionReceiver(who, conn, 4, key), "another client": NewSessionReceiver(NameHash("", "bob"), conn, 3, key),
		"another connection": NewSessionReceiver(who, []byte("of another"), 3, key), "no connection": NewSessionReceiver(who, nil, 3, key),
		"another key": NewSessionReceiver(who, conn, 3, [KeySize]byte{1}), "the other way": NewReceiver(who, conn, Chain{3, key}),
	} {
		if _, _, err := fresh.Open(frames[0]); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryFlippedBitOfASessionFrameIsRefused(t *testing.T) {
	_, s, r := newSession(3)
	f := sealed(t, s, MsgPack, "\x81\xa4type\xa6typing")
	for bit := range len(f) * 8 {
		bad := slices.Clone(f)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, _, err := r.Open(bad); !errors.Is(err, ErrOpen) {
			t.Fatalf("opens with bit %d flipped", bit)
		}
	}
	if _, _, err := r.Open(f); err != nil { // what did not open has changed nothing
		t.Error(err)
	}
}

// Nothing of a ring opens what only a session's receiver can put in order.
func TestARingOpensNoSessionFrame(t *testing.T) {
	chain := newChain(0)
	k := RestoreKeys(who, Grant{Generation: 3}, chain)
	k.RestoreSession(chain.Key)
	var r Ring
	r.Add(k)
	if _, err := r.Open(sealed(t, NewSessionSender(who, conn, 3, k.Session()), JSON, "x")); !errors.Is(err, ErrOpen) {
		t.Errorf("got %v", err)
	}
}

func TestBothSidesDeriveOneSessionKey(t *testing.T) {
	id := newIdentity(t)
	for _, kind := range []Kind{KindCRT, KindAEAD} {
		h, hello, err := NewHandshake(X25519MLKEM768, kind, who, id.Public(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := ParseHello(hello)
		if err != nil {
			t.Fatal(err)
		}
		welcome, pending, err := answer(id, parsed, grantOf(kind), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys, _, err := h.Finish(welcome)
		if err != nil {
			t.Fatal(err)
		}
		if keys.Session() != pending.Session() || keys.Session() == keys.Up().Key || keys.Session() == keys.Chain().Key {
			t.Errorf("kind %d: the keys differ, or are others'", kind)
		}
		keys.Wipe()
		if keys.Session() != ([KeySize]byte{}) {
			t.Errorf("kind %d: the key outlives Wipe", kind)
		}
	}
}

// checkSession checks a vector of kind session.
func checkSession(t *testing.T, v *vector) {
	r := NewSessionReceiver(Who(unhex(t, v.Who)), unhex(t, v.Connection), v.Period, [KeySize]byte(unhex(t, v.Chain)))
	s := NewSessionSender(r.who, r.conn, v.Period, r.chain.Key)
	s.sealer = NewSealer()
	s.sealer.id = [8]byte(unhex(t, v.Sender))
	for i, m := range v.Messages {
		format, text, err := r.Open(unhex(t, m.Frame))
		if v.Error != "" && i == len(v.Messages)-1 {
			if !errors.Is(err, ErrOpen) {
				t.Errorf("opened as %d %q, %v", format, text, err)
			}
			return
		}
		if err != nil || int(format) != m.Format || string(text) != m.Text {
			t.Errorf("opened as %d %q, %v", format, text, err)
		}
		if f, err := s.Seal(Format(m.Format), []byte(m.Text)); err != nil || hex.EncodeToString(f) != m.Frame {
			t.Errorf("sealed as %x, %v", f, err)
		}
	}
}

func sessionVectors(t *testing.T) []*vector {
	t.Helper()
	key, s, _ := newSession(7)
	frames := [][]byte{sealed(t, s, JSON, `{"type":"typing"}`), sealed(t, s, MsgPack, "\x7f"), sealed(t, s, JSON, "")}
	at := func(i int) vectorUp {
		return vectorUp{[]int{1, 2, 1}[i], []string{`{"type":"typing"}`, "\x7f", ""}[i], hex.EncodeToString(frames[i])}
	}
	make1 := func(name, about string, messages ...vectorUp) *vector {
		return &vector{
			Name: "session" + name, About: about, Kind: "session", Who: hex.EncodeToString(who[:]), Period: 7,
			Connection: hex.EncodeToString(conn), Chain: hex.EncodeToString(key[:]), Sender: hex.EncodeToString(s.sealer.id[:]), Messages: messages,
		}
	}
	all := []*vector{make1("", "what one session is told", at(0), at(1), at(2))}
	bad := func(name, why string, frame []byte, before ...vectorUp) {
		all = append(all, make1("-"+name, "the last frame is to be refused", append(before, vectorUp{Frame: hex.EncodeToString(frame)})...).refused(why))
	}
	bad("again", "a frame comes twice", frames[0], at(0))
	bad("hole", "a frame is missing", frames[2], at(0))
	bad("late", "the first frame is missing", frames[1])
	bad("another-sender", "another sender's", sealed(t, NewSessionSender(who, conn, 7, key), JSON, "x"), at(0))
	bad("another-connection", "what another connection was told", sealed(t, NewSessionSender(who, []byte("of another"), 7, key), JSON, "x"))
	bad("another-client", "another client's", sealed(t, NewSessionSender(NameHash("", "bob"), conn, 7, key), JSON, "x"))
	bad("another-generation", "sealed for other keys", sealed(t, NewSessionSender(who, conn, 8, key), JSON, "x"))
	bad("another-key", "sealed under another key", sealed(t, NewSessionSender(who, conn, 7, [KeySize]byte{1}), JSON, "x"))
	bad("up", "what a client sends", sealed(t, NewSender(who, conn, Chain{7, key}), JSON, "x"))
	bad("no-format", "there is no format 3", sealed(t, NewSessionSender(who, conn, 7, key), 3, "x"))
	forged := NewSessionSender(who, conn, 7, key)
	forged.sealer = NewSealer()
	empty, err := sealUnder(Header{Mode: Session, Period: 7, Sealer: forged.sealer.id}, forged.way.cipher(&forged.chain, forged.sealer.id, who, conn), domainSession, nil, who[:])
	if err != nil {
		t.Fatal(err)
	}
	bad("empty", "there is no format", empty)
	for name, at := range map[string]int{"mode": 3, "shard": 11, "generation": 15, "batch": 23, "sender": 24, "lane": 37, "hash": 44, "body": HeaderSize, "tag": len(frames[0]) - 1} {
		f := slices.Clone(frames[0])
		f[at] ^= 1
		bad("flip-"+name, "a bit of "+name+" was changed", f)
	}
	return all
}
