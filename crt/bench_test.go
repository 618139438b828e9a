package crt

import (
	"testing"

	"github.com/sunzi-push/sunzi/crt/residue"
)

// full is a shard of 16 members with a message for each, as a steady state has
// it.
func full(b *testing.B) (*Shard, []Slot, *Ring) {
	b.Helper()
	sealer := NewSealer()
	members, slots := make([]*Member, 16), make([]Slot, 16)
	for i := range members {
		members[i] = &Member{Who: NameHash("", string(rune('a'+i))), Modulus: primes()[i], Chain: Chain{Period: 1, Key: [KeySize]byte{byte(i + 1)}}}
		slots[i] = Slot{SlotInline, uint64(i + 1), make([]byte, 38)}
	}
	sh, err := sealer.NewShard(1, 1, members, func() *residue.Modulus { return nil })
	if err != nil {
		b.Fatal(err)
	}
	var r Ring
	m := members[3]
	r.Add(RestoreKeys(m.Who, Grant{Generation: 1, Period: 1, Shard: 1, Slot: 3, Slots: 16, Modulus: m.Modulus}, m.Chain))
	return sh, slots, &r
}

func BenchmarkSeal16(b *testing.B) {
	sh, slots, _ := full(b)
	var scr Scratch
	dst := make([]byte, 0, sh.FrameSize(0))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sh.Seal(dst, Direct, 0, slots, nil, &scr); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(16*b.N), "ns/message")
}

// BenchmarkGCM is what the sealing of a slot costs without the remainder.
func BenchmarkGCM(b *testing.B) {
	a := aead([KeySize]byte{1})
	var nonce [12]byte
	text, aad, dst := make([]byte, 48), make([]byte, 108), make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		nonce[0]++
		a.Seal(dst, nonce[:], text, aad)
	}
}

func BenchmarkOpen(b *testing.B) {
	sh, slots, r := full(b)
	var scr Scratch
	f, err := sh.Seal(nil, Direct, 0, slots, nil, &scr)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Open(f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJoin(b *testing.B) {
	sh, _, _ := full(b)
	left, err := sh.Leave(7, func() *residue.Modulus { return primes()[30] })
	if err != nil {
		b.Fatal(err)
	}
	m := &Member{Who: NameHash("", "h"), Modulus: primes()[7], Chain: Chain{Period: 1, Key: [KeySize]byte{8}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := left.Join(7, m); err != nil {
			b.Fatal(err)
		}
	}
}
