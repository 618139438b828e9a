package push

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"crypto/sha256"
	"encoding/hex"
)

// The vectors of crt are frames as they are kept: what is read of them here is
// what crt wrote.
func TestAHeaderIsReadAsCRTWritesIt(t *testing.T) {
	for name, want := range map[string]struct{ body, channel bool }{
		"direct": {}, "envelope": {body: true}, "rekey": {body: true}, "channel": {body: true, channel: true}, "down": {body: true},
	} {
		p, err := os.ReadFile(filepath.Join("..", "crt", "testdata", "vectors", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var v struct{ Frame string }
		if err := json.Unmarshal(p, &v); err != nil {
			t.Fatal(err)
		}
		frame, err := hex.DecodeString(v.Frame)
		if err != nil || len(frame) == 0 {
			t.Fatalf("%s: %d bytes, %v", name, len(frame), err)
		}
		if want.channel { // after its prefix
			frame = frame[10:]
		}
		s, err := RestoreSealed(frame)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s.HasBody() != want.body || s.Channel != want.channel || s.Channel && (s.ChannelID == 0 || s.Epoch == 0) {
			t.Errorf("%s: body %v, %+v", name, s.HasBody(), s)
		}
		x := frameHeader + (int(frame[32])<<8|int(frame[33]))*(int(frame[34])<<8|int(frame[35]))
		if sha256.Sum256(frame[x:]) != s.BodyHash() {
			t.Errorf("%s: another body's hash", name)
		}
	}
	for _, bad := range [][]byte{nil, []byte("CB"), make([]byte, 76)} {
		if _, err := RestoreSealed(bad); err == nil {
			t.Errorf("%d bytes are a frame", len(bad))
		}
	}
}
