package crt

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"testing"
)

// The makers of testdata/vectors: run go test ./crt -run TestVectors -update.

// seen is the vector of a member of a crew.
func (c *crew) seen(name, about string, member int, frame []byte) *vector {
	var keys []vectorKeys
	for _, k := range c.rings[member].Keys() {
		keys = append(keys, keysOf(k))
	}
	return &vector{Name: name, About: about, Kind: "open", Keys: keys, Frame: hex.EncodeToString(frame)}
}

func keysOf(k *Keys) vectorKeys {
	v := vectorKeys{
		Who: hex.EncodeToString(k.who[:]), Generation: k.grant.Generation, Period: k.chain.Period, Chain: hex.EncodeToString(k.chain.Key[:]),
		Shard: strconv.FormatUint(k.grant.Shard, 10), Slot: k.grant.Slot, Slots: k.grant.Slots,
	}
	if m := k.grant.Modulus; m != nil {
		v.SlotBytes, v.C = m.Width()/8, hex.EncodeToString(m.AppendC(nil))
	}
	return v
}

func channelOf(k *ChannelKey) *vectorChannel {
	return &vectorChannel{strconv.FormatUint(k.Channel, 10), k.Epoch, k.Name, hex.EncodeToString(k.Secret[:])}
}

func (v *vector) message(seq uint64, m []byte) *vector {
	v.Want = &vectorOpened{Message: hex.EncodeToString(m)}
	if seq > 0 {
		v.Want.Seq = strconv.FormatUint(seq, 10)
	}
	return v
}

func (v *vector) cover() *vector {
	v.Want = &vectorOpened{Cover: true}
	return v
}

func (v *vector) refused(why string) *vector {
	v.Error = why
	return v
}

func openVectors(t *testing.T) []*vector {
	t.Helper()
	c := newCrew(t, 12)
	long := bytes.Repeat([]byte{0x80}, 38)
	text := bytes.Repeat([]byte("long "), 100)
	body, key, _ := SealBody(text)
	direct := c.seal(Direct, 0, map[int]Slot{0: inline(1, "\x91\x01"), 5: {SlotInline, math.MaxUint64, long}}, nil)
	envelope := c.seal(Envelope, 0, map[int]Slot{2: {SlotEnvelope, 7, key[:]}}, body)
	all := []*vector{
		c.seen("direct", "a short message", 0, direct).message(1, []byte("\x91\x01")),
		c.seen("direct-longest", "38 bytes that look like padding, at the last sequence there is", 5, direct).message(math.MaxUint64, long),
		c.seen("cover", "nothing for this member", 3, direct).cover(),
		c.seen("direct-lane", "the third message to one member in a batch", 1, c.seal(Direct, 2, map[int]Slot{1: inline(9, "\x91\x02")}, nil)).message(9, []byte("\x91\x02")),
		c.seen("direct-empty", "a message of no bytes", 1, c.seal(Direct, 0, map[int]Slot{1: {SlotInline, 4, nil}}, nil)).message(4, nil),
		c.seen("envelope", "a message in the body", 2, envelope).message(7, text),
		c.seen("envelope-cover", "the body is for others", 4, envelope).cover(),
	}
	all[4].Want = &vectorOpened{Seq: "4"}
	k := NewChannelKey(11, 3, "房间 7")
	rekeyBody, _ := k.SealRekeyBody()
	rekey := c.seal(Rekey, 0, map[int]Slot{6: {Type: SlotRekey, Data: k.Secret[:]}}, rekeyBody)
	v := c.seen("rekey", "the secret of an epoch", 6, rekey)
	v.Want = &vectorOpened{Channel: channelOf(k)}
	broadcast, _ := c.sealer.SealChannel(k, text)
	prefixed := c.seen("channel", "a broadcast at a place of the mailbox", 6, append(AppendPrefix(nil, 77), broadcast...)).message(77, text)
	live := c.seen("channel-live", "a broadcast that is not stored", 6, broadcast).message(0, text)
	prefixed.Channels = []vectorChannel{*channelOf(NewChannelKey(11, 2, "房间 7")), *channelOf(k)}
	live.Channels = prefixed.Channels
	all = append(all, v, c.seen("rekey-cover", "a secret for others", 7, rekey).cover(), prefixed, live)
	c.step(3)
	all = append(all, c.seen("later-period", "three key periods on", 8, c.seal(Direct, 0, map[int]Slot{8: inline(2, "\x91\x03")}, nil)).message(2, []byte("\x91\x03")))
	old := c.seal(Direct, 0, map[int]Slot{9: inline(3, "\x91\x04")}, nil)
	fresh := RestoreKeys(NameHash("", "client 9"), Grant{Generation: 2, Period: 10, Shard: 6, Slot: 0, Slots: 16, Modulus: primes()[30]}, newChain(10))
	c.rings[9].Add(fresh)
	all = append(all, c.seen("older-generation", "sealed for the keys before the newest", 9, old).message(3, []byte("\x91\x04")))
	return append(all, downVectors(t)...)
}

