package store

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
)

// What is looked for in the whole database. Each is in no other.
const (
	secretData  = "the data of this test"
	secretTopic = "its topic of all"
	secretKey   = "its collapse key"
	secretName  = "its attached name"
)

// secretive is a push that has all of them.
func (s *sealed) secretive(data string, to push.Target) *push.Envelope {
	nextSealedID++
	e := &push.Envelope{
		ID: nextSealedID, Accepted: s.clock(), Expires: s.clock().Add(24 * time.Hour), Target: to, Topic: secretTopic, CollapseKey: secretKey,
		Priority: push.DefaultPriority, Store: push.StoreAlways,
	}
	e.Body = push.BuildBody(push.BodyFields{
		ID: e.ID, Sent: e.Accepted, Topic: secretTopic, Bytes: []byte(data), CollapseKey: secretKey,
		Attachment: &push.Attachment{URL: "https://example.com/a", Name: secretName},
	})
	e.Size = len(data)
	return e
}

func (s *sealed) accept(e *push.Envelope) push.Outcome {
	s.t.Helper()
	out, err := s.Accept(s.t.Context(), []*push.Envelope{e})
	if err != nil || out[0].Err != nil {
		s.t.Fatal(out, err)
	}
	return out[0]
}

// forms are how a text may stand in a database: as it is, or in base64, after any
// number of bytes.
func forms(text string) [][]byte {
	all := [][]byte{[]byte(text)}
	for o := range 3 {
		b := base64.StdEncoding.EncodeToString(append(make([]byte, o), text...))
		all = append(all, []byte(b[(8*o+5)/6:len(b)-4]))
	}
	return all
}

func holdsAny(b []byte) (found string) {
	for _, text := range []string{secretData, secretTopic, secretKey, secretName} {
		for _, form := range forms(text) {
			if bytes.Contains(b, form) {
				return text
			}
		}
	}
	return ""
}

// inClear answers the first of the database's values that holds something of a
// secretive push.
func (s *sealed) inClear() string {
	s.t.Helper()
	for _, table := range movedTables {
		rows, err := s.read.QueryContext(s.t.Context(), `SELECT `+strings.Join(table.columns, ", ")+` FROM `+table.name)
		all, err := collect(rows, err, func(r *sql.Rows, found *string) error {
			values := make([][]byte, len(table.columns))
			into := make([]any, len(values))
			for i := range values {
				into[i] = &values[i]
			}
			if err := r.Scan(into...); err != nil {
				return err
			}
			for i, v := range values {
				if text := holdsAny(v); text != "" {
					*found = fmt.Sprintf("%s.%s holds %q", table.name, table.columns[i], text)
				}
			}
			return nil
		})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, found := range all {
			if found != "" {
				return found
			}
		}
	}
	return ""
}

// inFile looks at the whole file, with what was deleted in it.
func (s *sealed) inFile(cfg Config) {
	s.t.Helper()
	if cfg.Path == "" {
		return
	}
	s.reopen(cfg)
	if text := holdsAny(readFile(s.t, cfg.Path)); text != "" {
		s.t.Errorf("the file holds %q", text)
	}
}

