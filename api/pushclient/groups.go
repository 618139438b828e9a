package pushclient

import (
	"context"
	"net/http"
	"time"
)

// Group is a named set of clients.
type Group struct {
	Name    string   `json:"group"`
	Realm   string   `json:"realm"`
	Epoch   uint64   `json:"epoch,string"` // grows with each change
	Members int      `json:"members"`
	Events  bool     `json:"events"`  // members are told of joins and leaves
	Clients []string `json:"clients"` // one page of the members
	Next    string   `json:"next"`
}

// Group answers a group and one page of its members.
func (c *Client) Group(ctx context.Context, realm, group string, page Page) (Group, error) {
	return c.group(ctx, call{method: http.MethodGet, path: "/v1/groups/" + esc(group), query: page.query(inRealm(realm))})
}

// Join makes a client a member; the first makes the group.
func (c *Client) Join(ctx context.Context, realm, group, client string) (Group, error) {
	return c.group(ctx, call{method: http.MethodPut, path: member(group, client), query: inRealm(realm)})
}

// Leave ends a membership.
func (c *Client) Leave(ctx context.Context, realm, group, client string) (Group, error) {
	return c.group(ctx, call{method: http.MethodDelete, path: member(group, client), query: inRealm(realm)})
}

// TellMembers has members told of joins and leaves.
func (c *Client) TellMembers(ctx context.Context, realm, group string) (Group, error) {
	return c.setEvents(ctx, realm, group, true)
}

// Hush ends what [Client.TellMembers] began.
func (c *Client) Hush(ctx context.Context, realm, group string) (Group, error) {
	return c.setEvents(ctx, realm, group, false)
}

func (c *Client) setEvents(ctx context.Context, realm, group string, on bool) (Group, error) {
	in := struct {
		Events bool `json:"events"`
	}{on}
	return c.group(ctx, call{method: http.MethodPatch, path: "/v1/groups/" + esc(group), query: inRealm(realm), in: in})
}

func (c *Client) group(ctx context.Context, r call) (Group, error) {
	var out Group
	r.out = &out
	err := c.do(ctx, r)
	return out, err
}

func member(group, client string) string {
	return "/v1/groups/" + esc(group) + "/members/" + esc(client)
}

// Mint is a token to be made for a registered client.
type Mint struct {
	Client string
	Realm  string
	Device string        // the only device that may use it
	TTL    time.Duration // zero: the server's default
}

// Mint makes a token. It is repeated only where the server said that nothing
// was done.
func (c *Client) Mint(ctx context.Context, m Mint) (Token, error) {
	in := struct {
		Client string `json:"client"`
		Realm  string `json:"realm,omitempty"`
		Device string `json:"device,omitempty"`
		TTL    int64  `json:"ttl,omitempty"`
	}{m.Client, m.Realm, m.Device, seconds(m.TTL)}
	var out Token
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/tokens", in: in, out: &out, repeat: repeatRefused})
	return out, err
}

// Revoked counts what a revocation ended.
type Revoked struct {
	Tokens      int `json:"revoked"`
	Connections int `json:"closed"` // on all nodes that answered
	// Incomplete: connections to nodes that could not be asked may be open.
	Incomplete bool `json:"incomplete"`
}

// Revoke ends one token, and the connection that stands on it.
func (c *Client) Revoke(ctx context.Context, jti string) (Revoked, error) {
	var out Revoked
	err := c.do(ctx, call{method: http.MethodDelete, path: "/v1/tokens/" + esc(jti), out: &out})
	return out, err
}

// RevokeClient ends a client's tokens that were issued before the time; the
// zero time is now.
func (c *Client) RevokeClient(ctx context.Context, realm, client string, issuedBefore time.Time) (Revoked, error) {
	in := struct {
		Client string `json:"client"`
		Realm  string `json:"realm,omitempty"`
		Before int64  `json:"issued_before,omitempty"`
	}{Client: client, Realm: realm}
	if !issuedBefore.IsZero() {
		in.Before = issuedBefore.UnixMilli()
	}
	var out Revoked
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/tokens/revoke", in: in, out: &out})
	return out, err
}
