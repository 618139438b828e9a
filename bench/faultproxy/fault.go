package faultproxy

import (
	"fmt"
	"time"
)

// Fault is what is wrong with a link. The zero value is nothing.
type Fault struct {
	// Refuse closes the port, so that new connections are refused. Those that
	// exist go on; Cut ends them.
	Refuse bool
	// Up is the way from the client to the server, Down the way back.
	Up, Down Flow
}

// Flow is what is wrong with one direction of each connection. The zero value
// is nothing; several faults add up.
type Flow struct {
	// Blackhole lets nothing through, neither bytes nor the connection's end.
	// New connections are still accepted.
	Blackhole bool
	// Latency is added to every byte, and of Jitter a random part.
	Latency, Jitter time.Duration
	// BytesPerSecond is the most that passes; 0 is no bound.
	BytesPerSecond int
	// CutAfter resets a connection once it has carried so many bytes in this
	// direction since the fault was set; the bytes arrive. 0 is never.
	CutAfter int64
}

// Both is the same trouble in both directions.
func Both(f Flow) Fault { return Fault{Up: f, Down: f} }

// Partition lets nothing through in either direction.
func Partition() Fault { return Both(Flow{Blackhole: true}) }

// String names the fault for a report, "none" for the zero value.
func (f Fault) String() string {
	switch {
	case f == Fault{}:
		return "none"
	case f.Up == f.Down && !f.Refuse:
		return "both:" + f.Up.String()
	}
	s := ""
	if f.Refuse {
		s = "refuse "
	}
	return s + "up:" + f.Up.String() + " down:" + f.Down.String()
}

// String names what is set, "none" for the zero value.
func (f Flow) String() string {
	s := ""
	add := func(set bool, what string) {
		if set && s != "" {
			s += "+"
		}
		if set {
			s += what
		}
	}
	add(f.Blackhole, "blackhole")
	add(f.Latency > 0 || f.Jitter > 0, fmt.Sprintf("latency(%v,%v)", f.Latency, f.Jitter))
	add(f.BytesPerSecond > 0, fmt.Sprintf("slow(%d B/s)", f.BytesPerSecond))
	add(f.CutAfter > 0, fmt.Sprintf("cut-after(%d B)", f.CutAfter))
	add(s == "", "none")
	return s
}

// setting is a fault in force. Replacing it closes replaced.
type setting struct {
	fault    Fault
	replaced chan struct{}
}
