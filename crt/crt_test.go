package crt

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/sunzi-push/sunzi/crt/residue"
)

// primes are moduli that tests share: making them is what takes time.
var primes = sync.OnceValue(func() []*residue.Modulus {
	all := make([]*residue.Modulus, 40)
	for i := range all {
		m, err := residue.Prime(512, rand.Reader)
		if err != nil {
			panic(err)
		}
		all[i] = m
	}
	return all
})

// crew is a shard with the clients that hold its keys.
type crew struct {
	*testing.T
	sealer *Sealer
	shard  *Shard
	rings  []*Ring // nil where the slot is nobody's
	chains []Chain // of the slots' members, at the shard's period
	scr    Scratch
	spares int
}

// spare answers primes that no member has.
func (c *crew) spare() *residue.Modulus {
	c.spares++
	return primes()[20+c.spares%20]
}

// newCrew makes a shard of 16 whose slots below members are taken.
func newCrew(t *testing.T, members int) *crew {
	t.Helper()
	c := &crew{T: t, sealer: NewSealer(), rings: make([]*Ring, 16), chains: make([]Chain, 16)}
	all := make([]*Member, 16)
	for i := range members {
		all[i] = c.member(i, 7)
	}
	var err error
	if c.shard, err = c.sealer.NewShard(5, 7, all, c.spare); err != nil {
		t.Fatal(err)
	}
	return c
}

// member makes the keys of slot i, for both sides.
func (c *crew) member(i int, period uint32) *Member {
	m := &Member{Who: NameHash("", fmt.Sprint("client ", i)), Modulus: primes()[i], Chain: Chain{Period: period}}
	rand.Read(m.Chain.Key[:])
	c.chains[i] = m.Chain
	c.rings[i] = new(Ring)
	c.rings[i].Add(RestoreKeys(m.Who, Grant{Generation: 1, Period: period, Shard: 5, Slot: i, Slots: 16, Modulus: m.Modulus}, m.Chain))
	return m
}

// step goes so many key periods on with all members.
func (c *crew) step(periods int) {
	c.Helper()
	var changes []Change
	for i := range c.chains {
		for range periods {
			c.chains[i].Step()
		}
		if c.shard.Taken(i) {
			who := NameHash("", fmt.Sprint("client ", i))
			changes = append(changes, Change{i, &Member{Who: who, Modulus: c.shard.basis.Modulus(i), Chain: c.chains[i]}})
		}
	}
	var err error
	if c.shard, err = c.shard.Change(c.shard.Period()+uint32(periods), changes, nil); err != nil {
		c.Fatal(err)
	}
}

func (c *crew) seal(mode Mode, lane uint16, slots map[int]Slot, body *Body) []byte {
	c.Helper()
	all := make([]Slot, 16)
	for i, s := range slots {
		all[i] = s
	}
	f, err := c.shard.Seal(nil, mode, lane, all, body, &c.scr)
	if err != nil {
		c.Fatal(err)
	}
	if body != nil {
		f = append(f, body.Bytes...)
	}
	return f
}

// want opens the frame as every member: those in texts get theirs, the others
// a cover.
func (c *crew) want(frame []byte, texts map[int]string) {
	c.Helper()
	for i, r := range c.rings {
		if r == nil {
			continue
		}
		o, err := r.Open(frame)
		if err != nil {
			c.Errorf("member %d: %v", i, err)
		} else if string(o.Message) != texts[i] || (o.Seq != 0) != (texts[i] != "") {
			c.Errorf("member %d got %q at %d, want %q", i, o.Message, o.Seq, texts[i])
		}
	}
}

func inline(seq uint64, text string) Slot { return Slot{SlotInline, seq, []byte(text)} }

func TestEachMemberOpensItsOwn(t *testing.T) {
	c := newCrew(t, 12)
	long := string(bytes.Repeat([]byte("x"), 38))
	f := c.seal(Direct, 0, map[int]Slot{0: inline(1, "a"), 3: inline(1<<63, long), 11: inline(9, "the last")}, nil)
	if len(f) != c.shard.FrameSize(0) || len(f) != 1100 {
		t.Errorf("the frame has %d bytes", len(f))
	}
	c.want(f, map[int]string{0: "a", 3: long, 11: "the last"})
	c.want(c.seal(Direct, 0, nil, nil), nil)
}

