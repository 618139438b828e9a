package store

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/seal"
)

// wrapper has wrapping keys of these numbers; each has its number as all bytes.
func wrapper(t testing.TB, numbers ...byte) *crt.Wrapper {
	t.Helper()
	keys := make(map[uint32][]byte)
	for _, n := range numbers {
		keys[uint32(n)] = bytes.Repeat([]byte{n}, 32)
	}
	w, err := crt.NewWrapper(keys)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Everything is wrapped under the new key, and then opens without the old one:
// clients' keys, a group's secret, and pushes that wait.
func TestRewrap(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, eve := s.join("ann", crt.KindCRT), s.join("eve", crt.KindAEAD)
		s.member(ann, "room", true)
		s.broadcast("room", "zero")
		for i := range push.ExpandAbove {
			if err := s.Register(t.Context(), push.ClientKey{ID: fmt.Sprint("other", i)}, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2 * waitingStep {
			e := s.secretive(fmt.Sprint(i), push.Target{Clients: []string{"ann"}})
			e.Body, e.NotBefore = []byte(fmt.Sprint("late", i)), s.clock().Add(time.Hour)
			s.accept(e)
		}
		e := s.secretive("all", push.Target{All: true})
		e.Body, e.CollapseKey, e.Seal = []byte("all"), "", push.SealAuto
		s.accept(e)

		count := &seal.Counter{Wrapper: wrapper(t, 1, 2)}
		want := Rewrapped{Clients: 2, Channels: 1, Waiting: 2*waitingStep + 1}
		if n, err := s.Rewrap(t.Context(), count); err != nil || n != (Rewrapped{}) || count.Old != 2*waitingStep+4 {
			t.Fatalf("counted %d, changed %+v, %v", count.Old, n, err)
		}
		if n, err := s.Rewrap(t.Context(), seal.Rewrapper{Wrapper: wrapper(t, 1, 2)}); err != nil || n != want {
			t.Fatalf("%+v were wrapped anew, want %+v, %v", n, want, err)
		}
		count.Old = 0
		if _, err := s.Rewrap(t.Context(), count); err != nil || count.Old != 0 {
			t.Fatalf("%d are left, %v", count.Old, err)
		}

		id, err := crt.NewIdentity(bytes.Repeat([]byte{1}, 32))
		if err != nil {
			t.Fatal(err)
		}
		sealing := seal.New(seal.Config{Identity: id, Wrapper: wrapper(t, 2), Encode: encodePlain, Slots: 4})
		t.Cleanup(sealing.Close)
		again := openSealed(t, s.reopen(cfg), sealing)
		again.send("one", push.SealAuto, ann, eve)
		again.broadcast("room", "two")
		again.expand()
		again.release(time.Hour)
		again.want(eve, "one all")
		again.want(ann, fmt.Sprintf("zero one two all 5-%d:collapsed late%d", 2*waitingStep+3, 2*waitingStep-1))
	})
}

// noted is a rewrapper that gives every group's secret another form.
type noted struct {
	push.Rewrapper
	form    string
	groups  []string
	secrets [][]byte
}

func (n *noted) Member(*push.SealMember) ([]byte, error) { return nil, nil }

func (n *noted) Waiting(int64, []byte) ([]byte, error) { return nil, nil }

func (n *noted) Channel(k *push.SealChannel) ([]byte, error) {
	n.groups, n.secrets = append(n.groups, k.Group), append(n.secrets, k.Secret)
	if n.form == "" {
		return nil, nil
	}
	return []byte(n.form), nil
}

func TestChannelSecretsAreRewrappedToo(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann := s.join("ann", crt.KindCRT)
		s.member(ann, "room", true)
		s.broadcast("room", "one")
		first := &noted{form: "another form"}
		n, err := s.Rewrap(t.Context(), first)
		if err != nil || n.Channels != 1 || len(first.groups) != 1 || first.groups[0] != "room" || len(first.secrets[0]) == 0 {
			t.Errorf("%+v of %q, %v", n, first.groups, err)
		}
		second := &noted{}
		n, err = s.Rewrap(t.Context(), second)
		if err != nil || n.Channels != 0 || len(second.secrets) != 1 || string(second.secrets[0]) != "another form" {
			t.Errorf("%+v, kept as %q, %v", n, second.secrets, err)
		}
	})
}

// Who may write to the database puts an old chain key back into its row, or one
// into another's row: it does not open, and nothing is sealed with it.
func TestAWrappedKeyThatIsPutBackDoesNotOpen(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, bob := s.join("ann", crt.KindCRT), s.join("bob", crt.KindCRT)
		eve := s.join("eve", crt.KindAEAD)
		secret := func(id string) (b []byte) {
			t.Helper()
			if err := s.read.QueryRowContext(t.Context(), `SELECT secret FROM seal_key WHERE client_id = ? AND state = 1`, id).Scan(&b); err != nil {
				t.Fatal(err)
			}
			return b
		}
		put := func(id string, b []byte) {
			t.Helper()
			err := s.do(t.Context(), 0, func(tx *tx) error {
				clear(tx.w.shards)
				return firstError(tx.exec(`UPDATE seal_key SET secret = ? WHERE client_id = ?`, b, id), tx.exec(`UPDATE seal_shard SET version = version + 1`))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		oldAnn, oldEve := secret("ann"), secret("eve")
		s.later(keyPeriod)
		s.send("one", push.SealAuto, ann, bob, eve)
		refused := func(what string, d *device) {
			t.Helper()
			nextSealedID++
			e := &push.Envelope{ID: nextSealedID, Accepted: s.clock(), Body: []byte("x"), Size: 1, Target: push.Target{Clients: []string{d.key.ID}}, Priority: 3, Store: push.StoreAlways}
			if out, err := s.Accept(context.Background(), []*push.Envelope{e}); err == nil && out[0].Err == nil {
				t.Errorf("%s: a push was sealed", what)
			}
		}
		newAnn, newEve := secret("ann"), secret("eve")
		put("ann", oldAnn)
		refused("an earlier period's", ann)
		put("ann", secret("bob"))
		refused("a neighbour's", ann)
		put("ann", newAnn)
		put("eve", oldEve)
		refused("an earlier period's, aead", eve)
		put("eve", newEve)
		s.send("two", push.SealAuto, ann, bob, eve)
		s.want(ann, "one two")
		s.want(eve, "one two")

		s.shake(eve, crt.KindAEAD)
		put("eve", newEve)
		refused("an earlier generation's", eve)
	})
}

// A step of rewrapping reads on from the one before: it neither goes through
// those that were seen, nor sorts those that are left.
func TestAStepOfRewrappingReadsARange(t *testing.T) {
	s := openSealed(t, Config{Path: filepath.Join(t.TempDir(), "s.db")}, newSealing(t, 1))
	if _, err := s.Rewrap(t.Context(), &noted{}); err != nil {
		t.Fatal(err)
	}
	seen := &queries{texts: make(map[string]struct{})}
	seen.collect(t, s.Store)
	found := false
	for text := range seen.texts {
		if !strings.Contains(text, "FROM seal_key") || !strings.Contains(text, "ORDER BY realm, client_id") {
			continue
		}
		found = true
		if plan := planOf(t, s.Store, text); len(plan) != 1 || !strings.Contains(plan[0], "USING PRIMARY KEY ((realm,client_id,generation)>(?,?,?))") {
			t.Errorf("%q", plan)
		}
	}
	if !found {
		t.Error("no clients' keys were read")
	}
}
