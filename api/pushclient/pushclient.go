// Package pushclient is the Go client of Sunzi's HTTP API, for application
// servers: it pushes, asks what became of a push, and manages clients, groups
// and tokens. api/openapi.yaml is the contract; api/CLIENTS.md section 10 says
// how requests are repeated.
//
// Read first: [New], [Client.Push], [Push], [Error].
//
// A [Client] may be used from any goroutine. It starts none of its own. Every
// call blocks until it has an answer, its context ends, or its tries are used
// up.
//
// It does not receive pushes: package wsclient does.
package pushclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client calls one server. Made by [New]; immutable from then on.
type Client struct {
	base    string
	key     string
	http    *http.Client
	tries   int
	timeout time.Duration
	min     time.Duration
	max     time.Duration
}

// Option changes a client's defaults.
type Option func(*Client)

// WithHTTP takes the transport's place; the default is http.DefaultClient's.
func WithHTTP(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithTries is how often one call is tried at most; the default is 5. One
// tries once.
func WithTries(n int) Option { return func(c *Client) { c.tries = n } }

// WithTimeout bounds one try; the default is 15 s. A push whose try timed out
// is tried again under the same Idempotency-Key.
func WithTimeout(d time.Duration) Option { return func(c *Client) { c.timeout = d } }

// WithBackoff is base and cap of the delay between tries, full jitter; the
// default is 250 ms and 5 s.
func WithBackoff(base, most time.Duration) Option {
	return func(c *Client) { c.min, c.max = base, most }
}

const (
	maxResponse   = 64 << 20         // bytes of one answer
	maxRetryAfter = 60 * time.Second // beyond it the error is returned
)

// New makes a client of the server at baseURL (http or https, perhaps with a
// path) with an API key. It does not connect.
func New(baseURL, key string, opts ...Option) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New("pushclient: the base URL must be http://host or https://host, perhaps with a path")
	}
	if key == "" || strings.ContainsAny(key, " \t\r\n") {
		return nil, errors.New("pushclient: an API key is needed, without spaces")
	}
	c := &Client{
		base: strings.TrimSuffix(u.String(), "/"), key: key, http: http.DefaultClient,
		tries: 5, timeout: 15 * time.Second, min: 250 * time.Millisecond, max: 5 * time.Second,
	}
	for _, o := range opts {
		o(c)
	}
	if c.http == nil || c.tries < 1 || c.timeout <= 0 || c.min <= 0 || c.max < c.min {
		return nil, errors.New("pushclient: tries and times must be above zero")
	}
	return c, nil
}

// repeat says what may be done after a try whose outcome is unknown.
type repeat uint8

const (
	repeatAlways  repeat = iota // doing it twice is doing it once
	repeatRefused               // only where the server says that nothing was done
)

// call is one request, perhaps tried several times.
type call struct {
	method string
	path   string // escaped
	query  url.Values
	in     any // nil: no body
	out    any // nil: the answer's body is of no interest
	key    string
	repeat repeat
}

func (c *Client) do(ctx context.Context, r call) error {
	var body []byte
	if r.in != nil {
		var err error
		if body, err = json.Marshal(r.in); err != nil {
			return fmt.Errorf("pushclient: %w", err)
		}
	}
	for try := 1; ; try++ {
		err := c.once(ctx, r, body)
		if err == nil {
			return nil
		}
		wait, again := c.again(r, err, try)
		if !again || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, ctx.Err())
		}
	}
}

// again says whether and when to repeat.
func (c *Client) again(r call, err error, try int) (time.Duration, bool) {
	if try >= c.tries {
		return 0, false
	}
	var e *Error
	advised := time.Duration(0)
	if errors.As(err, &e) {
		if e.Status != http.StatusTooManyRequests && e.Status < 500 {
			return 0, false
		}
		if r.repeat == repeatRefused && e.Status != http.StatusTooManyRequests && e.Status != http.StatusServiceUnavailable {
			return 0, false
		}
		advised = e.RetryAfter
	} else if r.repeat == repeatRefused || errors.Is(err, errAnswer) {
		return 0, false
	}
	if advised > 0 {
		return advised, advised <= maxRetryAfter
	}
	most := c.max
	if shift := try - 1; shift < 30 {
		most = min(most, c.min<<shift)
	}
	return time.Duration(mathrand.Float64() * float64(most)), true
}

// errAnswer is an answer that is not of this API; asking again won't help.
var errAnswer = errors.New("pushclient: the answer can't be read")

func (c *Client) once(ctx context.Context, r call, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("pushclient: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Accept", "application/json, application/problem+json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("pushclient: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	p, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	switch {
	case err != nil:
		return fmt.Errorf("pushclient: reading the answer: %w", err)
	case len(p) > maxResponse:
		return fmt.Errorf("%w: more than %d bytes", errAnswer, maxResponse)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return problem(resp, p)
	case r.out == nil:
		return nil
	}
	if err := json.Unmarshal(p, r.out); err != nil {
		return fmt.Errorf("%w: %w", errAnswer, err)
	}
	return nil
}

// newKey is an Idempotency-Key of 128 random bits.
func newKey() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func retryAfter(v string) time.Duration {
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// inRealm is the query that names a realm.
func inRealm(realm string) url.Values {
	if realm == "" {
		return nil
	}
	return url.Values{"realm": {realm}}
}

func esc(s string) string { return url.PathEscape(s) }
