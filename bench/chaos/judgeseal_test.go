package chaos

import "testing"

// sealingStory is the clean story with a client s, which seals, and every legal
// oddity of that.
func sealingStory() *story {
	s := clean()
	s.at = second(12) // inside the fault
	s.ev.Clients = append(s.ev.Clients, Party{Name: "s"})
	s.connect(2, 1, 0)
	s.require(20, "s", "crt", Refused) // no keys yet
	s.push(21, "s", Accepted)
	s.take(2, 1, 1, 21) // in clear: there were none
	s.push(22, "s", Accepted)
	s.client(2, Event{Kind: Offered, Conn: 1})
	s.client(2, Event{Kind: Sealed, Conn: 1, Generation: 1})
	s.take(2, 1, 2, 22) // it was pushed before the keys
	s.require(23, "s", "crt", Accepted)
	s.frame(2, 0, 1, "x1")
	s.opened(2, 1, 3, 23)
	s.push(24, "s", Accepted)
	s.frame(0, 0, 2, "x2") // a cover, seen by another first
	s.opened(2, 1, 4, 24)
	s.frame(2, 0, 2, "x2")
	s.frame(2, 1, 2, "x3") // another lane
	s.connect(2, 2, 2)
	// It acked both, the node died with the ack, and the keys are gone.
	s.client(2, Event{Kind: Gap, Conn: 2, From: 3, To: 4, Reason: "key_lost"})
	s.at = second(25) + 1_000_000
	s.client(2, Event{Kind: Received, Conn: 2, Seq: 5, Push: 6, Sealed: true}) // the broadcast
	return s
}

// require is push, of what has to be sealed.
func (s *story) require(n int, client, seal string, results ...Result) {
	from := len(s.ev.Producers[0].Events)
	s.push(n, client, results...)
	s.ev.Producers[0].Events[from].Seal = seal
}

func (s *story) opened(i, conn int, seq uint64, push int) {
	s.client(i, Event{Kind: Received, Conn: conn, Seq: seq, Push: push, Sealed: true})
}

func (s *story) frame(i, lane int, batch uint64, hash string) {
	s.client(i, Event{Kind: Framed, Conn: 1, Sealer: "n1", Batch: batch, Lane: lane, Hash: hash})
}

func TestSealedRunBreaksNoRule(t *testing.T) {
	s := sealingStory()
	if found := Judge(s.ev, s.terms); len(found) > 0 {
		t.Fatalf("found %v", found)
	}
}

func TestEachBreachOfSealingIsFoundAndNothingElse(t *testing.T) {
	for _, b := range []struct {
		name   string
		rule   Rule
		change func(*story)
	}{
		{"required to be sealed and in clear", InClear, func(s *story) {
			s.require(30, "s", "crt", Accepted)
			s.take(2, 2, 6, 30)
		}},
		{"in clear to whom has no keys, though it is required", InClear, func(s *story) {
			s.require(30, "b", "crt", Accepted)
			s.take(1, 1, 2, 30)
		}},
		{"in clear after the handshake", InClear, func(s *story) {
			s.push(30, "s", Accepted)
			s.take(2, 2, 6, 30)
		}},
		{"on the wire of a connection that seals", InClear, func(s *story) {
			s.client(2, Event{Kind: Bare, Conn: 2, How: "typing"})
		}},
		{"does not open", Undecryptable, func(s *story) {
			s.client(2, Event{Kind: Unopened, Conn: 2, Sealer: "n1", Batch: 9})
		}},
		{"sealed, acknowledged and lost", Lost, func(s *story) { s.require(30, "s", "crt", Accepted) }},
		{"a gap for keys that the client had", KeyLost, func(s *story) {
			s.client(2, Event{Kind: Gap, Conn: 2, From: 6, To: 6, Reason: "key_lost"})
		}},
		{"other sealing than was asked for", SealMissing, func(s *story) { s.client(2, Event{Kind: NotOffered, Conn: 2}) }},
		{"a nonce for two frames of one client", NonceReused, func(s *story) { s.frame(2, 0, 1, "other") }},
		{"a nonce for two frames of two clients", NonceReused, func(s *story) { s.frame(1, 0, 2, "other") }},
		{"few sealed", FewSealed, func(s *story) { s.terms.Sealed = 0.9 }},
	} {
		t.Run(b.name, func(t *testing.T) {
			s := sealingStory()
			b.change(s)
			found := Judge(s.ev, s.terms)
			if len(found) == 0 {
				t.Fatalf("%s was not found", b.rule)
			}
			for _, v := range found {
				if v.Rule != b.rule {
					t.Errorf("found %s", v)
				}
			}
		})
	}
}