func TestNothingSealedIsKeptInClear(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, bob := s.join("ann", crt.KindCRT), s.join("bob", crt.KindCRT)
		s.join("eve", crt.KindAEAD)
		s.member(ann, "room", true)
		s.member(bob, "room", true)
		s.accept(s.secretive(secretData, push.Target{Clients: []string{"ann"}}))
		s.accept(s.secretive(secretData+long, push.Target{Clients: []string{"ann", "bob", "eve"}}))
		s.accept(s.secretive(secretData, push.Target{Group: "room"}))
		s.accept(s.secretive(secretData+" once more", push.Target{Clients: []string{"ann", "eve"}}))
		if found := s.inClear(); found != "" {
			t.Error(found)
		}
		for _, query := range []string{
			`SELECT COUNT(*) FROM offline_message WHERE msg IS NOT NULL`,
			`SELECT COUNT(*) FROM body`,
		} {
			var n int
			if err := s.read.QueryRowContext(t.Context(), query).Scan(&n); err != nil || n != 0 {
				t.Errorf("%s: %d, %v", query, n, err)
			}
		}
		// The collapse key works though it can't be read.
		var waiting int
		err := s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM offline_message WHERE status = 0`).Scan(&waiting)
		if err != nil || waiting != 3 {
			t.Errorf("%d entries wait, want one for each client; %v", waiting, err)
		}
		s.inFile(cfg)
	})
}

// A collapse key replaces what came before the client had keys, and what comes
// after it gave them up.
func TestCollapseKeysWorkAcrossSealing(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann := &device{key: push.ClientKey{ID: "ann"}}
		if err := s.Register(t.Context(), ann.key, time.Now()); err != nil {
			t.Fatal(err)
		}
		send := func(text string) {
			t.Helper()
			e := s.secretive(text, push.Target{Clients: []string{"ann"}})
			e.Body = []byte(text)
			s.accept(e)
		}
		send("clear")
		s.shake(ann, crt.KindCRT)
		send("sealed")
		s.want(ann, "1-1:collapsed sealed")
		send("again")
		s.want(ann, "1-2:collapsed again")
		s.hold(ann.key, "", nil)
		send("bare")
		s.want(ann, "1-2:collapsed 3-3:key_lost clear:bare")
	})
}

// What waits is wrapped, until it is known for whom it is.
func TestWhatWaitsIsWrapped(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann := s.join("ann", crt.KindCRT)
		for i := range push.ExpandAbove {
			if err := s.Register(t.Context(), push.ClientKey{ID: fmt.Sprint("other", i)}, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		later := s.secretive(secretData, push.Target{Clients: []string{"ann"}})
		later.NotBefore = s.clock().Add(time.Hour)
		toAll := s.secretive(secretData, push.Target{All: true})
		toAll.Seal = push.SealCRT
		if out := s.accept(later); !out.Scheduled {
			t.Fatalf("%+v", out)
		}
		if out := s.accept(toAll); !out.Expanding {
			t.Fatalf("%+v", out)
		}
		if found := s.inClear(); found != "" {
			t.Errorf("while they wait: %s", found)
		}
		s.expand()
		if found := s.inClear(); found != "" {
			t.Errorf("after it was placed: %s", found)
		}
		var left int
		if err := s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM body`).Scan(&left); err != nil || left != 0 {
			t.Errorf("%d bodies are kept that nobody needs, %v", left, err)
		}
		s.release(time.Hour)
		s.want(ann, "1-1:collapsed "+string(later.Body))
		s.inFile(cfg)
	})
}

// What waited is for clients with and without keys.
func TestWhatWaitedReachesAll(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann := s.join("ann", crt.KindCRT)
		dan := &device{key: push.ClientKey{ID: "dan"}}
		if err := s.Register(t.Context(), dan.key, time.Now()); err != nil {
			t.Fatal(err)
		}
		for i := range push.ExpandAbove {
			if err := s.Register(t.Context(), push.ClientKey{ID: fmt.Sprint("other", i)}, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		late := s.join("late", crt.KindCRT)
		e := func(text string, to push.Target) *push.Envelope {
			e := s.secretive(text, to)
			e.Body = []byte(text)
			return e
		}
		s.accept(e("old", push.Target{Clients: []string{"ann", "dan", "late"}}))
		later := e("later", push.Target{Clients: []string{"ann", "dan"}})
		later.NotBefore, later.CollapseKey = s.clock().Add(time.Hour), "another"
		s.accept(later)
		s.later(time.Second)
		s.accept(e("all", push.Target{All: true}))
		s.expand()
		s.release(time.Hour)
		s.want(ann, "1-1:collapsed all later")
		s.want(dan, "1-1:collapsed clear:all clear:later")
		s.want(late, "1-1:collapsed all")
	})
}

// expand has all jobs done, in several steps; release what is due after d.
func (s *sealed) expand() {
	s.t.Helper()
	for n := 1; n > 0; {
		var err error
		if n, err = s.Expand(s.t.Context(), 300); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *sealed) release(d time.Duration) {
	s.t.Helper()
	s.later(d)
	for n := 1; n > 0; {
		var err error
		if n, err = s.Release(s.t.Context(), s.clock(), 100); err != nil {
			s.t.Fatal(err)
		}
	}
}
