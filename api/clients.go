package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// tokenBody is Token of openapi.yaml.
type tokenBody struct {
	Client  string `json:"client_id"`
	Realm   string `json:"realm"`
	ID      string `json:"jti"`
	Token   string `json:"token"`
	Expires int64  `json:"expires"`
}

// tokenTTL checks the lifetime asked for, in seconds; zero where none is.
func (a *api) tokenTTL(asked *int64) (time.Duration, error) {
	if asked == nil {
		return 0, nil
	}
	most := int64(a.cfg.MaxTokenTTL / time.Second)
	if *asked < 1 || *asked > most {
		return 0, push.Errorf(push.CodeInvalidField, "ttl: must be 1 to %d seconds", most)
	}
	return time.Duration(*asked) * time.Second, nil
}

func deviceOK(d string) error {
	if d != "" && !push.ValidName(d) {
		return push.Errorf(push.CodeInvalidField, "device: must be at most %d characters, without control characters, slashes, or a space at either end", push.MaxNameLen)
	}
	return nil
}

func (a *api) registerClient(w http.ResponseWriter, r *http.Request) error {
	var b struct {
		Client *string `json:"client_id"`
		Realm  *string `json:"realm"`
		Device string  `json:"device"`
		TTL    *int64  `json:"ttl"`
	}
	if r.ContentLength != 0 { // without a body: a new client of the default kind
		if err := a.decode(w, r, &b); err != nil {
			return err
		}
	}
	rm, err := realm(r.Context(), b.Realm)
	if err != nil {
		return err
	}
	key := push.ClientKey{Realm: rm}
	if b.Client != nil {
		if key.ID = *b.Client; !push.ValidName(key.ID) {
			return push.Errorf(push.CodeInvalidField, "client_id: must be 1 to %d characters, without control characters, slashes, or a space at either end; leave it out for a new one", push.MaxNameLen)
		}
	}
	ttl, err := a.tokenTTL(b.TTL)
	if err != nil {
		return err
	}
	if err := deviceOK(b.Device); err != nil {
		return err
	}
	if key, err = a.deps.Clients.Register(r.Context(), key); err != nil {
		return err
	}
	// Where minting fails the client stays: POST /v1/tokens gets it a token.
	return a.mint(w, r, token.MintRequest{Realm: key.Realm, Client: key.ID, Device: b.Device, TTL: ttl})
}

func (a *api) mint(w http.ResponseWriter, r *http.Request, m token.MintRequest) error {
	raw, rec, err := a.deps.Authority.Mint(r.Context(), m)
	if err != nil {
		return err
	}
	return a.answer(w, r, http.StatusCreated, tokenBody{
		Client: rec.Client, Realm: rec.Realm, ID: rec.ID, Token: raw, Expires: milli(rec.Expires),
	})
}

