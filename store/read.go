package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// query runs on the read pool, with the statement prepared once.
func (s *Store) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := s.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// row scans the one row that query finds; false where there is none.
func (s *Store) row(ctx context.Context, query string, args []any, into ...any) (bool, error) {
	stmt, err := s.stmt(ctx, query)
	if err != nil {
		return false, err
	}
	err = stmt.QueryRowContext(ctx, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// any reports whether query finds a row: periodic work asks before it joins a
// commit group.
func (s *Store) any(ctx context.Context, query string, args ...any) (bool, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var one int
	return s.row(ctx, query, args, &one)
}

func (s *Store) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := s.stmts.Load(query); ok {
		return stmt.(*sql.Stmt), nil
	}
	stmt, err := s.read.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if first, loaded := s.stmts.LoadOrStore(query, stmt); loaded {
		return first.(*sql.Stmt), stmt.Close()
	}
	return stmt, nil
}

// inList is "(?,?)" for n = 2.
func inList(n int) string { return "(" + strings.TrimSuffix(strings.Repeat("?,", n), ",") + ")" }
