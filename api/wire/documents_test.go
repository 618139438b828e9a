package wire

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"
)

func read(t *testing.T, name string) string {
	t.Helper()
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// asyncMessage is a message of asyncapi.yaml: its name and payload's members.
type asyncMessage struct {
	name       string
	properties map[string]any
}

// operation follows an operation's references to its messages.
func operation(t *testing.T, doc map[string]any, name string) []asyncMessage {
	t.Helper()
	at := func(m map[string]any, keys ...string) any {
		var v any = m
		for _, k := range keys {
			in, ok := v.(map[string]any)
			if !ok || in[k] == nil {
				t.Fatalf("asyncapi.yaml has no %v", keys)
			}
			v = in[k]
		}
		return v
	}
	var all []asyncMessage
	for _, ref := range at(doc, "operations", name, "messages").([]any) {
		key := path.Base(ref.(map[string]any)["$ref"].(string))
		link := at(doc, "channels", "session", "messages", key, "$ref").(string)
		properties := at(doc, "components", "messages", path.Base(link), "payload", "properties").(map[string]any)
		all = append(all, asyncMessage{fmt.Sprint(at(properties, "type", "const")), properties})
	}
	return all
}

func TestAsyncAPIListsTheCodecsMessages(t *testing.T) {
	doc, err := yaml.Parser().Unmarshal([]byte(read(t, "asyncapi.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	examples := example.FindAllStringSubmatch(read(t, "SPEC.md"), -1)
	for side, types := range map[string][]Type{"client": ClientTypes, "server": ServerTypes} {
		messages := operation(t, doc, map[string]string{"client": "fromClient", "server": "toClient"}[side])
		var got, want []string
		for _, m := range messages {
			got = append(got, m.name)
		}
		for _, typ := range types {
			want = append(want, typ.String())
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("the %s's messages are %v, the codec's %v", side, got, want)
		}
		for _, ex := range examples {
			if ex[1] == side {
				holdsMembers(t, messages, ex[2])
			}
		}
	}
}

// holdsMembers says which members of an example the payload does not know.
func holdsMembers(t *testing.T, messages []asyncMessage, text string) {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if m.name != o["type"] {
			continue
		}
		for k := range o {
			if m.properties[k] == nil {
				t.Errorf("asyncapi.yaml: %s has no %s", m.name, k)
			}
		}
	}
}

// The domain can't be imported here, since this package is a leaf; its sources
// can be read.

func TestSpecQuotesTheCloseCodes(t *testing.T) {
	source := read(t, "../../push/closecode.go")
	spec := read(t, "SPEC.md")
	codes := regexp.MustCompile(`Close(\w+) +CloseCode = (\d{4})`).FindAllStringSubmatch(source, -1)
	if len(codes) < 20 {
		t.Fatalf("%d close codes were found", len(codes))
	}
	for _, c := range codes {
		if row := fmt.Sprintf("| %s | %s |", c[2], c[1]); !strings.Contains(spec, row) {
			t.Errorf("SPEC.md has no row %q", row)
		}
	}
	rows := regexp.MustCompile(`(?m)^\| \d{4} \| \w+ \|`).FindAllString(spec, -1)
	if len(rows) != len(codes) {
		t.Errorf("SPEC.md has %d close codes, push has %d", len(rows), len(codes))
	}
	for _, r := range regexp.MustCompile(`Reason\w+ += "([^"]+)"`).FindAllStringSubmatch(source, -1) {
		if !strings.Contains(spec, "`"+r[1]+"`") {
			t.Errorf("SPEC.md does not know the reason %q", r[1])
		}
	}
}

func TestLimitsAreTheDomains(t *testing.T) {
	m := regexp.MustCompile(`MaxFailedPerAck += (\d+)`).FindStringSubmatch(read(t, "../../push/defaults.go"))
	if m == nil || m[1] != fmt.Sprint(MaxFailed) {
		t.Errorf("push.MaxFailedPerAck is %v, MaxFailed %d", m, MaxFailed)
	}
	spec := read(t, "SPEC.md")
	for row, n := range map[string]int{
		"| a string outside `data` | %d bytes |":     MaxStringLen,
		"| `id` of a ping | %d bytes |":              MaxPingIDLen,
		"| `failed` | %d elements |":                 MaxFailed,
		"| `caps` | %d elements |":                   MaxCaps,
		"| `seal_held` | %d elements |":              MaxSealHeld,
		"| `seal_nonce` | %d bytes |":                SealNonceLen,
		"| nesting of a client's message | %d |":     MaxDepth,
		"| nesting of `data` | %d; the HTTP API tak": MaxDataDepth,
	} {
		if want := fmt.Sprintf(row, n); !strings.Contains(spec, want) {
			t.Errorf("SPEC.md has no %q", want)
		}
	}
}
