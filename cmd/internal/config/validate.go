package config

import (
	"cmp"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/cluster"
	"github.com/sunzi-push/sunzi/push/snowflake"
	"github.com/sunzi-push/sunzi/push/token"
	"github.com/sunzi-push/sunzi/store"
)

// checks gathers problems, each with its key.
type checks struct{ problems []error }

func (p *checks) that(ok bool, key, remedy string, args ...any) {
	if !ok {
		p.problems = append(p.problems, fmt.Errorf(key+": "+remedy, args...))
	}
}

// Validate returns all problems at once, each naming its key and the remedy.
func (c Config) Validate() error {
	p := &checks{}
	c.checkServer(p)
	c.checkTLS(p)
	c.checkHub(p)
	c.checkPush(p)
	c.checkTokens(p)
	c.checkRest(p)
	return errors.Join(p.problems...)
}

func address(s string) bool {
	_, port, err := net.SplitHostPort(s)
	n, perr := strconv.ParseUint(port, 10, 16)
	return err == nil && perr == nil && n <= 65535
}

func (c Config) checkServer(p *checks) {
	p.that(address(c.Listen), "listen", "%q is no address; write host:port, as in 127.0.0.1:8080", c.Listen)
	p.that(c.Admin.Listen == "" || address(c.Admin.Listen), "admin.listen", "%q is no address; write host:port, or \"\" for none", c.Admin.Listen)
	p.that(c.Admin.Listen == "" || c.Admin.Listen != c.Listen || strings.HasSuffix(c.Listen, ":0"), "admin.listen", "is the same as listen; take another port")
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		p.that(err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https"), "public_url", "%q is no URL; write https://push.example.com", c.PublicURL)
	}
	p.that(c.Data != "", "data", "must name a folder, as in data")
	h := c.HTTP
	positive(p, "http.request_timeout", h.RequestTimeout)
	positive(p, "http.header_timeout", h.HeaderTimeout)
	positive(p, "http.idle_timeout", h.IdleTimeout)
	positive(p, "http.shutdown_timeout", h.ShutdownTimeout)
	within(p, "http.max_header", h.MaxHeader, 1<<10, 1<<20)
	within(p, "http.max_body", h.MaxBody, 1<<10, 1<<30)
	within(p, "http.max_batch_body", h.MaxBatchBody, h.MaxBody, 1<<30)
	p.that(h.Rate >= 0, "http.rate", "must not be negative; 0 is no limit")
	p.that(h.Rate == 0 || h.Burst > 0, "http.burst", "must be above 0 where http.rate is set")
	p.that(h.Burst >= 0, "http.burst", "must not be negative")
	p.that(h.MaxPending >= 0, "http.max_pending", "must not be negative; 0 is no limit")
	p.that(h.PerKey >= 0, "http.per_key", "must not be negative; 0 is no limit")
	for _, s := range h.TrustedProxies {
		_, err := netip.ParsePrefix(s)
		p.that(err == nil, "http.trusted_proxies", "%q is no prefix; write 10.0.0.0/8 or 192.0.2.7/32", s)
	}
	origins(p, "http.websocket_origins", h.WebSocketOrigins)
	origins(p, "cors.origins", c.CORS.Origins)
	p.that(!c.CORS.Credentials || !slices.Contains(c.CORS.Origins, "*"), "cors.credentials", "would let every page act with a user's cookies, as cors.origins holds *; list the origins")
	p.that(c.CORS.MaxAge >= 0, "cors.max_age", "must not be negative")
	positive(p, "sse.heartbeat", c.SSE.Heartbeat)
	positive(p, "sse.write_timeout", c.SSE.WriteTimeout)
	p.that(c.SSE.Queue > 0, "sse.queue", "must be above 0")
	p.that(c.SSE.MaxStreams >= 0, "sse.max_streams", "must not be negative; 0 is no limit")
}

func (c Config) checkHub(p *checks) {
	h := c.Hub
	within(p, "hub.loops", h.Loops, 0, 1024)
	within(p, "hub.heartbeat", h.Heartbeat, time.Second, time.Hour)
	within(p, "hub.pong_timeout", h.PongTimeout, time.Second/10, h.Heartbeat)
	positive(p, "hub.hello_wait", h.HelloWait)
	p.that(h.IdleTimeout >= 0, "hub.idle_timeout", "must not be negative; 0 is never")
	positive(p, "hub.message_timeout", h.MessageTimeout)
	positive(p, "hub.upgrade_timeout", h.UpgradeTimeout)
	p.that(h.ComeBack >= 0, "hub.come_back", "must not be negative; 0 lets all come back at once")
	positive(p, "hub.write_timeout", h.WriteTimeout)
	positive(p, "hub.close_timeout", h.CloseTimeout)
	p.that(h.Drain >= 0 && h.Drain < c.HTTP.ShutdownTimeout, "hub.drain", "must be 0 or more and below http.shutdown_timeout, which is %s", duration(c.HTTP.ShutdownTimeout))
	within(p, "hub.max_frame", h.MaxFrame, 1<<10, 16<<20)
	within(p, "hub.max_message", h.MaxMessage, h.MaxFrame, 16<<20)
	p.that(h.MaxConnections >= 0, "hub.max_connections", "must not be negative; 0 is no limit")
	within(p, "hub.per_client", h.PerClient, 1, 1000)
	p.that(h.PerAddress >= 0, "hub.per_address", "must not be negative; 0 is no limit")
	rate(p, "hub.connect_rate", "hub.connect_burst", h.ConnectRate, h.ConnectBurst)
	rate(p, "hub.message_rate", "hub.message_burst", h.MessageRate, h.MessageBurst)
	// One message must fit whole, with what surrounds its data.
	within(p, "hub.outbound", h.Outbound, 2*c.Push.MaxPayload, 1<<30)
	p.that(h.ExpiryWarning >= 0, "hub.expiry_warning", "must not be negative; 0 is never")
}

