package pushclient

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Millis is a time in milliseconds since 1970.
type Millis int64

// Time is m as a time; the zero time for zero.
func (m Millis) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m))
}

// Target is whom a push is for: exactly one of Client, Clients, Group and All.
type Target struct {
	Client  string   `json:"client,omitempty"`
	Clients []string `json:"clients,omitempty"` // at most 1,000
	Group   string   `json:"group,omitempty"`
	All     bool     `json:"all,omitempty"`
	Realm   string   `json:"realm,omitempty"` // empty: the API key's, or the default one
}

// Attachment is a link that a push carries.
type Attachment struct {
	URL  string `json:"url"`
	Type string `json:"type,omitempty"` // media type
	Size int64  `json:"size,omitempty"` // bytes
	Name string `json:"name,omitempty"`
}

// Store says what of a push is kept.
type Store string

// The store modes.
const (
	StoreAlways  Store = "always"  // kept as history after delivery
	StoreOffline Store = "offline" // gone once acked
	StoreNever   Store = "never"   // live or nothing
)

// Push is one push. Zero fields have the server's defaults.
type Push struct {
	To    Target
	Topic string
	// Data is anything that encoding/json takes; Bytes, where not nil, goes
	// in its place.
	Data  any
	Bytes []byte
	// TTL is how long it waits, in whole seconds, rounded up; nil is the
	// server's default, zero is now or never.
	TTL         *time.Duration
	Priority    int // 1 to 5
	CollapseKey string
	Store       Store
	// Seal is auto (empty), none, required, crt or aead: see openapi.yaml.
	Seal           string
	NotBefore      time.Time
	Attachment     *Attachment
	IdempotencyKey string // empty: one is made
}

// For is a TTL.
func For(d time.Duration) *time.Duration { return &d }

type pushBody struct {
	To             Target          `json:"to"`
	Topic          string          `json:"topic,omitempty"`
	Data           json.RawMessage `json:"data,omitempty"`
	DataBase64     *string         `json:"data_base64,omitempty"`
	TTL            *int64          `json:"ttl,omitempty"`
	Priority       int             `json:"priority,omitempty"`
	CollapseKey    string          `json:"collapse_key,omitempty"`
	Store          Store           `json:"store,omitempty"`
	Seal           string          `json:"seal,omitempty"`
	NotBefore      int64           `json:"not_before,omitempty"`
	Attachment     *Attachment     `json:"attachment,omitempty"`
	IdempotencyKey string          `json:"idempotency_key,omitempty"`
}

func (p *Push) body() (pushBody, error) {
	b := pushBody{To: p.To, Topic: p.Topic, Priority: p.Priority, CollapseKey: p.CollapseKey,
		Store: p.Store, Seal: p.Seal, Attachment: p.Attachment}
	if p.Bytes != nil {
		s := base64.StdEncoding.EncodeToString(p.Bytes)
		b.DataBase64 = &s
	} else {
		data, err := json.Marshal(p.Data)
		if err != nil {
			return pushBody{}, fmt.Errorf("pushclient: data: %w", err)
		}
		b.Data = data
	}
	if p.TTL != nil {
		s := int64((*p.TTL + time.Second - 1) / time.Second)
		b.TTL = &s
	}
	if !p.NotBefore.IsZero() {
		b.NotBefore = p.NotBefore.UnixMilli()
	}
	return b, nil
}

// Receipt is the answer to an accepted push.
type Receipt struct {
	ID        string      `json:"id"`
	Accepted  Millis      `json:"accepted"`
	Online    int         `json:"online"`    // targets with a live session
	Stored    int         `json:"stored"`    // mailbox entries made
	Duplicate bool        `json:"duplicate"` // the key was known: nothing was pushed again
	Scheduled bool        `json:"scheduled"`
	Expanding bool        `json:"expanding"`
	Rejected  []Rejection `json:"rejected"`
}

// Rejection is a target that was not served.
type Rejection struct {
	Client string `json:"client"`
	Code   int    `json:"code"`
	Name   string `json:"name"`
}

