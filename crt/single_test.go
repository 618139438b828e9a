package crt

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"testing"
)

func newChain(period uint32) Chain {
	c := Chain{Period: period}
	rand.Read(c.Key[:])
	return c
}

// A broadcast is one frame for all members, who got the secret in a batch.
func TestAChannelIsReadByItsMembers(t *testing.T) {
	c := newCrew(t, 3)
	first := NewChannelKey(11, 1, "room-7")
	body, err := first.SealRekeyBody()
	if err != nil {
		t.Fatal(err)
	}
	rekey := c.seal(Rekey, 0, map[int]Slot{0: {Type: SlotRekey, Data: first.Secret[:]}, 1: {Type: SlotRekey, Data: first.Secret[:]}}, body)
	for i, r := range c.rings[:3] {
		o, err := r.Open(rekey)
		if err != nil || (o.Channel != nil) != (i < 2) || i < 2 && *o.Channel != *first {
			t.Errorf("member %d: %v, %v", i, o.Channel, err)
		}
	}
	frame, err := c.sealer.SealChannel(first, []byte("to all"))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range c.rings[:3] {
		o, err := r.Open(append(AppendPrefix(nil, uint64(40+i)), frame...))
		if i == 2 {
			if !errors.Is(err, ErrOpen) {
				t.Errorf("who is no member: %q, %v", o.Message, err)
			}
		} else if err != nil || string(o.Message) != "to all" || o.Seq != uint64(40+i) {
			t.Errorf("member %d: %q at %d, %v", i, o.Message, o.Seq, err)
		}
	}
	if o, err := c.rings[0].Open(frame); err != nil || o.Seq != 0 || string(o.Message) != "to all" {
		t.Errorf("without a prefix: %+v, %v", o, err)
	}
	next, err := c.sealer.SealChannel(NewChannelKey(11, 2, "room-7"), []byte("without you"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.rings[0].Open(next); !errors.Is(err, ErrOpen) {
		t.Errorf("the next epoch opens without its secret: %v", err)
	}
	for bit := range len(frame) * 8 {
		bad := slices.Clone(frame)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := c.rings[0].Open(bad); !errors.Is(err, ErrOpen) {
			t.Fatalf("opens with bit %d flipped", bit)
		}
	}
}

func TestARekeyBodyBelongsToItsSecret(t *testing.T) {
	c := newCrew(t, 1)
	k, other := NewChannelKey(1, 1, "a"), NewChannelKey(1, 1, "a")
	body, err := k.SealRekeyBody()
	if err != nil {
		t.Fatal(err)
	}
	f := c.seal(Rekey, 0, map[int]Slot{0: {Type: SlotRekey, Data: other.Secret[:]}}, body)
	if _, err := c.rings[0].Open(f); !errors.Is(err, ErrOpen) || len(c.rings[0].Channels()) > 0 {
		t.Errorf("got %v", err)
	}
}

func TestDownIsForOneClient(t *testing.T) {
	sealer, chain := NewSealer(), newChain(2)
	var r Ring
	r.Add(RestoreKeys(who, Grant{Generation: 1, Period: 2}, chain))
	later := chain
	later.Step()
	for _, c := range []Chain{chain, later} {
		f, err := sealer.SealDown(who, &c, 8, []byte("yours"))
		if err != nil {
			t.Fatal(err)
		}
		if o, err := r.Open(f); err != nil || o.Seq != 8 || string(o.Message) != "yours" {
			t.Errorf("period %d: %+v, %v", c.Period, o, err)
		}
		if other, _ := sealer.SealDown(NameHash("", "bob"), &c, 8, []byte("his")); other != nil {
			if _, err := r.Open(other); !errors.Is(err, ErrOpen) {
				t.Errorf("another's: %v", err)
			}
		}
		for bit := range len(f) * 8 {
			bad := slices.Clone(f)
			bad[bit/8] ^= 1 << (bit % 8)
			if _, err := r.Open(bad); !errors.Is(err, ErrOpen) {
				t.Fatalf("opens with bit %d flipped", bit)
			}
		}
	}
}

func TestUpComesOnceAndInOrder(t *testing.T) {
	chain := newChain(4)
	s, r := NewSender(who, conn, chain), NewReceiver(who, conn, chain)
	var frames [][]byte
	for _, text := range []string{`{"type":"ping"}`, "two", "three"} {
		f, err := s.Seal(JSON, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f)
	}
	if format, text, err := r.Open(frames[0]); err != nil || format != JSON || string(text) != `{"type":"ping"}` {
		t.Fatal(format, text, err)
	}
	stranger, _ := NewSender(who, conn, chain).Seal(MsgPack, []byte("another connection"))
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
	if _, _, err := NewReceiver(who, []byte("of another"), chain).Open(frames[0]); !errors.Is(err, ErrOpen) {
		t.Errorf("on another connection: %v", err)
	}
}

func TestDecodeTextTakesWhatComes(t *testing.T) {
	want := []byte{0xfb, 0xff, 0, 1}
	for _, s := range []string{"+/8AAQ==", "-_8AAQ", "+/8AAQ=", " +/8A\nAQ== ", "+/8é A世AQ"} {
		got, err := DecodeText([]byte(s))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %x, %v", s, got, err)
		}
	}
	for _, s := range []string{"+/8AA", "a!bc"} {
		if got, err := DecodeText([]byte(s)); err == nil {
			t.Errorf("%q was taken as %x", s, got)
		}
	}
}

func TestWrappingIsBoundToItsOwner(t *testing.T) {
	key := func(b byte) []byte { return bytes.Repeat([]byte{b}, KeySize) }
	one, err := NewWrapper(map[uint32][]byte{1: key(1)})
	if err != nil {
		t.Fatal(err)
	}
	both, err := NewWrapper(map[uint32][]byte{1: key(1), 2: key(2)})
	if err != nil {
		t.Fatal(err)
	}
	w := one.Wrap(nil, LabelChain, who[:], []byte("secret"))
	if got, err := both.Unwrap(LabelChain, who[:], w); err != nil || string(got) != "secret" {
		t.Errorf("%q, %v", got, err)
	}
	if !both.Old(w) || one.Old(w) || both.Old(both.Wrap(nil, LabelChain, nil, nil)) {
		t.Error("rotation is not seen")
	}
	if _, err := one.Unwrap(LabelChain, who[:], both.Wrap(nil, LabelChain, who[:], []byte("secret"))); err == nil {
		t.Error("unwrapped without the key")
	}
	for name, unwrap := range map[string]func() ([]byte, error){
		"label": func() ([]byte, error) { return one.Unwrap(LabelBody, who[:], w) },
		"owner": func() ([]byte, error) { return one.Unwrap(LabelChain, nil, w) },
		"short": func() ([]byte, error) { return one.Unwrap(LabelChain, who[:], w[:20]) },
		"bit":   func() ([]byte, error) { b := slices.Clone(w); b[20] ^= 1; return one.Unwrap(LabelChain, who[:], b) },
	} {
		if got, err := unwrap(); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	// A chain's owner is all of these.
	o := ChainOwner{Who: who, Generation: 1, Period: 2, Kind: KindCRT, Shard: 3, Slot: 4}
	w = one.Wrap(nil, LabelChain, o.Bytes(), []byte("secret"))
	if got, err := one.Unwrap(LabelChain, o.Bytes(), w); err != nil || string(got) != "secret" {
		t.Errorf("%q, %v", got, err)
	}
	for name, other := range map[string]ChainOwner{
		"who":        {Who: Who{1}, Generation: 1, Period: 2, Kind: KindCRT, Shard: 3, Slot: 4},
		"generation": {Who: who, Generation: 2, Period: 2, Kind: KindCRT, Shard: 3, Slot: 4},
		"period":     {Who: who, Generation: 1, Period: 1, Kind: KindCRT, Shard: 3, Slot: 4},
		"kind":       {Who: who, Generation: 1, Period: 2, Kind: KindAEAD, Shard: 3, Slot: 4},
		"shard":      {Who: who, Generation: 1, Period: 2, Kind: KindCRT, Shard: 4, Slot: 4},
		"slot":       {Who: who, Generation: 1, Period: 2, Kind: KindCRT, Shard: 3, Slot: 3},
	} {
		if got, err := one.Unwrap(LabelChain, other.Bytes(), w); !errors.Is(err, ErrOpen) {
			t.Errorf("another %s: %q, %v", name, got, err)
		}
	}
	for name, keys := range map[string]map[uint32][]byte{"none": nil, "short": {1: key(1)[:16]}, "zero": {1: key(0)}} {
		if _, err := NewWrapper(keys); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
