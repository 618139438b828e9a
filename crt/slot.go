package crt

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
)

// SlotType is the first byte of a slot's text (section 5.1).
type SlotType uint8

// The slot types.
const (
	SlotCover    SlotType = iota // no message for this member
	SlotInline                   // the data is the message
	SlotEnvelope                 // the data is the body's key
	SlotRekey                    // the data is a channel's secret
)

// Slot is what one member is told in a batch. The zero Slot is a cover.
type Slot struct {
	Type SlotType
	Seq  uint64 // of the message in its mailbox
	Data []byte
}

// InlineSize is the longest data of a slot, in bytes: 38 where moduli have 512
// bits.
func InlineSize(slotBytes int) int { return slotBytes - tagSize - 10 }

// put writes the slot's text, which has room for InlineSize+10 bytes.
func (s *Slot) put(text []byte) {
	text[0] = byte(s.Type)
	binary.BigEndian.PutUint64(text[1:], s.Seq)
	n := 9 + copy(text[9:], s.Data)
	text[n] = 0x80
	clear(text[n+1:])
}

// fits reports whether the slot may stand in a frame of the mode.
func (s *Slot) fits(mode Mode, slotBytes int) bool {
	switch s.Type {
	case SlotCover:
		return s.Seq == 0 && len(s.Data) == 0
	case SlotInline:
		return mode == Direct && s.Seq > 0 && len(s.Data) <= InlineSize(slotBytes)
	case SlotEnvelope:
		return mode == Envelope && s.Seq > 0 && len(s.Data) == KeySize
	case SlotRekey:
		return mode == Rekey && s.Seq == 0 && len(s.Data) == KeySize
	}
	return false
}

// parseSlot takes a slot's text apart; its data is a part of it.
func parseSlot(text []byte, mode Mode) (Slot, error) {
	end := len(text) - 1
	for end > 9 && text[end] == 0 {
		end--
	}
	s := Slot{Type: SlotType(text[0]), Seq: binary.BigEndian.Uint64(text[1:])}
	if text[end] != 0x80 {
		return Slot{}, ErrOpen
	}
	s.Data = text[9:end:end]
	if !s.fits(mode, len(text)+tagSize) {
		return Slot{}, ErrOpen
	}
	return s, nil
}

// equal compares secrets in constant time.
func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// allZero reports whether a has nothing in it.
func allZero(a []byte) bool { return len(bytes.Trim(a, "\x00")) == 0 }
