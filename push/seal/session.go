package seal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/crt/residue"
	"github.com/sunzi-push/sunzi/push"
)

// What goes on connections (sections 5.6 and 5.7).

// completed are keys in use, for the session of that nonce; of kind crt where
// there is a modulus.
func completed(who crt.Who, nonce []byte, generation uint32, conn *connKeys, m *residue.Modulus) push.Completed {
	mode := push.SealAEAD
	if m != nil {
		mode = push.SealCRT
	}
	return push.Completed{Generation: generation, Mode: mode, Session: sessionSealer{crt.NewSessionSender(who, nonce, generation, conn.session)}}
}

// Session implements [push.Sealing].
func (s *Service) Session(ctx context.Context, key push.ClientKey, nonce []byte) (push.Completed, error) {
	m, err := s.keys.Member(ctx, key)
	if err != nil || m == nil {
		return push.Completed{}, err
	}
	mem, err := s.unwrap(m)
	if errors.Is(err, crt.ErrOpen) { // under a key that is there
		err = fmt.Errorf("%w: %w", push.ErrUnreadable, err)
	}
	if err != nil {
		return push.Completed{}, err
	}
	defer mem.Chain.Wipe()
	return completed(mem.Who, nonce, m.Generation, &mem.conn, mem.Modulus), nil
}

type sessionSealer struct{ sender *crt.Sender }

func (s sessionSealer) Seal(text []byte, json bool) ([]byte, error) {
	format := crt.MsgPack
	if json {
		format = crt.JSON
	}
	return s.sender.Seal(format, text)
}

// connKeys seal what goes on connections: the client's way, and the server's.
type connKeys struct{ up, session [crt.KeySize]byte }

// WrapLive wraps the body of a live-only push for other nodes, which hold the
// same wrapping key (section 7).
func (s *Service) WrapLive(id int64, body []byte) []byte {
	return s.cfg.Wrapper.Wrap(nil, crt.LabelLive, binary.BigEndian.AppendUint64(nil, uint64(id)), body)
}

// UnwrapLive is the reverse of [Service.WrapLive].
func (s *Service) UnwrapLive(id int64, wrapped []byte) ([]byte, error) {
	return s.cfg.Wrapper.Unwrap(crt.LabelLive, binary.BigEndian.AppendUint64(nil, uint64(id)), wrapped)
}

// WrapNotice wraps a notice for other nodes.
func (s *Service) WrapNotice(notice []byte) []byte {
	return s.cfg.Wrapper.Wrap(nil, crt.LabelNotice, nil, notice)
}

// UnwrapNotice is the reverse of [Service.WrapNotice].
func (s *Service) UnwrapNotice(wrapped []byte) ([]byte, error) {
	return s.cfg.Wrapper.Unwrap(crt.LabelNotice, nil, wrapped)
}
