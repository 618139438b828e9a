package crt

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// seeds adds the frames of the vectors.
func seeds(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join(vectorsDir, "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no vectors: %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(b, &v); err != nil {
			f.Fatal(err)
		}
		for _, s := range []string{v.Frame, v.Welcome, v.Hello} {
			if b, err := hex.DecodeString(s); err == nil && len(b) > 0 {
				f.Add(b)
			}
		}
	}
}

// A frame that was parsed is what its header says, and puts together again.
func FuzzParseFrame(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseFrame(b)
		if err != nil {
			return
		}
		var head [HeaderSize]byte
		p.put(&head)
		if again := append(append(head[:], p.X...), p.Body...); string(again) != string(b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}

// Nothing that was not sealed for these keys opens, whatever it is.
func FuzzOpen(f *testing.F) {
	seeds(f)
	who := NameHash("", "fuzz")
	grant := Grant{Generation: 1, Period: 7, Shard: 5, Slot: 0, Slots: 16, Modulus: primes()[0]}
	chain := newChain(7)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Ring
		r.Add(RestoreKeys(who, grant, chain))
		r.Add(RestoreKeys(who, Grant{Generation: 2, Period: 7}, chain))
		r.AddChannel(NewChannelKey(11, 3, "g"))
		if o, err := r.Open(b); !errors.Is(err, ErrOpen) {
			t.Errorf("opened %+v, %v", o, err)
		}
	})
}

func FuzzHandshake(f *testing.F) {
	seeds(f)
	id, err := NewIdentity(append(make([]byte, 31), 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := ParseHello(b); err == nil {
			if _, _, err := answer(id, h, grantOf(h.Kind), zeros{}); err != nil && !errors.Is(err, ErrHandshake) {
				t.Errorf("an answer failed with %v", err)
			}
		}
		for _, suite := range []Suite{X25519, X25519MLKEM768} {
			c, _, err := NewHandshake(suite, KindCRT, who, id.Public(), zeros{})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.Finish(b); !errors.Is(err, ErrHandshake) {
				t.Errorf("a welcome that nobody made: %v", err)
			}
		}
	})
}

// zeros is a source of bytes that are not random at all.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); b[0] = 1; return len(b), nil }

func FuzzDecodeText(f *testing.F) {
	f.Add([]byte("+/8AAQ=="))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := DecodeText(b); err == nil && len(got) > len(b) {
			t.Errorf("%d bytes became %d", len(b), len(got))
		}
	})
}
