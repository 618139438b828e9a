package push

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func ttl(d time.Duration) *time.Duration { return &d }

func to(ids ...string) Target { return Target{Clients: ids} }

func TestValidateFillsInDefaults(t *testing.T) {
	cfg := DefaultConfig()
	for _, c := range []struct {
		name  string
		in    Request
		store StoreMode
		ttl   *time.Duration
	}{
		{"to a client", Request{Target: to("a")}, StoreAlways, &cfg.DefaultTTL},
		{"to all", Request{Target: Target{All: true}}, StoreNever, nil},
		{"to all, kept", Request{Target: Target{All: true}, Store: StoreAlways}, StoreAlways, &cfg.DefaultTTL},
		{"now or never", Request{Target: to("a"), TTL: ttl(0)}, StoreNever, ttl(0)},
		{"offline", Request{Target: to("a"), Store: StoreOffline, TTL: ttl(MaxTTL)}, StoreOffline, ttl(MaxTTL)},
		{"live with a limit", Request{Target: to("a"), Store: StoreNever, TTL: ttl(time.Minute)}, StoreNever, ttl(time.Minute)},
	} {
		if err := c.in.Validate(cfg); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.in.Store != c.store || fmt.Sprint(deref(c.in.TTL)) != fmt.Sprint(deref(c.ttl)) || c.in.Priority != DefaultPriority || c.in.Seal != SealAuto {
			t.Errorf("%s became %+v", c.name, c.in)
		}
	}
}

func deref(d *time.Duration) any {
	if d == nil {
		return nil
	}
	return *d
}

func TestValidateNamesTheField(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxPayload = 1000
	many := make([]string, MaxTargets+1)
	for i := range many {
		many[i] = fmt.Sprint("c", i)
	}
	for _, c := range []struct {
		in    Request
		code  Code
		field string
	}{
		{Request{}, CodeInvalidTarget, "to:"},
		{Request{Target: Target{Clients: []string{"a"}, All: true}}, CodeInvalidTarget, "to:"},
		{Request{Target: Target{Group: "g/h"}}, CodeInvalidTarget, "to.group:"},
		{Request{Target: Target{Group: "g", Realm: " "}}, CodeInvalidTarget, "to.realm:"},
		{Request{Target: to("a", "")}, CodeInvalidTarget, "to.clients[1]:"},
		{Request{Target: to("a", "b", "a")}, CodeInvalidTarget, "to.clients[2]:"},
		{Request{Target: to(many...)}, CodeInvalidTarget, "to.clients:"},
		{Request{Target: to("a"), Data: []byte("1"), Bytes: []byte{}}, CodeInvalidField, "data:"},
		{Request{Target: to("a"), Bytes: make([]byte, 1001)}, CodeTooLarge, "data:"},
		{Request{Target: to("a"), Data: []byte(strings.Repeat("[", 65) + strings.Repeat("]", 65))}, CodeInvalidField, "data:"},
		{Request{Target: to("a"), Data: []byte("\"\xff\"")}, CodeInvalidField, "data:"},
		{Request{Target: to("a"), TTL: ttl(-1)}, CodeInvalidField, "ttl:"},
		{Request{Target: to("a"), TTL: ttl(MaxTTL + 1)}, CodeInvalidField, "ttl:"},
		{Request{Target: to("a"), TTL: ttl(0), Store: StoreOffline}, CodeInvalidField, "ttl:"},
		{Request{Target: to("a"), Store: "x"}, CodeInvalidField, "store:"},
		{Request{Target: to("a"), Store: StoreNever, NotBefore: time.Now()}, CodeInvalidField, "not_before:"},
		{Request{Target: to("a"), Store: StoreNever, CollapseKey: "k"}, CodeInvalidField, "collapse_key:"},
		{Request{Target: to("a"), CollapseKey: strings.Repeat("k", 65)}, CodeInvalidField, "collapse_key:"},
		{Request{Target: to("a"), Topic: "a\nb"}, CodeInvalidField, "topic:"},
		{Request{Target: to("a"), Priority: 6}, CodeInvalidField, "priority:"},
		{Request{Target: to("a"), Seal: "x"}, CodeInvalidField, "seal:"},
		{Request{Target: to("a"), Attachment: &Attachment{URL: "/x"}}, CodeInvalidField, "attachment.url:"},
		{Request{Target: to("a"), Attachment: &Attachment{URL: "https://x/", Size: -1}}, CodeInvalidField, "attachment.size:"},
		{Request{Target: to("a"), Attachment: &Attachment{URL: "https://x/", Name: "a\x00"}}, CodeInvalidField, "attachment.name:"},
	} {
		err := c.in.Validate(cfg)
		if err == nil || err.Code != c.code || !strings.Contains(err.Message, c.field) {
			t.Errorf("%+v answers %v, want %d naming %s", c.in, err, c.code, c.field)
		}
	}
}

func TestDepthCountsNestingOutsideStrings(t *testing.T) {
	for data, want := range map[string]int{
		``: 0, `1`: 0, `"[[["`: 0, `"\"[["`: 0, `[]`: 1, `{"a":[{}],"b":[]}`: 3, `["]",[["\\"]]]`: 3,
	} {
		if got := depth([]byte(data)); got != want {
			t.Errorf("depth of %s is %d, want %d", data, got, want)
		}
	}
}

func TestWhereSealingIsRequiredEveryPushRequiresIt(t *testing.T) {
	cfg := DefaultConfig()
	cfg.RequireSeal = true
	for asked, want := range map[SealMode]SealMode{
		"": SealRequired, SealAuto: SealRequired, SealRequired: SealRequired, SealCRT: SealCRT, SealAEAD: SealAEAD,
	} {
		r := Request{Target: Target{Clients: []string{"a"}}, Seal: asked}
		if err := r.Validate(cfg); err != nil || r.Seal != want {
			t.Errorf("%q is taken as %q, %v; want %q", asked, r.Seal, err, want)
		}
	}
	live := Request{Target: Target{All: true}}
	if err := live.Validate(cfg); err != nil {
		t.Errorf("a push that is never stored is refused: %v", err)
	}
	none := Request{Target: Target{Clients: []string{"a"}}, Seal: SealNone}
	if err := none.Validate(cfg); err == nil || err.Code != CodeInvalidField || !strings.Contains(err.Message, "seal: this server requires") {
		t.Errorf("none is answered %v", err)
	}
}
