// Package planted has the mistakes that push servers make, to be planted in a
// node: the chaos run has to find each, or its silence means nothing.
//
// Read first: [Defects]. Each wraps the ports that a node's domain is given
// (push/ports.go), so that all else is the server as it is. storage.go has
// those between a push and its mailbox, delivery.go those between a mailbox
// and its client.
//
// What a defect starts runs until the process ends: a node with one is never
// used for anything else. The wrappers may be called from any goroutine, as
// the ports that they wrap.
package planted

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sunzi-push/sunzi/push"
)

// Ports are what a node's domain is given.
type Ports struct {
	Storage   push.Storage
	Sessions  push.Sessions
	Elsewhere push.Elsewhere
	NewID     func() (int64, error)
}

// Defect is one mistake.
type Defect struct {
	Name  string
	About string
	Plant func(Ports) Ports
}

// Defects are all there are.
var Defects = []Defect{
	{"early-answer", "a push is answered before it is committed", answerEarly},
	{"acked-at-write", "an entry counts as delivered once it was handed to a session", ackAtWrite},
	{"redis-only", "a push to a client that is online goes through pub/sub alone", publishOnly},
	{"full-queue", "what finds a client's queue full is dropped", dropWhenFull},
	{"hand-over-gap", "what is committed between the last page of a replay and live is passed over", gapAtHandOver},
	{"by-payload", "a push with the data of an earlier one counts as its repetition", judgeByPayload},
	{"early-sequence", "sequences are taken outside the transaction, so that they become visible out of order", sequenceEarly},
	{"blind-retry", "a commit whose outcome is unknown is made again", retryBlindly},
}

// Names are the defects' names, in their order.
func Names() []string {
	names := make([]string, len(Defects))
	for i, d := range Defects {
		names[i] = d.Name
	}
	return names
}

// Named is the defect of that name.
func Named(name string) (Defect, error) {
	i := slices.IndexFunc(Defects, func(d Defect) bool { return d.Name == name })
	if i < 0 {
		return Defect{}, fmt.Errorf("there is no defect %q: %s", name, strings.Join(Names(), ", "))
	}
	return Defects[i], nil
}

// only is the client that the envelope is for alone.
func only(e *push.Envelope) (push.ClientKey, bool) {
	if len(e.Target.Clients) != 1 {
		return push.ClientKey{}, false
	}
	return push.ClientKey{Realm: e.Target.Realm, ID: e.Target.Clients[0]}, true
}
