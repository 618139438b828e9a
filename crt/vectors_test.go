package crt

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sunzi-push/sunzi/crt/residue"
)

var update = flag.Bool("update", false, "write testdata/vectors anew")

// vector is one file of testdata/vectors (SPEC.md, section 11). JavaScript
// reads the same files. Byte strings are in hex, 64-bit numbers decimal strings.
type vector struct {
	Name  string `json:"name"`
	About string `json:"about"`
	Kind  string `json:"kind"`            // open, handshake, up, session, text or who
	Error string `json:"error,omitempty"` // why it has to be refused

	// open
	Keys     []vectorKeys    `json:"keys,omitempty"` // newest first
	Channels []vectorChannel `json:"channels,omitempty"`
	Frame    string          `json:"frame,omitempty"`
	Want     *vectorOpened   `json:"want,omitempty"`

	// handshake
	Suite   int         `json:"suite,omitempty"`
	Mode    int         `json:"mode,omitempty"`
	Realm   string      `json:"realm,omitempty"`
	ID      string      `json:"id,omitempty"`
	Server  string      `json:"server,omitempty"`
	Random  string      `json:"random,omitempty"` // nonce, X25519 secret, ML-KEM seed
	Hello   string      `json:"hello,omitempty"`
	Welcome string      `json:"welcome,omitempty"`
	Confirm string      `json:"confirm,omitempty"`
	Grant   *vectorKeys `json:"grant,omitempty"`
	Up      string      `json:"up,omitempty"`
	Session string      `json:"session,omitempty"`

	// up, session (which has a generation for a period, and a nonce for the
	// connection; with an error the last message is to be refused)
	Connection string     `json:"connection,omitempty"`
	Sender     string     `json:"sender,omitempty"`
	Period     uint32     `json:"period,omitempty"`
	Chain      string     `json:"chain,omitempty"` // handshake: what it ends in
	Messages   []vectorUp `json:"messages,omitempty"`

	// text, who
	Text  string `json:"text,omitempty"`
	Bytes string `json:"bytes,omitempty"`
	Who   string `json:"who,omitempty"`
}

type vectorKeys struct {
	Who        string `json:"who,omitempty"`
	Generation uint32 `json:"generation"`
	Period     uint32 `json:"period"`
	Chain      string `json:"chain,omitempty"`
	Shard      string `json:"shard"`
	Slot       int    `json:"slot"`
	Slots      int    `json:"slots"`
	SlotBytes  int    `json:"slot_bytes"`
	C          string `json:"c"`
}

type vectorChannel struct {
	Channel string `json:"channel"`
	Epoch   uint32 `json:"epoch"`
	Name    string `json:"name"`
	Secret  string `json:"secret"`
}

type vectorOpened struct {
	Seq     string         `json:"seq,omitempty"`
	Message string         `json:"message,omitempty"`
	Cover   bool           `json:"cover,omitempty"`
	Channel *vectorChannel `json:"channel,omitempty"`
}

type vectorUp struct {
	Format int    `json:"format"`
	Text   string `json:"text"`
	Frame  string `json:"frame"`
}