func downVectors(t *testing.T) []*vector {
	t.Helper()
	sealer, chain := NewSealer(), newChain(2)
	keys := []vectorKeys{keysOf(RestoreKeys(who, Grant{Generation: 1, Period: 2}, chain))}
	f, _ := sealer.SealDown(who, &chain, 5, []byte("\x91\x01"))
	later := chain
	later.Step()
	g, _ := sealer.SealDown(who, &later, 0, []byte("\x91\x02"))
	other, _ := sealer.SealDown(NameHash("", "bob"), &chain, 5, []byte("\x91\x01"))
	return []*vector{
		(&vector{Name: "down", About: "mode aead", Kind: "open", Keys: keys, Frame: hex.EncodeToString(f)}).message(5, []byte("\x91\x01")),
		(&vector{Name: "down-later", About: "mode aead, the next key period, no place", Kind: "open", Keys: keys, Frame: hex.EncodeToString(g)}).message(0, []byte("\x91\x02")),
		(&vector{Name: "down-of-another", About: "mode aead", Kind: "open", Keys: keys, Frame: hex.EncodeToString(other)}).refused("another client's"),
	}
}

// forge seals a text that no sealer would, for slot 0.
func (c *crew) forge(mode Mode, body *Body, text func([]byte)) []byte {
	c.Helper()
	sh, sc := c.shard, &c.scr
	sc.grow(sh)
	sc.header = Header{Mode: mode, Shard: sh.id, Period: sh.period, Sealer: sh.sealer.id, Slots: 16, SlotBytes: 64, Batch: sh.sealer.take()}
	sc.header.body(body)
	sc.header.put((*[HeaderSize]byte)(sc.aad[:HeaderSize]))
	putNonce(&sc.nonce, sc.header.Batch, 0, domainSlot)
	for i := range 16 {
		copy(sc.aad[HeaderSize:], sh.places[i].who[:])
		(&Slot{}).put(sc.text)
		if i == 0 {
			text(sc.text)
		}
		sh.places[i].aead.Seal(sc.residues[i*64:i*64], sc.nonce[:], sc.text, sc.aad[:])
	}
	n := sh.basis.Size()
	if err := sh.basis.Combine(sc.residues[n:], sc.residues[:n], &sc.combine); err != nil {
		c.Fatal(err)
	}
	f := append(slices.Clone(sc.aad[:HeaderSize]), sc.residues[n:]...)
	if body != nil {
		f = append(f, body.Bytes...)
	}
	return f
}

func refusedVectors(t *testing.T) []*vector {
	t.Helper()
	c := newCrew(t, 4)
	body, key, _ := SealBody([]byte("in the body"))
	good := c.seal(Envelope, 0, map[int]Slot{0: {SlotEnvelope, 4, key[:]}}, body)
	var all []*vector
	for name, at := range map[string]int{
		"magic": 0, "version": 2, "mode": 3, "shard": 11, "period": 15, "batch": 23, "sealer": 24, "slots": 33, "slot-bytes": 35, "lane": 37,
		"reserved": 39, "body-length": 43, "body-hash": 44, "x-first": HeaderSize, "x-last": HeaderSize + 1023, "body-first": HeaderSize + 1024, "body-last": len(good) - 1,
	} {
		bad := slices.Clone(good)
		bad[at] ^= 1
		all = append(all, c.seen("flip-"+name, "one bit", 0, bad).refused("a bit of "+name+" was changed"))
	}
	put := func(name, why string, spoil func([]byte) []byte) {
		all = append(all, c.seen(name, "a frame that was spoiled", 0, spoil(slices.Clone(good))).refused(why))
	}
	put("short", "a byte is missing", func(b []byte) []byte { return b[:len(b)-1] })
	put("long", "a byte too many", func(b []byte) []byte { return append(b, 0) })
	put("header-only", "nothing after the header", func(b []byte) []byte { return b[:HeaderSize] })
	put("empty", "nothing", func([]byte) []byte { return nil })
	put("prefix-on-envelope", "only channel frames have a prefix", func(b []byte) []byte { return append(AppendPrefix(nil, 4), b...) })
	put("announces-4-gib", "a body of 4 GiB is announced", func(b []byte) []byte { copy(b[40:], "\xff\xff\xff\xff"); return b })
	put("announces-slots", "65,535 slots are announced", func(b []byte) []byte { copy(b[32:], "\xff\xff"); return b })
	for name, text := range map[string]func([]byte){
		"slot-without-padding":    func(b []byte) { clear(b[9:]) },
		"slot-with-other-padding": func(b []byte) { b[9] = 0x40 },
		"slot-cover-with-data":    func(b []byte) { b[9], b[10] = 1, 0x80 },
		"slot-cover-with-seq":     func(b []byte) { b[8] = 1 },
		"slot-without-seq":        func(b []byte) { b[0] = 1 },
		"slot-of-no-type":         func(b []byte) { b[0], b[8] = 4, 1 },
	} {
		all = append(all, c.seen(name, "a slot that no server seals", 0, c.forge(Direct, nil, text)).refused("the slot's text is wrong"))
	}
	inlined := c.forge(Envelope, body, func(b []byte) { (&Slot{SlotInline, 1, []byte("x")}).put(b) })
	short := c.forge(Envelope, body, func(b []byte) { (&Slot{SlotEnvelope, 1, key[:31]}).put(b) })
	wrong := c.forge(Envelope, body, func(b []byte) { (&Slot{SlotEnvelope, 1, make([]byte, 32)}).put(b) })
	all = append(all,
		c.seen("inline-in-envelope", "a slot that no server seals", 0, inlined).refused("an inline slot in mode envelope"),
		c.seen("short-key", "a slot that no server seals", 0, short).refused("a key of 31 bytes"),
		c.seen("wrong-key", "a slot that no server seals", 0, wrong).refused("the body opens under another key"))
	return append(all, strangers(t, c, good)...)
}

