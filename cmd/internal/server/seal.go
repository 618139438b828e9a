package server

import (
	"fmt"
	"slices"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/seal"
)

// openSealing reads the sealing keys, and makes them where the data folder is
// this server's own. Without keys nothing is sealed.
func (s *Server) openSealing() error {
	keys, err := s.cfg.SealKeys()
	if err != nil || keys == nil {
		return err
	}
	id, err := crt.NewIdentity(keys.Identity)
	if err != nil {
		return err
	}
	wrapper, err := crt.NewWrapper(keys.Wrap)
	if err != nil {
		return fmt.Errorf("the sealing keys can't be used: %w", err)
	}
	if s.sealKey, err = keys.Public(); err != nil {
		return err
	}
	s.sealing = seal.New(seal.Config{
		Identity: id, Wrapper: wrapper, Encode: wire.AppendSealed,
		Bits: s.cfg.Seal.Bits, Slots: s.cfg.Seal.Slots,
		NoCRT:  !slices.Contains(s.cfg.Seal.Modes, string(push.SealCRT)),
		NoAEAD: !slices.Contains(s.cfg.Seal.Modes, string(push.SealAEAD)),
	})
	return nil
}

func (s *Server) closeSealing() {
	if s.sealing != nil {
		s.sealing.Close()
	}
}
