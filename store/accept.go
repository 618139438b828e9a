package store

// One push, from the envelope to its mailboxes: accept (is it known already?),
// resolve (whom is it for?), place (an entry for each). All of it happens in a
// commit group's transaction; refusals are found before anything is written.

import (
	"bytes"
	"context"
	"database/sql"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// Accept implements [push.Mailboxes].
func (s *Store) Accept(ctx context.Context, envs []*push.Envelope) ([]push.Outcome, error) {
	size, stored := 0, false
	var keys []push.ClientKey
	var claimed [][32]byte
	for _, e := range envs {
		size += len(e.Body) + 200*max(1, len(e.Target.Clients))
		stored = stored || e.Store != push.StoreNever
		for _, id := range e.Target.Clients {
			keys = append(keys, push.ClientKey{Realm: e.Target.Realm, ID: id})
		}
		if e.Idempotency != nil {
			claimed = append(claimed, e.Idempotency.Key)
		}
	}
	var outcomes []push.Outcome
	err := s.doOp(ctx, &op{size: size, push: stored, named: named{keys, claimed}, run: func(t *tx) error {
		made := make([]push.Outcome, len(envs))
		if err := t.prefetch(envs); err != nil {
			return err
		}
		for i, e := range envs {
			o, err := t.accept(e)
			if err != nil {
				return err
			}
			made[i] = o
		}
		outcomes = made
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return outcomes, nil
}

// prefetch reads the counter rows that several envelopes name, in the order of
// their keys, instead of one at a time.
func (t *tx) prefetch(envs []*push.Envelope) error {
	if len(envs) < 2 {
		return nil
	}
	named := make(map[string][]string)
	for _, e := range envs {
		if len(e.Target.Clients) == 1 {
			named[e.Target.Realm] = append(named[e.Target.Realm], e.Target.Clients[0])
		}
	}
	for realm, ids := range named {
		if _, err := t.clients(realm, ids); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) accept(e *push.Envelope) (o push.Outcome, err error) {
	if e.Idempotency != nil {
		known, o, err := t.known(e)
		if known || err != nil {
			return o, err
		}
	}
	switch {
	case e.Store == push.StoreNever:
		o.ID = e.ID
	case e.NotBefore.After(t.now):
		o, err = t.schedule(e)
	default:
		o, err = t.place(e, fresh)
	}
	if err == nil && o.Err == nil && e.Idempotency != nil {
		c := claim{*e.Idempotency, e.ID}
		t.claims[c.idem.Key] = c
		t.unsaved = append(t.unsaved, c)
	}
	return o, err
}

// known answers an envelope whose idempotency key was claimed, in this group
// or earlier.
func (t *tx) known(e *push.Envelope) (bool, push.Outcome, error) {
	if t.claims == nil {
		t.claims = make(map[[32]byte]claim)
	}
	c, ok := t.claims[e.Idempotency.Key]
	if !ok {
		kept, err := t.keptClaim(e.Idempotency.Key)
		if err != nil || kept == nil {
			return false, push.Outcome{}, err
		}
		if kept.at < unixMS(t.now.Add(-t.cfg.Limits.IdempotencyWindow)) { // forgotten, only not swept yet
			return false, push.Outcome{}, t.exec(`DELETE FROM idempotency WHERE idem_key = ?`, e.Idempotency.Key[:])
		}
		c = kept.claim
	}
	if !bytes.Equal(c.idem.Body[:], e.Idempotency.Body[:]) {
		return true, push.Outcome{Err: push.Errorf(push.CodeKeyReused, "this Idempotency-Key came with another body before: use a new key for a new request")}, nil
	}
	return true, push.Outcome{ID: c.id, Duplicate: true}, nil
}

// audience is what a target was resolved into.
type audience struct {
	clients  []*counter
	rejected []push.Rejection
	members  int
	epoch    int64 // of the group, or the highest registration number
	large    bool  // clients is left out: a job has to expand it
}

// resolve finds out whom the target means now. A nil audience goes with the
// refusal.
func (t *tx) resolve(target push.Target) (*audience, *push.Error, error) {
	switch {
	case target.All:
		a, err := t.everybody(target.Realm)
		return a, nil, err
	case target.Group != "":
		return t.group(target.Realm, target.Group)
	}
	found, err := t.clients(target.Realm, target.Clients)
	if err != nil {
		return nil, nil, err
	}
	if len(found) == 1 && found[0] == nil {
		return nil, push.Errorf(push.CodeNoClient, "client %q is not registered", target.Clients[0]), nil
	}
	a := &audience{members: len(found)}
	for i, c := range found {
		if c == nil {
			a.rejected = append(a.rejected, push.Rejection{Client: push.ClientKey{Realm: target.Realm, ID: target.Clients[i]}, Code: push.CodeNoClient})
			continue
		}
		a.clients = append(a.clients, c)
	}
	return a, nil, nil
}

// everybody is all clients of the realm. Index: client_born.
func (t *tx) everybody(realm string) (*audience, error) {
	rows, err := t.query(`SELECT client_id, born FROM client WHERE realm = ? ORDER BY born LIMIT ?`, realm, push.ExpandAbove+1)
	type member struct {
		id   string
		born int64
	}
	found, err := collect(rows, err, func(r *sql.Rows, m *member) error { return r.Scan(&m.id, &m.born) })
	if err != nil {
		return nil, err
	}
	a := &audience{members: len(found), large: len(found) > push.ExpandAbove || len(found) > 1 && t.placed+len(found) > inlinePlaces}
	if a.large {
		_, err = t.row(`SELECT COUNT(*), MAX(born) FROM client WHERE realm = ?`, []any{realm}, &a.members, &a.epoch)
		return a, err
	}
	ids := make([]string, len(found))
	for i, m := range found {
		ids[i] = m.id
	}
	a.clients, err = t.clients(realm, ids)
	return a, err
}

// inlinePlaces bounds the entries that pushes to groups and to all make in one
// commit group: what is beyond is left to jobs, or one bulk push to groups
// would hold up every writer for a minute.
const inlinePlaces = 4 * push.ExpandAbove

// group is the members of a group. Index: member's primary key.
func (t *tx) group(realm, name string) (*audience, *push.Error, error) {
	g, err := t.groupRow(realm, name)
	if err != nil {
		return nil, nil, err
	}
	if g == nil {
		return nil, push.Errorf(push.CodeNoGroup, "group %q does not exist", name), nil
	}
	a := &audience{members: g.Members, epoch: int64(g.Epoch), large: g.Members > push.ExpandAbove || g.Members > 1 && t.placed+g.Members > inlinePlaces}
	if a.large {
		return a, nil, nil
	}
	rows, err := t.query(`SELECT client_id FROM member WHERE realm = ? AND grp = ? AND left_epoch IS NULL ORDER BY client_id`, realm, name)
	ids, err := collect(rows, err, scanString)
	if err != nil {
		return nil, nil, err
	}
	a.clients, err = t.clients(realm, ids)
	return a, nil, err
}

func scanString(r *sql.Rows, s *string) error { return r.Scan(s) }

// standing is whether a push was answered already.
type standing uint8

const (
	fresh    standing = iota // a full mailbox may refuse it
	promised                 // it was answered 2xx: a full mailbox tells it as dropped
)

// delivery is a push on its way into mailboxes.
type delivery struct {
	message  *push.Message
	size     int
	priority int
	expires  int64
	collapse string
	mode     int
	seal     push.SealMode
	channel  *channelRef // where it is for a group
	plain    int         // entries made that are not sealed
	shared   int         // one of the body… values
	standing standing
}

// Values of offline_message.mode.
const (
	modeAlways  = 0
	modeOffline = 1
)

// Values of offline_message.shared: where the body is, and whether table push
// has a row.
const (
	bodyOwn      = 0
	bodyShared   = 1 // in table body, with a row in push
	bodyRecorded = 2 // its own, with a row in push
	bodyApart    = 3 // its own, in table body, for it is long
)

// inlineBody is how long a body may be to stand in its entry, so that the row
// fits on its page (SQLite lets go of 1,002 bytes and more). Longer ones stand
// apart: going through a mailbox's entries reads each row whole.
const inlineBody = 512

// never is the expires of an entry without TTL: larger than any clock.
const never = int64(1) << 60

// apart reports whether the body is in table body.
func (d *delivery) apart() bool { return d.shared == bodyShared || d.shared == bodyApart }

func (t *tx) delivery(e *push.Envelope, st standing) *delivery {
	d := &delivery{
		message: &push.Message{ID: e.ID, Sent: sentAt(e), Body: e.Body},
		size:    e.Size, priority: e.Priority, expires: never,
		collapse: e.CollapseKey, seal: e.Seal, standing: st,
	}
	if !e.Expires.IsZero() {
		d.expires = unixMS(e.Expires)
	}
	if e.Store == push.StoreOffline || t.cfg.Limits.HistoryRetention <= 0 {
		d.mode = modeOffline
	}
	return d
}

// sentAt is the time that the message's body tells: not_before of a scheduled
// push.
func sentAt(e *push.Envelope) time.Time {
	if e.NotBefore.After(e.Accepted) {
		return e.NotBefore
	}
	return e.Accepted
}

// place makes an entry in each client's mailbox, or the job that will.
func (t *tx) place(e *push.Envelope, st standing) (push.Outcome, error) {
	a, refusal, err := t.resolve(e.Target)
	if err != nil || refusal != nil {
		return push.Outcome{Err: refusal}, err
	}
	if a.large {
		return t.startJob(e, a)
	}
	o := push.Outcome{ID: e.ID, Members: a.members, Rejected: a.rejected}
	single := len(e.Target.Clients) == 1
	d := t.delivery(e, st)
	d.channel = channelOf(e.Target, a.epoch)
	switch {
	case !single:
		d.shared = bodyShared
	case len(e.Body) > inlineBody:
		d.shared = bodyApart
	case st == promised:
		d.shared = bodyRecorded
	}
	o.Placed = make([]push.Placement, 0, len(a.clients))
	for _, c := range a.clients {
		if err := t.enter(d, c, &o); err != nil {
			return o, err
		}
	}
	if single && len(o.Rejected) == 1 {
		return push.Outcome{Err: refused(e, o.Rejected[0].Code)}, nil
	}
	t.hear(d.message, t.inClear(d, o.Placed))
	entries := len(a.clients) - (len(o.Rejected) - len(a.rejected))
	if d.apart() && d.plain > 0 {
		t.bodies = append(t.bodies, bodyRow{e.ID, string(e.Body)})
	}
	if single && st == fresh {
		return o, nil // its entry says everything
	}
	return o, t.recordPush(e, pushPlaced, entries)
}

// refused is why a push to one client was not taken.
func refused(e *push.Envelope, code push.Code) *push.Error {
	id := e.Target.Clients[0]
	if code == push.CodeNoSealKey {
		return push.Errorf(code, "client %q has no keys for seal %q: it has to connect with sealing first", id, e.Seal)
	}
	return push.Errorf(code, "the mailbox of client %q is full", id)
}

// inClear are the placements that are not sealed: of the others clients hear
// once they are.
func (t *tx) inClear(d *delivery, placed []push.Placement) []push.Placement {
	if d.plain == len(placed) {
		return placed
	}
	plain := make([]push.Placement, 0, d.plain)
	for _, p := range placed {
		if c := t.counters.rows[p.Client]; c == nil || c.sealedAt != p.Seq {
			plain = append(plain, p)
		}
	}
	return plain
}

func (t *tx) hear(m *push.Message, to []push.Placement) {
	if len(to) > 0 {
		t.heard = append(t.heard, heard{m, to})
	}
}

// Values of push.state.
const (
	pushPlaced    = 0
	pushScheduled = 1
	pushExpanding = 2
	pushCancelled = 3
	pushRefused   = 4
)

// recordPush keeps what entries do not say. Index: push's primary key.
func (t *tx) recordPush(e *push.Envelope, state, placed int) error {
	return t.exec(`REPLACE INTO push (id, realm, accepted, state, placed) VALUES (?, ?, ?, ?, ?)`,
		e.ID, e.Target.Realm, unixMS(e.Accepted), state, placed)
}