// strangers are those who have other keys than it takes.
func strangers(t *testing.T, c *crew, good []byte) []*vector {
	t.Helper()
	spoil := func(name, why string, change func(k *vectorKeys)) *vector {
		v := c.seen(name, "other keys", 0, good).refused(why)
		change(&v.Keys[0])
		return v
	}
	other := c.seen("neighbour", "", 1, good)
	k, next := NewChannelKey(11, 1, "g"), NewChannelKey(11, 2, "g")
	broadcast, _ := c.sealer.SealChannel(next, []byte("x"))
	channel := c.seen("channel-of-the-next-epoch", "a member that left", 0, append(AppendPrefix(nil, 1), broadcast...)).refused("no secret of this epoch")
	channel.Channels = []vectorChannel{*channelOf(k)}
	wrong := c.seen("channel-wrong-secret", "another secret for the epoch", 0, broadcast).refused("another secret")
	wrong.Channels = []vectorChannel{*channelOf(NewChannelKey(11, 2, "g"))}
	return []*vector{
		channel, wrong,
		spoil("other-who", "another client's name", func(k *vectorKeys) { k.Who = other.Keys[0].Who }),
		spoil("other-chain", "another chain key", func(k *vectorKeys) { k.Chain = other.Keys[0].Chain }),
		spoil("other-modulus", "the neighbour's modulus", func(k *vectorKeys) { k.C = other.Keys[0].C }),
		spoil("other-shard", "keys of another shard", func(k *vectorKeys) { k.Shard = "6" }),
		spoil("other-slots", "keys of a shard of 8", func(k *vectorKeys) { k.Slots = 8 }),
		spoil("earlier-period", "a key period that was forgotten", func(k *vectorKeys) { k.Period = 8 }),
		spoil("no-modulus", "keys of mode aead", func(k *vectorKeys) { k.C, k.Slots, k.SlotBytes, k.Shard = "", 0, 0, "0" }),
		spoil("even-c", "c is even", func(k *vectorKeys) { k.C = k.C[:63] + "0" }),
		spoil("small-c", "c has a bit too few", func(k *vectorKeys) { k.C = "7" + k.C[1:] }),
	}
}

