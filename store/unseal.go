package store

// Sealed entries of a page: their frames are read after it, each once, however
// many entries are in it.

import (
	"context"
	"database/sql"

	"github.com/sunzi-push/sunzi/push"
)

// sealedGuess is what a sealed entry counts for in a page's bytes beside its
// data: most frames without a body have that size or less.
const sealedGuess = 1100

// sealedItem is an item of a page whose message is in a frame.
type sealedItem struct {
	item  int
	frame [16]byte
}

// unsealed fills in the frames of the page. An entry whose frame is gone is told
// as expired. Indexes: primary keys.
func (s *Store) unsealed(ctx context.Context, key push.ClientKey, p *pageBuilder) (push.Page, error) {
	if len(p.sealed) == 0 {
		return p.Page, nil
	}
	frames := make(map[[16]byte]*push.Sealed)
	for _, it := range p.sealed {
		frames[it.frame] = nil
	}
	if err := s.loadFrames(ctx, frames); err != nil {
		return push.Page{}, failed(err)
	}
	for _, it := range p.sealed {
		item := &p.Items[it.item]
		if f := frames[it.frame]; f != nil {
			item.Message.Sealed = f
			continue
		}
		*item = push.Item{Seq: item.Seq, To: item.Seq, Reason: push.GapExpired}
	}
	return p.Page, failed(s.preludes(ctx, key, &p.Page))
}

func (s *Store) loadFrames(ctx context.Context, frames map[[16]byte]*push.Sealed) error {
	ids := make([]any, 0, len(frames))
	for id := range frames {
		ids = append(ids, id[:])
	}
	type row struct{ key, value []byte }
	scan := func(r *sql.Rows, v *row) error { return r.Scan(&v.key, &v.value) }
	bodies := make(map[[32]byte][]byte)
	err := inSteps(ids, func(args []any) error {
		rows, err := s.query(ctx, `SELECT id, head FROM seal_frame WHERE id IN `+inList(len(args)), args...)
		found, err := collect(rows, err, scan)
		for _, f := range found {
			sealed, bad := push.RestoreSealed(f.value)
			if bad != nil {
				return bad
			}
			frames[[16]byte(f.key)] = sealed
			if sealed.HasBody() {
				bodies[sealed.BodyHash()] = nil
			}
		}
		return err
	})
	if err != nil || len(bodies) == 0 {
		return err
	}
	hashes := make([]any, 0, len(bodies))
	for hash := range bodies {
		hashes = append(hashes, hash[:])
	}
	err = inSteps(hashes, func(args []any) error {
		rows, err := s.query(ctx, `SELECT hash, body FROM seal_body WHERE hash IN `+inList(len(args)), args...)
		found, err := collect(rows, err, scan)
		for _, b := range found {
			bodies[[32]byte(b.key)] = b.value
		}
		return err
	})
	for id, f := range frames {
		if f == nil || !f.HasBody() {
			continue
		}
		if f.Body = bodies[f.BodyHash()]; f.Body == nil {
			frames[id] = nil
		}
	}
	return err
}

// inSteps calls f with the arguments, one or sixteen at a time, so that
// statements are few; the last are filled up with the last one.
func inSteps(args []any, f func([]any) error) error {
	const step = 16
	for len(args) > 0 {
		n := 1
		if len(args) > 1 {
			n = step
		}
		these := make([]any, n)
		for i := range these {
			these[i] = args[min(i, len(args)-1)]
		}
		args = args[min(n, len(args)):]
		if err := f(these); err != nil {
			return err
		}
	}
	return nil
}
