package wire

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// vector is one file of testdata/vectors; SPEC.md section 11 defines it.
type vector struct {
	Name      string `json:"name"`
	Why       string `json:"why"`
	Direction string `json:"direction"`
	JSON      string `json:"json"`
	Msgpack   string `json:"msgpack"`
	Lax       bool   `json:"lax"`
	Unknown   bool   `json:"unknown"`
	Error     string `json:"error"`
}

func vectors(t testing.TB) []vector {
	t.Helper()
	return readVectors(t, "vectors", func(v vector) string { return v.Name })
}

// readVectors reads the files of a folder of testdata, each named as it calls
// itself. That there are none fails.
func readVectors[V any](t testing.TB, folder string, name func(V) string) []V {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", folder, err)
	}
	all := make([]V, len(files))
	for i, file := range files {
		p, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(p, &all[i]); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if name(all[i])+".json" != filepath.Base(file) {
			t.Errorf("%s calls itself %s", file, name(all[i]))
		}
	}
	return all
}

// texts are the encodings that a vector has, by codec.
func (v vector) texts(t testing.TB) map[Codec][]byte {
	t.Helper()
	m := map[Codec][]byte{}
	if v.JSON != "" {
		m[JSON] = []byte(v.JSON)
	}
	if v.Msgpack != "" {
		p, err := hex.DecodeString(v.Msgpack)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		m[Msgpack] = p
	}
	if len(m) == 0 {
		t.Fatalf("%s holds nothing", v.Name)
	}
	return m
}

// decode answers the message, whichever side it is from, and its encoder.
func (v vector) decode(t testing.TB, c Codec, p []byte) (any, Type, func(Codec) []byte, error) {
	if v.Direction == "client" {
		var m ClientMessage
		err := DecodeClient(c, p, &m)
		return m, m.Type, func(c Codec) []byte { return EncodeClient(c, &m) }, err
	}
	m, err := DecodeServer(c, p)
	return m, m.Type, func(c Codec) []byte { return encodeServer(t, c, m) }, err
}

func TestVectors(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			var first any
			for c, p := range v.texts(t) {
				m, typ, encode, err := v.decode(t, c, p)
				if v.Error != "" {
					if !errors.Is(err, ErrMalformed) {
						t.Errorf("codec %d took it, though %s: %v", c, v.Error, err)
					}
					continue
				}
				if err != nil {
					t.Fatalf("codec %d: %v", c, err)
				}
				if v.Unknown {
					if typ != TypeUnknown {
						t.Errorf("codec %d: %s", c, typ)
					}
					continue
				}
				seen[v.Direction+" "+typ.String()] = true
				if first == nil {
					first = m
				} else if !v.Lax && !reflect.DeepEqual(m, first) {
					t.Errorf("the encodings differ:\n%+v\n%+v", first, m)
				}
				if v.Lax {
					continue
				}
				for to, want := range v.texts(t) {
					if got := encode(to); string(got) != string(want) {
						t.Errorf("from codec %d to %d:\n%q\nwant\n%q", c, to, got, want)
					}
				}
			}
		})
	}
	for _, typ := range ClientTypes {
		if !seen["client "+typ.String()] {
			t.Errorf("no vector of the client's %s", typ)
		}
	}
	for _, typ := range ServerTypes {
		if !seen["server "+typ.String()] {
			t.Errorf("no vector of the server's %s", typ)
		}
	}
}

// TestLaxVectorsMeanAck holds what the lax vectors mean: all are one ack.
func TestLaxVectorsMeanAck(t *testing.T) {
	for _, v := range vectors(t) {
		if !strings.HasPrefix(v.Name, "lax-") {
			continue
		}
		for c, p := range v.texts(t) {
			if m, typ, _, err := v.decode(t, c, p); err != nil || typ != TypeAck || m.(ClientMessage).Seq != 5 {
				t.Errorf("%s, codec %d: %+v, %v", v.Name, c, m, err)
			}
		}
	}
}

var example = regexp.MustCompile("(?s)```json (client|server)\n(.*?)\n```\n```msgpack\n(.*?)\n```")

func TestSpecExamplesAreWhatTheCodecWrites(t *testing.T) {
	p, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	all := example.FindAllStringSubmatch(string(p), -1)
	seen := map[string]bool{}
	for _, m := range all {
		v := vector{Direction: m[1], JSON: m[2], Msgpack: strings.ReplaceAll(m[3], "\n", "")}
		for c, p := range v.texts(t) {
			_, typ, encode, err := v.decode(t, c, p)
			if err != nil {
				t.Errorf("codec %d, %s: %v", c, m[2], err)
				continue
			}
			seen[m[1]+" "+typ.String()] = true
			if got := string(encode(JSON)); got != m[2] {
				t.Errorf("%s\nis written as\n%s", m[2], got)
			}
			if got := hex.EncodeToString(encode(Msgpack)); got != v.Msgpack {
				t.Errorf("%s\nis written as\n%s", m[2], got)
			}
		}
	}
	if want := len(ClientTypes) + len(ServerTypes); len(seen) != want {
		t.Errorf("%d of %d message types have an example", len(seen), want)
	}
}
