package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/store"
)

func moveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "move",
		Short: "Carry the store from its SQLite file to MySQL or MariaDB",
		Long: `Carry the store from its SQLite file to the database of store.dsn, which the
configuration file or the variable SUNZI_STORE_DSN gives: a command line can be
read by others. Stop the server first. The database must be empty; a move that
was cut off may be run again. Clients notice nothing: they find their mailboxes
as they were. The file is kept beside its place, which gets a note.`,
		Args: cobra.NoArgs,
	}
	s := settingFlags(c, "data")
	file := c.Flags().String("from", "", "the SQLite file (sunzi.db in --data)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		for _, kv := range s.set {
			if strings.HasPrefix(kv, "store.dsn=") {
				return errors.New("store.dsn has a password: give it in the configuration file or in SUNZI_STORE_DSN, not on the command line")
			}
		}
		base := config.Default()
		base.Dev = true // no secret is needed
		l, err := s.load(c, base)
		if err != nil {
			return err
		}
		to := l.Config.StoreConfig()
		if to.DSN == "" {
			return errors.New("store.dsn is not set: it says where the store goes; give it in the configuration file or in SUNZI_STORE_DSN")
		}
		from := to
		from.DSN, from.Path = "", cmp.Or(*file, l.Config.StorePath())
		return move(c, from, to)
	}
	return c
}

// move tells of each table once it is there.
func move(c *cobra.Command, from, to store.Config) error {
	last, count := "", int64(0)
	tell := func() {
		if last != "" {
			c.PrintErrf("%-16s %d rows\n", last, count)
		}
	}
	err := store.Move(c.Context(), from, to, func(table string, rows int64) {
		if table != last {
			tell()
		}
		last, count = table, rows
	})
	tell()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s was moved; the file is now %s, and no server uses it any more\n", from.Path, store.MovedPath(from.Path))
	return err
}
