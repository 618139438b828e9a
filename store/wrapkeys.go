package store

// Which wrapping keys the store is under (table seal_wrap, of few rows), and
// what becomes of it where they are lost. The keys themselves are not here.

import (
	"context"
	"database/sql"

	"github.com/sunzi-push/sunzi/push"
)

// WrapKeys answers the wrapping keys that the store is under: their proofs
// (crt/SPEC.md, section 7) by number. Index: seal_wrap's primary key.
func (s *Store) WrapKeys(ctx context.Context) (map[uint32][]byte, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	type row struct {
		number uint32
		proof  []byte
	}
	rows, err := s.query(ctx, `SELECT number, proof FROM seal_wrap ORDER BY number`)
	found, err := collect(rows, err, func(r *sql.Rows, v *row) error { return r.Scan(&v.number, &v.proof) })
	if err != nil {
		return nil, failed(err)
	}
	all := make(map[uint32][]byte, len(found))
	for _, v := range found {
		all[v.number] = v.proof
	}
	return all, nil
}

// ClaimWrapKey has the store be under one more key, and what is wrapped from its
// return on be under it, if its number is the highest. It answers the proof that
// is kept: another one where others were first. Index: seal_wrap's primary key.
func (s *Store) ClaimWrapKey(ctx context.Context, number uint32, proof []byte) (kept []byte, err error) {
	err = s.do(ctx, 100, func(t *tx) error {
		kept = nil
		t.wrapping = false
		found, err := t.row(`SELECT proof FROM seal_wrap WHERE number = ?`, []any{int64(number)}, &kept)
		if err != nil || found {
			return err
		}
		kept = proof
		return t.exec(`INSERT INTO seal_wrap (number, proof) VALUES (?, ?)`, int64(number), proof)
	})
	return kept, err
}

// ForgetWrapKeys is the reverse, of all keys but one: call it when nothing is
// wrapped under the others. Zero: of all. Index: seal_wrap's primary key.
func (s *Store) ForgetWrapKeys(ctx context.Context, but uint32) error {
	return s.do(ctx, 100, func(t *tx) error {
		t.wrapping = false
		return t.exec(`DELETE FROM seal_wrap WHERE number <> ?`, int64(but))
	})
}

// useWrapKey has the sealer wrap under the store's newest key: call it in a
// transaction before anything is wrapped. Index: seal_wrap's primary key.
func (t *tx) useWrapKey() error {
	if t.wrapping || t.cfg.Sealer == nil {
		return nil
	}
	var number uint32
	found, err := t.row(`SELECT number FROM seal_wrap ORDER BY number DESC LIMIT 1`, nil, &number)
	if err == nil && found {
		err = t.cfg.Sealer.Use(number)
	}
	t.wrapping = err == nil
	return err
}

// HoldsWrapped reports whether there is anything that nobody can read without the
// wrapping keys. It reads all pushes that wait, where there are no clients' keys.
// Indexes: seal_key_state; primary keys.
func (s *Store) HoldsWrapped(ctx context.Context) (bool, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	for _, q := range []struct {
		query string
		args  []any
	}{
		{`SELECT 1 FROM seal_key WHERE state = 1 LIMIT 1`, nil},
		{`SELECT 1 FROM seal_channel LIMIT 1`, nil},
		{`SELECT 1 FROM envelope WHERE content LIKE ? LIMIT 1`, []any{`{"wrapped":%`}},
		{`SELECT 1 FROM job JOIN body ON body.id = job.id WHERE body.msg LIKE ? LIMIT 1`, []any{wrappedMark + "%"}},
	} {
		if held, err := s.any(ctx, q.query, q.args...); err != nil || held {
			return held, failed(err)
		}
	}
	return false, nil
}

// AbandonSealing destroys whatever is wrapped: clients have no sealing keys any
// more, and what waits wrapped is refused, as if its target were gone. What was
// sealed already stays in mailboxes, for who has the keys. No server may run. It
// blocks until all is done, or ctx ends; call it again then. It counts what was
// destroyed. Indexes: primary keys.
func (s *Store) AbandonSealing(ctx context.Context) (Rewrapped, error) {
	var a Rewrapped
	err := s.inSteps(ctx, &a.Clients, rewrapStep, func(t *tx) (int, error) {
		rows, err := t.query(`SELECT DISTINCT realm, client_id FROM seal_key ORDER BY realm, client_id LIMIT ?`, rewrapStep)
		keys, err := collect(rows, err, func(r *sql.Rows, k *push.ClientKey) error { return r.Scan(&k.Realm, &k.ID) })
		for _, key := range keys {
			c, err := t.client(key)
			if err != nil {
				return 0, err
			}
			if c == nil { // its keys should have gone with it
				err = t.exec(`DELETE FROM seal_key WHERE realm = ? AND client_id = ?`, key.Realm, key.ID)
			} else {
				err = t.unseal(c, 0)
			}
			if err != nil {
				return 0, err
			}
		}
		return len(keys), err
	})
	if err == nil {
		err = s.inSteps(ctx, &a.Waiting, waitingStep, (*tx).abandonWaiting)
	}
	if err != nil {
		return a, err
	}
	err = s.do(ctx, 100, func(t *tx) (err error) {
		if err = t.flush(); err != nil {
			return err
		}
		if a.Channels, err = t.execCount(`DELETE FROM seal_channel`); err != nil {
			return err
		}
		return firstError(t.exec(`DELETE FROM seal_shard`), t.exec(`DELETE FROM seal_wrap`))
	})
	return a, err
}

// inSteps calls step in commit groups until it does less than limit.
func (s *Store) inSteps(ctx context.Context, done *int, limit int, step func(t *tx) (int, error)) error {
	for {
		n := 0
		err := s.do(ctx, 100*limit, func(t *tx) (err error) {
			if err = t.flush(); err == nil {
				n, err = step(t)
			}
			return err
		})
		if err != nil {
			return err
		}
		if *done += n; n < limit {
			return nil
		}
	}
}

// abandonWaiting refuses some of the pushes that wait wrapped. Indexes: primary
// keys.
func (t *tx) abandonWaiting() (int, error) {
	rows, err := t.query(`SELECT id FROM envelope WHERE content LIKE ? UNION ALL
		SELECT job.id FROM job JOIN body ON body.id = job.id WHERE body.msg LIKE ? LIMIT ?`, `{"wrapped":%`, wrappedMark+"%", waitingStep)
	ids, err := collect(rows, err, func(r *sql.Rows, id *int64) error { return r.Scan(id) })
	for _, id := range ids {
		err := firstError(
			t.exec(`DELETE FROM envelope WHERE id = ?`, id), t.exec(`DELETE FROM job WHERE id = ?`, id),
			t.exec(`UPDATE push SET state = ? WHERE id = ?`, pushRefused, id),
			t.forgetWrapped(id), t.forgetBody(id))
		if err != nil {
			return 0, err
		}
	}
	return len(ids), err
}
