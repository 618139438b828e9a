package push

import "context"

// live hands a store=never push to whoever is there: no sequence, no entry,
// no store. Groups come from the cache, so that it works while the store is
// away. Whoever is not there misses it, which is what was asked for.
func (s *Service) live(ctx context.Context, env *Envelope) (Receipt, *Error) {
	r := Receipt{ID: env.ID, Accepted: env.Accepted}
	m := &Message{ID: env.ID, Sent: env.Accepted, Body: env.Body}
	missed := 0
	hand := func(sessions []Session) {
		reached := false
		for _, session := range sessions {
			if session.Live(m) {
				reached = true
			} else {
				s.met.liveDropped.Inc()
			}
		}
		if reached {
			r.Online++
		} else {
			missed++
		}
	}
	t := env.Target
	switch {
	case t.All:
		s.sessions.Each(&t.Realm, func(_ ClientKey, session Session) bool {
			hand([]Session{session})
			return true
		})
	case t.Group != "":
		members, err := s.groups.members(ctx, t.Realm, t.Group)
		if err != nil {
			s.met.pushes.WithLabelValues("refused").Inc()
			return Receipt{}, AsError(err)
		}
		for id := range members.ids {
			hand(s.sessions.Of(ClientKey{Realm: t.Realm, ID: id}))
		}
	default:
		absent := make([]ClientKey, 0, len(t.Clients))
		for _, id := range t.Clients {
			key := ClientKey{Realm: t.Realm, ID: id}
			there := s.sessions.Of(key)
			if len(there) == 0 {
				absent = append(absent, key)
			}
			hand(there)
		}
		var err *Error
		if r.Rejected, err = s.unknown(ctx, absent, len(t.Clients)); err != nil {
			s.met.pushes.WithLabelValues("refused").Inc()
			return Receipt{}, err
		}
		missed -= len(r.Rejected)
	}
	s.met.pushes.WithLabelValues("accepted").Inc()
	s.met.targets.WithLabelValues("live").Add(float64(r.Online))
	s.met.targets.WithLabelValues("missed").Add(float64(missed))
	s.met.targets.WithLabelValues("rejected").Add(float64(len(r.Rejected)))
	return r, nil
}

// unknown rejects those of the absent that don't exist. Whether they do is
// the store's to say; while it is away nobody is rejected.
func (s *Service) unknown(ctx context.Context, absent []ClientKey, targets int) ([]Rejection, *Error) {
	if len(absent) == 0 {
		return nil, nil
	}
	boxes, err := s.store.Mailboxes(ctx, absent)
	if err != nil {
		return nil, nil //nolint:nilerr // nobody is rejected while the store is away
	}
	var rejected []Rejection
	for i, box := range boxes {
		if box == nil {
			rejected = append(rejected, Rejection{Client: absent[i], Code: CodeNoClient})
		}
	}
	if targets == 1 && len(rejected) == 1 {
		return nil, Errorf(CodeNoClient, "client %q does not exist; register it with POST /v1/clients", absent[0].ID)
	}
	return rejected, nil
}
