package crt

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// HeaderSize is the length of a frame's header, and PrefixSize that of what
// stands before a channel frame, in bytes (section 5).
const (
	HeaderSize = 76
	PrefixSize = 10
)

// Limits on frames (section 10), in bytes but for slots.
const (
	MaxSlots = 1024
	MaxX     = 64 << 10
	MaxBody  = 16<<20 + 4<<10
)

const version = 1

// Mode is what kind of frame it is.
type Mode uint8

// The modes (section 5).
const (
	Direct Mode = iota + 1
	Envelope
	Rekey
	Channel
	Down
	Up
	Session
)

var modeNames = [...]string{"", "direct", "envelope", "rekey", "channel", "down", "up", "session"}

func (m Mode) String() string {
	if m == 0 || int(m) >= len(modeNames) {
		return fmt.Sprintf("mode %d", uint8(m))
	}
	return modeNames[m]
}

// slotted reports whether frames of the mode have an x.
func (m Mode) slotted() bool { return m >= Direct && m <= Rekey }

// Header is what a frame says in clear.
type Header struct {
	Mode      Mode
	Shard     uint64 // of a channel frame the channel
	Period    uint32 // of a channel frame the epoch, of a session frame the generation
	Batch     uint64
	Sealer    [8]byte
	Slots     uint16
	SlotBytes uint16
	Lane      uint16
	BodyLen   uint32
	BodyHash  [sha256.Size]byte
}

// XSize is the length of x in bytes.
func (h *Header) XSize() int { return int(h.Slots) * int(h.SlotBytes) }

func (h *Header) put(b *[HeaderSize]byte) {
	b[0], b[1], b[2], b[3] = 'C', 'B', version, byte(h.Mode)
	binary.BigEndian.PutUint64(b[4:], h.Shard)
	binary.BigEndian.PutUint32(b[12:], h.Period)
	binary.BigEndian.PutUint64(b[16:], h.Batch)
	copy(b[24:32], h.Sealer[:])
	binary.BigEndian.PutUint16(b[32:], h.Slots)
	binary.BigEndian.PutUint16(b[34:], h.SlotBytes)
	binary.BigEndian.PutUint16(b[36:], h.Lane)
	b[38], b[39] = 0, 0
	binary.BigEndian.PutUint32(b[40:], h.BodyLen)
	copy(b[44:], h.BodyHash[:])
}

// body sets what the header says of the body; nil is none.
func (h *Header) body(b *Body) {
	if b == nil {
		b = &noBody
	}
	h.BodyLen, h.BodyHash = uint32(len(b.Bytes)), b.hash
}

// Frame is a frame taken apart. Its slices are parts of what was parsed.
type Frame struct {
	Header
	Head []byte // the header's bytes
	X    []byte
	Body []byte
}

// ParseFrame takes a frame apart and checks everything that needs no key: the
// lengths, before it looks at what they promise, and the body's hash. Nothing is
// copied. The error says what is wrong; a frame's header is no secret.
func ParseFrame(b []byte) (Frame, error) {
	h, err := parseHeader(b)
	if err != nil {
		return Frame{}, err
	}
	x := h.XSize()
	if len(b) != HeaderSize+x+int(h.BodyLen) {
		return Frame{}, fmt.Errorf("crt: a frame of %d bytes announces %d", len(b), HeaderSize+x+int(h.BodyLen))
	}
	f := Frame{Header: h, Head: b[:HeaderSize:HeaderSize], X: b[HeaderSize : HeaderSize+x : HeaderSize+x], Body: b[HeaderSize+x:]}
	sum := noBody.hash // most frames have none
	if len(f.Body) > 0 {
		sum = sha256.Sum256(f.Body)
	}
	if sum != h.BodyHash {
		return Frame{}, errors.New("crt: the body is not that of the header")
	}
	return f, nil
}

func parseHeader(b []byte) (h Header, err error) {
	if len(b) < HeaderSize || b[0] != 'C' || b[1] != 'B' {
		return h, errors.New("crt: this is not a frame")
	}
	if b[2] != version {
		return h, fmt.Errorf("crt: a frame of version %d", b[2])
	}
	h = Header{
		Mode:      Mode(b[3]),
		Shard:     binary.BigEndian.Uint64(b[4:]),
		Period:    binary.BigEndian.Uint32(b[12:]),
		Batch:     binary.BigEndian.Uint64(b[16:]),
		Sealer:    [8]byte(b[24:32]),
		Slots:     binary.BigEndian.Uint16(b[32:]),
		SlotBytes: binary.BigEndian.Uint16(b[34:]),
		Lane:      binary.BigEndian.Uint16(b[36:]),
		BodyLen:   binary.BigEndian.Uint32(b[40:]),
		BodyHash:  [sha256.Size]byte(b[44:]),
	}
	return h, h.check(b[38]|b[39] == 0)
}

func (h *Header) check(zero bool) error {
	switch {
	case h.Mode < Direct || h.Mode > Session:
		return fmt.Errorf("crt: a frame of %v", h.Mode)
	case !zero:
		return errors.New("crt: reserved bytes of the header are not zero")
	case h.BodyLen > MaxBody:
		return fmt.Errorf("crt: a body of %d bytes, above %d", h.BodyLen, MaxBody)
	case h.Mode.slotted() && (h.Slots == 0 || h.Slots > MaxSlots || !isWidth(8*int(h.SlotBytes)) || h.XSize() > MaxX):
		return fmt.Errorf("crt: %d slots of %d bytes", h.Slots, h.SlotBytes)
	case !h.Mode.slotted() && h.XSize() != 0, !h.Mode.slotted() && h.Slots|h.SlotBytes != 0:
		return fmt.Errorf("crt: a frame of mode %v with slots", h.Mode)
	case h.Mode == Direct && h.BodyLen != 0:
		return errors.New("crt: a direct frame with a body")
	case h.Mode != Direct && h.BodyLen < tagSize:
		return fmt.Errorf("crt: a body of %d bytes is none", h.BodyLen)
	}
	return nil
}

// isWidth reports whether moduli may have so many bits (section 1.2).
func isWidth(bits int) bool { return bits == 512 || bits == 1024 || bits == 2048 }

// AppendPrefix appends what stands before a channel frame (section 5.4).
func AppendPrefix(dst []byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 'C', 'P'), seq)
}

// CutPrefix parts a prefix from its frame. Without one the sequence is zero.
func CutPrefix(b []byte) (seq uint64, frame []byte) {
	if len(b) < PrefixSize || b[0] != 'C' || b[1] != 'P' {
		return 0, b
	}
	return binary.BigEndian.Uint64(b[2:]), b[PrefixSize:]
}
