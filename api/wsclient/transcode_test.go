package wsclient

import (
	"encoding/json"
	"math"
	"strconv"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// transcode writes a transcript's JSON as MessagePack, with an encoder that is
// not the codec's own. Sequences become integers where they are some.
func transcode(t testing.TB, p []byte) []byte {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(p, &v); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"seq", "cursor", "from", "to", "generation"} {
		if s, ok := v[k].(string); ok {
			if n, err := strconv.ParseUint(s, 10, 64); err == nil {
				v[k] = n
			}
		}
	}
	out, err := msgpack.Marshal(integers(v))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func integers(v any) any {
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) {
			return int64(v)
		}
	case map[string]any:
		for k := range v {
			v[k] = integers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = integers(v[i])
		}
	}
	return v
}
