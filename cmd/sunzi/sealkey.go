package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/cmd/internal/sealkeys"
	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/push/seal"
	"github.com/sunzi-push/sunzi/store"
)

// Sealing keys: show, make, rotate. They are files; no server is asked.

func keyShowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "show",
		Short: "Show the server's sealing identity, which clients pin",
		Long: `Show the public key of the server's sealing identity, in base64url: clients that
seal pin it (serverKey in JavaScript, ServerKey in Go). Nothing secret is shown.`,
		Example: "  sunzi key show --data data",
		Args:    cobra.NoArgs,
	}
	s := settingFlags(c, "data", "seal.key_file")
	c.RunE = func(c *cobra.Command, _ []string) error {
		base := config.Default()
		base.Dev = true // no token is signed here, so that none of their secret is asked for
		l, err := s.load(c, base)
		if err != nil {
			return err
		}
		keys, err := shownKeys(l.Config)
		if err != nil {
			return err
		}
		public, err := keys.Public()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), public)
		return err
	}
	return c
}

// shownKeys are a server's keys; none are made.
func shownKeys(cfg config.Config) (*sealkeys.Keys, error) {
	if cfg.Seal.Keys == "" && cfg.Seal.KeyFile == "" {
		if cfg.Store.DSN != "" {
			return nil, errors.New("this configuration does not seal: set seal.key_file, and make the file with sunzi key make")
		}
		if _, err := os.Stat(cfg.SealKeyPath()); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no %s yet: the server's first start makes it; name its folder with --data", cfg.SealKeyPath())
		}
	}
	return cfg.SealKeys()
}

func keyMakeCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "make FILE",
		Short:   "Make a file of sealing keys, for seal.key_file",
		Long:    "Make a file of sealing keys with mode 0600, for seal.key_file. All nodes of a\ncluster need the same. A file that is there is not touched.",
		Example: "  sunzi key make /etc/sunzi/seal.keys",
		Args:    takes("one FILE", cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := os.Lstat(args[0]); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s is there already, and is not overwritten: without its keys nothing that waits sealed can be delivered", args[0])
			}
			keys := sealkeys.New()
			if err := keys.Save(args[0]); err != nil {
				return err
			}
			public, err := keys.Public()
			if err != nil {
				return err
			}
			c.PrintErrln("made", args[0], "for the identity:")
			_, err = fmt.Fprintln(c.OutOrStdout(), public)
			return err
		},
	}
}

func keyRotateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rotate FILE",
		Short: "Add a new wrapping key to a file of sealing keys",
		Long: `Add a new wrapping key to a file of sealing keys. The identity stays. Copy the
file to every node and restart them one after the other, then run sunzi key
rewrap: it wraps clients' keys under the new one, and says when the old ones can
be taken out of the file (--forget).`,
		Example: "  sunzi key rotate /etc/sunzi/seal.keys",
		Args:    takes("one FILE", cobra.ExactArgs(1)),
	}
	forget := c.Flags().Bool("forget", false, "keep the newest wrapping key alone instead")
	c.RunE = func(c *cobra.Command, args []string) error {
		keys, err := sealkeys.Open(args[0])
		if err != nil {
			return err
		}
		if *forget {
			keys = keys.Newest()
		} else {
			keys = keys.Rotated()
		}
		if err := keys.Save(args[0]); err != nil {
			return err
		}
		c.PrintErrf("%s has %d wrapping keys now\n", args[0], len(keys.Wrap))
		return nil
	}
	return c
}

func keyRewrapCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rewrap",
		Short: "Wrap clients' sealing keys under the newest wrapping key",
		Long: `Wrap clients' sealing keys in the store under the newest wrapping key. With
store.dsn the servers may run, if all of them have the new key; on a file the
server must not.`,
		Args: cobra.NoArgs,
	}
	s := settingFlags(c, "data", "seal.key_file")
	c.RunE = func(c *cobra.Command, _ []string) error {
		st, cfg, err := localStore(c, s)
		if err != nil {
			return err
		}
		n, err := rewrap(c, cfg, st)
		if err = errors.Join(err, st.Close()); err != nil {
			return err
		}
		c.PrintErrf("%d secrets of clients and groups were wrapped anew; pushes that wait (not_before, large targets) keep their key until they are placed, 30 days at most\n", n)
		return nil
	}
	return c
}

func rewrap(c *cobra.Command, cfg config.Config, st *store.Store) (int, error) {
	keys, err := shownKeys(cfg)
	if err != nil {
		return 0, err
	}
	w, err := crt.NewWrapper(keys.Wrap)
	if err != nil {
		return 0, err
	}
	n, err := st.Rewrap(c.Context(), seal.Rewrapper{Wrapper: w})
	return n.Clients + n.Channels, err
}
