package crt

import (
	"encoding/binary"
	"errors"
	"testing"
)

// alone is a client of kind aead at period 0, with a sealer for it.
func alone(t *testing.T) (*Ring, func(period uint32, text string) []byte) {
	t.Helper()
	who := NameHash("", "ann")
	first := Chain{Key: [KeySize]byte{1, 2, 3}}
	r := new(Ring)
	r.Add(newKeys(who, Grant{Generation: 1}, first.Key))
	s := NewSealer()
	return r, func(period uint32, text string) []byte {
		c, err := first.at(period)
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.SealDown(who, &c, 1, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
}

func TestALongAbsenceOpens(t *testing.T) {
	r, seal := alone(t)
	if o, err := r.Open(seal(MaxSteps, "late")); err != nil || string(o.Message) != "late" {
		t.Errorf("%s, %v", o.Message, err)
	}
	if o, err := r.Open(seal(1, "the first")); err != nil || string(o.Message) != "the first" {
		t.Errorf("what is not acked opens after later periods: %s, %v", o.Message, err)
	}
	f := seal(MaxSteps, "beyond")
	binary.BigEndian.PutUint32(f[12:], MaxSteps+1)
	if o, err := r.Open(f); !errors.Is(err, ErrOpen) || o.Steps != 0 {
		t.Errorf("beyond the limit: %d steps, %v", o.Steps, err)
	}
}

// What forged periods cost is told, and frames of lost keys, whose periods grow,
// cost the way once.
func TestStepsInVainAreTold(t *testing.T) {
	r, seal := alone(t)
	honest := seal(5, "x")
	forged := func(period uint32) uint64 {
		f := append([]byte(nil), honest...)
		binary.BigEndian.PutUint32(f[12:], period)
		o, err := r.Open(f)
		if !errors.Is(err, ErrOpen) {
			t.Fatalf("a forged frame opens: %v", err)
		}
		return o.Steps
	}
	for _, step := range []struct {
		period uint32
		want   uint64
	}{{1000, 1000}, {1000, 0}, {1001, 1}, {900, 900}, {1000, 100}} {
		if got := forged(step.period); got != step.want {
			t.Errorf("period %d: %d steps, want %d", step.period, got, step.want)
		}
	}
	if o, err := r.Open(honest); err != nil || o.Steps != 0 {
		t.Errorf("an honest frame: %d steps in vain, %v", o.Steps, err)
	}
	r.Keys()[0].Forget(6)
	if got := forged(5); got != 0 {
		t.Errorf("a period that is forgotten: %d steps", got)
	}
	if got := forged(1000); got != 994 {
		t.Errorf("after forgetting: %d steps, want 994", got)
	}
}
