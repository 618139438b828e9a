package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/store"
)

func migrateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the store's schema up to what this binary knows",
		Long: `Bring the store's schema up to what this binary knows. A server does so by
itself when it starts; this is for those who want to do it before.`,
		Args: cobra.NoArgs,
	}
	s := settingFlags(c, "data", "store.path")
	check := c.Flags().Bool("check", false, "change nothing; fail where the schema is not up to date")
	c.RunE = func(c *cobra.Command, _ []string) error {
		base := config.Default()
		base.Dev = true // no secret is needed
		l, err := s.load(c, base)
		if err != nil {
			return err
		}
		cfg := l.Config.StoreConfig()
		name := cmp.Or(cfg.Path, "the database")
		if cfg.Path != "" {
			if err := storeFolder(cfg.Path, *check); err != nil {
				return err
			}
		}
		if *check {
			have, known, err := store.Version(c.Context(), cfg)
			if err != nil {
				return err
			}
			if have != known {
				return fmt.Errorf("%s is at schema version %d, this binary knows %d", name, have, known)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s is at schema version %d, up to date\n", name, have)
			return err
		}
		from, to, err := store.Migrate(c.Context(), cfg)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s is at schema version %d (was %d)\n", name, to, from)
		return err
	}
	return c
}

// storeFolder makes the folder of a store file that is not there yet; where
// nothing may change, its absence is an error.
func storeFolder(path string, check bool) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil // what else is wrong is said when it is opened
	}
	if check {
		return fmt.Errorf("there is no store at %s yet: sunzi migrate makes it, --data names another folder", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("the folder of the store can't be made: %w", err)
	}
	return nil
}
