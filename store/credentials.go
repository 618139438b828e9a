package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/sunzi-push/sunzi/push/token"
)

// InsertToken implements [token.Records].
func (s *Store) InsertToken(ctx context.Context, r token.Record) error {
	family := sql.NullString{String: r.Family, Valid: r.Family != ""}
	return s.do(ctx, 300, func(t *tx) error {
		return t.exec(`INSERT INTO token (jti, realm, client_id, device, issued, expires, revoked, family) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			r.ID, r.Realm, r.Client, r.Device, unixMS(r.Issued), unixMS(r.Expires), r.Revoked, family)
	})
}

const tokenColumns = `jti, realm, client_id, device, issued, expires, revoked, COALESCE(family, '')`

func scanToken(r *token.Record, issued, expires *int64) []any {
	return []any{&r.ID, &r.Realm, &r.Client, &r.Device, issued, expires, &r.Revoked, &r.Family}
}

// Token implements [token.Records]. Index: token's primary key.
func (s *Store) Token(ctx context.Context, jti string) (token.Record, error) {
	return s.token(ctx, `SELECT `+tokenColumns+` FROM token WHERE jti = ?`, jti)
}

func (s *Store) token(ctx context.Context, query, jti string) (token.Record, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var r token.Record
	var issued, expires int64
	found, err := s.row(ctx, query, []any{jti}, scanToken(&r, &issued, &expires)...)
	if err != nil {
		return token.Record{}, failed(err)
	}
	if !found {
		return token.Record{}, token.ErrNotFound
	}
	r.Issued, r.Expires = fromMS(issued), fromMS(expires)
	return r, nil
}

// RevokeToken implements [token.Records].
func (s *Store) RevokeToken(ctx context.Context, jti string) (token.Record, error) {
	n := 0
	err := s.do(ctx, 200, func(t *tx) (err error) {
		n, err = t.revoke(jti)
		return err
	})
	if err != nil {
		return token.Record{}, err
	}
	if n == 0 {
		return token.Record{}, token.ErrNotFound
	}
	r, err := s.Token(ctx, jti)
	if errors.Is(err, token.ErrNotFound) { // its own row went when it had expired
		// Index: token_family.
		return s.token(ctx, `SELECT `+tokenColumns+` FROM token WHERE family = ? ORDER BY issued DESC LIMIT 1`, jti)
	}
	return r, err
}

// revoke revokes a token with those of its family that came after it. Indexes:
// token's primary key, token_family.
func (t *tx) revoke(jti string) (int, error) {
	family, since := jti, int64(0)
	var first string
	found, err := t.row(`SELECT COALESCE(family, ''), issued FROM token WHERE jti = ?`, []any{jti}, &first, &since)
	if err != nil {
		return 0, err
	}
	if first != "" {
		family = first
	}
	n, err := t.execCount(`UPDATE token SET revoked = 1 WHERE family = ? AND issued >= ?`, family, since)
	if err != nil || !found {
		return n, err
	}
	one, err := t.execCount(`UPDATE token SET revoked = 1 WHERE jti = ?`, jti)
	return n + one, err
}

// RevokeTokens implements [token.Records]. Index: token_client.
func (s *Store) RevokeTokens(ctx context.Context, realm, client string, issuedBefore time.Time) (int, error) {
	n := 0
	err := s.do(ctx, 100, func(t *tx) (err error) {
		n, err = t.execCount(`UPDATE token SET revoked = 1 WHERE realm = ? AND client_id = ? AND issued < ? AND revoked = 0`,
			realm, client, unixMS(issuedBefore))
		if err != nil {
			return err
		}
		return t.exec(t.cfg.engine.keepRevocation, realm, client, unixMS(issuedBefore))
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// RevokedBefore implements [token.OutsideRecords]. Index: revocation's primary
// key.
func (s *Store) RevokedBefore(ctx context.Context, realm, client string) (time.Time, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var before int64
	found, err := s.row(ctx, `SELECT issued_before FROM revocation WHERE realm = ? AND client_id = ?`, []any{realm, client}, &before)
	if err != nil || !found {
		return time.Time{}, failed(err)
	}
	return fromMS(before), nil
}

// InsertKey implements [token.Keys].
func (s *Store) InsertKey(ctx context.Context, k token.Key) error {
	scopes := make([]string, len(k.Scopes))
	for i, sc := range k.Scopes {
		scopes[i] = string(sc)
	}
	var realm any
	if k.Realm != nil {
		realm = *k.Realm
	}
	return s.do(ctx, 300, func(t *tx) error {
		return t.exec(`INSERT INTO api_key (id, name, hash, scopes, realm, created, revoked) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			k.ID, k.Name, k.Hash[:], strings.Join(scopes, ","), realm, unixMS(k.Created), k.Revoked)
	})
}

const keyColumns = `id, name, hash, scopes, realm, created, revoked`

func scanKey(r *sql.Rows, k *token.Key) error {
	var hash []byte
	var scopes string
	var realm sql.NullString
	var created int64
	if err := r.Scan(&k.ID, &k.Name, &hash, &scopes, &realm, &created, &k.Revoked); err != nil {
		return err
	}
	copy(k.Hash[:], hash)
	for sc := range strings.SplitSeq(scopes, ",") {
		if sc != "" {
			k.Scopes = append(k.Scopes, token.Scope(sc))
		}
	}
	if realm.Valid {
		k.Realm = &realm.String
	}
	k.Created = fromMS(created)
	return nil
}

// Key implements [token.Keys]. Index: api_key's primary key.
func (s *Store) Key(ctx context.Context, id string) (token.Key, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.query(ctx, `SELECT `+keyColumns+` FROM api_key WHERE id = ?`, id)
	keys, err := collect(rows, err, scanKey)
	if err != nil {
		return token.Key{}, failed(err)
	}
	if len(keys) == 0 {
		return token.Key{}, token.ErrNotFound
	}
	return keys[0], nil
}

// ListKeys implements [token.Keys]. Keys are made by people, so that all of
// them fit an answer; the bound is for the day that this is wrong. Index:
// api_key's primary key.
func (s *Store) ListKeys(ctx context.Context) ([]token.Key, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.query(ctx, `SELECT `+keyColumns+` FROM api_key ORDER BY id LIMIT 10000`)
	keys, err := collect(rows, err, scanKey)
	return keys, failed(err)
}

// RevokeKey implements [token.Keys]. Index: api_key's primary key.
func (s *Store) RevokeKey(ctx context.Context, id string) error {
	n := 0
	err := s.do(ctx, 100, func(t *tx) (err error) {
		n, err = t.execCount(`UPDATE api_key SET revoked = 1 WHERE id = ?`, id)
		return err
	})
	if err == nil && n == 0 {
		return token.ErrNotFound
	}
	return err
}
