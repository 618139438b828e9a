package push

import "strings"

// What a hello says of sealing (api/wire/SPEC.md sections 4.1 and 9), and what
// the desk makes of it. Keys are destroyed by a client's explicit word alone:
// whoever has its token may open a session, and one that leaves the members out
// must not cost it its mailbox.

// keys is the hello's word on keys: what is wanted, and which are held. said is
// false where there is none. A stream's is none: see [Hello.Stream].
func (h *Hello) keys() (want SealMode, held []uint32, said bool) {
	switch {
	case h.Unsaid || h.Stream:
		return "", nil, false
	case h.Seal == SealNone: // gives up all there are, whatever else it says
		return SealNone, nil, true
	}
	return h.Seal, h.Held, h.asks() && h.Held != nil
}

// asks reports whether the client wants a kind of sealing that there is.
func (h *Hello) asks() bool { return h.Seal == SealCRT || h.Seal == SealAEAD }

// refuse answers why a session that says so can't be served; nil: it can.
func (d *Desk) refuse(h Hello, m *Mailbox) *Refusal {
	sealed := m.Seal != "" || m.Sealed > 0
	switch {
	case h.asks() && (!d.require || d.offers(h.Seal)):
		return nil
	case h.Seal == SealNone && !h.Stream && !d.require:
		return nil
	case h.Unsaid && (sealed || d.require): // its hello may be late: it shall come again
		return &Refusal{Code: CloseHelloTimeout, Reason: "no hello; what is pushed to this client is sealed"}
	case d.require:
		return &Refusal{Code: CloseUnsealed, Reason: "this server requires sealing: say seal in hello, " + d.offered()}
	case sealed && h.Stream:
		return &Refusal{Code: CloseHelloTimeout, Reason: "seal: this client has sealing keys; say seal and seal_held"}
	case sealed:
		return &Refusal{Code: CloseHelloTimeout, Reason: ReasonSaySeal}
	}
	return nil
}

func (d *Desk) offers(mode SealMode) bool { return d.sealing != nil && d.sealing.Offers(mode) }

// offered are the kinds that are offered, for people.
func (d *Desk) offered() string {
	var all []string
	for _, mode := range []SealMode{SealCRT, SealAEAD} {
		if d.offers(mode) {
			all = append(all, string(mode))
		}
	}
	return strings.Join(all, " or ")
}
