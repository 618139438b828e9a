package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config is what an operator may set of the HTTP API. See each field for
// unit, meaning of zero and trade-off.
type Config struct {
	// BaseURL stands in front of problem types: "https://push.example.com".
	// Empty makes them relative to the server.
	BaseURL string
	// Node is this server's name in the status of clients. Empty: left out.
	Node string

	// RequestTimeout bounds one request, its body included; a push whose
	// time ended may have been accepted. Event streams and sockets are not
	// requests in this sense.
	RequestTimeout time.Duration
	// MaxBody and MaxBatchBody bound the body of a request and of a bulk
	// push, in bytes. They cost memory for as long as a request runs.
	MaxBody      int64
	MaxBatchBody int64
	// MaxTokenTTL bounds the lifetime that a token may be minted with.
	MaxTokenTTL time.Duration

	// Rate is the number of requests that one API key may make per second,
	// Burst how many of them at once; a bulk push counts as one. A client's
	// acks over HTTP are held to the same, each client on its own. They hold
	// on each node, and for all together where Deps.Allower counts. Zero is
	// no limit.
	Rate  float64
	Burst int
	// PerKey bounds the requests of one API key, and the acks of one client,
	// that run at once. Zero is no limit.
	PerKey int

	// TrustedProxies are the prefixes whose X-Forwarded-For is believed.
	// None: the peer is the client.
	TrustedProxies []netip.Prefix

	CORS CORS
	SSE  SSE
}

// CORS says what pages of other origins may do. A request with an Origin that
// is neither this server's nor listed is refused with forbidden_origin.
type CORS struct {
	// Origins are "https://app.example.com", "https://*.example.com" (one
	// or more labels) or "*". Empty: none but the server's own.
	Origins []string
	Methods []string
	Headers []string
	// Credentials lets pages send cookies, which nothing here reads; it is
	// for proxies that do. Refused together with the origin "*".
	Credentials bool
	// MaxAge is how long a browser may keep a preflight's answer.
	MaxAge time.Duration
}

// SSE bounds event streams.
type SSE struct {
	// Heartbeat is the pause after which an idle stream gets a comment: it
	// keeps proxies from closing it, and finds dead peers.
	Heartbeat time.Duration
	// WriteTimeout is how long a client may take to read what was sent.
	// Then the stream ends; the mailbox keeps the rest.
	WriteTimeout time.Duration
	// ExpiryWarning is how long before its token ends a session is told.
	// Zero: never.
	ExpiryWarning time.Duration
	// Queue is how many offers and notices may wait for a stream; offers
	// beyond are read from the mailbox later.
	Queue int
	// PageBytes bounds what is read from a mailbox at a time.
	PageBytes int
	// MaxStreams bounds the streams of this node. Each costs a goroutine
	// and its buffers, some tens of KiB. Zero is no limit.
	MaxStreams int
	// QueryToken takes a token from ?token= as well. Off by default:
	// addresses end up in the logs of proxies.
	QueryToken bool
}

// DefaultConfig is what runs when nothing is configured.
func DefaultConfig() Config {
	return Config{
		RequestTimeout: 15 * time.Second,
		MaxBody:        2 << 20,
		MaxBatchBody:   32 << 20,
		MaxTokenTTL:    366 * 24 * time.Hour,
		CORS: CORS{
			Methods: []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
			Headers: []string{"Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", requestIDHeader},
			MaxAge:  10 * time.Minute,
		},
		SSE: SSE{
			Heartbeat:     25 * time.Second,
			WriteTimeout:  20 * time.Second,
			ExpiryWarning: 5 * time.Minute,
			Queue:         256,
			PageBytes:     64 << 10,
			MaxStreams:    10_000,
		},
	}
}

// Validate answers all problems, joined.
func (c Config) Validate() error {
	var problems []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf("api: "+format, args...))
		}
	}
	if c.BaseURL != "" {
		u, err := url.Parse(c.BaseURL)
		check(err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https"),
			"BaseURL must be an http or https URL, as in https://push.example.com")
	}
	check(c.RequestTimeout > 0, "RequestTimeout must be above 0")
	check(c.MaxBody > 0, "MaxBody must be above 0")
	check(c.MaxBatchBody >= c.MaxBody, "MaxBatchBody must not be below MaxBody")
	check(c.MaxTokenTTL >= time.Second, "MaxTokenTTL must be a second or more")
	check(c.Rate >= 0 && c.Burst >= 0 && c.PerKey >= 0, "Rate, Burst and PerKey must not be negative")
	check(c.Rate == 0 || c.Burst > 0, "Burst must be above 0 where Rate is set")
	for _, o := range c.CORS.Origins {
		check(validOrigin(o), "CORS.Origins: %q must be *, or scheme://host[:port] without a path", o)
	}
	check(!c.CORS.Credentials || !slices.Contains(c.CORS.Origins, "*"),
		"CORS.Credentials with the origin * would hand every page the user's cookies; list the origins")
	check(c.SSE.Heartbeat > 0 && c.SSE.WriteTimeout > 0, "SSE.Heartbeat and SSE.WriteTimeout must be above 0")
	check(c.SSE.Queue > 0 && c.SSE.PageBytes > 0, "SSE.Queue and SSE.PageBytes must be above 0")
	check(c.SSE.ExpiryWarning >= 0 && c.SSE.MaxStreams >= 0, "SSE.ExpiryWarning and SSE.MaxStreams must not be negative")
	return errors.Join(problems...)
}

func validOrigin(o string) bool {
	if o == "*" {
		return true
	}
	u, err := url.Parse(strings.Replace(o, "://*.", "://any.", 1))
	return err == nil && u.Scheme != "" && u.Host != "" && u.Path == "" && u.RawQuery == "" && !strings.Contains(u.Host, "*")
}