func (c Config) checkPush(p *checks) {
	u := c.Push
	within(p, "push.default_ttl", u.DefaultTTL, time.Second, push.MaxTTL)
	p.that(u.HistoryRetention >= 0, "push.history_retention", "must not be negative; 0 keeps none")
	within(p, "push.max_payload", u.MaxPayload, 1, 8<<20)
	p.that(u.MailboxEntries >= 0, "push.mailbox_entries", "must not be negative; 0 is no bound")
	p.that(u.MailboxBytes == 0 || u.MailboxBytes >= u.MaxPayload, "push.mailbox_bytes", "must be 0 (no bound) or at least push.max_payload, which is %s", u.MaxPayload)
	p.that(slices.Contains([]string{string(push.OverflowReject), string(push.OverflowDrop)}, u.Overflow), "push.overflow", "is %q; take reject or drop", u.Overflow)
	positive(p, "push.idempotency_window", u.IdempotencyWindow)
	within(p, "push.ack_flush", u.AckFlush, 0, time.Minute)
	within(p, "push.readers", u.Readers, 1, 1024)
}

func (c Config) checkTokens(p *checks) {
	t := c.Tokens
	switch {
	case c.Dev: // made on the first start, where none is set
		p.that(t.Secret == "" || len(t.Secret) >= token.MinSecret, "tokens.secret", "has %d bytes; it needs at least %d", len(t.Secret), token.MinSecret)
	case t.Secret != "" && t.SecretFile != "":
		p.that(false, "tokens.secret", "is set beside tokens.secret_file; take one of both")
	case t.SecretFile == "":
		p.that(len(t.Secret) >= token.MinSecret, "tokens.secret", "has %d bytes and needs at least %d; make one with: openssl rand -base64 32, and set tokens.secret_file or SUNZI_TOKENS_SECRET", len(t.Secret), token.MinSecret)
	}
	p.that(t.Issuer != "", "tokens.issuer", "must not be empty")
	p.that(t.Audience != "", "tokens.audience", "must not be empty")
	within(p, "tokens.ttl", t.TTL, time.Second, t.MaxTTL)
	positive(p, "tokens.max_ttl", t.MaxTTL)
	within(p, "tokens.refresh_age", t.RefreshAge, time.Second, t.TTL)
	within(p, "tokens.grace", t.Grace, 0, time.Hour)
	within(p, "tokens.leeway", t.Leeway, 0, time.Minute)
	_, err := outside(t.Outside)
	p.that(err == nil, "tokens.outside", "%v", err)
}

func (c Config) checkSeal(p *checks) {
	s := c.Seal
	p.that(s.KeyFile == "" || s.Keys == "", "seal.keys", "is set beside seal.key_file; take one of both")
	p.that(push.Covers(s.Cover).Known(), "seal.cover", "is %q; take none, direct or all (what was true is all, what was false is none)", s.Cover)
	for _, m := range s.Modes {
		p.that(m == string(push.SealCRT) || m == string(push.SealAEAD), "seal.modes", "has %q; take of crt and aead", m)
	}
	p.that(!s.Require || len(s.Modes) > 0, "seal.require", "is true, and seal.modes offers nothing that clients could ask for; take crt, aead or both into seal.modes")
	p.that(!s.Require || c.Store.DSN == "" || s.KeyFile != "" || s.Keys != "", "seal.require", "is true, and there are no sealing keys; make them with: sunzi key make seal.keys, give the file to every node, and set seal.key_file")
	p.that(slices.Contains([]int{512, 1024, 2048}, s.Bits), "seal.bits", "is %d; take 512, 1024 or 2048", s.Bits)
	within(p, "seal.slots", s.Slots, 1, 1024)
	p.that(s.Bits*s.Slots <= 1<<19, "seal.slots", "times seal.bits is %d, and may be 524288", s.Bits*s.Slots)
}