func handshakeVectors(t *testing.T) []*vector {
	t.Helper()
	id := newIdentity(t)
	random := make([]byte, 16+32+64)
	rand.Read(random)
	make1 := func(name, about string, suite Suite, kind Kind) *vector {
		h, hello, err := NewHandshake(suite, kind, who, id.Public(), bytes.NewReader(random))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := ParseHello(hello)
		if err != nil {
			t.Fatal(err)
		}
		welcome, _, err := answer(id, parsed, grantOf(kind), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys, confirm, err := h.Finish(welcome)
		if err != nil {
			t.Fatal(err)
		}
		g := keysOf(keys)
		v := &vector{
			Name: name, About: about, Kind: "handshake", Suite: int(suite), Mode: int(kind), Realm: "bank", ID: "alice",
			Server: hex.EncodeToString(id.Public()), Random: hex.EncodeToString(random), Hello: hex.EncodeToString(hello),
			Welcome: hex.EncodeToString(welcome), Confirm: hex.EncodeToString(confirm), Chain: g.Chain, Grant: &g, Up: hex.EncodeToString(keys.up[:]),
			Session: hex.EncodeToString(keys.session[:]),
		}
		g.Who, g.Chain = "", ""
		return v
	}
	all := []*vector{
		make1("handshake-crt", "suite 1", X25519, KindCRT),
		make1("handshake-aead", "suite 1, mode aead", X25519, KindAEAD),
		make1("handshake-hybrid", "suite 2", X25519MLKEM768, KindCRT),
	}
	spoil := func(name, why string, change func(welcome []byte) []byte) {
		v := make1(name, "suite 1", X25519, KindCRT)
		v.Welcome = hex.EncodeToString(change(unhex(t, v.Welcome)))
		v.Grant, v.Confirm, v.Chain, v.Up, v.Session, v.Error = nil, "", "", "", "", why
		all = append(all, v)
	}
	spoil("handshake-version", "version 2", func(b []byte) []byte { b[0] = 2; return b })
	spoil("handshake-suite", "a suite that was not asked for", func(b []byte) []byte { b[1] = 2; return b })
	spoil("handshake-mode", "a mode that was not asked for", func(b []byte) []byte { b[2] = 2; return b })
	spoil("handshake-key", "e_s was changed", func(b []byte) []byte { b[4] ^= 1; return b })
	spoil("handshake-zero-key", "e_s is the point of order one", func(b []byte) []byte { clear(b[4:36]); return b })
	spoil("handshake-grant", "the grant was changed", func(b []byte) []byte { b[40] ^= 1; return b })
	spoil("handshake-short", "a byte is missing", func(b []byte) []byte { return b[:len(b)-1] })
	v := make1("handshake-another-server", "the server does not hold the pinned key", X25519, KindCRT)
	mallory := newIdentity(t)
	parsed, _ := ParseHello(unhex(t, v.Hello))
	welcome, _, err := answer(mallory, parsed, grantOf(KindCRT), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v.Welcome, v.Grant, v.Confirm, v.Chain, v.Up, v.Session, v.Error = hex.EncodeToString(welcome), nil, "", "", "", "", "not the pinned server"
	return append(all, v)
}

func otherVectors(t *testing.T) []*vector {
	t.Helper()
	chain := newChain(6)
	s := NewSender(who, conn, chain)
	up := &vector{
		Name: "up", About: "what a client of mode aead sends on one connection", Kind: "up",
		Connection: hex.EncodeToString(conn),
		Who:        hex.EncodeToString(who[:]), Period: 6, Chain: hex.EncodeToString(chain.Key[:]),
	}
	for _, m := range []vectorUp{{1, `{"type":"ping"}`, ""}, {2, "\x81\xa4type\xa4ping", ""}, {1, `{"type":"ack","seq":"1"}`, ""}} {
		if m.Format == 2 {
			m.Text = "\x7f" // one that JSON text can hold: the bytes are opaque here
		}
		f, err := s.Seal(Format(m.Format), []byte(m.Text))
		if err != nil {
			t.Fatal(err)
		}
		m.Frame = hex.EncodeToString(f)
		up.Messages = append(up.Messages, m)
	}
	up.Sender = hex.EncodeToString(s.sealer.id[:])
	all := []*vector{up}
	for name, s := range map[string]string{
		"padded": "+/8AAQ==", "url": "-_8AAQ", "half-padded": "+/8AAQ=", "spaced": " +/8A\nAQ== ", "foreign": "+/8é A世AQ",
	} {
		all = append(all, &vector{Name: "text-" + name, About: "base64 as it comes", Kind: "text", Text: s, Bytes: "fbff0001"})
	}
	for name, s := range map[string]string{"one-too-many": "+/8AA", "junk": "a!bc"} {
		all = append(all, (&vector{Name: "text-" + name, About: "base64 as it comes", Kind: "text", Text: s}).refused("this is not base64"))
	}
	for name, n := range map[string][2]string{"plain": {"", "alice"}, "realm": {"bank", "alice"}, "split": {"ban", "kalice"}, "unicode": {"银行", "孙子"}} {
		w := NameHash(n[0], n[1])
		all = append(all, &vector{Name: "who-" + name, About: "a name hash", Kind: "who", Realm: n[0], ID: n[1], Who: hex.EncodeToString(w[:])})
	}
	return all
}
