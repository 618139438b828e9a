package hubtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/sunzi-push/sunzi/hub/frame"
)

// Case is one exchange with an echo endpoint: it sends back each text and
// binary message as it came, answers pings, and closes as RFC 6455 says.
type Case struct {
	ID    string // the suite's number
	What  string // is sent, in words
	Steps []Step

	// Close lists the codes of which the server must close with one; 1005
	// stands for none. Empty: the case itself closes with 1000 at its end,
	// and wants 1000 back. Either way the TCP connection must then end.
	Close []uint16

	// Timeout is for each read and write; zero is [DefaultTimeout].
	Timeout time.Duration
}

// Step sends, then waits for what must come of it.
type Step struct {
	Send  []frame.Frame // sent masked
	Tail  []byte        // sent as it is after Send
	Cut   int           // bytes a write; 0: all in one; PerFrame
	Want  []frame.Event // in this order, and nothing else
	May   bool          // Want may be cut short by the close frame
	Quiet time.Duration // nothing may come for so long

	Repeat int // times that the step is done; 0 is once
}

// PerFrame as a step's Cut writes each frame on its own.
const PerFrame = -1

// errEnded says that a write failed: the server has ended the connection,
// which is for the rest of the case to judge.
var errEnded = errors.New("hubtest: the server no longer reads")

// Run plays c on an upgraded connection, which it leaves open only if it
// fails. The error says what the server did wrong.
func (c Case) Run(raw net.Conn) error {
	p := NewConn(raw)
	p.Timeout = c.Timeout
	for i, s := range c.Steps {
		for range max(1, s.Repeat) {
			closed, err := p.play(s)
			if errors.Is(err, errEnded) && len(c.Close) > 0 {
				return c.end(p) // it may fail us before we are done
			}
			if err != nil {
				return fmt.Errorf("step %d: %w", i+1, err)
			}
			if closed != nil {
				return c.finish(p, *closed)
			}
		}
	}
	return c.end(p)
}

// play does one step. It returns the close frame that cut the step short
// where that may happen.
func (c *Conn) play(s Step) (closed *frame.Event, err error) {
	if err := c.write(s); err != nil {
		return nil, err
	}
	for _, want := range s.Want {
		got, err := c.readEvent()
		switch {
		case err != nil:
			return nil, fmt.Errorf("waiting for %s: %w", describe(want), err)
		case s.May && got.Op == frame.Close:
			return &got, nil
		case !equal(got, want):
			return nil, fmt.Errorf("got %s, want %s", describe(got), describe(want))
		}
	}
	if s.Quiet > 0 {
		return nil, c.Silent(s.Quiet)
	}
	return nil, nil
}

// write sends a step's bytes in its cuts.
func (c *Conn) write(s Step) error {
	var cuts [][]byte
	if s.Cut == PerFrame {
		for _, f := range s.Send {
			cuts = append(cuts, c.encode(nil, []frame.Frame{f}))
		}
		cuts = append(cuts, s.Tail)
	} else {
		all := append(c.encode(nil, s.Send), s.Tail...)
		size := s.Cut
		if size == 0 {
			size = max(1, len(all))
		}
		cuts = slices.Collect(slices.Chunk(all, size))
	}
	for _, b := range cuts {
		if len(b) == 0 {
			continue
		}
		if err := c.SendRaw(b); err != nil {
			return fmt.Errorf("%w: %w", errEnded, err)
		}
	}
	return nil
}

// readEvent passes over the server's own heartbeats, and answers them.
func (c *Conn) readEvent() (frame.Event, error) {
	for {
		ev, err := c.Read()
		if err != nil || ev.Op != frame.Ping {
			return ev, err
		}
		if err := c.Send(frame.Frame{Op: frame.Pong, Payload: ev.Payload}); err != nil {
			return ev, err
		}
	}
}

// end closes, or waits to be closed.
func (c Case) end(p *Conn) error {
	if len(c.Close) == 0 {
		if err := p.Send(closeFrame(1000, "")); err != nil {
			return fmt.Errorf("closing: %w", err)
		}
	}
	ev, err := p.readEvent()
	if errors.Is(err, io.EOF) {
		return errors.New("the connection ended without a close frame")
	}
	if err != nil {
		return fmt.Errorf("waiting for the close frame: %w", err)
	}
	return c.finish(p, ev)
}

// finish judges what should be the server's close frame, and waits for the
// end of the connection.
func (c Case) finish(p *Conn, ev frame.Event) error {
	want := c.Close
	if len(want) == 0 {
		want = []uint16{1000}
	}
	if ev.Op != frame.Close || !slices.Contains(want, ev.Code) {
		return fmt.Errorf("got %s, want close %d", describe(ev), want)
	}
	if !p.closed { // the server may be gone already
		_ = p.Send(closeFrame(ev.Code, ""))
	}
	if err := p.WaitEnd(); err != nil {
		return err
	}
	return p.Close()
}
