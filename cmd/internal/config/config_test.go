package config

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const secret = "0123456789abcdef0123456789abcdef"

// base is a default that passes.
func base() Config {
	c := Default()
	c.Tokens.Secret = secret
	return c
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sunzi.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsPass(t *testing.T) {
	if err := base().Validate(); err != nil {
		t.Error(err)
	}
	if err := DevDefault().Validate(); err != nil {
		t.Error(err)
	}
	if err := Default().Validate(); err == nil || !strings.HasPrefix(err.Error(), "tokens.secret: ") {
		t.Errorf("without a secret: %v", err)
	}
}

func TestEveryFieldIsAKeyWithADocument(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Fields() {
		if len(f.Doc) < 20 || !strings.HasSuffix(f.Doc, ".") {
			t.Errorf("%s: document %q", f.Key, f.Doc)
		}
		if seen[f.Env] {
			t.Errorf("%s is the variable of two keys", f.Env)
		}
		seen[f.Env] = true
	}
	if got := untagged(reflect.TypeFor[Config]()); len(got) != 1 || got[0] != "Dev" {
		t.Errorf("fields without a key: %v", got)
	}
}

func untagged(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Tag.Get("koanf") == "" {
			names = append(names, f.Name)
		} else if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Time]() {
			names = append(names, untagged(f.Type)...)
		}
	}
	return names
}

func TestStrongerSourcesWin(t *testing.T) {
	path := file(t, `
listen: 127.0.0.1:1
hub:
  heartbeat: 30s
  max_frame: 32KiB
  per_client: 3
  outbound: 2097152
tokens:
  ttl: 20d
cors:
  origins: [https://a.example, https://b.example]
  methods: [PATCH]
snowflake:
  origin: 2025-01-01T00:00:00Z
store:
`)
	before := base()
	l, err := Load(Sources{
		Base: before, File: path,
		Environ: []string{"SUNZI_LISTEN=127.0.0.1:2", "SUNZI_HUB_HEARTBEAT=40s", "SUNZI_HTTP_TRUSTED_PROXIES=10.0.0.0/8, 192.0.2.0/24", "PATH=/bin", "SUNZI_URL=x", "SUNZI_HUB_HARTBEAT=1s"},
		Flags:   map[string]string{"listen": "127.0.0.1:3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := l.Config
	for _, x := range []struct{ key, got, want, origin string }{
		{"listen", c.Listen, "127.0.0.1:3", "flag"},
		{"hub.heartbeat", c.Hub.Heartbeat.String(), "40s", "env SUNZI_HUB_HEARTBEAT"},
		{"hub.max_frame", c.Hub.MaxFrame.String(), "32KiB", "file " + path},
		{"hub.per_client", fmt.Sprint(c.Hub.PerClient), "3", "file " + path},
		{"hub.outbound", c.Hub.Outbound.String(), "2MiB", "file " + path},
		{"tokens.ttl", duration(c.Tokens.TTL), "20d", "file " + path},
		{"cors.origins", strings.Join(c.CORS.Origins, " "), "https://a.example https://b.example", "file " + path},
		{"cors.methods", strings.Join(c.CORS.Methods, " "), "PATCH", "file " + path},
		{"http.trusted_proxies", fmt.Sprint(c.TrustedProxies()), "[10.0.0.0/8 192.0.2.0/24]", "env SUNZI_HTTP_TRUSTED_PROXIES"},
		{"snowflake.origin", c.Snowflake.Origin.Format(time.RFC3339), "2025-01-01T00:00:00Z", "file " + path},
		{"hub.drain", c.Hub.Drain.String(), "5s", "default"},
	} {
		if x.got != x.want || l.Origin(x.key) != x.origin {
			t.Errorf("%s = %s (%s), want %s (%s)", x.key, x.got, l.Origin(x.key), x.want, x.origin)
		}
	}
	if !reflect.DeepEqual(before, base()) {
		t.Error("the base was written to")
	}
	if len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0], "SUNZI_HUB_HARTBEAT") {
		t.Errorf("warnings: %q", l.Warnings)
	}
}

func TestProblemsAreToldTogetherAndByName(t *testing.T) {
	for name, x := range map[string]struct {
		yaml string
		env  []string
		want []string
	}{
		"unknown keys":     {"hub:\n  hartbeat: 3s\nstoor: {path: x}\n", nil, []string{"hub.hartbeat: there is no such key; did you mean hub.heartbeat?", "stoor.path"}},
		"nothing alike":    {"webhooks: [a]\n", nil, []string{"webhooks: there is no such key; sunzi config show --docs"}},
		"dotted key":       {"hub.hartbeat: 3s\n", nil, []string{"hub.hartbeat: there is no such key"}},
		"section as value": {"hub: 7\n", nil, []string{"hub: is a section"}},
		"value as section": {"listen: {port: 7}\n", nil, []string{"listen.port: there is no such key"}},
		"no value":         {"listen:\n", nil, []string{"listen (file ", "has no value"}},
		"bad values":       {"hub: {heartbeat: soon, per_client: many, max_frame: 3 pints}\n", nil, []string{`hub.heartbeat (file `, `"soon" is not a duration`, `"many" is not a whole number`, `"3 pints" is not a number of bytes`}},
		"no unit":          {"hub: {heartbeat: 25}\n", nil, []string{"25 has no unit; write 90s"}},
		"no unit, env":     {"", []string{"SUNZI_HUB_HEARTBEAT=25"}, []string{"hub.heartbeat (env SUNZI_HUB_HEARTBEAT): 25 has no unit"}},
		"number as secret": {"tokens: {secret: 01234567890123456789012345678901}\n", nil, []string{"tokens.secret", "put it in quotes"}},
		"bad bool":         {"", []string{"SUNZI_HTTP_ECHO=maybe"}, []string{`"maybe" is not true or false`}},
		"no YAML":          {"a: [\n", nil, []string{"is no valid YAML", "line"}},
		"twice":            {"listen: a:1\nlisten: b:2\n", nil, []string{"is no valid YAML", "listen"}},
		"cover as it was":  {"seal: {cover: true}\n", nil, []string{`seal.cover: is "true"; take none, direct or all (what was true is all`}},
		"cover, env":       {"", []string{"SUNZI_SEAL_COVER=false"}, []string{`seal.cover: is "false"; take none, direct or all`}},
		"several limits":   {"listen: here\nhub: {per_client: 0}\npush: {overflow: burn, readers: 0}\n", nil, []string{`listen: "here" is no address`, "hub.per_client: is 0 and must be 1 to 1000", `push.overflow: is "burn"; take reject or drop`, "push.readers"}},
	} {
		_, err := Load(Sources{Base: base(), File: file(t, x.yaml), Environ: x.env})
		if err == nil {
			t.Errorf("%s was taken", name)
			continue
		}
		for _, w := range x.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: no %q in:\n%s", name, w, err)
			}
		}
	}
	if _, err := Load(Sources{Base: base(), File: "/nonexistent.yaml"}); err == nil || !strings.Contains(err.Error(), "/nonexistent.yaml") {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Load(Sources{Base: base(), File: file(t, strings.Repeat("#", maxFile+1))}); err == nil {
		t.Error("a huge file was taken")
	}
}

