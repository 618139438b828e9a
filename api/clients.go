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
	if err := a.decode(w, r, &b); err != nil {
		return err
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
	Error       *itemError       `json:"error,omitempty"`
}

// statusOf joins what the mailbox says with the sessions of this node.
func (a *api) statusOf(key push.ClientKey, m *push.Mailbox) clientBody {
	out := clientBody{Client: key.ID, Realm: key.Realm, Connections: []connectionBody{}}
	if m == nil {
		out.Error = itemErrorOf(noClient(key))
		return out
	}
	out.Incarnation = m.Incarnation
	out.Head, out.Cursor, out.ReadCursor = formatSeq(m.Head), formatSeq(m.Cursor), formatSeq(m.ReadCursor)
	out.Backlog = &backlogBody{Count: m.Count, Bytes: m.Bytes, Oldest: optionalMilli(m.Oldest)}
	for _, s := range a.deps.Sessions.Of(key) {
		i := s.Info()
		out.Connections = append(out.Connections, connectionBody{
			Session: i.ID, Transport: i.Transport, Remote: i.Remote, Connected: milli(i.Connected),
			LastMessage: optionalMilli(i.LastMessage), LastHeartbeat: optionalMilli(i.LastHeartbeat),
			TokenID: i.TokenID, Outbound: i.Outbound,
		})
	}
	if out.Online = len(out.Connections) > 0; out.Online {
		out.Node = a.cfg.Node
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
	return a.answer(w, r, http.StatusOK, a.statusOf(key, m))
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
	out := make([]clientBody, len(keys))
	for i, k := range keys {
		out[i] = a.statusOf(k, ms[i])
	}
	return a.answer(w, r, http.StatusOK, map[string]any{"clients": out})
}

func (a *api) disconnect(w http.ResponseWriter, r *http.Request) error {
	key, err := clientParam(r)
	if err != nil {
		return err
	}
	n := a.closeSessions(key, push.CloseDisconnected, "disconnected by the application", func(push.SessionInfo) bool { return true })
	return a.answer(w, r, http.StatusOK, map[string]int{"closed": n})
}

// closeSessions closes the client's sessions on this node that match, and
// answers how many.
func (a *api) closeSessions(key push.ClientKey, code push.CloseCode, reason string, match func(push.SessionInfo) bool) int {
	n := 0
	for _, s := range a.deps.Sessions.Of(key) {
		if match(s.Info()) {
			s.Close(code, reason)
			n++
		}
	}
	return n
}
