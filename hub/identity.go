package hub

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// tokenInfo is what is kept of a token, packed.
type tokenInfo struct {
	id      [16]byte // jti; zero: none, or in rare
	expires int64    // unix ms; zero: never
	issued  int64    // unix ms, as the records have it; zero: unknown
}

// setToken packs what is kept of an identity's token.
func (c *conn) setToken(id push.Identity) {
	c.token = tokenInfo{}
	if !id.TokenIssued.IsZero() {
		c.token.issued = id.TokenIssued.UnixMilli()
	}
	if !id.Expires.IsZero() {
		c.token.expires = id.Expires.UnixMilli()
	}
	raw, err := base64.RawURLEncoding.DecodeString(id.TokenID)
	if err == nil && len(raw) == len(c.token.id) {
		c.token.id = [16]byte(raw)
	} else if id.TokenID != "" || c.rare != nil {
		if c.rare == nil {
			c.rare = new(rare)
		}
		c.rare.tokenID = id.TokenID
	}
}

func (c *conn) tokenID() string {
	switch {
	case c.token.id != [16]byte{}:
		return base64.RawURLEncoding.EncodeToString(c.token.id[:])
	case c.rare != nil:
		return c.rare.tokenID
	}
	return ""
}

// identity unpacks who the session is.
func (c *conn) identity() push.Identity {
	id := push.Identity{Client: c.key, TokenID: c.tokenID()}
	if c.rare != nil {
		id.Device = c.rare.device
	}
	if c.token.issued != 0 {
		id.TokenIssued = time.UnixMilli(c.token.issued)
	}
	if c.token.expires != 0 {
		id.Expires = time.UnixMilli(c.token.expires)
	}
	return id
}

func (c *conn) sessionID() string { return fmt.Sprintf("%016x", c.sid) }
