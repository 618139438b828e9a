package wsclient

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/crt/residue"
)

// keyring is everything that the client opens sealed frames with. Owned by the
// goroutine of Client.Run.
type keyring struct {
	key      string // of the store; empty: nothing was loaded
	who      crt.Who
	gens     []*generation // newest first
	channels *crt.Ring     // has channel secrets alone
}

// generation is the keys of one handshake, in a ring of their own: so it is
// known which keys opened a frame, and which are needed no longer.
type generation struct {
	keys     *crt.Keys
	ring     *crt.Ring
	complete bool // the server said so, or has sealed for it
}

func (k *keyring) add(keys *crt.Keys) *generation {
	g := &generation{keys: keys, ring: new(crt.Ring)}
	g.ring.Add(keys)
	k.gens = slices.Insert(k.gens, 0, g)
	k.retire(min(len(k.gens), wire.MaxSealHeld))
	return g
}

// retire wipes the generations from that place on, and answers whether there
// were any.
func (k *keyring) retire(from int) bool {
	for _, g := range k.gens[from:] {
		g.keys.Wipe()
	}
	some := from < len(k.gens)
	k.gens = slices.Delete(k.gens, from, len(k.gens))
	return some
}

// held are the generations, for hello. Empty is a word too: that there are none.
func (k *keyring) held() []uint32 {
	all := []uint32{}
	for _, g := range k.gens {
		if n := g.keys.Grant().Generation; !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all
}

// holds reports whether there are keys of the generation, of that kind.
func (k *keyring) holds(n uint32, kind crt.Kind) bool {
	return slices.ContainsFunc(k.gens, func(g *generation) bool {
		grant := g.keys.Grant()
		return n != 0 && grant.Generation == n && (grant.Modulus == nil) == (kind == crt.KindAEAD)
	})
}

// completed takes the server's word on which keys are the newest. Later ones,
// of handshakes whose end was not heard, were never completed: they are wiped,
// since they would take the room of those that matter. Complete ones stay,
// whatever the server says: messages may wait under them.
func (k *keyring) completed(newest uint32) {
	k.gens = slices.DeleteFunc(k.gens, func(g *generation) bool {
		n := g.keys.Grant().Generation
		g.complete = g.complete || n == newest
		if g.complete || n < newest {
			return false
		}
		g.keys.Wipe()
		return true
	})
}

// modeAt is where a frame says its mode, and periodAt its key period.
const (
	modeAt   = 3
	periodAt = 12
)

// open opens what came in one binary message. The generation is nil where
// it is a channel's.
func (k *keyring) open(b []byte) (o crt.Opened, g *generation, ok bool) {
	if _, f := crt.CutPrefix(b); len(f) > modeAt && crt.Mode(f[modeAt]) == crt.Channel {
		o, err := k.channels.Open(b)
		return o, nil, err == nil
	}
	steps := uint64(0)
	for _, g := range k.gens {
		o, err := g.ring.Open(b)
		if err == nil {
			g.complete = true
			if o.Channel != nil { // kept in one place: the generation's ring has one of its own, and its own limit
				mine := *o.Channel
				o.Channel = &mine
				k.channels.AddChannel(&mine)
				g.ring.RetireChannels(func(*crt.ChannelKey) bool { return false })
			}
			return o, g, true
		}
		steps += o.Steps
	}
	return crt.Opened{Steps: steps}, nil, false
}

// What is kept. The names are short for the sake of a thousand channels.
type (
	savedKeys struct {
		Generations []savedGeneration `json:"generations"`
		Channels    []savedChannel    `json:"channels,omitempty"`
	}
	savedGeneration struct {
		Generation  uint32 `json:"generation"`
		Period      uint32 `json:"period"`
		Shard       uint64 `json:"shard,string"`
		Slot        int    `json:"slot"`
		Slots       int    `json:"slots"`
		Width       int    `json:"width,omitempty"` // bits of the modulus; zero: aead
		C           []byte `json:"c,omitempty"`
		ChainPeriod uint32 `json:"chain_period"`
		Chain       []byte `json:"chain"`
		Up          []byte `json:"up,omitempty"` // mode aead: what is sent is sealed with
		Session     []byte `json:"session"`      // what one connection is told is sealed with
		Complete    bool   `json:"complete,omitempty"`
	}
	savedChannel struct {
		Channel uint64 `json:"channel,string"`
		Epoch   uint32 `json:"epoch"`
		Name    string `json:"name"`
		Secret  []byte `json:"secret"`
	}
)

func (k *keyring) marshal() ([]byte, error) {
	var s savedKeys
	for _, g := range k.gens {
		grant, chain := g.keys.Grant(), g.keys.Chain()
		one := savedGeneration{Generation: grant.Generation, Period: grant.Period, Shard: grant.Shard, Slot: grant.Slot,
			Slots: grant.Slots, ChainPeriod: chain.Period, Chain: chain.Key[:], Complete: g.complete}
		if grant.Modulus != nil {
			one.Width, one.C = grant.Modulus.Width(), grant.Modulus.AppendC(nil)
		}
		session := g.keys.Session()
		one.Session = session[:]
		if grant.Modulus == nil {
			up := g.keys.Up()
			one.Up = up.Key[:]
		}
		s.Generations = append(s.Generations, one)
	}
	for _, c := range k.channels.Channels() {
		s.Channels = append(s.Channels, savedChannel{c.Channel, c.Epoch, c.Name, c.Secret[:]})
	}
	return json.Marshal(s)
}

// errSavedKeys says nothing of what was read: it is secret.
var errSavedKeys = errors.New("what is kept of the keys can't be read")

func (k *keyring) unmarshal(state []byte) error {
	var s savedKeys
	if json.Unmarshal(state, &s) != nil {
		return errSavedKeys
	}
	k.gens, k.channels = nil, new(crt.Ring)
	for _, one := range s.Generations[:min(len(s.Generations), wire.MaxSealHeld)] {
		if len(one.Chain) != crt.KeySize || len(one.Session) != crt.KeySize {
			return errSavedKeys
		}
		grant := crt.Grant{Generation: one.Generation, Period: one.Period, Shard: one.Shard, Slot: one.Slot, Slots: one.Slots}
		if one.Width != 0 {
			m, err := residue.NewModulus(one.Width, one.C)
			if err != nil {
				return errSavedKeys
			}
			grant.Modulus = m
		}
		chain := crt.Chain{Period: one.ChainPeriod, Key: [crt.KeySize]byte(one.Chain)}
		g := &generation{keys: crt.RestoreKeys(k.who, grant, chain), ring: new(crt.Ring), complete: one.Complete}
		if len(one.Up) == crt.KeySize {
			g.keys.RestoreUp([crt.KeySize]byte(one.Up))
		}
		g.keys.RestoreSession([crt.KeySize]byte(one.Session))
		g.ring.Add(g.keys)
		k.gens = append(k.gens, g)
	}
	for _, c := range s.Channels {
		if len(c.Secret) != crt.KeySize {
			return errSavedKeys
		}
		k.channels.AddChannel(&crt.ChannelKey{Channel: c.Channel, Epoch: c.Epoch, Name: c.Name, Secret: [crt.KeySize]byte(c.Secret)})
	}
	return nil
}
