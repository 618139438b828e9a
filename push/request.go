package push

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// Request is a push as somebody asks for it, before it is an [Envelope].
type Request struct {
	Target      Target
	Topic       string
	Data        json.RawMessage // compact, valid JSON (the caller's promise); nil means null, or that Bytes is set
	Bytes       []byte          // raw data; not nil excludes Data
	TTL         *time.Duration  // nil: [Config.DefaultTTL]; zero: now or never
	Priority    int             // 1 to 5; zero: [DefaultPriority]
	CollapseKey string
	Store       StoreMode // empty: always, and never for All and for a TTL of zero
	Seal        SealMode  // empty: auto
	NotBefore   time.Time // zero: at once
	Attachment  *Attachment
	Idempotency *Idempotency
}

// BatchResult is what became of one request of a bulk push: Receipt counts
// where Err is nil.
type BatchResult struct {
	Receipt Receipt
	Err     *Error
}

// Validate fills in the defaults that depend on nothing but the request and
// cfg (Store, Seal, Priority, and TTL except for store=never), and answers the
// first problem: it names the field as JSON has it, and says the remedy. The
// request is to be used only where it answers nil.
//
// It reads data once (depth, UTF-8) and takes no clock: how far NotBefore may
// lie ahead is [MaxDelay], checked where the time is known.
func (r *Request) Validate(cfg Config) *Error {
	checks := [...]func(Config) *Error{
		r.checkTarget, r.checkData, r.checkStore, r.checkTTL, r.checkNames, r.checkSeal, r.checkAttachment,
	}
	for _, check := range checks {
		if err := check(cfg); err != nil {
			return err
		}
	}
	return nil
}

func (r *Request) checkTarget(Config) *Error {
	t := &r.Target
	named := 0
	for _, set := range []bool{len(t.Clients) > 0, t.Group != "", t.All} {
		if set {
			named++
		}
	}
	switch {
	case named != 1:
		return Errorf(CodeInvalidTarget, "to: name exactly one of client, clients, group and all")
	case !ValidRealm(t.Realm):
		return Errorf(CodeInvalidTarget, "to.realm: %s", nameRule)
	case t.Group != "" && !ValidName(t.Group):
		return Errorf(CodeInvalidTarget, "to.group: %s", nameRule)
	case len(t.Clients) > MaxTargets:
		return Errorf(CodeInvalidTarget, "to.clients: names %d clients, %d are allowed; make a group of them", len(t.Clients), MaxTargets)
	}
	return checkClients(t.Clients)
}

const nameRule = "must be 1 to 100 characters, without control characters, slashes, or a space at either end"

func checkClients(ids []string) *Error {
	for i, id := range ids {
		if !ValidName(id) {
			return Errorf(CodeInvalidTarget, "to.clients[%d]: %s", i, nameRule)
		}
	}
	if len(ids) < 2 {
		return nil
	}
	seen := make(map[string]struct{}, len(ids))
	for i, id := range ids {
		if _, twice := seen[id]; twice {
			return Errorf(CodeInvalidTarget, "to.clients[%d]: %q is named twice; name each client once", i, id)
		}
		seen[id] = struct{}{}
	}
	return nil
}

func (r *Request) checkData(cfg Config) *Error {
	if r.Data != nil && r.Bytes != nil {
		return Errorf(CodeInvalidField, "data: send either data or data_base64, not both")
	}
	if n := max(len(r.Data), len(r.Bytes)); n > cfg.MaxPayload {
		return Errorf(CodeTooLarge, "data: is %d bytes, %d are allowed; send a link as attachment instead", n, cfg.MaxPayload)
	}
	if depth(r.Data) > MaxDataDepth {
		return Errorf(CodeInvalidField, "data: is nested more than %d levels deep", MaxDataDepth)
	}
	// A text frame must be UTF-8 (RFC 6455 section 5.6); JSON from outside
	// need not be, and a client would close on it each time it is replayed.
	if !utf8.Valid(r.Data) {
		return Errorf(CodeInvalidField, "data: is not UTF-8; send other bytes as data_base64")
	}
	return nil
}

