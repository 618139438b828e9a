package hub

import (
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"time"
)

// Config is what an operator may set of the hub. Times are rounded to
// milliseconds; they are watched every [Config.tick].
type Config struct {
	// Loops is the number of event loops; zero is GOMAXPROCS. More than
	// there are processors gains nothing.
	Loops int

	// Heartbeat is the pause between two pings to one connection. Shorter
	// finds dead peers sooner and costs a write and a read each. A peer that
	// does not answer is gone after Heartbeat+PongWait at the latest.
	Heartbeat time.Duration
	// PongWait is how long after a ping any byte must come, and less than
	// Heartbeat, so that a half-open peer is found within two intervals.
	PongWait time.Duration
	// HelloWait is how long a client may take to say hello before it is
	// served from the server's cursor.
	HelloWait time.Duration
	// SealWait is how long a client that asks for sealing may take to make keys;
	// nothing with content is sent to it before, so that what is pushed waits.
	SealWait time.Duration
	// IdleTimeout closes a connection on which nothing but heartbeats
	// passed for so long. Zero is never.
	IdleTimeout time.Duration
	// ExpiryWarning is how long before its token's end a client is told.
	ExpiryWarning time.Duration

	// UpgradeTimeout bounds the check of credentials and the handshake's
	// answer.
	UpgradeTimeout time.Duration
	// MessageTimeout is how long a started frame, or a message of several
	// frames, may take from its first byte to its last.
	MessageTimeout time.Duration
	// WriteTimeout is how long a peer may take nothing of what waits for it.
	WriteTimeout time.Duration
	// CloseTimeout is how long the close handshake may take; then the socket
	// is closed without it.
	CloseTimeout time.Duration

	// Drain is the time over which a shutdown spreads its closes. Zero
	// closes all at once.
	Drain time.Duration
	// ComeBack is the longest delay that a shutdown suggests to a client;
	// each is told a random part of it, so that they do not all return in
	// the same moment.
	ComeBack time.Duration

	// MaxFrame and MaxMessage bound what a client sends, in bytes.
	MaxFrame   int64
	MaxMessage int64
	// MaxConnections bounds connections here, half-done upgrades included;
	// zero is no bound but the descriptors'.
	MaxConnections int
	// PerClient is how many connections one client may have; the oldest is
	// closed for one more. At least 1.
	PerClient int
	// PerAddress bounds connections of one IPv4 address or IPv6 /64; zero is
	// no bound, which is right behind a proxy, where all share its address.
	PerAddress int
	// ConnectRate and ConnectBurst bound new connections per second. Zero is
	// no bound.
	ConnectRate  float64
	ConnectBurst int
	// MessageRate and MessageBurst bound what one connection sends, in
	// messages and control frames per second: beyond it the server stops
	// reading for as long. Zero is no bound.
	MessageRate  float64
	MessageBurst int
	// Outbound is how many bytes may wait for one connection when the kernel
	// takes no more; beyond it the session goes back to replay, beyond twice
	// as much it is closed. The mailbox is the queue, so that this need not
	// be large: it is what a page of replay may hold, and what each slow
	// reader costs.
	Outbound int

	// Origins is the allow-list of Origin headers: "https://app.example",
	// "https://*.app.example" for any host below, "*" for all. The server's
	// own host and requests without Origin are always allowed.
	Origins []string
	// QueryToken allows ?token=. It ends up in the logs of proxies.
	QueryToken bool
	// LogConnections logs each connect and disconnect at level info rather
	// than debug; written from the event loops, so that a log that blocks
	// stops them.
	LogConnections bool
}

// DefaultConfig is what runs when nothing is configured.
func DefaultConfig() Config {
	return Config{
		Heartbeat:      25 * time.Second,
		PongWait:       10 * time.Second,
		HelloWait:      time.Second,
		SealWait:       30 * time.Second,
		ExpiryWarning:  60 * time.Second,
		UpgradeTimeout: 5 * time.Second,
		MessageTimeout: 30 * time.Second,
		WriteTimeout:   30 * time.Second,
		CloseTimeout:   5 * time.Second,
		Drain:          5 * time.Second,
		ComeBack:       3 * time.Second,
		MaxFrame:       64 << 10,
		MaxMessage:     64 << 10,
		MaxConnections: 1_000_000,
		PerClient:      1,
		ConnectRate:    10_000,
		ConnectBurst:   20_000,
		MessageRate:    200,
		MessageBurst:   1000,
		Outbound:       512 << 10,
	}
}

