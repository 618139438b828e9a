package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/cmd/internal/sealkeys"
	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/seal"
)

// openSealing reads the sealing keys, and makes them where the data folder is
// this server's own. Without keys nothing is sealed.
func (s *Server) openSealing() error {
	keys, err := s.cfg.SealKeys()
	if errors.Is(err, fs.ErrNotExist) && s.cfg.OwnSealKeys() {
		keys, err = sealkeys.New(), nil
		s.newKeys = keys
	}
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

// checkSealing compares the sealing keys with those that the store is under, and
// refuses to start where something in it could not be read: each push to a client
// that seals would fail, and clients would find another identity than the one
// that they have pinned. Keys that were made are saved only then.
func (s *Server) checkSealing() error {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	kept, err := s.store.WrapKeys(ctx)
	if err != nil {
		return err
	}
	differs := s.sealDiffers(kept)
	if differs == nil && len(kept) > 0 {
		return s.sealing.Use(slices.Max(slices.Collect(maps.Keys(kept))))
	}
	holds, err := s.store.HoldsWrapped(ctx)
	switch {
	case err != nil:
		return err
	case holds:
		return s.cantRead(differs)
	case s.sealing == nil:
		if differs != nil {
			s.log.Warn("other servers of this database have sealing keys, this one has none: set seal.key_file, or pushes to clients that seal fail here, and live-only pushes from those servers are dropped here")
		}
		return nil
	case differs != nil && s.cfg.Store.DSN != "": // others may be running
		return s.cantRead(differs)
	case differs != nil:
		s.log.Warn("the sealing keys are others than before; nothing was sealed under those", "what", differs)
		if err := s.store.ForgetWrapKeys(ctx, 0); err != nil {
			return err
		}
	}
	return s.beginSealing(ctx)
}

// sealDiffers says what of the store's keys this server does not have.
func (s *Server) sealDiffers(kept map[uint32][]byte) error {
	for number, proof := range kept {
		if s.sealing == nil || s.newKeys != nil {
			return errors.New("this server has none")
		}
		if err := s.sealing.Check(number, proof); err != nil {
			return err
		}
	}
	return nil
}

// beginSealing is the first start of a store with sealing keys.
func (s *Server) beginSealing(ctx context.Context) error {
	if s.newKeys != nil {
		if err := os.MkdirAll(s.cfg.Data, 0o700); err != nil {
			return fmt.Errorf("the data folder %s can't be made: %w", s.cfg.Data, err)
		}
		if err := s.newKeys.Save(s.cfg.SealKeyPath()); err != nil {
			return err
		}
	}
	number, proof := s.sealing.Proof()
	kept, err := s.store.ClaimWrapKey(ctx, number, proof)
	if err != nil {
		return err
	}
	if err := s.sealing.Check(number, kept); err != nil { // another server was first
		return s.cantRead(err)
	}
	return nil
}

// cantRead is the refusal, with what to do.
func (s *Server) cantRead(differs error) error {
	where := s.cfg.Seal.KeyFile
	switch {
	case where != "":
	case s.cfg.Seal.Keys != "":
		where = "seal.keys"
	case s.cfg.OwnSealKeys():
		where = s.cfg.SealKeyPath()
	default:
		where = "seal.key_file"
	}
	if differs == nil {
		differs = errors.New("the store holds sealing keys in a form that this version does not read")
	}
	return fmt.Errorf("the sealing keys (%s) are not those of this store, and what is sealed under them can't be read: %w. "+
		"Put the file with its keys there, from another server or a backup; "+
		"if they are lost for good, give up what was sealed under them with: sunzi key abandon", where, differs)
}

func (s *Server) closeSealing() {
	if s.sealing != nil {
		s.sealing.Close()
	}
}
