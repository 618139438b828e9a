package store

import (
	"context"

	"github.com/sunzi-push/sunzi/push"
)

// Join implements [push.Groups].
func (s *Store) Join(ctx context.Context, realm, group, client string) (g push.Group, changed bool, err error) {
	err = s.do(ctx, 300, func(t *tx) error {
		c, err := t.client(push.ClientKey{Realm: realm, ID: client})
		if err != nil {
			return err
		}
		if c == nil {
			return push.Errorf(push.CodeNoClient, "client %q is not registered", client)
		}
		row, err := t.makeGroup(realm, group)
		if err != nil {
			return err
		}
		g, changed = *row, false
		if in, err := t.isMember(realm, group, client); err != nil || in {
			return err
		}
		g.Epoch++
		g.Members++
		changed = true
		if err := t.exec(`INSERT INTO member (realm, grp, client_id, joined_epoch) VALUES (?, ?, ?, ?)`, realm, group, client, int64(g.Epoch)); err != nil {
			return err
		}
		return t.saveGroup(&g)
	})
	if err != nil {
		return push.Group{}, false, err
	}
	return g, changed, nil
}

// Leave implements [push.Groups].
func (s *Store) Leave(ctx context.Context, realm, group, client string) (g push.Group, changed bool, err error) {
	err = s.do(ctx, 300, func(t *tx) error {
		row, err := t.lockGroup(realm, group)
		if err != nil {
			return err
		}
		if row == nil {
			return errNoGroup(group)
		}
		g, changed = *row, false
		in, err := t.isMember(realm, group, client)
		if err != nil || !in {
			return err
		}
		changed = true
		return t.leave(&g, client)
	})
	if err != nil {
		return push.Group{}, false, err
	}
	return g, changed, nil
}

// leave ends a membership that exists. Index: member's primary key.
func (t *tx) leave(g *push.Group, client string) error {
	g.Epoch++
	g.Members--
	if err := t.exec(`UPDATE member SET left_epoch = ? WHERE realm = ? AND grp = ? AND client_id = ? AND left_epoch IS NULL`,
		int64(g.Epoch), g.Realm, g.Name, client); err != nil {
		return err
	}
	return t.saveGroup(g)
}

// SetEvents implements [push.Groups].
func (s *Store) SetEvents(ctx context.Context, realm, group string, on bool) (g push.Group, err error) {
	err = s.do(ctx, 200, func(t *tx) error {
		row, err := t.makeGroup(realm, group)
		if err != nil {
			return err
		}
		g = *row
		g.Events = on
		return t.saveGroup(&g)
	})
	if err != nil {
		return push.Group{}, err
	}
	return g, nil
}

const groupQuery = `SELECT epoch, members, events FROM grp WHERE realm = ? AND name = ?`

// groupRow is nil where there is no such group. What it reads is committed, or
// this transaction's own: memberships up to its epoch are there to be read.
func (t *tx) groupRow(realm, name string) (*push.Group, error) {
	return t.readGroup(groupQuery, realm, name)
}

// lockGroup is groupRow for those who change the group.
func (t *tx) lockGroup(realm, name string) (*push.Group, error) {
	return t.readGroup(groupQuery+t.cfg.engine.forUpdate, realm, name)
}

// readGroup's index: grp's primary key.
func (t *tx) readGroup(query, realm, name string) (*push.Group, error) {
	g := push.Group{Realm: realm, Name: name}
	found, err := t.row(query, []any{realm, name}, &g.Epoch, &g.Members, &g.Events)
	if err != nil || !found {
		return nil, err
	}
	return &g, nil
}

// makeGroup is the group, made where it is not there yet.
func (t *tx) makeGroup(realm, name string) (*push.Group, error) {
	g, err := t.lockGroup(realm, name)
	if err != nil || g != nil {
		return g, err
	}
	return &push.Group{Realm: realm, Name: name}, t.exec(`INSERT INTO grp (realm, name) VALUES (?, ?)`, realm, name)
}

// saveGroup writes a group that exists. Index: grp's primary key.
func (t *tx) saveGroup(g *push.Group) error {
	return t.exec(`UPDATE grp SET epoch = ?, members = ?, events = ? WHERE realm = ? AND name = ?`,
		int64(g.Epoch), g.Members, g.Events, g.Realm, g.Name)
}

const memberQuery = `SELECT 1 FROM member WHERE realm = ? AND grp = ? AND client_id = ? AND left_epoch IS NULL`

// isMember asks within the commit group. Index: member_client, or member's
// primary key: both have all that is asked for.
func (t *tx) isMember(realm, group, client string) (bool, error) {
	var one int
	return t.row(memberQuery, []any{realm, group, client}, &one)
}

// Group implements [push.Groups]. Index: grp's primary key.
func (s *Store) Group(ctx context.Context, realm, group string) (push.Group, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	g := push.Group{Realm: realm, Name: group}
	found, err := s.row(ctx, groupQuery, []any{realm, group}, &g.Epoch, &g.Members, &g.Events)
	if err != nil {
		return push.Group{}, failed(err)
	}
	if !found {
		return push.Group{}, errNoGroup(group)
	}
	return g, nil
}

func errNoGroup(name string) error {
	return push.Errorf(push.CodeNoGroup, "group %q does not exist", name)
}

// Members implements [push.Groups]: pages in the order of client IDs. Index:
// member's primary key.
func (s *Store) Members(ctx context.Context, realm, group string, page push.PageQuery) (ids []string, next string, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if _, err := s.Group(ctx, realm, group); err != nil {
		return nil, "", err
	}
	from, err := decodePage(page.Token)
	if err != nil {
		return nil, "", err
	}
	limit := pageLimit(page.Limit)
	rows, err := s.query(ctx, `SELECT client_id FROM member WHERE realm = ? AND grp = ? AND client_id > ? AND left_epoch IS NULL
		ORDER BY client_id LIMIT ?`, realm, group, from.client, limit+1)
	ids, err = collect(rows, err, scanString)
	if err != nil {
		return nil, "", failed(err)
	}
	if len(ids) > limit {
		ids = ids[:limit]
		next = place{client: ids[limit-1]}.encode()
	}
	return ids, next, nil
}

// IsMember implements [push.Groups]. Index: as isMember.
func (s *Store) IsMember(ctx context.Context, realm, group, client string) (bool, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	in, err := s.any(ctx, memberQuery, realm, group, client)
	return in, failed(err)
}
