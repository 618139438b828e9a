package push

import (
	"context"
	"time"
)

// What the domain needs of the other nodes of a cluster, and tells them. The
// store is the truth, what goes between nodes are hints: whatever is lost here
// delays a push (a sweep of heads finds it), and loses none.

// Elsewhere is the sessions on other nodes. Implemented by push/cluster; one
// node alone has [Alone]. Methods without a context never block: they queue,
// and drop what finds no room, or nobody to carry it.
type Elsewhere interface {
	// Hint says that mailboxes reach these places.
	Hint(to []Placement)
	// Live carries a store=never message to the clients' sessions, or with
	// no clients to every session of the realm. It answers who is known to
	// have one; of everybody, how many nodes it went to is not told. An
	// error says that some or all were not reached.
	Live(ctx context.Context, realm string, clients []string, m *Message) (reached []string, err error)
	// Cover carries a frame that holds nothing for these clients to their
	// sessions (crt/SPEC.md, section 8.1). It keeps both arguments. What is
	// lost of it costs a cover, and no message.
	Cover(m *Message, to []ClientKey)
	// Notify tells the clients' sessions something.
	Notify(clients []ClientKey, n Notice)
	// Online reports whether the client is known to have a session on a
	// living node. It may be some seconds old.
	Online(key ClientKey) bool
	// Sessions asks the other nodes what they know of the clients' sessions,
	// in the order of keys. A node that does not answer in time is left out;
	// an error says that they could not be asked.
	Sessions(ctx context.Context, keys []ClientKey) ([][]RemoteSession, error)
	// Close ends the client's sessions on other nodes, and answers how many
	// were, as far as nodes answered before ctx ended. They do by
	// [Service.CloseHere]. An error says that they could not be asked.
	Close(ctx context.Context, c Closing) (int, error)
	// GroupChanged makes the other nodes forget what they keep of the group.
	GroupChanged(realm, group string)
}

// RemoteSession is a session with the node that has it.
type RemoteSession struct {
	Node string
	SessionInfo
}

// Closing says which sessions of a client are to end, and how. All zero
// conditions: all of them.
type Closing struct {
	Client       ClientKey
	Code         CloseCode
	Reason       string
	TokenID      string    // only those that stand on this token
	IssuedBefore time.Time // only those whose token was issued before
}

// Matches reports whether the session is meant.
func (c Closing) Matches(i SessionInfo) bool {
	return (c.TokenID == "" || i.TokenID == c.TokenID) &&
		(c.IssuedBefore.IsZero() || i.TokenIssued.Before(c.IssuedBefore))
}

// Presence hears which clients have sessions here: after the session is in the
// table, and after it has left it. Neither may block.
type Presence interface {
	Came(key ClientKey, s Session, generation uint64)
	Went(key ClientKey, generation uint64)
}

// Alone is a cluster of one node.
type Alone struct{}

var (
	_ Elsewhere = Alone{}
	_ Presence  = Alone{}
)

// Hint does nothing.
func (Alone) Hint([]Placement) {}

// Live reaches nobody.
func (Alone) Live(context.Context, string, []string, *Message) ([]string, error) { return nil, nil }

// Cover does nothing.
func (Alone) Cover(*Message, []ClientKey) {}

// Notify does nothing.
func (Alone) Notify([]ClientKey, Notice) {}

// Online is false.
func (Alone) Online(ClientKey) bool { return false }

// Sessions knows none.
func (Alone) Sessions(_ context.Context, keys []ClientKey) ([][]RemoteSession, error) {
	return make([][]RemoteSession, len(keys)), nil
}

// Close closes none.
func (Alone) Close(context.Context, Closing) (int, error) { return 0, nil }

// GroupChanged does nothing.
func (Alone) GroupChanged(string, string) {}

// Came does nothing.
func (Alone) Came(ClientKey, Session, uint64) {}

// Went does nothing.
func (Alone) Went(ClientKey, uint64) {}
