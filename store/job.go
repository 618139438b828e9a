package store

import (
	"context"
	"database/sql"

	"github.com/sunzi-push/sunzi/push"
)

// startJob keeps a push to many until it is expanded: its body, whom it is
// for (the group's epoch, or the registrations so far), and how far it is.
func (t *tx) startJob(e *push.Envelope, a *audience) (push.Outcome, error) {
	content, body, err := t.keepApart(e)
	if err != nil {
		return push.Outcome{}, err
	}
	var group any
	if !e.Target.All {
		group = e.Target.Group
	}
	t.bodies = append(t.bodies, bodyRow{e.ID, body})
	if err := t.exec(`INSERT INTO job (id, realm, grp, epoch, content) VALUES (?, ?, ?, ?, ?)`,
		e.ID, e.Target.Realm, group, a.epoch, content); err != nil {
		return push.Outcome{}, err
	}
	o := push.Outcome{ID: e.ID, Expanding: true, Members: a.members}
	return o, t.recordPush(e, pushExpanding, 0)
}

// expandStep bounds what one commit group expands.
const expandStep = 2000

// Expand implements [push.Chores]. It counts the members that it went through;
// where jobs end within a step the next one begins.
func (s *Store) Expand(ctx context.Context, limit int) (int, error) {
	done := 0
	for done < limit {
		left, err := s.any(ctx, `SELECT 1 FROM job LIMIT 1`)
		if err != nil || !left {
			return done, failed(err)
		}
		n := 0
		step := min(limit-done, expandStep)
		err = s.do(ctx, 200*step, func(t *tx) (err error) {
			n, err = t.expand(step)
			return err
		})
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

type job struct {
	id         int64
	realm      string
	group      sql.NullString
	epoch      int64
	lastClient string
	lastBorn   int64
	content    []byte
}

// expand goes on with the oldest job for at most limit members. A step ends
// with its job, so that a commit group has one body.
func (t *tx) expand(limit int) (int, error) {
	if err := t.flush(); err != nil {
		return 0, err
	}
	var j job
	// Index: job's primary key; push IDs grow with time.
	found, err := t.row(`SELECT id, realm, grp, epoch, last_client, last_born, content FROM job ORDER BY id LIMIT 1`+t.cfg.engine.forUpdate, nil,
		&j.id, &j.realm, &j.group, &j.epoch, &j.lastClient, &j.lastBorn, &j.content)
	if err != nil || !found {
		return 0, err
	}
	members, err := t.jobMembers(&j, limit)
	if err != nil {
		return 0, err
	}
	entries, err := t.placeJob(&j, members)
	if err != nil {
		return 0, err
	}
	if len(members) == limit {
		last := members[limit-1]
		err = t.exec(`UPDATE job SET last_client = ?, last_born = ? WHERE id = ?`, last.id, last.born, j.id)
		return len(members), firstError(err, t.advancePush(j.id, pushExpanding, entries))
	}
	err = firstError(t.advancePush(j.id, pushPlaced, entries), t.exec(`DELETE FROM job WHERE id = ?`, j.id), t.flush(), t.forgetWrapped(j.id))
	return len(members), firstError(err, t.forgetBody(j.id))
}

type jobMember struct {
	id   string
	born int64
}

// jobMembers are the next of those for whom the push was accepted.
func (t *tx) jobMembers(j *job, limit int) ([]jobMember, error) {
	if j.group.Valid {
		// Index: member's primary key. A client has one interval at an epoch.
		rows, err := t.query(`SELECT client_id FROM member WHERE realm = ? AND grp = ? AND client_id > ?
			AND joined_epoch <= ? AND (left_epoch IS NULL OR left_epoch > ?) ORDER BY client_id LIMIT ?`,
			j.realm, j.group.String, j.lastClient, j.epoch, j.epoch, limit)
		return collect(rows, err, func(r *sql.Rows, m *jobMember) error { return r.Scan(&m.id) })
	}
	// Index: client_born.
	rows, err := t.query(`SELECT client_id, born FROM client WHERE realm = ? AND born > ? AND born <= ? ORDER BY born LIMIT ?`,
		j.realm, j.lastBorn, j.epoch, limit)
	return collect(rows, err, func(r *sql.Rows, m *jobMember) error { return r.Scan(&m.id, &m.born) })
}

// placeJob makes the members' entries, and answers how many.
func (t *tx) placeJob(j *job, members []jobMember) (int, error) {
	if len(members) == 0 {
		return 0, nil
	}
	e, wrapped, err := t.apart(j)
	if err != nil {
		return 0, err
	}
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = m.id
	}
	clients, err := t.clients(j.realm, ids)
	if err != nil {
		return 0, err
	}
	d := t.delivery(e, promised)
	d.shared = bodyShared
	d.channel = channelOf(push.Target{Realm: j.realm, Group: j.group.String}, j.epoch)
	entries := 0
	var o push.Outcome
	for _, c := range clients {
		if c == nil {
			continue
		}
		if err := t.enter(d, c, &o); err != nil {
			return 0, err
		}
		entries++
	}
	t.hear(d.message, t.inClear(d, o.Placed))
	if wrapped && d.plain > 0 { // it is also for clients who get it in clear
		err = t.bare(j, e)
	}
	return entries, err
}

func (t *tx) advancePush(id int64, state, entries int) error {
	return t.exec(`UPDATE push SET state = ?, placed = placed + ? WHERE id = ?`, state, entries, id)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
