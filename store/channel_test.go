package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
)

// broadcast pushes to a group.
func (s *sealed) broadcast(group, text string) push.Outcome {
	s.t.Helper()
	nextSealedID++
	out, err := s.Accept(context.Background(), []*push.Envelope{{
		ID: nextSealedID, Accepted: s.clock(), Expires: s.clock().Add(24 * time.Hour), Body: []byte(text), Size: len(text),
		Priority: push.DefaultPriority, Store: push.StoreAlways, Target: push.Target{Group: group},
	}})
	if err != nil || out[0].Err != nil {
		s.t.Fatal(out, err)
	}
	return out[0]
}

func (s *sealed) member(d *device, group string, in bool) {
	s.t.Helper()
	change := s.Leave
	if in {
		change = s.Join
	}
	if _, _, err := change(context.Background(), d.key.Realm, group, d.key.ID); err != nil {
		s.t.Fatal(err)
	}
}

// A broadcast is sealed once; who joined can't read what came before, who left
// can't read what follows, and who was away gets what it belonged to.
func TestBroadcastsUnderChannelKeys(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		var all []*device
		for i := range 6 { // two shards
			all = append(all, s.join(fmt.Sprint("c", i), crt.KindCRT))
		}
		aead := s.join("aead", crt.KindAEAD)
		for _, d := range append(all[:5:5], aead) {
			s.member(d, "room", true)
		}
		s.broadcast("room", "one")
		s.broadcast("room", "two "+long)
		s.member(all[0], "room", false)
		s.member(all[5], "room", true)
		s.broadcast("room", "three")
		s.want(all[0], "one two "+long)
		s.want(all[5], "three")
		s.want(aead, "one two "+long+" three")
		for _, d := range all[1:5] {
			s.want(d, "one two "+long+" three")
		}
		var frames, channels, secrets int
		err := firstError(s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM offline_message WHERE generation = -1`).Scan(&channels),
			s.read.QueryRowContext(t.Context(), `SELECT COUNT(DISTINCT frame) FROM offline_message WHERE generation = -1`).Scan(&frames),
			s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM seal_channel`).Scan(&secrets))
		if err != nil || channels != 15 || frames != 3 || secrets != 2 {
			t.Errorf("%d entries in %d frames under %d secrets, want 15, 3 and 2; %v", channels, frames, secrets, err)
		}
		// A thief of a member's keys of after it left, or before it joined, has the
		// secret of no other epoch.
		for _, d := range []*device{all[0], all[5]} {
			if n := len(d.ring.Channels()); n != 1 {
				t.Errorf("%s has %d secrets, want the one of its epoch", d.key, n)
			}
		}
		// A restart, and new keys: the secrets come again.
		again := openSealed(t, s.reopen(cfg), newSealing(t, 1))
		again.shake(all[1], crt.KindCRT)
		all[1].ring = *keysOnly(&all[1].ring)
		again.want(all[1], "one two "+long+" three")
		again.broadcast("room", "four")
		again.want(all[1], "one two "+long+" three four")
	})
}

// keysOnly is a ring that has forgotten all channels.
func keysOnly(r *crt.Ring) *crt.Ring {
	next := new(crt.Ring)
	for i := len(r.Keys()) - 1; i >= 0; i-- {
		next.Add(r.Keys()[i])
	}
	return next
}

// A push to more members than one transaction places is sealed once as well.
func TestALargeBroadcastIsSealedOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, cfg Config) {
		s := openSealed(t, cfg, newSealing(t, 1))
		ann, zoe := s.join("aaa", crt.KindCRT), s.join("zzz", crt.KindCRT)
		s.member(ann, "all", true)
		s.member(zoe, "all", true)
		for i := range push.ExpandAbove {
			d := &device{key: push.ClientKey{ID: fmt.Sprint("m", i)}}
			if err := s.Register(t.Context(), d.key, time.Now()); err != nil {
				t.Fatal(err)
			}
			s.member(d, "all", true)
		}
		if out := s.broadcast("all", "to many"); !out.Expanding {
			t.Fatalf("%+v", out)
		}
		for n := 1; n > 0; {
			var err error
			if n, err = s.Expand(t.Context(), 300); err != nil {
				t.Fatal(err)
			}
		}
		s.want(ann, "to many")
		s.want(zoe, "to many")
		var frames int
		if err := s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM seal_frame`).Scan(&frames); err != nil || frames != 1 {
			t.Errorf("%d frames, %v", frames, err)
		}
	})
}
