package wsclient

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/crt"
)

// rekey is the frame that brings the secret.
func (s *sealer) rekey(k *crt.ChannelKey) []byte {
	body, err := k.SealRekeyBody()
	if err != nil {
		s.t.Error(err)
	}
	return s.slot(crt.Rekey, crt.Slot{Type: crt.SlotRekey, Data: k.Secret[:]}, body)
}

func (s *sealer) broadcast(k *crt.ChannelKey, seq uint64) []byte {
	f, err := s.sealer.SealChannel(k, s.message(seq, fmt.Sprint(seq)))
	if err != nil {
		s.t.Error(err)
	}
	return append(crt.AppendPrefix(nil, seq), f...)
}

// After the replay a channel has the one secret that came last on the
// connection, in memory and in the file: the server brings any other again.
func TestChannelSecretsAreForgottenAfterTheReplay(t *testing.T) {
	s := newSealer(t)
	path := filepath.Join(t.TempDir(), "keys.json")
	one, two, three, other := crt.NewChannelKey(9, 1, "room"), crt.NewChannelKey(9, 2, "room"), crt.NewChannelKey(9, 3, "room"), crt.NewChannelKey(10, 5, "other")
	kept := func(p *peer) string {
		state, _, err := NewFileSealKeys(path).Load(t.Context(), storeKey(p.base(), "", "alice"))
		k := keyring{}
		if err != nil || k.unmarshal(state) != nil {
			t.Errorf("%v, or what is kept is no ring", err)
			return ""
		}
		var all []string
		for _, c := range k.channels.Channels() {
			all = append(all, fmt.Sprintf("%d@%d", c.Channel, c.Epoch))
		}
		slices.Sort(all)
		return fmt.Sprint(all)
	}
	keeps := func(p *peer, want string) {
		for late := time.Now().Add(10 * time.Second); ; {
			got := kept(p)
			if got == want {
				return
			}
			if time.Now().After(late) {
				t.Errorf("kept %s, want %s", got, want)
				return
			}
		}
	}
	visits := 0
	done := make(chan struct{})
	base := serial(t, func(p *peer) {
		visits++
		s.welcome(p, SealCRT, []uint64{0, 1, 1}[visits-1])
		if visits == 1 {
			s.handshake(p)
			for _, k := range []*crt.ChannelKey{one, two, other} {
				p.binary(s.rekey(k))
			}
			p.binary(s.broadcast(one, 1)) // what the replay has is opened first
			p.message(wire.TypeAck)
			keeps(p, "[10@5 9@1 9@2]")
			p.send(wire.AppendReplayComplete(nil, p.codec, 1))
			keeps(p, "[10@5 9@2]")
			p.binary(s.rekey(three))
			keeps(p, "[10@5 9@3]")
			return
		}
		p.binary(s.rekey(other))
		p.send(wire.AppendReplayComplete(nil, p.codec, 1))
		keeps(p, "[10@5]")
		p.binary(s.broadcast(three, 2)) // which no server of ours sends: not even memory has it
		p.binary(s.broadcast(other, 3))
		p.message(wire.TypeAck)
		close(done)
		p.closing()
	})
	cfg := s.config(base, SealCRT)
	cfg.SealKeys = NewFileSealKeys(path)
	r := runClient(t, cfg)
	r.wants(t, 1, `1`)
	r.wants(t, 3, `3`)
	<-done
	if n := r.c.SealStats().DecryptFailed; n != 1 {
		t.Errorf("%d did not open, want the one whose secret is gone", n)
	}
}
