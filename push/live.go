package push

import (
	"context"
	"slices"
)

// live hands a store=never push to whoever is there, on whatever node: no
// sequence, no entry, no store. Groups come from the cache, so that it works
// while the store is away. Whoever is not there misses it, which is what was
// asked for; so do those on other nodes while these can't be reached.
func (s *Service) live(ctx context.Context, env *Envelope) (Receipt, *Error) {
	r := Receipt{ID: env.ID, Accepted: env.Accepted}
	l := &handing{s: s, m: &Message{ID: env.ID, Sent: env.Accepted, Body: env.Body}, realm: env.Target.Realm}
	if env.Seal == SealRequired || env.Seal == SealCRT || env.Seal == SealAEAD {
		l.m.Require = env.Seal
	}
	var err *Error
	switch t := env.Target; {
	case t.All:
		l.everybody(ctx)
	case t.Group != "":
		err = l.group(ctx, t.Group)
	default:
		r.Rejected, err = l.clients(ctx, t.Clients)
	}
	if err != nil {
		s.met.pushes.WithLabelValues("refused").Inc()
		return Receipt{}, err
	}
	r.Online = l.reached
	s.met.pushes.WithLabelValues("accepted").Inc()
	s.met.targets.WithLabelValues("live").Add(float64(l.reached))
	s.met.targets.WithLabelValues("missed").Add(float64(l.missed - len(r.Rejected)))
	s.met.targets.WithLabelValues("rejected").Add(float64(len(r.Rejected)))
	return r, nil
}

// handing is one live-only message on its way. Owned by the push's goroutine.
type handing struct {
	s     *Service
	m     *Message
	realm string

	reached, missed int // targets
}

// everybody: those here are counted; how many there are elsewhere nobody knows.
func (l *handing) everybody(ctx context.Context) {
	l.s.sessions.Each(&l.realm, func(_ ClientKey, session Session) bool {
		l.count(l.here([]Session{session}))
		return true
	})
	for range l.away(ctx, nil) {
		l.count(true)
	}
}

func (l *handing) group(ctx context.Context, name string) *Error {
	members, err := l.s.groups.members(ctx, l.realm, name)
	if err != nil {
		return AsError(err)
	}
	ids := make([]string, 0, len(members.ids))
	for id := range members.ids {
		ids = append(ids, id)
	}
	l.hand(ctx, ids)
	return nil
}

func (l *handing) clients(ctx context.Context, ids []string) ([]Rejection, *Error) {
	absent := l.hand(ctx, ids)
	if len(ids) == 1 && l.reached == 0 && l.unsealed(ids[0]) {
		return nil, Errorf(CodeNoSealKey, "client %q is connected, and does not seal there as is required (%s)", ids[0], l.m.Require)
	}
	return l.s.unknown(ctx, absent, len(ids))
}

// unsealed reports whether the client is here and nowhere else, and does not seal
// as the message requires.
func (l *handing) unsealed(id string) bool {
	key := ClientKey{Realm: l.realm, ID: id}
	there := l.s.sessions.Of(key)
	if l.m.Require == "" || len(there) == 0 || l.s.elsewhere.Online(key) {
		return false
	}
	return !slices.ContainsFunc(there, func(s Session) bool { return l.m.Require.Allows(s.Info().Seal) })
}

// hand gives the message to the clients' sessions, and answers those who have
// none, as far as is known.
func (l *handing) hand(ctx context.Context, ids []string) (absent []ClientKey) {
	got := make(map[string]bool, len(ids)) // value: a session took it
	var ask []string
	for _, id := range ids {
		key := ClientKey{Realm: l.realm, ID: id}
		there := l.s.sessions.Of(key)
		if len(there) > 0 {
			got[id] = l.here(there)
		}
		if len(there) == 0 || l.s.elsewhere.Online(key) { // it may have several
			ask = append(ask, id)
		}
	}
	if len(ask) > 0 {
		for _, id := range l.away(ctx, ask) {
			got[id] = true
		}
	}
	for _, id := range ids {
		took, present := got[id]
		l.count(took)
		if key := (ClientKey{Realm: l.realm, ID: id}); !present && !l.s.elsewhere.Online(key) {
			absent = append(absent, key)
		}
	}
	return absent
}

// here reports whether any of the sessions took it.
func (l *handing) here(sessions []Session) bool {
	took := false
	for _, session := range sessions {
		if session.Live(l.m) {
			took = true
		} else {
			l.s.met.liveDropped.Inc()
		}
	}
	return took
}

// away gives it to other nodes.
func (l *handing) away(ctx context.Context, ids []string) []string {
	start := l.s.now()
	if l.s.away.resting(start) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	reached, err := l.s.elsewhere.Live(ctx, l.realm, ids, l.m)
	if err != nil { // readiness and the cluster's own metrics tell of it
		l.s.away.failed(start, l.s.now())
		l.s.log.Debug("other nodes were not reached with a live-only push", "id", l.m.ID, "err", err)
	}
	return reached
}

func (l *handing) count(took bool) {
	if took {
		l.reached++
	} else {
		l.missed++
	}
}

// unknown rejects those of the absent that don't exist. Whether they do is
// the store's to say; while it is away nobody is rejected.
func (s *Service) unknown(ctx context.Context, absent []ClientKey, targets int) ([]Rejection, *Error) {
	start := s.now()
	if len(absent) == 0 || s.slow.resting(start) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	boxes, err := s.store.Mailboxes(ctx, absent)
	if err != nil {
		s.slow.failed(start, s.now())
		return nil, nil
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
