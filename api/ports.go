package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// Pusher takes pushes and answers for them: push.Service. Errors are
// *push.Error; a realm of nil means any.
type Pusher interface {
	// Push answers once the push is durable (store=never: once handed over).
	// It validates; the request is its own from then on.
	Push(ctx context.Context, req push.Request) (push.Receipt, error)
	// PushBatch answers in the order of the requests. The error is of the
	// whole call.
	PushBatch(ctx context.Context, reqs []push.Request) ([]push.BatchResult, error)
	// Cancel ends what is not yet acked, sends tombstones to clients that
	// have it, and answers how many entries that were.
	Cancel(ctx context.Context, realm *string, id int64) (int, error)
	Status(ctx context.Context, realm *string, id int64, page push.PageQuery) (push.PushStatus, error)
	History(ctx context.Context, key push.ClientKey, q push.HistoryQuery) (push.HistoryPage, error)
	Redrive(ctx context.Context, key push.ClientKey, seqs []uint64) (int, error)
}

// Clients is the register of clients: push.Service.
type Clients interface {
	// Register makes a client; an empty ID is given one.
	Register(ctx context.Context, key push.ClientKey) (push.ClientKey, error)
	// Mailboxes answers nil for clients that don't exist.
	Mailboxes(ctx context.Context, keys []push.ClientKey) ([]*push.Mailbox, error)
	// Forget also closes the client's sessions with [push.CloseDeleted].
	Forget(ctx context.Context, key push.ClientKey) error
	// Connections answers the clients' sessions on all nodes, in the order
	// of keys; those of this one have no node. An error says that the other
	// nodes could not be asked; what is known stands beside it.
	Connections(ctx context.Context, keys []push.ClientKey) ([]push.ClientSessions, error)
	// Disconnect ends the client's sessions that are meant, on all nodes,
	// and answers how many. An error likewise.
	Disconnect(ctx context.Context, c push.Closing) (int, error)
}

// Groups is membership: push.Service. It tells members of a change where the
// group asks for that.
type Groups interface {
	Join(ctx context.Context, realm, group, client string) (push.Group, error)
	Leave(ctx context.Context, realm, group, client string) (push.Group, error)
	SetEvents(ctx context.Context, realm, group string, on bool) (push.Group, error)
	Group(ctx context.Context, realm, group string) (push.Group, error)
	Members(ctx context.Context, realm, group string, page push.PageQuery) (ids []string, next string, err error)
}

// Keyring checks and keeps API keys: token.Keyring. Errors are the token
// package's sentinels.
type Keyring interface {
	Check(ctx context.Context, raw string) (token.Key, error)
	// Create answers the key's text, which is kept nowhere.
	Create(ctx context.Context, name string, scopes []token.Scope, realm *string) (raw string, key token.Key, err error)
	List(ctx context.Context) ([]token.Key, error)
	Revoke(ctx context.Context, id string) error
}

// Authority mints and revokes client tokens: token.Authority. Errors are the
// token package's sentinels.
type Authority interface {
	Mint(ctx context.Context, req token.MintRequest) (raw string, rec token.Record, err error)
	RevokeID(ctx context.Context, jti string) (token.Record, error)
	RevokeClient(ctx context.Context, realm, client string, issuedBefore time.Time) (int, error)
}

// TokenRecords looks a minted token up, so that a key bound to a realm can't
// revoke another realm's. Part of token.Records.
type TokenRecords interface {
	Token(ctx context.Context, jti string) (token.Record, error)
}

// Sessions is what the API needs of push.Sessions, the table of live ones.
type Sessions interface {
	Attach(key push.ClientKey, s push.Session) (generation uint64)
	Detach(key push.ClientKey, s push.Session)
}

// Backend serves sessions: push.Gate and push.Desk together. Admit and Check
// may block; the others never do, and call done on any goroutine, at most
// once. Fetch does not call done once alive answers false.
type Backend interface {
	// Check takes a client token only; Admit a connect key too, and
	// registers its client.
	Check(ctx context.Context, raw string) (push.Identity, error)
	Admit(ctx context.Context, c push.Credentials) (push.Admission, *push.Refusal)
	Open(id push.Identity, h push.Hello, done func(push.Opened, error))
	Fetch(key push.ClientKey, after uint64, room int, alive func() bool, done func(push.Page, error))
	Ack(key push.ClientKey, seq uint64, failed []push.FailedEntry)
	Read(key push.ClientKey, seq uint64)
}

// Allower counts requests for all nodes together. Take asks for one of rate a
// second and burst at once under the name; where that is too many, retryAfter
// says when to ask again. Where it can't be asked it lets pass, since the
// limits of the node hold beside it. It may block, for little.
type Allower interface {
	Take(ctx context.Context, name string, rate float64, burst int) (ok bool, retryAfter time.Duration)
}

// Deps is what the API stands on. Fields are needed unless they say otherwise.
type Deps struct {
	Pusher    Pusher
	Clients   Clients
	Groups    Groups
	Sessions  Sessions
	Keys      Keyring
	Authority Authority
	Tokens    TokenRecords // nil: keys bound to a realm can't revoke by token ID
	Backend   Backend

	Allower Allower // nil: rates are this node's

	Socket  http.Handler // the hub: /ws, /ws/{client_id}, /ws/{realm}/{client_id}
	Echo    http.Handler // nil: no /echo
	Library http.Handler // nil: no /client/…; the browser library's files
	Console http.Handler // nil: none; else everything that no other route takes, GET only

	// Draining, once closed, ends event streams with [push.CloseDraining]
	// and refuses new ones. Nil: never.
	Draining <-chan struct{}

	Log     *slog.Logger          // nil: slog.Default()
	Metrics prometheus.Registerer // nil: counted nowhere
	Now     func() time.Time      // nil: time.Now
}