func TestValidateRefuses(t *testing.T) {
	for key, edit := range map[string]func(*Config){
		"admin.listen":           func(c *Config) { c.Admin.Listen = c.Listen },
		"public_url":             func(c *Config) { c.PublicURL = "push.example.com" },
		"data":                   func(c *Config) { c.Data = "" },
		"http.burst":             func(c *Config) { c.HTTP.Rate = 1 },
		"http.max_batch_body":    func(c *Config) { c.HTTP.MaxBatchBody = 1 },
		"http.trusted_proxies":   func(c *Config) { c.HTTP.TrustedProxies = []string{"10.0.0.1"} },
		"http.websocket_origins": func(c *Config) { c.HTTP.WebSocketOrigins = []string{"example.com"} },
		"cors.origins":           func(c *Config) { c.CORS.Origins = []string{"https://a.example/path"} },
		"cors.credentials":       func(c *Config) { c.CORS.Credentials, c.CORS.Origins = true, []string{"*"} },
		"sse.queue":              func(c *Config) { c.SSE.Queue = 0 },
		"hub.pong_timeout":       func(c *Config) { c.Hub.PongTimeout = c.Hub.Heartbeat * 2 },
		"seal.require":           func(c *Config) { c.Seal.Require, c.Seal.Modes = true, nil },
		"store.window":           func(c *Config) { c.Store.Window = c.Store.Timeout/2 + 1 },
		"hub.drain":              func(c *Config) { c.Hub.Drain = c.HTTP.ShutdownTimeout },
		"hub.message_burst":      func(c *Config) { c.Hub.MessageBurst = 0 },
		"hub.outbound":           func(c *Config) { c.Hub.Outbound = c.Push.MaxPayload },
		"push.default_ttl":       func(c *Config) { c.Push.DefaultTTL = 31 * 24 * time.Hour },
		"push.mailbox_bytes":     func(c *Config) { c.Push.MailboxBytes = 7 },
		"tokens.secret":          func(c *Config) { c.Tokens.Secret = "short" },
		"tokens.refresh_age":     func(c *Config) { c.Tokens.RefreshAge = c.Tokens.TTL + 1 },
		"tokens.outside":         func(c *Config) { c.Tokens.Outside = []string{"kid issuer"} },
		"store.sync":             func(c *Config) { c.Store.Sync = "maybe" },
		"snowflake.node":         func(c *Config) { c.Snowflake.Node = 1024 },
		"snowflake.origin":       func(c *Config) { c.Snowflake.Origin = time.Now().Add(time.Hour) },
		"log.level":              func(c *Config) { c.Log.Level = "loud" },
		"log.max_size":           func(c *Config) { c.Log.MaxSize = 1<<20 + 1 },
		"log.max_age":            func(c *Config) { c.Log.MaxAge = time.Hour },
	} {
		c := base()
		edit(&c)
		err := c.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), key+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestRequiredSealingNeedsKeys(t *testing.T) {
	c := base()
	c.Seal.Require = true
	if err := c.Validate(); err != nil {
		t.Errorf("the data folder's own keys are refused: %v", err)
	}
	c.Store.DSN, c.Store.Path = "sunzi:secret@tcp(127.0.0.1:3306)/sunzi", ""
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "seal.require: ") || !strings.Contains(err.Error(), "sunzi key make") {
		t.Errorf("a cluster without keys: %v", err)
	}
	c.Seal.KeyFile = "seal.keys"
	if err := c.Validate(); err != nil && strings.Contains(err.Error(), "seal.require") {
		t.Errorf("a cluster with keys: %v", err)
	}
}

