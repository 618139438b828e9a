package store

import (
	"context"
	"database/sql"

	"github.com/sunzi-push/sunzi/push"
)

// forgetStep bounds what one commit group deletes of a mailbox.
const forgetStep = 500

// Forget implements [push.Clients]. The mailbox is emptied in steps first, so
// that a large one holds up nobody; where this is interrupted the client is
// still there, with what is left, and can be forgotten again.
func (s *Store) Forget(ctx context.Context, key push.ClientKey) error {
	for n := forgetStep; n == forgetStep; {
		err := s.do(ctx, 100*forgetStep, func(t *tx) (err error) {
			c, err := t.client(key)
			if err != nil {
				return err
			}
			if c == nil {
				return errNoClient(key)
			}
			n, err = t.empty(c)
			if err != nil || n == forgetStep {
				return err
			}
			return t.forget(key)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// empty deletes the oldest entries of the mailbox with their ack log. Index:
// primary keys.
func (t *tx) empty(c *counter) (int, error) {
	if err := t.flush(); err != nil {
		return 0, err
	}
	type row struct {
		seq    uint64
		id     int64
		shared int
	}
	rows, err := t.query(`SELECT seq, id, shared FROM offline_message WHERE realm = ? AND client_id = ? ORDER BY seq LIMIT ?`,
		c.key.Realm, c.key.ID, forgetStep)
	found, err := collect(rows, err, func(r *sql.Rows, v *row) error { return r.Scan(&v.seq, &v.id, &v.shared) })
	if err != nil || len(found) == 0 {
		return 0, err
	}
	last := int64(found[len(found)-1].seq)
	if err := t.exec(`DELETE FROM offline_message WHERE realm = ? AND client_id = ? AND seq <= ?`, c.key.Realm, c.key.ID, last); err != nil {
		return 0, err
	}
	if err := t.exec(`DELETE FROM ack_log WHERE realm = ? AND client_id = ? AND to_seq <= ?`, c.key.Realm, c.key.ID, last); err != nil {
		return 0, err
	}
	c.touch()
	for _, v := range found {
		if v.shared != bodyOwn {
			if err := t.forgetBody(v.id); err != nil {
				return 0, err
			}
		}
	}
	return len(found), nil
}

// forget deletes what is left of a client whose mailbox is empty. Indexes:
// primary keys, member_client, token_client.
func (t *tx) forget(key push.ClientKey) error {
	// Tokens of outside issuers have no row to delete.
	if err := t.exec(t.cfg.engine.keepRevocation, key.Realm, key.ID, unixMS(t.now)); err != nil {
		return err
	}
	rows, err := t.query(`SELECT grp FROM member`+t.cfg.engine.byMemberClient+`WHERE realm = ? AND client_id = ? AND left_epoch IS NULL`, key.Realm, key.ID)
	groups, err := collect(rows, err, func(r *sql.Rows, s *string) error { return r.Scan(s) })
	if err != nil {
		return err
	}
	for _, name := range groups {
		g, err := t.lockGroup(key.Realm, name)
		if err != nil {
			return err
		}
		if g == nil {
			continue
		}
		if err := t.leave(g, key.ID); err != nil {
			return err
		}
	}
	c, err := t.client(key)
	if err != nil || c == nil {
		return err
	}
	if c.sealLast > 0 {
		if err := t.unseal(c, 0); err != nil {
			return err
		}
		if err := t.flush(); err != nil { // its counter row, which goes next
			return err
		}
	}
	for _, query := range []string{
		`DELETE FROM ack_log WHERE realm = ? AND client_id = ?`,
		`DELETE FROM token WHERE realm = ? AND client_id = ?`,
		`DELETE FROM client WHERE realm = ? AND client_id = ?`,
	} {
		if err := t.exec(query, key.Realm, key.ID); err != nil {
			return err
		}
	}
	delete(t.counters.rows, key)
	return nil
}

// forgetBody deletes a body, and its push's row, that no entry and no job needs
// any more. Indexes: primary keys, offline_message_id.
func (t *tx) forgetBody(id int64) error {
	var one int
	if t.cfg.engine.shared { // nobody places it again meanwhile (placeAgain)
		if _, err := t.row(`SELECT 1 FROM body WHERE id = ?`+t.cfg.engine.forUpdate, []any{id}, &one); err != nil {
			return err
		}
	}
	used, err := t.row(`SELECT 1 FROM offline_message WHERE id = ? UNION ALL SELECT 1 FROM job WHERE id = ? LIMIT 1`, []any{id, id}, &one)
	if err != nil || used {
		return err
	}
	if err := t.exec(`DELETE FROM body WHERE id = ?`, id); err != nil {
		return err
	}
	return t.exec(`DELETE FROM push WHERE id = ? AND placed > 0`, id)
}