func (c Config) checkRest(p *checks) {
	c.checkSeal(p)
	s := c.Store
	p.that(slices.Contains([]string{"full", "normal", "off"}, s.Sync), "store.sync", "is %q; take full, normal or off", s.Sync)
	within(p, "store.timeout", s.Timeout, time.Second/10, time.Minute)
	within(p, "store.window", s.Window, 0, min(store.MaxWindow, s.Timeout/2))
	within(p, "store.queue", s.Queue, 1, 1<<20)
	within(p, "store.connections", s.Connections, 1, 256)
	positive(p, "store.offline_keep", s.OfflineKeep)

	p.that(s.DSN == "" || s.Path == "", "store.dsn", "is set beside store.path; take one of both")
	if s.DSN != "" {
		err := store.CheckDSN(string(s.DSN))
		p.that(err == nil, "store.dsn", "%s", strings.TrimPrefix(fmt.Sprint(err), "store: "))
	}
	c.checkCluster(p)

	within(p, "snowflake.node", c.Snowflake.Node, 0, snowflake.MaxNode)
	_, err := snowflake.New(snowflake.Config{Origin: c.Snowflake.Origin})
	p.that(err == nil, "snowflake.origin", "must be a time in the past, at most 69 years ago, in whole milliseconds")

	l := c.Log
	p.that(slices.Contains([]string{"debug", "info", "warn", "error"}, l.Level), "log.level", "is %q; take debug, info, warn or error", l.Level)
	p.that(slices.Contains([]string{"text", "json"}, l.Format), "log.format", "is %q; take text or json", l.Format)
	within(p, "log.max_size", l.MaxSize, 1<<20, 1<<40)
	p.that(l.MaxSize%(1<<20) == 0, "log.max_size", "must be whole MiB, as in 100MiB")
	p.that(l.MaxAge >= 0 && l.MaxAge%(24*time.Hour) == 0, "log.max_age", "must be whole days, as in 14d; 0 is for ever")
	p.that(l.MaxFiles >= 0, "log.max_files", "must not be negative; 0 keeps all")
	p.that(l.Every == 0 || l.Every >= time.Minute, "log.every", "must be at least 1m; 0 rotates by size alone")
}

func (c Config) checkCluster(p *checks) {
	k := c.Cluster
	within(p, "cluster.lease", k.Lease, 3*time.Second, time.Minute)
	within(p, "cluster.number_lease", k.NumberLease, k.Lease, 24*time.Hour)
	within(p, "cluster.timeout", k.Timeout, 10*time.Millisecond, k.Lease)
	within(p, "cluster.head_sweep", k.HeadSweep, time.Second, time.Hour)
	if k.Redis == "" {
		return
	}
	p.that(c.Store.DSN != "", "cluster.redis", "is set without store.dsn; nodes that are joined share a database")
	r := cluster.DefaultConfig()
	r.URL, r.Prefix, r.Lease, r.Beat, r.Timeout = string(k.Redis), k.Prefix, k.Lease, k.Lease/3, k.Timeout
	if err := r.Validate(); err != nil {
		p.that(false, "cluster.redis", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

func positive(p *checks, key string, d time.Duration) {
	p.that(d > 0, key, "is %s and must be above 0", duration(d))
}

func within[T cmp.Ordered](p *checks, key string, v, least, most T) {
	p.that(v >= least && v <= most, key, "is %s and must be %s to %s", show(v), show(least), show(most))
}

func show(v any) string {
	if d, ok := v.(time.Duration); ok {
		return duration(d)
	}
	return fmt.Sprint(v)
}

func rate(p *checks, key, burstKey string, perSecond float64, burst int) {
	p.that(perSecond >= 0, key, "must not be negative; 0 is no limit")
	p.that(burst >= 0 && (perSecond == 0 || burst > 0), burstKey, "must be above 0 where %s is set", key)
}

func origins(p *checks, key string, list []string) {
	for _, o := range list {
		if o == "*" {
			continue
		}
		u, err := url.Parse(strings.Replace(o, "://*.", "://any.", 1))
		ok := err == nil && u.Scheme != "" && u.Host != "" && u.Path == "" && u.RawQuery == "" && !strings.Contains(u.Host, "*")
		p.that(ok, key, "%q is no origin; write https://app.example.com without a path, https://*.example.com, or *", o)
	}
}

// outside reads the outside issuers.
func outside(lines []string) (map[string]token.OutsideKey, error) {
	keys := map[string]token.OutsideKey{}
	for _, line := range lines {
		parts := strings.Fields(line)
		if len(parts) != 3 {
			return nil, fmt.Errorf("%q is not 'kid issuer public-key'", line)
		}
		key, err := base64.StdEncoding.DecodeString(parts[2])
		if err != nil || len(key) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("the key of %q is not the base64 of 32 bytes", parts[0])
		}
		if _, ok := keys[parts[0]]; ok {
			return nil, fmt.Errorf("the kid %q is there twice", parts[0])
		}
		keys[parts[0]] = token.OutsideKey{Issuer: parts[1], Key: key}
	}
	return keys, nil
}