// depth is how deep arrays and objects nest in valid JSON.
func depth(data []byte) int {
	deepest, now, inString := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

func (r *Request) checkStore(Config) *Error {
	nowOrNever := r.TTL != nil && *r.TTL == 0
	switch r.Store {
	case "":
		r.Store = StoreAlways
		if r.Target.All || nowOrNever {
			r.Store = StoreNever
		}
	case StoreAlways, StoreOffline:
		if nowOrNever {
			return Errorf(CodeInvalidField, "ttl: 0 means now or never, which store=%s contradicts; leave out one of the two", r.Store)
		}
	case StoreNever:
	default:
		return Errorf(CodeInvalidField, "store: must be always, offline or never")
	}
	if r.Store == StoreNever && !r.NotBefore.IsZero() {
		return Errorf(CodeInvalidField, "not_before: a push with store=never is now or never; use store=offline to schedule it")
	}
	if r.Store == StoreNever && r.CollapseKey != "" {
		return Errorf(CodeInvalidField, "collapse_key: replaces what is stored, which a push with store=never is not; use store=offline")
	}
	return nil
}

func (r *Request) checkTTL(cfg Config) *Error {
	switch {
	case r.TTL == nil && r.Store != StoreNever:
		ttl := min(cfg.DefaultTTL, MaxTTL)
		r.TTL = &ttl
	case r.TTL == nil:
	case *r.TTL < 0:
		return Errorf(CodeInvalidField, "ttl: must be 0 or more seconds")
	case *r.TTL > MaxTTL:
		return Errorf(CodeInvalidField, "ttl: must be at most %d seconds", MaxTTL/time.Second)
	}
	return nil
}

func (r *Request) checkNames(Config) *Error {
	if r.Priority == 0 {
		r.Priority = DefaultPriority
	}
	switch {
	case r.Priority < 1 || r.Priority > 5:
		return Errorf(CodeInvalidField, "priority: must be 1 (lowest) to 5 (highest)")
	case len(r.Topic) > MaxTopicLen || !plain(r.Topic):
		return Errorf(CodeInvalidField, "topic: must be at most %d bytes of UTF-8 without control characters", MaxTopicLen)
	case len(r.CollapseKey) > MaxCollapseKeyLen || !plain(r.CollapseKey):
		return Errorf(CodeInvalidField, "collapse_key: must be at most %d bytes of UTF-8 without control characters", MaxCollapseKeyLen)
	}
	return nil
}

// plain reports whether s is UTF-8 without control characters.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c == 0x7f })
}

func (r *Request) checkSeal(cfg Config) *Error {
	switch r.Seal {
	case "", SealAuto:
		r.Seal = SealAuto
		if cfg.RequireSeal {
			r.Seal = SealRequired
		}
	case SealNone:
		if cfg.RequireSeal {
			return Errorf(CodeInvalidField, "seal: this server requires that every push is sealed, and takes none in clear; leave seal out")
		}
	case SealRequired, SealCRT, SealAEAD:
	default:
		return Errorf(CodeInvalidField, "seal: must be auto, none, required, crt or aead")
	}
	return nil
}

func (r *Request) checkAttachment(Config) *Error {
	a := r.Attachment
	if a == nil {
		return nil
	}
	u, err := url.Parse(a.URL)
	switch {
	case err != nil || len(a.URL) > MaxURLLen || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return Errorf(CodeInvalidField, "attachment.url: must be an absolute http or https URL of at most %d bytes", MaxURLLen)
	case len(a.Type) > MaxTopicLen || !plain(a.Type):
		return Errorf(CodeInvalidField, "attachment.type: must be a media type of at most %d bytes", MaxTopicLen)
	case a.Size < 0:
		return Errorf(CodeInvalidField, "attachment.size: must be 0 or more bytes")
	case len(a.Name) > MaxTopicLen || !plain(a.Name):
		return Errorf(CodeInvalidField, "attachment.name: must be at most %d bytes without control characters", MaxTopicLen)
	}
	return nil
}
