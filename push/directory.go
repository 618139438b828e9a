package push

import (
	"context"
)

// What the service answers about pushes, clients and groups: the store's
// word, with the acks that were gathered but not yet written brought in first.

// Status is what became of a push.
func (s *Service) Status(ctx context.Context, realm *string, id int64, page PageQuery) (PushStatus, error) {
	if err := s.acks.flush(ctx); err != nil {
		return PushStatus{}, err
	}
	return s.store.Status(ctx, realm, id, page)
}

// History lists a mailbox.
func (s *Service) History(ctx context.Context, key ClientKey, q HistoryQuery) (HistoryPage, error) {
	if err := s.acks.flush(ctx); err != nil {
		return HistoryPage{}, err
	}
	return s.store.History(ctx, key, q)
}

// Redrive places dead letters again and answers how many.
func (s *Service) Redrive(ctx context.Context, key ClientKey, seqs []uint64) (int, error) {
	if err := s.acks.flush(ctx); err != nil {
		return 0, err
	}
	return s.store.Redrive(ctx, key, seqs)
}

// Register makes a client; an empty ID is given a Snowflake.
func (s *Service) Register(ctx context.Context, key ClientKey) (ClientKey, error) {
	if key.ID == "" {
		id, err := s.newID()
		if err != nil {
			return key, err
		}
		key.ID = FormatID(id)
	}
	if !ValidName(key.ID) || !ValidRealm(key.Realm) {
		return key, Errorf(CodeInvalidField, "client_id and realm: %s", nameRule)
	}
	return key, s.store.Register(ctx, key, s.now())
}

// Mailboxes answers the states of several, nil for clients that don't exist.
func (s *Service) Mailboxes(ctx context.Context, keys []ClientKey) ([]*Mailbox, error) {
	if err := s.acks.flush(ctx); err != nil {
		return nil, err
	}
	return s.store.Mailboxes(ctx, keys)
}

// Forget deletes a client with everything it has, and ends its sessions,
// wherever they are. The groups it was in are not told.
func (s *Service) Forget(ctx context.Context, key ClientKey) error {
	s.acks.begin(key)
	if err := s.store.Forget(ctx, key); err != nil {
		s.acks.end(key, nil)
		return err
	}
	end := Closing{Client: key, Code: CloseDeleted, Reason: "the client was deleted"}
	_, talking := s.endLife(end)
	s.acks.end(key, talking)
	ctx, cancel := context.WithTimeout(ctx, acrossTimeout)
	defer cancel()
	if _, err := s.elsewhere.Close(ctx, end); err != nil { // their sweep of heads finds it
		s.log.Warn("other nodes were not told that a client was deleted", "client", key, "err", err)
	}
	return nil
}

// Join makes a client a member, and tells the others where the group asks
// for that.
func (s *Service) Join(ctx context.Context, realm, group, client string) (Group, error) {
	g, changed, err := s.store.Join(ctx, realm, group, client)
	if err == nil && changed {
		s.memberChanged(ctx, g, client, NoticeMemberJoined)
	}
	return g, err
}

// Leave ends a membership likewise.
func (s *Service) Leave(ctx context.Context, realm, group, client string) (Group, error) {
	g, changed, err := s.store.Leave(ctx, realm, group, client)
	if err == nil && changed {
		s.memberChanged(ctx, g, client, NoticeMemberLeft)
	}
	return g, err
}

func (s *Service) memberChanged(ctx context.Context, g Group, client string, kind NoticeKind) {
	s.groupChanged(g.Realm, g.Name)
	if !g.Events {
		return
	}
	members, err := s.groups.members(ctx, g.Realm, g.Name)
	if err != nil { // the change itself is committed: members may list the group
		s.log.Warn("members were not told of a change", "group", g.Name, "err", err)
		return
	}
	s.Desk.notifyMembers(members, g.Realm, "", Notice{Kind: kind, Group: g.Name, ClientID: client})
}

// SetEvents turns member events of a group on or off.
func (s *Service) SetEvents(ctx context.Context, realm, group string, on bool) (Group, error) {
	g, err := s.store.SetEvents(ctx, realm, group, on)
	s.groupChanged(realm, group)
	return g, err
}

// groupChanged forgets the group's members, here and elsewhere.
func (s *Service) groupChanged(realm, group string) {
	s.groups.forget(realm, group)
	s.elsewhere.GroupChanged(realm, group)
}

// Group is a group's state.
func (s *Service) Group(ctx context.Context, realm, group string) (Group, error) {
	return s.store.Group(ctx, realm, group)
}

// Members is a page of a group's members.
func (s *Service) Members(ctx context.Context, realm, group string, page PageQuery) ([]string, string, error) {
	return s.store.Members(ctx, realm, group, page)
}
