package pushclient

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Token is a client's token.
type Token struct {
	ClientID string `json:"client_id"`
	Realm    string `json:"realm"`
	ID       string `json:"jti"`
	Token    string `json:"token"`
	Expires  Millis `json:"expires"`
}

// Registration is a client to be made. All fields may be empty.
type Registration struct {
	ClientID string // empty: the server makes one
	Realm    string
	Device   string        // the only device that may use the token
	TTL      time.Duration // of the token; zero: the server's default
}

func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// Register makes a client with an empty mailbox and answers its first token.
// It is repeated only where the server said that nothing was done.
func (c *Client) Register(ctx context.Context, r Registration) (Token, error) {
	in := struct {
		ClientID string `json:"client_id,omitempty"`
		Realm    string `json:"realm,omitempty"`
		Device   string `json:"device,omitempty"`
		TTL      int64  `json:"ttl,omitempty"`
	}{r.ClientID, r.Realm, r.Device, seconds(r.TTL)}
	var out Token
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/clients", in: in, out: &out, repeat: repeatRefused})
	return out, err
}

// ClientStatus is a client as the server sees it.
type ClientStatus struct {
	ClientID    string       `json:"client_id"`
	Realm       string       `json:"realm"`
	Online      bool         `json:"online"`
	Node        string       `json:"node"`
	Connections []Connection `json:"connections"`
	Incarnation string       `json:"incarnation"`
	Head        uint64       `json:"head,string"`        // highest sequence given out
	Cursor      uint64       `json:"cursor,string"`      // highest acked
	ReadCursor  uint64       `json:"read_cursor,string"` // highest read by a person
	Backlog     Backlog      `json:"backlog"`
	Error       *ItemError   `json:"error"` // of a client asked for in bulk that is unknown
	// Incomplete: other nodes could not be asked; theirs is missing.
	Incomplete bool `json:"incomplete"`
}

// Connection is one of a client's connections.
type Connection struct {
	Session       string `json:"session"`
	Node          string `json:"node"`      // that holds it, where it has a name
	Transport     string `json:"transport"` // websocket or sse
	Remote        string `json:"remote"`
	Connected     Millis `json:"connected"`
	LastMessage   Millis `json:"last_message"`
	LastHeartbeat Millis `json:"last_heartbeat"`
	TokenID       string `json:"token_id"`
	Outbound      int    `json:"outbound"` // bytes waiting
}

// Backlog is what a client has not yet acked.
type Backlog struct {
	Count  int    `json:"count"`
	Bytes  int64  `json:"bytes"`
	Oldest Millis `json:"oldest"`
}

// ItemError is one item's error in an answer about several.
type ItemError struct {
	Code      int    `json:"code"`
	Name      string `json:"name"`
	Detail    string `json:"detail"`
	Retryable bool   `json:"retryable"`
}

// Client is one client's status.
func (c *Client) Client(ctx context.Context, realm, id string) (ClientStatus, error) {
	var out ClientStatus
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/clients/" + esc(id), query: inRealm(realm), out: &out})
	return out, err
}

// Clients is the status of up to 1,000, in the order asked for.
func (c *Client) Clients(ctx context.Context, realm string, ids []string) ([]ClientStatus, error) {
	in := struct {
		Realm   string   `json:"realm,omitempty"`
		Clients []string `json:"clients"`
	}{realm, ids}
	var out struct {
		Clients []ClientStatus `json:"clients"`
	}
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/clients/status", in: in, out: &out})
	return out.Clients, err
}

// Forget deletes a client with its mailbox, memberships and tokens.
func (c *Client) Forget(ctx context.Context, realm, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/clients/" + esc(id), query: inRealm(realm), repeat: repeatRefused})
}

// Disconnect closes a client's connections and answers how many.
func (c *Client) Disconnect(ctx context.Context, realm, id string) (int, error) {
	var out struct {
		Closed int `json:"closed"`
	}
	err := c.do(ctx, call{method: http.MethodDelete, path: "/v1/clients/" + esc(id) + "/connections", query: inRealm(realm), out: &out})
	return out.Closed, err
}

// HistoryQuery asks for part of a mailbox. Zero fields do not restrict.
type HistoryQuery struct {
	Page
	After, Before uint64 // sequences, exclusive
	From, To      time.Time
	State         State
}

// History is a page of a mailbox, ascending.
type History struct {
	Messages []HistoryEntry `json:"messages"`
	Next     string         `json:"next"`
}

// HistoryEntry is one entry; Message is as the client gets it, nil where the
// content is gone.
type HistoryEntry struct {
	Seq     uint64          `json:"seq,string"`
	ID      string          `json:"id"`
	State   State           `json:"state"`
	Reason  string          `json:"reason"`
	Sent    Millis          `json:"sent"`
	Message json.RawMessage `json:"message"`
}

// History reads a client's mailbox, with what was delivered.
func (c *Client) History(ctx context.Context, realm, id string, q HistoryQuery) (History, error) {
	v := q.query(inRealm(realm))
	if q.After > 0 {
		v.Set("after", strconv.FormatUint(q.After, 10))
	}
	if q.Before > 0 {
		v.Set("before", strconv.FormatUint(q.Before, 10))
	}
	if !q.From.IsZero() {
		v.Set("from", strconv.FormatInt(q.From.UnixMilli(), 10))
	}
	if !q.To.IsZero() {
		v.Set("to", strconv.FormatInt(q.To.UnixMilli(), 10))
	}
	if q.State != "" {
		v.Set("status", string(q.State))
	}
	var out History
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/clients/" + esc(id) + "/messages", query: v, out: &out})
	return out, err
}

// Redrive places dead letters again, at new sequences; no seqs means all. It
// answers how many. Sealed ones are passed over; where there are no others the
// error says so: push their content anew.
func (c *Client) Redrive(ctx context.Context, realm, id string, seqs ...uint64) (int, error) {
	var in struct {
		Seqs []string `json:"seqs,omitempty"`
	}
	for _, s := range seqs {
		in.Seqs = append(in.Seqs, strconv.FormatUint(s, 10))
	}
	var out struct {
		Redriven int `json:"redriven"`
	}
	q := inRealm(realm)
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/clients/" + esc(id) + "/redrive", query: q, in: in, out: &out, repeat: repeatRefused})
	return out.Redriven, err
}