func TestOneBodyServesManyShards(t *testing.T) {
	text := string(bytes.Repeat([]byte("long "), 1000))
	body, key, err := SealBody([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c := newCrew(t, 16)
		c.want(c.seal(Envelope, 3, map[int]Slot{2: {SlotEnvelope, 4, key[:]}, 9: {SlotEnvelope, 5, key[:]}}, body), map[int]string{2: text, 9: text})
	}
}

func TestAStepKeepsThePastFromThoseWhoForgot(t *testing.T) {
	c := newCrew(t, 4)
	before := c.seal(Direct, 0, map[int]Slot{1: inline(1, "before")}, nil)
	c.step(2)
	after := c.seal(Direct, 0, map[int]Slot{1: inline(2, "after")}, nil)
	c.want(after, map[int]string{1: "after"})
	c.want(before, map[int]string{1: "before"}) // not acked yet
	for _, r := range c.rings[:4] {
		r.Keys()[0].Forget(9)
	}
	c.want(after, map[int]string{1: "after"})
	if _, err := c.rings[1].Open(before); !errors.Is(err, ErrOpen) {
		t.Errorf("what was forgotten opens: %v", err)
	}
}

func TestJoinAndLeave(t *testing.T) {
	c := newCrew(t, 3)
	old := c.shard
	before := c.seal(Direct, 0, map[int]Slot{0: inline(1, "before")}, nil)
	joined, err := c.shard.Join(3, c.member(3, 7))
	if err != nil {
		t.Fatal(err)
	}
	c.shard = joined
	if _, err := c.rings[3].Open(before); !errors.Is(err, ErrOpen) {
		t.Errorf("who joined opens what came before: %v", err)
	}
	c.want(c.seal(Direct, 0, map[int]Slot{3: inline(1, "joined"), 0: inline(2, "too")}, nil), map[int]string{3: "joined", 0: "too"})
	if _, err := c.shard.Join(3, c.member(3, 7)); err == nil {
		t.Error("a slot was taken twice")
	}
	left := c.rings[0]
	if c.shard, err = c.shard.Leave(0, c.spare); err != nil {
		t.Fatal(err)
	}
	c.rings[0] = nil
	c.step(1)
	after := c.seal(Direct, 0, map[int]Slot{1: inline(1, "after")}, nil)
	c.want(after, map[int]string{1: "after"})
	if _, err := left.Open(after); !errors.Is(err, ErrOpen) {
		t.Errorf("who left opens what follows: %v", err)
	}
	if !old.Taken(0) || old.Taken(3) {
		t.Error("a snapshot was changed")
	}
}

func TestWhatMayNotBeSealed(t *testing.T) {
	c := newCrew(t, 2)
	body, key, _ := SealBody([]byte("b"))
	for name, bad := range map[string]struct {
		mode Mode
		slot Slot
		at   int
		body *Body
	}{
		"to nobody":         {Direct, inline(1, "a"), 5, nil},
		"too long":          {Direct, inline(1, string(make([]byte, 39))), 0, nil},
		"no sequence":       {Direct, inline(0, "a"), 0, nil},
		"another mode":      {Envelope, inline(1, "a"), 0, body},
		"no body":           {Envelope, Slot{SlotEnvelope, 1, key[:]}, 0, nil},
		"a body in direct":  {Direct, inline(1, "a"), 0, body},
		"a short key":       {Envelope, Slot{SlotEnvelope, 1, key[:31]}, 0, body},
		"rekey in envelope": {Envelope, Slot{SlotRekey, 0, key[:]}, 0, body},
		"a mode of none":    {Channel, Slot{}, 0, body},
	} {
		slots := make([]Slot, 16)
		slots[bad.at] = bad.slot
		if f, err := c.shard.Seal(nil, bad.mode, 0, slots, bad.body, &c.scr); err == nil || f != nil {
			t.Errorf("%s: sealed", name)
		}
	}
}

// Every bit of a frame counts, for every member, also for those it has nothing
// for.
func TestEveryFlippedBitIsRefusedByAll(t *testing.T) {
	c := newCrew(t, 4)
	body, key, _ := SealBody([]byte("in the body"))
	frames := [][]byte{
		c.seal(Direct, 0, map[int]Slot{0: inline(1, "a"), 1: inline(2, "b")}, nil),
		c.seal(Envelope, 1, map[int]Slot{0: {SlotEnvelope, 3, key[:]}}, body),
	}
	for _, f := range frames {
		for bit := range len(f) * 8 {
			bad := slices.Clone(f)
			bad[bit/8] ^= 1 << (bit % 8)
			for i, r := range c.rings[:4] {
				if o, err := r.Open(bad); !errors.Is(err, ErrOpen) {
					t.Fatalf("member %d opens %+v with bit %d flipped", i, o, bit)
				}
			}
		}
	}
}

func TestFramesOfOthersAreRefused(t *testing.T) {
	c, other := newCrew(t, 2), newCrew(t, 2)
	f := other.seal(Direct, 0, map[int]Slot{0: inline(1, "a")}, nil)
	if _, err := c.rings[0].Open(f); !errors.Is(err, ErrOpen) {
		t.Errorf("another shard's keys open: %v", err)
	}
	for _, junk := range [][]byte{nil, []byte("CB"), f[:len(f)-1], append(slices.Clone(f), 0), AppendPrefix(nil, 3), append(AppendPrefix(nil, 3), f...)} {
		if _, err := c.rings[0].Open(junk); !errors.Is(err, ErrOpen) {
			t.Errorf("%d bytes of junk: %v", len(junk), err)
		}
	}
}

func TestBatchNumbersAreNeverTakenTwice(t *testing.T) {
	c := newCrew(t, 1)
	seen := make(map[[16]byte]bool)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var scr Scratch
			for range 50 {
				f, err := c.shard.Seal(nil, Direct, 0, make([]Slot, 16), nil, &scr)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				id := [16]byte(f[16:32])
				if seen[id] {
					t.Error("a batch number was taken twice")
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if again := NewSealer(); again.ID() == c.sealer.ID() {
		t.Error("two sealers have one name")
	}
}

func TestModulusBytes(t *testing.T) {
	for _, m := range primes()[:4] {
		b := m.AppendBytes(nil)
		sum := make([]byte, len(b)+1) // m + c = 2^L
		c := append(make([]byte, len(b)/2), m.AppendC(nil)...)
		carry := 0
		for i := len(b) - 1; i >= 0; i-- {
			v := int(b[i]) + int(c[i]) + carry
			sum[i+1], carry = byte(v), v>>8
		}
		sum[0] = byte(carry)
		if sum[0] != 1 || !allZero(sum[1:]) {
			t.Fatalf("m + c = %x", sum)
		}
	}
}
