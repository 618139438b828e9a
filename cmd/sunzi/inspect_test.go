package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

const vectorFiles = "../../crt/testdata/vectors/"

func inspect(t *testing.T, in []byte, args ...string) (string, error) {
	t.Helper()
	c := inspectCommand()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetIn(bytes.NewReader(in))
	c.SetArgs(args)
	err := c.Execute()
	return out.String(), err
}

func frameOf(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(vectorFiles + name)
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Frame string }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v.Frame
}

func TestInspectExplainsAndOpens(t *testing.T) {
	for name, want := range map[string][]string{
		"direct.json":   {"mode        direct", "shard       5", "key period  7", "1024 bytes: 16 slots of 512 bits", "opened      at 1: kQE="},
		"cover.json":    {"opened      a cover"},
		"envelope.json": {"mode        envelope", "body        516 bytes", "opened      at 7: "},
		"rekey.json":    {"the secret of channel 11, epoch 3"},
		"channel.json":  {"sequence    77 (in the prefix)", "channel     11", "epoch       3"},
		"down.json":     {"mode        down", "opened      at 5: "},
	} {
		out, err := inspect(t, nil, frameOf(t, name), "--keys", vectorFiles+name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: no %q in\n%s", name, w, out)
			}
		}
	}
}

// A session frame is explained; only its connection can open it.
func TestInspectExplainsASessionFrame(t *testing.T) {
	b, err := os.ReadFile(vectorFiles + "session.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Messages []struct{ Frame string } }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	out, err := inspect(t, nil, v.Messages[1].Frame)
	for _, w := range []string{"mode        session", "generation  7", "sender      ", "batch       1, lane 0"} {
		if err != nil || !strings.Contains(out, w) {
			t.Errorf("no %q in\n%s, %v", w, out, err)
		}
	}
	if _, err := inspect(t, nil, v.Messages[1].Frame, "--keys", vectorFiles+"down.json"); err == nil || !strings.Contains(err.Error(), "in order") {
		t.Errorf("opened: %v", err)
	}
}

func TestInspectTakesBytesHexAndBase64(t *testing.T) {
	text := frameOf(t, "direct.json")
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	want, err := inspect(t, nil, text)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string][]byte{"bytes": raw, "hex in lines": []byte(text[:100] + "\n" + text[100:] + "\n")} {
		if got, err := inspect(t, in, "-"); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestInspectSaysWhatIsWrong(t *testing.T) {
	good := frameOf(t, "direct.json")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"junk":        {[]string{"!"}, "neither hex nor base64"},
		"no frame":    {[]string{"00ff"}, "not a frame"},
		"short":       {[]string{good[:len(good)-2]}, "announces"},
		"no keys":     {[]string{good, "--keys", "/nowhere"}, "no such file"},
		"others' key": {[]string{good, "--keys", vectorFiles + "down.json"}, "do not open"},
	} {
		if _, err := inspect(t, nil, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
