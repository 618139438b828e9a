package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

// sealedVector is one file of testdata/sealed: a push's body and the message
// that stands for it inside a seal. With error, body (where there is no array)
// can't be encoded, or array must be refused; lax arrays mean body, but are not
// what an encoder writes.
type sealedVector struct {
	Name  string `json:"name"`
	Body  string `json:"body"`
	Array string `json:"array"`
	Lax   bool   `json:"lax"`
	Error string `json:"error"`
}

func sealedVectors(t testing.TB) []sealedVector {
	t.Helper()
	return readVectors(t, "sealed", func(v sealedVector) string { return v.Name })
}

func (v sealedVector) array(t testing.TB) []byte {
	t.Helper()
	p, err := hex.DecodeString(v.Array)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSealedVectors(t *testing.T) {
	for _, v := range sealedVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			switch {
			case v.Error != "" && v.Array == "":
				if got, err := AppendSealed([]byte("x"), []byte(v.Body)); !errors.Is(err, ErrBody) || string(got) != "x" {
					t.Errorf("%x, %v, though %s", got, err, v.Error)
				}
				return
			case v.Error != "":
				if d, err := DecodeSealed(v.array(t)); !errors.Is(err, ErrMalformed) {
					t.Errorf("%+v, %v, though %s", d, err, v.Error)
				}
				return
			case !v.Lax:
				if got, err := AppendSealed([]byte("x"), []byte(v.Body)); err != nil || hex.EncodeToString(got[1:]) != v.Array {
					t.Errorf("%x, %v, want %s", got, err, v.Array)
				}
			}
			d, err := DecodeSealed(v.array(t))
			if err != nil {
				t.Fatal(err)
			}
			sameDelivery(t, d, plainly(t, []byte(v.Body)))
		})
	}
}

// plainly is what a client makes of the body where it is not sealed.
func plainly(t testing.TB, body []byte) Delivery {
	t.Helper()
	tail, err := EncodeBody(JSON, body)
	if err != nil {
		t.Fatal(err)
	}
	m, err := DecodeServer(JSON, AppendMessage(nil, JSON, Head{}, tail))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return m.Delivery
}

func sameDelivery(t testing.TB, got, want Delivery) {
	t.Helper()
	if want.Priority == defaultPriority {
		want.Priority = 0
	}
	if got.Priority == defaultPriority {
		got.Priority = 0
	}
	if (got.Data == nil) != (want.Data == nil) || got.Data != nil && !sameJSON(got.Data, want.Data) {
		t.Fatalf("data is %s, want %s", got.Data, want.Data)
	}
	got.Data, want.Data = nil, nil
	if !bytes.Equal(got.Bytes, want.Bytes) {
		t.Fatalf("bytes are %x, want %x", got.Bytes, want.Bytes)
	}
	got.Bytes, want.Bytes = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v\nwant\n%+v", got, want)
	}
}

// TestAShortPushFitsASlot holds what crt/SPEC.md says of one with a TTL of a
// week: 21 of 38 bytes are left for topic and data.
func TestAShortPushFitsASlot(t *testing.T) {
	b, err := AppendSealed(nil, []byte(`{"id":"100000000000000000","ts":1791067457910,"topic":"otp","data":"123 456","expires":1792672257910}`))
	if err != nil {
		t.Fatal(err)
	}
	if spent := len(b) - len("otp") - len("123 456") - 2; spent > 38-21 {
		t.Errorf("%d bytes, %d beside topic and data: %x", len(b), spent, b)
	}
}

func FuzzAppendSealed(f *testing.F) {
	f.Add([]byte(body))
	for _, v := range sealedVectors(f) {
		f.Add([]byte(v.Body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := AppendSealed(nil, body)
		if err != nil {
			if !errors.Is(err, ErrBody) || b != nil {
				t.Fatalf("%x, %v", b, err)
			}
			return
		}
		d, err := DecodeSealed(b)
		if err != nil {
			t.Fatalf("%s: %x: %v", body, b, err)
		}
		again, err := AppendSealed(nil, bodyOf(d))
		if err != nil {
			t.Fatalf("%s: %v", bodyOf(d), err)
		}
		back, err := DecodeSealed(again)
		if err != nil {
			t.Fatal(err)
		}
		sameDelivery(t, back, d)
	})
}

func FuzzDecodeSealed(f *testing.F) {
	for _, v := range sealedVectors(f) {
		f.Add(v.array(f))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		d, err := DecodeSealed(p)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if d.Data != nil && !json.Valid(d.Data) {
			t.Fatalf("data is no JSON: %q", d.Data)
		}
		if d.Data == nil && d.Bytes == nil {
			t.Fatal("there is no data")
		}
		b, err := AppendSealed(nil, bodyOf(d))
		if err != nil {
			t.Fatalf("%s: %v", bodyOf(d), err)
		}
		back, err := DecodeSealed(b)
		if err != nil {
			t.Fatal(err)
		}
		sameDelivery(t, back, d)
	})
}
