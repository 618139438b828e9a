package wsclient

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/crt"
)

// Whoever can send frames can make a client step: beyond a bound it ends the
// connection, and what waits comes on the next.
func TestForgedPeriodsCostABoundedNumberOfSteps(t *testing.T) {
	s := newSealer(t)
	forged := func(ahead uint32) []byte {
		f := slices.Clone(s.frame(9, `9`))
		binary.BigEndian.PutUint32(f[periodAt:], 7+ahead)
		return f
	}
	visits := 0
	codes := make(chan uint16, 1)
	base := serial(t, func(p *peer) {
		visits++
		s.welcome(p, SealCRT, []uint64{0, 2}[visits-1])
		if visits == 2 {
			p.binary(s.frame(3, `3`))
			p.message(wire.TypeAck)
			p.closing()
			return
		}
		s.handshake(p)
		p.binary(s.frame(1, `1`))
		p.binary(forged(crt.MaxSteps)) // as many as are allowed
		p.binary(s.frame(2, `2`))
		for p.message(wire.TypeAck).Seq < 2 {
		}
		p.binary(forged(1))
		codes <- p.closing()
	})
	r := runClient(t, s.config(base, SealCRT))
	r.wants(t, 1, `1`)
	r.wants(t, 2, `2`)
	if got := <-codes; got != codeComeBack {
		t.Errorf("closed with %d", got)
	}
	r.wants(t, 3, `3`)
}