// Validate reports all problems at once, each naming its field.
func (c Config) Validate() error {
	var errs []error
	bad := func(cond bool, format string, args ...any) {
		if cond {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for _, f := range []struct {
		name  string
		value time.Duration
		least time.Duration
	}{
		{"Heartbeat", c.Heartbeat, time.Millisecond}, {"PongWait", c.PongWait, time.Millisecond},
		{"HelloWait", c.HelloWait, time.Millisecond}, {"SealWait", c.SealWait, time.Millisecond},
		{"IdleTimeout", c.IdleTimeout, 0},
		{"ExpiryWarning", c.ExpiryWarning, 0}, {"UpgradeTimeout", c.UpgradeTimeout, time.Millisecond},
		{"MessageTimeout", c.MessageTimeout, time.Millisecond}, {"WriteTimeout", c.WriteTimeout, time.Millisecond},
		{"CloseTimeout", c.CloseTimeout, time.Millisecond}, {"Drain", c.Drain, 0}, {"ComeBack", c.ComeBack, 0},
	} {
		bad(f.value < f.least, "hub: %s is %v, must be at least %v", f.name, f.value, f.least)
		bad(f.value > maxSpan, "hub: %s is %v, must be at most %v", f.name, f.value, maxSpan)
	}
	bad(c.PongWait > c.Heartbeat, "hub: PongWait (%v) must not be longer than Heartbeat (%v)", c.PongWait, c.Heartbeat)
	for _, f := range []struct {
		name  string
		value float64
		least float64
	}{
		{"Loops", float64(c.Loops), 0}, {"MaxFrame", float64(c.MaxFrame), 125}, {"MaxMessage", float64(c.MaxMessage), 125},
		{"MaxConnections", float64(c.MaxConnections), 0}, {"PerClient", float64(c.PerClient), 1},
		{"PerAddress", float64(c.PerAddress), 0}, {"ConnectRate", c.ConnectRate, 0},
		{"MessageRate", c.MessageRate, 0}, {"Outbound", float64(c.Outbound), 4096},
	} {
		bad(!(f.value >= f.least), "hub: %s is %v, must be at least %v", f.name, f.value, f.least)
	}
	bad(c.ConnectRate > 0 && c.ConnectBurst < 1, "hub: ConnectBurst must be at least 1 where ConnectRate is set")
	bad(c.MessageRate > 0 && c.MessageBurst < 1, "hub: MessageBurst must be at least 1 where MessageRate is set")
	for _, o := range c.Origins {
		bad(!validOrigin(o), `hub: Origins: %q is no origin: write "https://host", "https://*.host" or "*"`, o)
	}
	return errors.Join(errs...)
}

// maxSpan bounds every configured time: loops compare 32-bit milliseconds.
const maxSpan = 14 * 24 * time.Hour

func validOrigin(o string) bool {
	if o == "*" || o == "null" {
		return true
	}
	u, err := url.Parse(strings.Replace(o, "://*.", "://wildcard.", 1))
	return err == nil && u.Scheme != "" && u.Host != "" && u.Path == "" && u.RawQuery == "" && !strings.Contains(u.Host, "*")
}

func (c Config) loops() int {
	if c.Loops > 0 {
		return c.Loops
	}
	return runtime.GOMAXPROCS(0)
}

// tick is how often a loop looks at the deadlines that run: an eighth of the
// shortest, within 2 and 100 ms.
func (c Config) tick() time.Duration {
	t := min(c.Heartbeat, c.PongWait, c.HelloWait, c.SealWait, c.MessageTimeout, c.WriteTimeout, c.CloseTimeout)
	if c.IdleTimeout > 0 {
		t = min(t, c.IdleTimeout)
	}
	return max(2*time.Millisecond, min(t/8, 100*time.Millisecond))
}
