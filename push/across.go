package push

import (
	"context"
	"time"
)

// The service across nodes: what it does here and on the other nodes alike,
// and what the other nodes tell it. [Elsewhere] is the port to them.

// acrossTimeout bounds what is asked of other nodes: whoever asked is waiting,
// and what a node that hangs would say is not worth a longer wait.
const acrossTimeout = time.Second

// ClientSessions is what is known of one client's sessions.
type ClientSessions struct {
	// Online may be true without sessions: the node that has them did not
	// answer in time.
	Online bool
	// Sessions has those here first, with an empty node.
	Sessions []RemoteSession
}

// Connections answers the clients' sessions, wherever they are, in the order
// of keys. It waits for other nodes for a second at most. An error says that
// they could not be asked; what is known here stands beside it.
func (s *Service) Connections(ctx context.Context, keys []ClientKey) ([]ClientSessions, error) {
	ctx, cancel := context.WithTimeout(ctx, acrossTimeout)
	defer cancel()
	remote, err := s.elsewhere.Sessions(ctx, keys)
	out := make([]ClientSessions, len(keys))
	for i, key := range keys {
		for _, session := range s.sessions.Of(key) {
			out[i].Sessions = append(out[i].Sessions, RemoteSession{SessionInfo: session.Info()})
		}
		if i < len(remote) {
			out[i].Sessions = append(out[i].Sessions, remote[i]...)
		}
		out[i].Online = len(out[i].Sessions) > 0 || s.elsewhere.Online(key)
	}
	return out, err
}

// Disconnect ends the client's sessions that are meant, wherever they are, and
// answers how many, as far as other nodes answered within a second. An error
// says that they could not be asked; the count beside it is of this node.
func (s *Service) Disconnect(ctx context.Context, c Closing) (int, error) {
	n := s.closeMatching(c)
	ctx, cancel := context.WithTimeout(ctx, acrossTimeout)
	defer cancel()
	more, err := s.elsewhere.Close(ctx, c)
	return n + more, err
}

func (s *Service) closeMatching(c Closing) int {
	n := 0
	for _, session := range s.sessions.Of(c.Client) {
		if c.Matches(session.Info()) {
			session.Close(c.Code, c.Reason)
			n++
		}
	}
	return n
}

// CloseHere is what another node's [Service.Disconnect] or [Service.Forget]
// asks of this one: it ends the sessions here that are meant, and answers how
// many. It does not block.
func (s *Service) CloseHere(c Closing) int {
	if c.Code != CloseDeleted {
		return s.closeMatching(c)
	}
	n, talking := s.endLife(c)
	s.Desk.enqueue(errand{tries: lastTry, run: func(context.Context) bool {
		s.acks.begin(c.Client) // waits for a write of acks under way
		s.acks.end(c.Client, talking)
		return true
	}})
	return n
}

// endLife closes all sessions here of a client that was deleted. It answers how
// many, and those whose acks may still come.
func (s *Service) endLife(c Closing) (n int, talking []Session) {
	// Whatever stands in the table by now may be of the ended life: a session
	// that comes later finds no mailbox, or the successor's.
	for _, session := range s.sessions.Of(c.Client) {
		session.Close(c.Code, c.Reason)
		n++
		if session.Info().Transport != "sse" { // which hears no acks
			talking = append(talking, session)
		}
	}
	s.groups.forgetMember(c.Client)
	return n, talking
}

// GroupChanged is another node's word that it changed the group: what is kept
// of it is looked up again at its next use. It does not block.
func (s *Service) GroupChanged(realm, group string) { s.groups.forget(realm, group) }

// Registered says that from now on the other nodes know these clients to be
// here. What they committed before was hinted to nobody, so the heads are
// compared now, not at the next sweep. It does not block; while the store does
// not answer, the sweep stays the bound.
func (s *Service) Registered(keys []ClientKey) {
	for len(keys) > 0 {
		part := keys[:min(len(keys), headsAtOnce)]
		keys = keys[len(part):]
		s.Desk.enqueue(errand{tries: lastTry, run: func(ctx context.Context) bool {
			return s.compareHeads(ctx, part) == nil
		}})
	}
}

// compareHeads tells the clients' sessions how far their mailboxes reach.
func (s *Service) compareHeads(ctx context.Context, keys []ClientKey) error {
	boxes, err := s.store.Mailboxes(ctx, keys)
	if err != nil {
		return err
	}
	for i, m := range boxes {
		for _, session := range s.sessions.Of(keys[i]) {
			switch {
			case m == nil: // deleted on another node, whose word of it was lost
				session.Close(CloseDeleted, "the client was deleted")
			case m.Head > 0:
				session.Offer(nil, m.Head)
			}
		}
	}
	return nil
}

// online reports whether the client has a session here, or is known to have
// one elsewhere.
func (s *Service) online(key ClientKey) bool {
	return s.sessions.Online(key) || s.elsewhere.Online(key)
}

// notify tells the client's sessions, wherever they are.
func (s *Service) notify(key ClientKey, n Notice) {
	for _, session := range s.sessions.Of(key) {
		session.Notify(n)
	}
	s.elsewhere.Notify([]ClientKey{key}, n)
}

// notifyMembers tells the members of a group likewise, except one.
func (d *Desk) notifyMembers(set *memberSet, realm, except string, n Notice) {
	keys := make([]ClientKey, 0, len(set.ids))
	for id := range set.ids {
		if id == except {
			continue
		}
		key := ClientKey{Realm: realm, ID: id}
		keys = append(keys, key)
		for _, session := range d.sessions.Of(key) {
			session.Notify(n)
		}
	}
	if len(keys) > 0 {
		d.elsewhere.Notify(keys, n)
	}
}
