package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/cmd/internal/sealkeys"
)

// Sealing keys: show and make. They are files; no server is asked.

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
