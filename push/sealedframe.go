package push

import (
	"encoding/binary"
	"fmt"
)

// What a frame's header says to those who keep and carry frames: the layout is
// that of crt/SPEC.md, section 5, and stands here alone, since this package does
// not know crt.
const (
	frameMode    = 3
	frameChannel = 4  // in mode channel
	frameEpoch   = 12 // in mode channel
	frameLength  = 40
	frameHash    = 44
	frameHeader  = 76 // bytes

	modeChannel = 4
)

// RestoreSealed is a frame as it was kept, by its head, which it keeps. Where it
// has a body ([Sealed.HasBody]) that is the caller's to set.
func RestoreSealed(head []byte) (*Sealed, error) {
	if len(head) < frameHeader || head[0] != 'C' || head[1] != 'B' {
		return nil, fmt.Errorf("push: a sealed frame was kept that is none: %d bytes", len(head))
	}
	s := &Sealed{Head: head}
	if s.Channel = head[frameMode] == modeChannel; s.Channel {
		s.ChannelID, s.Epoch = binary.BigEndian.Uint64(head[frameChannel:]), binary.BigEndian.Uint32(head[frameEpoch:])
	}
	return s, nil
}

// HasBody reports whether the header announces a body.
func (s *Sealed) HasBody() bool { return binary.BigEndian.Uint32(s.Head[frameLength:]) != 0 }

// BodyHash is the body's, as the header has it: bodies are kept once under it.
func (s *Sealed) BodyHash() [32]byte { return [32]byte(s.Head[frameHash:frameHeader]) }