const vectorsDir = "testdata/vectors"

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	files, err := filepath.Glob(filepath.Join(vectorsDir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", vectorsDir, err)
	}
	refused := 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		var v vector
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if v.Error != "" {
			refused++
		}
		check := map[string]func(*testing.T, *vector){"open": checkOpen, "handshake": checkHandshake, "up": checkUp, "session": checkSession, "text": checkText, "who": checkWho}[v.Kind]
		if check == nil || v.Name+".json" != filepath.Base(name) {
			t.Fatalf("%s: kind %q, name %q", name, v.Kind, v.Name)
		}
		t.Run(v.Name, func(t *testing.T) { check(t, &v) })
	}
	if refused < 30 || len(files)-refused < 15 {
		t.Errorf("%d vectors, of which %d are to be refused: some are missing", len(files), refused)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wanted judges the error that came; it reports whether there is a result to be
// looked at.
func (v *vector) wanted(t *testing.T, err error) bool {
	t.Helper()
	if (err != nil) != (v.Error != "") {
		t.Errorf("got %v, want %q", err, v.Error)
	}
	return err == nil && v.Error == ""
}

func (k *vectorKeys) grant(t *testing.T) (g Grant, err error) {
	t.Helper()
	g = Grant{Generation: k.Generation, Period: k.Period, Slot: k.Slot, Slots: k.Slots}
	g.Shard, _ = strconv.ParseUint(k.Shard, 10, 64)
	if k.C != "" {
		g.Modulus, err = residue.NewModulus(8*k.SlotBytes, unhex(t, k.C))
	}
	return g, err
}

func checkOpen(t *testing.T, v *vector) {
	var r Ring
	for _, k := range slices.Backward(v.Keys) {
		g, err := k.grant(t)
		if err != nil {
			v.wanted(t, err)
			return
		}
		r.Add(RestoreKeys(Who(unhex(t, k.Who)), g, Chain{k.Period, [KeySize]byte(unhex(t, k.Chain))}))
	}
	for _, c := range v.Channels {
		r.AddChannel(c.key(t))
	}
	o, err := r.Open(unhex(t, v.Frame))
	if err != nil && !errors.Is(err, ErrOpen) {
		t.Errorf("another error than the one: %v", err)
	}
	if !v.wanted(t, err) {
		return
	}
	got := vectorOpened{Cover: o.Message == nil && o.Channel == nil, Message: hex.EncodeToString(o.Message)}
	if o.Seq != 0 {
		got.Seq = strconv.FormatUint(o.Seq, 10)
	}
	if want := *v.Want; want.Channel != nil {
		if o.Channel == nil || *o.Channel != *want.Channel.key(t) {
			t.Errorf("got channel %v", o.Channel)
		}
	} else if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func (c *vectorChannel) key(t *testing.T) *ChannelKey {
	t.Helper()
	id, _ := strconv.ParseUint(c.Channel, 10, 64)
	return &ChannelKey{Channel: id, Epoch: c.Epoch, Name: c.Name, Secret: [KeySize]byte(unhex(t, c.Secret))}
}

func checkHandshake(t *testing.T, v *vector) {
	h, hello, err := NewHandshake(Suite(v.Suite), Kind(v.Mode), NameHash(v.Realm, v.ID), unhex(t, v.Server), bytes.NewReader(unhex(t, v.Random)))
	if err != nil {
		t.Fatal(err)
	}
	if v.Hello != hex.EncodeToString(hello) {
		t.Fatalf("the hello is %x", hello)
	}
	keys, confirm, err := h.Finish(unhex(t, v.Welcome))
	if !v.wanted(t, err) {
		return
	}
	want, err := v.Grant.grant(t)
	if err != nil {
		t.Fatal(err)
	}
	g, chain := keys.Grant(), keys.Chain()
	if hex.EncodeToString(confirm) != v.Confirm || hex.EncodeToString(chain.Key[:]) != v.Chain || chain.Period != v.Grant.Period ||
		hex.EncodeToString(keys.up[:]) != v.Up || hex.EncodeToString(keys.session[:]) != v.Session {
		t.Errorf("confirmed with %x, chain %x at %d", confirm, chain.Key, chain.Period)
	}
	if (g.Modulus == nil) != (want.Modulus == nil) || g.Modulus != nil && !g.Modulus.Equal(want.Modulus) {
		t.Error("another modulus")
	}
	g.Modulus, want.Modulus = nil, nil
	if g != want {
		t.Errorf("granted %+v, want %+v", g, want)
	}
}

func checkUp(t *testing.T, v *vector) {
	chain := Chain{v.Period, [KeySize]byte(unhex(t, v.Chain))}
	who := Who(unhex(t, v.Who))
	conn := unhex(t, v.Connection)
	s, r := NewSender(who, conn, chain), NewReceiver(who, conn, chain)
	s.sealer = NewSealer()
	s.sealer.id = [8]byte(unhex(t, v.Sender))
	for _, m := range v.Messages {
		f, err := s.Seal(Format(m.Format), []byte(m.Text))
		if err != nil || hex.EncodeToString(f) != m.Frame {
			t.Errorf("sealed as %x, %v", f, err)
		}
		if format, text, err := r.Open(unhex(t, m.Frame)); err != nil || int(format) != m.Format || string(text) != m.Text {
			t.Errorf("opened as %d %q, %v", format, text, err)
		}
	}
}

func checkText(t *testing.T, v *vector) {
	got, err := DecodeText([]byte(v.Text))
	if v.wanted(t, err) && hex.EncodeToString(got) != v.Bytes {
		t.Errorf("got %x", got)
	}
}

func checkWho(t *testing.T, v *vector) {
	if got := NameHash(v.Realm, v.ID); hex.EncodeToString(got[:]) != v.Who {
		t.Errorf("got %x", got)
	}
}

// writeVectors replaces the folder.
func writeVectors(t *testing.T) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(vectorsDir), os.MkdirAll(vectorsDir, 0o755)); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, v := range slices.Concat(openVectors(t), refusedVectors(t), handshakeVectors(t), otherVectors(t), sessionVectors(t)) {
		if seen[v.Name] || strings.ContainsAny(v.Name, " /") {
			t.Fatalf("the name %q", v.Name)
		}
		seen[v.Name] = true
		b, err := json.MarshalIndent(v, "", "  ")
		if err == nil {
			err = os.WriteFile(filepath.Join(vectorsDir, v.Name+".json"), append(b, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
