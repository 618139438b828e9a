package crt

import (
	"bytes"
	"crypto/sha3"
	"encoding/hex"
	"testing"
)

// The vectors of the specification (https://c2sp.org/XAES-256-GCM).
func TestXAESVectors(t *testing.T) {
	nonce := []byte("ABCDEFGHIJKLMNOPQRSTUVWX")
	for _, v := range []struct {
		key              byte
		aad, derived, ct string
	}{
		{1, "", "c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "c2sp.org/XAES-256-GCM", "e9c621d4cdd9b11b00a6427ad7e559aeedd66b3857646677748f8ca796cb3fd8", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		x := newXAES([KeySize]byte(bytes.Repeat([]byte{v.key}, KeySize)))
		if k := x.derive(nonce[:12]); hex.EncodeToString(k[:]) != v.derived {
			t.Errorf("key %d derives %x", v.key, k)
		}
		ct := x.seal(nil, nonce, []byte("XAES-256-GCM"), []byte(v.aad))
		if hex.EncodeToString(ct) != v.ct {
			t.Errorf("key %d seals %x", v.key, ct)
		}
		if text, err := x.open(nonce, ct, []byte(v.aad)); err != nil || string(text) != "XAES-256-GCM" {
			t.Errorf("key %d opens %q, %v", v.key, text, err)
		}
	}
}

// The accumulated test of the specification: random keys, nonces, texts and
// data from one stream, and the hash of all that they are sealed to.
func TestXAESAccumulated(t *testing.T) {
	stream, sum := sha3.NewSHAKE128(), sha3.NewSHAKE128()
	read := func(n int) []byte {
		b := make([]byte, n)
		_, _ = stream.Read(b) // never fails
		return b
	}
	for range 10_000 {
		x := newXAES([KeySize]byte(read(KeySize)))
		nonce := read(xNonce)
		text := read(int(read(1)[0]))
		aad := read(int(read(1)[0]))
		_, _ = sum.Write(x.seal(nil, nonce, text, aad)) // never fails
	}
	got := make([]byte, 32)
	_, _ = sum.Read(got)
	if want := "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"; hex.EncodeToString(got) != want {
		t.Errorf("got %x, want %s", got, want)
	}
}
