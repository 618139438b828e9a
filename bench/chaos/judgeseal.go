package chaos

import "fmt"

// nonce is what no two frames may share: a sealer is one run of one process, and
// its keys have its name in them (crt/SPEC.md section 4).
type nonce struct {
	sealer string
	batch  uint64
	lane   int
}

func nonceOf(e Event) nonce { return nonce{e.Sealer, e.Batch, e.Lane} }

func (n nonce) String() string {
	return fmt.Sprintf("batch %d, lane %d of sealer %s", n.batch, n.lane, n.sealer)
}

// judgeFrames looks for nonces that were used twice, by whatever node.
func (c *trial) judgeFrames(p Party) {
	for _, e := range p.Events {
		if e.Kind != Framed {
			continue
		}
		before, there := c.frames[nonceOf(e)]
		switch {
		case !there:
			c.frames[nonceOf(e)] = e
		case before.Hash != e.Hash:
			c.breach(NonceReused, p.Name, "%s was the frame %s (%s), and is %s (%s)", nonceOf(e), before.Hash, before.How, e.Hash, e.How)
		}
	}
}

// judgeClear holds a receipt against what had to be sealed: what required it,
// and what was pushed once the client had keys, which it never lets go of.
func (w *witness) judgeClear(e Event, p *pushed) {
	w.c.receipts++
	switch {
	case e.Sealed:
		w.c.sealed++
	case p.seal != "":
		w.c.breach(InClear, w.name, "%s requires %s, and came in clear at %d ns", keyOf(e), p.seal, e.At)
	case w.sealed >= 0 && len(p.tries) > 0 && p.tries[0].At > w.sealed:
		w.c.breach(InClear, w.name, "%s was pushed after the handshake, and came in clear at %d ns", keyOf(e), e.At)
	}
}

// judgeKeyLost takes what was had before as the client's own doing: it acked
// that, and forgot its keys.
func (w *witness) judgeKeyLost(at place, e Event) {
	if e.Reason != reasonKeyLost {
		return
	}
	if _, had := w.places[at]; !had {
		w.c.breach(KeyLost, w.name, "sequence %d, on connection %d at %d ns", at.seq, e.Conn, e.At)
	}
}

// reasonKeyLost is the gap's, as api/wire/SPEC.md names it.
const reasonKeyLost = "key_lost"