func (a *api) forgetClient(w http.ResponseWriter, r *http.Request) error {
	key, err := clientParam(r)
	if err != nil {
		return err
	}
	if err := a.deps.Clients.Forget(r.Context(), key); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type connectionBody struct {
	Session       string `json:"session"`
	Node          string `json:"node,omitempty"`
	Transport     string `json:"transport"`
	Remote        string `json:"remote"`
	Connected     int64  `json:"connected"`
	LastMessage   *int64 `json:"last_message,omitempty"`
	LastHeartbeat *int64 `json:"last_heartbeat,omitempty"`
	TokenID       string `json:"token_id"`
	Outbound      int    `json:"outbound"`
}

type backlogBody struct {
	Count  int    `json:"count"`
	Bytes  int64  `json:"bytes"`
	Oldest *int64 `json:"oldest,omitempty"`
}

// clientBody is ClientStatus of openapi.yaml.
type clientBody struct {
	Client      string           `json:"client_id"`
	Realm       string           `json:"realm"`
	Online      bool             `json:"online"`
	Node        string           `json:"node,omitempty"`
	Connections []connectionBody `json:"connections"`
	Incarnation string           `json:"incarnation,omitempty"`
	Head        string           `json:"head,omitempty"`
	Cursor      string           `json:"cursor,omitempty"`
	ReadCursor  string           `json:"read_cursor,omitempty"`
	Backlog     *backlogBody     `json:"backlog,omitempty"`
	Incomplete  bool             `json:"incomplete,omitempty"`
	Error       *itemError       `json:"error,omitempty"`
}

// statusesOf joins what the mailboxes say with the sessions on all nodes.
func (a *api) statusesOf(ctx context.Context, keys []push.ClientKey, ms []*push.Mailbox) []clientBody {
	sessions, err := a.deps.Clients.Connections(ctx, keys)
	if err != nil {
		a.log.Warn("the status of clients is of this node alone", "request_id", requestID(ctx), "err", err)
	}
	out := make([]clientBody, len(keys))
	for i, k := range keys {
		out[i] = a.statusOf(k, ms[i], sessions[i])
		out[i].Incomplete = err != nil && ms[i] != nil
	}
	return out
}

func (a *api) statusOf(key push.ClientKey, m *push.Mailbox, there push.ClientSessions) clientBody {
	out := clientBody{Client: key.ID, Realm: key.Realm, Connections: []connectionBody{}}
	if m == nil {
		out.Error = itemErrorOf(noClient(key))
		return out
	}
	out.Incarnation = m.Incarnation
	out.Head, out.Cursor, out.ReadCursor = formatSeq(m.Head), formatSeq(m.Cursor), formatSeq(m.ReadCursor)
	out.Backlog = &backlogBody{Count: m.Count, Bytes: m.Bytes, Oldest: optionalMilli(m.Oldest)}
	out.Online = there.Online
	var newest time.Time
	for _, i := range there.Sessions {
		node := i.Node
		if node == "" {
			node = a.cfg.Node
		}
		if !i.Connected.Before(newest) {
			newest, out.Node = i.Connected, node
		}
		out.Connections = append(out.Connections, connectionBody{
			Session: i.ID, Node: node, Transport: i.Transport, Remote: i.Remote, Connected: milli(i.Connected),
			LastMessage: optionalMilli(i.LastMessage), LastHeartbeat: optionalMilli(i.LastHeartbeat),
			TokenID: i.TokenID, Outbound: i.Outbound,
		})
	}
	return out
}

func noClient(key push.ClientKey) *push.Error {
	return push.Errorf(push.CodeNoClient, "client %s does not exist; register it with POST /v1/clients", key)
}

// mailboxOf is the client's mailbox, which it has since it was registered.
func (a *api) mailboxOf(ctx context.Context, key push.ClientKey) (*push.Mailbox, error) {
	ms, err := a.deps.Clients.Mailboxes(ctx, []push.ClientKey{key})
	if err != nil {
		return nil, err
	}
	if ms[0] == nil {
		return nil, noClient(key)
	}
	return ms[0], nil
}

func (a *api) clientStatus(w http.ResponseWriter, r *http.Request) error {
	key, err := clientParam(r)
	if err != nil {
		return err
	}
	m, err := a.mailboxOf(r.Context(), key)
	if err != nil {
		return err
	}
	return a.answer(w, r, http.StatusOK, a.statusesOf(r.Context(), []push.ClientKey{key}, []*push.Mailbox{m})[0])
}

func (a *api) clientStatuses(w http.ResponseWriter, r *http.Request) error {
	var b struct {
		Realm   *string   `json:"realm"`
		Clients clientIDs `json:"clients"`
	}
	if err := a.decode(w, r, &b); err != nil {
		return err
	}
	rm, err := realm(r.Context(), b.Realm)
	if err != nil {
		return err
	}
	if len(b.Clients) == 0 {
		return push.Errorf(push.CodeInvalidField, "clients: must be 1 to %d clients, there are none", push.MaxTargets)
	}
	keys := make([]push.ClientKey, len(b.Clients))
	for i, id := range b.Clients {
		if !push.ValidName(id) {
			return push.Errorf(push.CodeInvalidField, "clients[%d]: is no valid client ID", i)
		}
		keys[i] = push.ClientKey{Realm: rm, ID: id}
	}
	ms, err := a.deps.Clients.Mailboxes(r.Context(), keys)
	if err != nil {
		return err
	}
	return a.answer(w, r, http.StatusOK, map[string]any{"clients": a.statusesOf(r.Context(), keys, ms)})
}

func (a *api) disconnect(w http.ResponseWriter, r *http.Request) error {
	key, err := clientParam(r)
	if err != nil {
		return err
	}
	return a.answer(w, r, http.StatusOK, a.disconnectAll(r.Context(), push.Closing{
		Client: key, Code: push.CloseDisconnected, Reason: "disconnected by the application",
	}))
}

// closedBody tells how many connections were closed. Incomplete: other nodes
// could not be asked.
type closedBody struct {
	Closed     int  `json:"closed"`
	Incomplete bool `json:"incomplete,omitempty"`
}

// disconnectAll closes what is meant on all nodes. That some could not be
// asked is part of the answer, not a failure: what was closed stays closed.
func (a *api) disconnectAll(ctx context.Context, c push.Closing) closedBody {
	n, err := a.deps.Clients.Disconnect(ctx, c)
	if err != nil {
		a.log.Warn("connections were closed on this node alone", "request_id", requestID(ctx), "client", c.Client, "err", err)
	}
	return closedBody{n, err != nil}
}
