package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/cmd/internal/sealkeys"
	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push/seal"
	"github.com/sunzi-push/sunzi/store"
)

// Sealing keys and the store that is under them: rotate, rewrap, abandon.

func keyRotateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rotate FILE",
		Short: "Add a new wrapping key to a file of sealing keys, or forget the old ones",
		Long: `Add a new wrapping key to a file of sealing keys. The identity stays. Copy the
file to every server and restart them one after the other; nothing is wrapped
under the new key yet. Then sunzi key rewrap puts it to use, and wraps what is
stored under it. After that sunzi key rotate --forget takes the old ones out of
the file, if nothing in the store (--data, or store.dsn) is under them any more.
Copy it to every server once more.`,
		Example: "  sunzi key rotate /etc/sunzi/seal.keys\n  sunzi key rotate --forget /etc/sunzi/seal.keys",
		Args:    takes("one FILE", cobra.ExactArgs(1)),
	}
	s := settingFlags(c, "data")
	forget := c.Flags().Bool("forget", false, "keep the newest wrapping key alone instead")
	c.RunE = func(c *cobra.Command, args []string) error {
		keys, err := sealkeys.Open(args[0])
		if err != nil {
			return err
		}
		if *forget {
			err = forgetKeys(c, s, keys)
			keys = keys.Newest()
		} else {
			keys = keys.Rotated()
		}
		if err != nil {
			return err
		}
		if err := keys.Save(args[0]); err != nil {
			return err
		}
		c.PrintErrf("%s has %d wrapping keys now\n", args[0], len(keys.Wrap))
		return nil
	}
	return c
}

// forgetKeys makes sure that the store needs the newest key alone.
func forgetKeys(c *cobra.Command, s *settings, keys *sealkeys.Keys) error {
	return withKeys(c, s, func(config.Config) (*sealkeys.Keys, error) { return keys, nil }, func(k *storeKeys) error {
		newest := k.wrapper.Used()
		if k.kept[newest] == nil {
			return fmt.Errorf("the store is not under wrapping key %d yet: run sunzi key rewrap first", newest)
		}
		old := &seal.Counter{Wrapper: k.wrapper}
		if _, err := k.store.Rewrap(c.Context(), old); err != nil {
			return err
		}
		if old.Old > 0 {
			return fmt.Errorf("%d secrets in the store are under the old keys, and would be lost with them: run sunzi key rewrap first", old.Old)
		}
		return k.store.ForgetWrapKeys(c.Context(), newest)
	})
}

func keyRewrapCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rewrap",
		Short: "Put the newest wrapping key to use",
		Long: `Put the newest wrapping key to use: clients' keys, secrets of groups and pushes
that wait are wrapped under it, from now on and anew. With store.dsn the servers
may run, if all of them have the new key; on a file the server must not.`,
		Args: cobra.NoArgs,
	}
	s := settingFlags(c, "data", "seal.key_file")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return withKeys(c, s, shownKeys, func(k *storeKeys) error {
			if number, proof := k.service.Proof(); k.kept[number] == nil {
				kept, err := k.store.ClaimWrapKey(c.Context(), number, proof)
				if err != nil {
					return err
				}
				if err := k.service.Check(number, kept); err != nil { // another file was first
					return err
				}
			}
			n, err := k.store.Rewrap(c.Context(), seal.Rewrapper{Wrapper: k.wrapper})
			c.PrintErrf("wrapped anew: the keys of %d clients, secrets of %d groups, %d pushes that wait\n", n.Clients, n.Channels, n.Waiting)
			return err
		})
	}
	return c
}

func keyAbandonCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "abandon",
		Short: "Give up what is sealed under sealing keys that are lost",
		Long: `Give up what is sealed in the store (--data, or store.dsn) under sealing keys that
are lost. No server may run. Clients' sealing keys and groups' secrets are
destroyed, and pushes that wait (not_before, large targets) are refused. Sealed
messages stay in their mailboxes, for clients that have the keys. Servers then
start with other keys; clients have to pin the new identity, and make keys
anew.`,
		Example: "  sunzi key abandon --yes --data data",
		Args:    cobra.NoArgs,
	}
	s := settingFlags(c, "data")
	yes := c.Flags().Bool("yes", false, "the keys are lost, and everything under them may go")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if !*yes {
			return errors.New("this destroys what nobody can restore: look for the file of sealing keys, in backups too, and give --yes if it is lost")
		}
		st, _, err := localStore(c, s)
		if err != nil {
			return err
		}
		n, err := st.AbandonSealing(c.Context())
		if err = errors.Join(err, st.Close()); err != nil {
			return err
		}
		c.PrintErrf("given up: the keys of %d clients, secrets of %d groups, %d pushes that waited\n", n.Clients, n.Channels, n.Waiting)
		return nil
	}
	return c
}

// storeKeys are a store and the sealing keys that it is under.
type storeKeys struct {
	store   *store.Store
	service *seal.Service
	wrapper *crt.Wrapper
	kept    map[uint32][]byte // the store's proofs
}

// withKeys runs do on the configured store with keys that are its own.
func withKeys(c *cobra.Command, s *settings, keysOf func(config.Config) (*sealkeys.Keys, error), do func(*storeKeys) error) error {
	st, cfg, err := localStore(c, s)
	if err != nil {
		return err
	}
	keys, err := keysOf(cfg)
	if err == nil {
		err = checked(c, st, keys, do)
	}
	return errors.Join(err, st.Close())
}

func checked(c *cobra.Command, st *store.Store, keys *sealkeys.Keys, do func(*storeKeys) error) error {
	id, err := crt.NewIdentity(keys.Identity)
	if err != nil {
		return err
	}
	w, err := crt.NewWrapper(keys.Wrap)
	if err != nil {
		return err
	}
	kept, err := st.WrapKeys(c.Context())
	if err != nil {
		return err
	}
	if len(kept) == 0 {
		return errors.New("no server with sealing keys has been started on this store: is it the right one (--data, store.dsn)?")
	}
	service := seal.New(seal.Config{Identity: id, Wrapper: w})
	defer service.Close()
	for number, proof := range kept {
		if err := service.Check(number, proof); err != nil {
			return fmt.Errorf("the sealing keys are not those of this store: %w", err)
		}
	}
	return do(&storeKeys{st, service, w, kept})
}
