package crt

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"testing"
)

func TestDeriveIsHKDF(t *testing.T) {
	secret, salt := bytes.Repeat([]byte{0x5a, 1, 2}, 40), bytes.Repeat([]byte{7, 8}, 32)
	for n := range len(secret) {
		for _, s := range [][]byte{nil, salt[:1], salt[:32], salt} {
			for _, more := range [][][]byte{nil, {secret[:n]}, {secret[:n], salt, secret}} {
				info := "a label" + string(bytes.Join(more, nil))
				want, err := hkdf.Key(sha256.New, secret[:n], s, info, KeySize)
				if err != nil {
					t.Fatal(err)
				}
				if got := derive(secret[:n], s, "a label", more...); !bytes.Equal(got[:], want) {
					t.Fatalf("%d bytes, salt of %d, info of %d: %x, not %x", n, len(s), len(info), got, want)
				}
			}
		}
	}
}

func BenchmarkSlotKey(b *testing.B) {
	c, m := Chain{Key: [KeySize]byte{1}}, primes()[0]
	b.ReportAllocs()
	for b.Loop() {
		c.slotKey([8]byte{}, Who{}, m)
	}
}
