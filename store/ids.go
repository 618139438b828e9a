package store

import "context"

// LastID is the highest push ID that is kept, zero where there is none. IDs
// that go on from it repeat nothing, even if the clock went back while the
// server was stopped. Indexes: the ones on push IDs, their last entries.
func (s *Store) LastID(ctx context.Context) (int64, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	last := int64(0)
	for _, query := range []string{
		`SELECT id FROM offline_message ORDER BY id DESC LIMIT 1`,
		`SELECT id FROM push ORDER BY id DESC LIMIT 1`,
	} {
		var id int64
		if _, err := s.row(ctx, query, nil, &id); err != nil {
			return 0, failed(err)
		}
		last = max(last, id)
	}
	return last, nil
}
