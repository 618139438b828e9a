package server

import (
	"context"
	"net"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// Seams are where a harness puts parts of its own between a server's, to step
// its clock or to plant a defect. The zero value changes nothing.
type Seams struct {
	// Clock is read instead of [time.Now] for all times of day: TTL,
	// not_before, tokens, presence. Durations stay the monotonic clock's.
	Clock func() time.Time
	// DialRedis connects to an address of Redis. Nil: as everybody does.
	DialRedis func(ctx context.Context, network, addr string) (net.Conn, error)
	// Wrap answers what the domain is given in place of its ports.
	Wrap func(Ports) Ports
}

// Ports are what the domain needs of others: see push/ports.go.
type Ports struct {
	Storage   push.Storage
	Sessions  push.Sessions
	Elsewhere push.Elsewhere
	NewID     func() (int64, error)
}

func (s Seams) wrap(p Ports) Ports {
	if s.Wrap == nil {
		return p
	}
	return s.Wrap(p)
}