func TestWhatIsShownCanBeLoadedAndShowsNoSecret(t *testing.T) {
	c := base()
	c.HTTP.WebSocketOrigins = []string{"https://a.example", "*"}
	c.Hub.Heartbeat = 90 * time.Second
	for _, details := range []Details{WithOrigins, WithDocs} {
		var b bytes.Buffer
		if err := Write(&b, Loaded{Config: c}, details); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), secret) {
			t.Fatal("the secret is shown")
		}
		l, err := Load(Sources{Base: Config{}, File: file(t, b.String()), Environ: []string{"SUNZI_TOKENS_SECRET=" + secret}})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range Fields() {
			if got, want := f.Text(l.Config), f.Text(c); got != want {
				t.Errorf("%s came back as %s, was %s", f.Key, got, want)
			}
		}
	}
}

func TestASecretHidesWhereverItIsPrinted(t *testing.T) {
	c := base()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%v %+v %#v %s %q", c, c, c, c.Tokens.Secret, c.Tokens.Secret)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "c", c.Tokens, "s", c.Tokens.Secret)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "c", c.Tokens, "s", c.Tokens.Secret)
	if strings.Contains(b.String(), secret) {
		t.Fatal(b.String())
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "7": 7, "7B": 7, "64KiB": 64 << 10, " 3 MiB ": 3 << 20, "2GiB": 2 << 30} { //nolint:gocritic // spaces round a number are allowed
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%q = %d, %v", text, b, err)
		}
		var again Bytes
		if err := again.UnmarshalText([]byte(b.String())); err != nil || again != b {
			t.Errorf("%s came back as %d, %v", b, again, err)
		}
	}
	for _, text := range []string{"", "-1", "1KB", "1.5MiB", "9223372036854775807GiB", "MiB"} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q = %d", text, b)
		}
	}
}

func TestAuthorityConfigReadsTheSecretFileAndOutsideKeys(t *testing.T) {
	c := Default()
	c.Tokens.SecretFile = file(t, "  "+secret+"\n")
	c.Tokens.Outside = []string{"k1 https://id.example " + base64.StdEncoding.EncodeToString(make([]byte, 32))}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	a, err := c.AuthorityConfig()
	if err != nil {
		t.Fatal(err)
	}
	if string(a.Secret) != secret || a.Outside["k1"].Issuer != "https://id.example" || a.Validate() != nil {
		t.Fatalf("%+v", a)
	}
	c.Tokens.SecretFile = file(t, "short")
	if _, err := c.AuthorityConfig(); err == nil || strings.Contains(err.Error(), "short") {
		t.Fatalf("a short secret: %v", err)
	}
	if err := c.PushConfig(); err.MaxPayload != int(c.Push.MaxPayload) {
		t.Fatal("the payload limit was lost")
	}
}

func FuzzLoadFile(f *testing.F) {
	var b bytes.Buffer
	if err := Write(&b, Loaded{Config: base()}, WithDocs); err != nil {
		f.Fatal(err)
	}
	f.Add(b.String())
	f.Add("hub: 7")
	f.Add("hub: {heartbeat: [1]}")
	f.Add("? [a]\n: b")
	path := filepath.Join(f.TempDir(), "f.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := Load(Sources{Base: base(), File: path}); err == nil {
			if err := l.Config.Validate(); err != nil {
				t.Fatalf("loaded and invalid: %v", err)
			}
		}
	})
}
