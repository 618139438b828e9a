package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/sunzi-push/sunzi/push"
)

// letterVersion is the first byte of every letter. A node that meets another
// one drops the letter: what it said is found in the store.
const letterVersion = 1

// maxLetter bounds a letter in bytes, sent or received: the largest body that
// configuration allows, with its receivers.
const maxLetter = 32 << 20

// perLetter is how many clients one letter names at most.
const perLetter = 1000

// kind says what a letter is about.
type kind uint8

const (
	kindHint    kind = iota + 1 // Keys with sequences
	kindLive                    // Message to Keys, or with none to all of Realm
	kindNotify                  // Notice, or Wrapped, to Keys
	kindClose                   // Closing; answered with Count where Ask is set
	kindBelow                   // sessions of Keys below the generation in Seq end
	kindQuery                   // what of Keys is there? answered with Sessions
	kindAnswer                  // to the letter of that Ask
	kindGroup                   // Group of Realm changed
	kindEcho                    // to oneself: is the subscription alive?
	kindCover                   // Frame to Keys, which it holds nothing for
	kindsBeyond                 // none of them
)

// letter is what one node sends another. Which fields count depends on Kind.
type letter struct {
	Kind     kind          `msgpack:"k"`
	From     string        `msgpack:"f,omitempty"`
	Ask      uint64        `msgpack:"a,omitempty"`
	Realm    string        `msgpack:"r,omitempty"`
	Group    string        `msgpack:"g,omitempty"`
	Keys     []place       `msgpack:"c,omitempty"`
	Message  *message      `msgpack:"m,omitempty"`
	Frame    *sealedFrame  `msgpack:"e,omitempty"`
	Notice   *push.Notice  `msgpack:"n,omitempty"`
	Wrapped  []byte        `msgpack:"w,omitempty"` // a notice, encoded
	Closing  *push.Closing `msgpack:"x,omitempty"`
	Sessions []answered    `msgpack:"s,omitempty"`
	Count    int           `msgpack:"i,omitempty"`
}

// place is a client with a number: the sequence that its mailbox reaches, or
// a generation.
type place struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // read by the codec
	Realm    string
	ID       string
	Seq      uint64
}

func (p place) key() push.ClientKey { return push.ClientKey{Realm: p.Realm, ID: p.ID} }

// message is a live-only push. Body is wrapped where Wrapped is set.
type message struct {
	ID      int64
	Sent    time.Time
	Body    []byte
	Wrapped bool
	Require push.SealMode
}

// sealedFrame is a frame whose opening is its clients' business.
type sealedFrame struct {
	Sent       time.Time
	Head, Body []byte
}

// answered is a session with the index of its client in the question.
type answered struct {
	Index int
	Info  push.SessionInfo
}

func (l *letter) encode() ([]byte, error) {
	b, err := msgpack.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("cluster: encoding a letter: %w", err)
	}
	if len(b)+1 > maxLetter {
		return nil, fmt.Errorf("cluster: a letter of %d bytes is too long", len(b))
	}
	return append([]byte{letterVersion}, b...), nil
}

// decode reads what another node sent; who can write to Redis can write
// anything.
func decode(b string) (letter, error) {
	var l letter
	if len(b) < 2 || len(b) > maxLetter || b[0] != letterVersion {
		return l, errors.New("cluster: a letter of another version or size")
	}
	if err := msgpack.Unmarshal([]byte(b[1:]), &l); err != nil {
		return letter{}, fmt.Errorf("cluster: a letter that is none: %w", err)
	}
	wants := map[kind]bool{
		kindLive: l.Message != nil, kindNotify: l.Notice != nil || len(l.Wrapped) > 0, kindClose: l.Closing != nil,
		kindCover: l.Frame != nil,
	}
	if ok, asked := wants[l.Kind]; l.Kind == 0 || l.Kind >= kindsBeyond || asked && !ok {
		return letter{}, errors.New("cluster: a letter of an unknown kind, or without what it is about")
	}
	return l, nil
}
