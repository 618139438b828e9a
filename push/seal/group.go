package seal

import (
	"sort"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
)

// Group implements [push.Sealer].
func (s *Service) Group() push.SealGroup {
	return &group{s: s, messages: make(map[int64][]byte), bodies: make(map[int64]sealedBody)}
}

// group is one commit group. Owned by its transaction.
type group struct {
	s        *Service
	messages map[int64][]byte // by push, as they stand in a seal
	bodies   map[int64]sealedBody
	scratch  crt.Scratch
	slots    []crt.Slot
	lane     uint16
}

// sealedBody is an envelope's, with its key.
type sealedBody struct {
	body *crt.Body
	key  [crt.KeySize]byte
}

// message is the push's message as it stands in a seal (section 6).
func (g *group) message(m *push.Message) ([]byte, error) {
	if b := g.messages[m.ID]; b != nil {
		return b, nil
	}
	b, err := g.s.cfg.Encode(nil, m.Body)
	if err != nil {
		return nil, err
	}
	g.messages[m.ID] = b
	return b, nil
}

func (g *group) body(m *push.Message, message []byte) (sealedBody, error) {
	if b, there := g.bodies[m.ID]; there {
		return b, nil
	}
	var b sealedBody
	var err error
	if b.body, b.key, err = crt.SealBody(message); err == nil {
		g.bodies[m.ID] = b
	}
	return b, err
}

// Shard implements [push.SealGroup]. The rule (section 5.2): a message that fits
// a slot goes direct, several to one client in lanes; a longer one has a frame
// with its body, in which every receiver's slot holds the key.
func (g *group) Shard(sh *push.SealShard, items []push.SealItem) ([]push.SealedFrame, error) {
	ready, err := g.s.shard(sh)
	if err != nil {
		return nil, err
	}
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(i, j int) bool { return items[order[i]].Seq < items[order[j]].Seq })
	g.lane = 0
	var frames []push.SealedFrame
	lanes := make([][]int, 0, 1) // direct items
	next := make([]int, sh.Slots)
	long := make(map[int64][]int) // by push
	var pushes []int64
	for _, i := range order {
		it := &items[i]
		m, err := g.message(it.Message)
		switch {
		case err != nil:
			return nil, err
		case len(m) > crt.InlineSize(ready.SlotBytes()):
			if long[it.Message.ID] == nil {
				pushes = append(pushes, it.Message.ID)
			}
			long[it.Message.ID] = append(long[it.Message.ID], i)
			continue
		}
		lane := next[it.Slot]
		next[it.Slot]++
		if lane == len(lanes) {
			lanes = append(lanes, nil)
		}
		lanes[lane] = append(lanes[lane], i)
	}
	for _, lane := range lanes {
		if err := g.frame(&frames, ready, items, lane, nil); err != nil {
			return nil, err
		}
	}
	for _, id := range pushes {
		first := items[long[id][0]].Message
		body, err := g.body(first, g.messages[id])
		if err == nil {
			err = g.frame(&frames, ready, items, long[id], &body)
		}
		if err != nil {
			return nil, err
		}
	}
	return frames, nil
}

// frame seals one lane: of messages in their slots, or of one body's key.
func (g *group) frame(frames *[]push.SealedFrame, sh *crt.Shard, items []push.SealItem, lane []int, body *sealedBody) error {
	if len(g.slots) < sh.Slots() {
		g.slots = make([]crt.Slot, sh.Slots())
	}
	slots := g.slots[:sh.Slots()]
	clear(slots)
	mode, b := crt.Direct, (*crt.Body)(nil)
	for _, i := range lane {
		it := &items[i]
		slots[it.Slot] = crt.Slot{Type: crt.SlotInline, Seq: it.Seq, Data: g.messages[it.Message.ID]}
		if body != nil {
			slots[it.Slot].Type, slots[it.Slot].Data = crt.SlotEnvelope, body.key[:]
		}
	}
	if body != nil {
		mode, b = crt.Envelope, body.body
	}
	head, err := sh.Seal(make([]byte, 0, sh.FrameSize(0)), mode, g.lane, slots, b, &g.scratch)
	if err != nil {
		return err
	}
	g.lane++
	f := push.SealedFrame{ID: frameID(head), Sealed: &push.Sealed{Head: head}, Items: lane}
	if b != nil {
		f.Sealed.Body = b.Bytes
	}
	*frames = append(*frames, f)
	return nil
}

// Channel implements [push.SealGroup].
func (g *group) Channel(k *push.SealChannel, m *push.Message) (push.SealedFrame, error) {
	message, err := g.message(m)
	if err != nil {
		return push.SealedFrame{}, err
	}
	key, err := g.s.channel(k)
	if err != nil {
		return push.SealedFrame{}, err
	}
	defer clear(key.Secret[:])
	f, err := g.s.sealer.SealChannel(key, message)
	if err != nil {
		return push.SealedFrame{}, err
	}
	return push.SealedFrame{ID: push.ChannelFrameID(k.ID, m.ID), Sealed: &push.Sealed{
		Head: f[:crt.HeaderSize:crt.HeaderSize], Body: f[crt.HeaderSize:], Channel: true, ChannelID: key.Channel, Epoch: key.Epoch,
	}}, nil
}

// Rekey implements [push.SealGroup].
func (g *group) Rekey(sh *push.SealShard, k *push.SealChannel, to []int) (*push.Sealed, error) {
	ready, err := g.s.shard(sh)
	if err != nil {
		return nil, err
	}
	key, err := g.s.channel(k)
	if err != nil {
		return nil, err
	}
	defer clear(key.Secret[:])
	body, err := key.SealRekeyBody()
	if err != nil {
		return nil, err
	}
	slots := make([]crt.Slot, ready.Slots())
	for _, i := range to {
		slots[i] = crt.Slot{Type: crt.SlotRekey, Data: key.Secret[:]}
	}
	head, err := ready.Seal(make([]byte, 0, ready.FrameSize(0)), crt.Rekey, 0, slots, body, &g.scratch)
	return &push.Sealed{Head: head, Body: body.Bytes}, err
}

// Client implements [push.SealGroup].
func (g *group) Client(m *push.SealMember, it push.SealItem) (push.SealedFrame, error) {
	message, err := g.message(it.Message)
	if err != nil {
		return push.SealedFrame{}, err
	}
	mem, err := g.s.unwrap(m)
	if err != nil {
		return push.SealedFrame{}, err
	}
	defer mem.Chain.Wipe()
	f, err := g.s.sealer.SealDown(mem.Who, &mem.Chain, it.Seq, message)
	if err != nil {
		return push.SealedFrame{}, err
	}
	sealed := &push.Sealed{Head: f[:crt.HeaderSize:crt.HeaderSize], Body: f[crt.HeaderSize:]}
	return push.SealedFrame{ID: frameID(f), Sealed: sealed, Items: []int{0}}, nil
}

// frameID is sealer and batch number: no two frames have both.
func frameID(head []byte) (id [16]byte) {
	copy(id[:8], head[24:32])
	copy(id[8:], head[16:24])
	return id
}
