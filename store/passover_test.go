package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
)

// many registers so many that a push to all is a job.
func (s *sealed) many() {
	s.t.Helper()
	for i := range push.ExpandAbove {
		if err := s.Register(s.t.Context(), push.ClientKey{ID: fmt.Sprint("other", i)}, time.Now()); err != nil {
			s.t.Fatal(err)
		}
	}
}

// waits accepts a push that waits: for its time, or to all as a job.
func (s *sealed) waits(text string, after time.Duration, to ...string) *push.Envelope {
	s.t.Helper()
	e := s.secretive(text, push.Target{Clients: to, All: to == nil})
	e.Body, e.CollapseKey = []byte(text), ""
	if to != nil {
		e.NotBefore = s.clock().Add(after)
	}
	s.accept(e)
	return e
}

func (s *sealed) plain(id string) *device {
	s.t.Helper()
	d := &device{key: push.ClientKey{ID: id}}
	if err := s.Register(s.t.Context(), d.key, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	return d
}

// change has statements executed by the writer, which forgets what it knows of
// shards.
func (s *sealed) change(query string, args ...any) {
	s.t.Helper()
	err := s.do(s.t.Context(), 0, func(tx *tx) error {
		clear(tx.w.shards)
		return firstError(tx.exec(query, args...), tx.exec(`UPDATE seal_shard SET version = version + 1`))
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// What waits and was changed in the database ends as failed, which its
// application can see, and holds up nobody: as it is no push's, or another's.
func TestWhatWaitsAndCantBeReadFails(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann := s.join("ann", crt.KindCRT)
		s.many()
		var bad []*push.Envelope
		for i := range 3 {
			bad = append(bad, s.waits(fmt.Sprint("bad", i), time.Minute, "ann"))
		}
		s.waits("good", 2*time.Minute, "ann")
		bad = append(bad, s.waits("lost", 0), s.waits("another's", 0), s.waits("no base64", 0))
		s.waits("all", 0)
		s.change(`UPDATE envelope SET content = ? WHERE id = ?`, `{"wrapped":"AAAAAQ=="}`, bad[0].ID)
		s.change(`UPDATE envelope SET content = ? WHERE id = ?`, `{"wrapped":`, bad[1].ID)
		var other []byte
		if err := s.read.QueryRowContext(t.Context(), `SELECT msg FROM body WHERE id = ?`, bad[5].ID).Scan(&other); err != nil {
			t.Fatal(err)
		}
		text, err := unmark(other)
		if err != nil {
			t.Fatal(err)
		}
		content, err := encodeEnvelope(bad[2], text)
		if err != nil {
			t.Fatal(err)
		}
		s.change(`UPDATE envelope SET content = ? WHERE id = ?`, content, bad[2].ID)
		s.change(`DELETE FROM body WHERE id = ?`, bad[3].ID)
		s.change(`UPDATE body SET msg = ? WHERE id = ?`, string(other), bad[4].ID)
		s.change(`UPDATE body SET msg = ? WHERE id = ?`, wrappedMark+"?", bad[5].ID)
		s.expand()
		s.release(time.Hour)
		s.want(ann, "all good")
		for _, e := range bad {
			if p, err := s.Status(t.Context(), nil, e.ID, push.PageQuery{}); err != nil || p.State != push.StateFailed || len(p.Clients) != 0 {
				t.Errorf("%s: status %+v, %v", e.Body, p, err)
			}
		}
		for _, table := range []string{"envelope", "job"} {
			var left int
			if err := s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM `+table).Scan(&left); err != nil || left != 0 {
				t.Errorf("%d left in %s, %v", left, table, err)
			}
		}
	})
}

// A server that can't read what waits, or can't seal for its client, passes it
// over: what is behind it is placed, and it is as well, later or elsewhere.
func TestWhatCantBePlacedHoldsUpNobody(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		passedOver := func(s *sealed) {
			t.Helper()
			if _, err := s.Release(t.Context(), s.clock(), 100); err == nil {
				t.Error("that a push was passed over is not told")
			}
			s.release(0)
		}
		s := under(t, cfg, 1, 2)
		dan, ann := s.plain("dan"), s.join("ann", crt.KindAEAD)
		s.many()
		if _, err := s.ClaimWrapKey(t.Context(), 1, []byte("one")); err != nil {
			t.Fatal(err)
		}
		s.waits("good", 2*time.Second, "dan")
		if _, err := s.ClaimWrapKey(t.Context(), 2, []byte("two")); err != nil {
			t.Fatal(err)
		}
		for range releaseStep {
			s.waits("elsewhere", time.Second, "dan")
		}
		s.waits("all", 0)

		old := under(t, s.reopen(cfg), 1)
		old.later(time.Minute)
		for range releaseStep {
			_, _ = old.Release(t.Context(), old.clock(), 100)
		}
		old.want(dan, "clear:good")
		if _, err := old.Expand(t.Context(), 100); err == nil {
			t.Error("that a job was passed over is not told")
		}
		old.waitsInClear("none")
		old.expand()
		old.want(dan, "clear:good clear:none")

		again := under(t, old.reopen(cfg), 1, 2)
		again.later(time.Hour)
		again.expand()
		again.release(0)
		p, err := again.Read(t.Context(), dan.key, 0, 100, 1<<20)
		if err != nil || len(p.Items) != releaseStep+3 {
			t.Errorf("%d items, %v", len(p.Items), err)
		}

		dan.cursor = releaseStep + 3
		var secret []byte
		if err := again.read.QueryRowContext(t.Context(), `SELECT secret FROM seal_key WHERE client_id = 'ann'`).Scan(&secret); err != nil {
			t.Fatal(err)
		}
		again.change(`UPDATE seal_key SET secret = ? WHERE client_id = 'ann'`, []byte("no secret"))
		again.waits("sealed", time.Second, "ann")
		again.waits("behind", 2*time.Second, "dan")
		again.later(2 * time.Second)
		passedOver(again)
		again.want(dan, "clear:behind")
		again.want(ann, "clear:none all")
		again.change(`UPDATE seal_key SET secret = ? WHERE client_id = 'ann'`, secret)
		again.release(passedFor)
		again.want(ann, "clear:none all sealed")
	})
}

// waitsInClear is a job that nothing has to be unwrapped for.
func (s *sealed) waitsInClear(text string) {
	s.t.Helper()
	e := s.secretive(text, push.Target{All: true})
	e.Body, e.CollapseKey, e.Seal = []byte(text), "", push.SealNone
	err := s.do(s.t.Context(), 0, func(tx *tx) error {
		cfg := *tx.cfg
		cfg.Sealer = nil
		with := tx.cfg
		tx.cfg = &cfg
		defer func() { tx.cfg = with }()
		out, err := tx.place(e, fresh)
		if err == nil && out.Err != nil {
			err = out.Err
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}