// Push pushes. When it returns without error the push is durable (unless
// Store is never). It is repeated after timeouts and refusals under one
// Idempotency-Key, so that it is accepted once. A *[Error] is the server's
// refusal.
func (c *Client) Push(ctx context.Context, p Push) (Receipt, error) {
	body, err := p.body()
	if err != nil {
		return Receipt{}, err
	}
	key := p.IdempotencyKey
	if key == "" {
		key = newKey()
	}
	var out Receipt
	err = c.do(ctx, call{method: http.MethodPost, path: "/v1/push", in: body, out: &out, key: key})
	return out, err
}

// BatchResult is what became of one push of a bulk push: Err, or a receipt.
type BatchResult struct {
	Receipt
	Status int
	Err    *Error
}

// UnmarshalJSON takes the form of the API.
func (r *BatchResult) UnmarshalJSON(p []byte) error {
	var b struct {
		Receipt
		Status int `json:"status"`
		Error  *struct {
			Code      int    `json:"code"`
			Name      string `json:"name"`
			Detail    string `json:"detail"`
			Retryable bool   `json:"retryable"`
		} `json:"error"`
	}
	if err := json.Unmarshal(p, &b); err != nil {
		return err
	}
	r.Receipt, r.Status, r.Err = b.Receipt, b.Status, nil
	if e := b.Error; e != nil {
		r.Err = &Error{Status: b.Status, Code: e.Code, Name: e.Name, Detail: e.Detail, Retryable: e.Retryable}
	}
	return nil
}

// PushBatch pushes up to 1,000 at once. Results stand in the order of the
// pushes; the error is of the whole call. Items that failed are the caller's
// to repeat: give them IdempotencyKeys of their own to do so safely.
func (c *Client) PushBatch(ctx context.Context, pushes []Push) ([]BatchResult, error) {
	bodies := make([]pushBody, len(pushes))
	for i := range pushes {
		var err error
		if bodies[i], err = pushes[i].body(); err != nil {
			return nil, err
		}
		bodies[i].IdempotencyKey = pushes[i].IdempotencyKey
	}
	in := struct {
		Pushes []pushBody `json:"pushes"`
	}{bodies}
	var out struct {
		Results []BatchResult `json:"results"`
	}
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/push/batch", in: in, out: &out, key: newKey()})
	if err == nil && len(out.Results) != len(pushes) {
		err = fmt.Errorf("%w: %d results for %d pushes", errAnswer, len(out.Results), len(pushes))
	}
	return out.Results, err
}

// State is a push's state for one client.
type State string

// The states.
const (
	StateAccepted  State = "accepted"
	StateStored    State = "stored"
	StateAcked     State = "acked"
	StateRead      State = "read"
	StateExpired   State = "expired"
	StateCancelled State = "cancelled"
	StateDropped   State = "dropped"
	StateFailed    State = "failed"
)

// PushStatus is what became of a push.
type PushStatus struct {
	ID       string        `json:"id"`
	Accepted Millis        `json:"accepted"`
	State    State         `json:"state"`
	Counts   map[State]int `json:"counts"`
	Clients  []ClientState `json:"clients"`
	Next     string        `json:"next"` // page token; empty: no more
}

// ClientState is what became of a push for one client.
type ClientState struct {
	Client string `json:"client"`
	Realm  string `json:"realm"`
	Seq    uint64 `json:"seq,string"`
	State  State  `json:"state"`
	Reason string `json:"reason"`
	At     Millis `json:"at"`
}

// Page asks for one page; the zero Page is the first, of the server's length.
type Page struct {
	Limit int
	Token string // an earlier page's Next
}

func (p Page) query(q url.Values) url.Values {
	if q == nil {
		q = url.Values{}
	}
	if p.Limit > 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	if p.Token != "" {
		q.Set("page", p.Token)
	}
	return q
}

// Status answers what became of a push, and one page of its clients.
func (c *Client) Status(ctx context.Context, id string, page Page) (PushStatus, error) {
	var out PushStatus
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/push/" + esc(id), query: page.query(nil), out: &out})
	return out, err
}

// Cancel ends what of a push is not yet acked, and answers how many entries.
func (c *Client) Cancel(ctx context.Context, id string) (int, error) {
	var out struct {
		Cancelled int `json:"cancelled"`
	}
	err := c.do(ctx, call{method: http.MethodDelete, path: "/v1/push/" + esc(id), out: &out, repeat: repeatRefused})
	return out.Cancelled, err
}
