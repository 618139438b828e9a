package main

import (
	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
)

func configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Check or show the configuration of sunzi serve",
		RunE:  showCommands,
	}
	c.AddCommand(configCheckCommand(), configShowCommand())
	return c
}

func configCheckCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with the configuration, all at once",
		Args:  cobra.NoArgs,
	}
	s := settingFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		l, err := s.load(c, config.Default())
		if err != nil {
			return err
		}
		if _, err := l.Config.AuthorityConfig(); err != nil { // the file of the secret
			return err
		}
		c.Println("the configuration is good")
		return nil
	}
	return c
}

func configShowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "show",
		Short: "Print every effective value and where it comes from, secrets masked",
		Long: `Print every effective value as YAML, each with its origin: default, file, env
or flag. With --docs, print what each key means instead: a file to start from.
A configuration that is wrong is shown all the same, what is wrong after it.`,
		Args: cobra.NoArgs,
	}
	s := settingFlags(c)
	docs := c.Flags().Bool("docs", false, "explain each key rather than its origin")
	c.RunE = func(c *cobra.Command, _ []string) error {
		l, bad := s.load(c, config.Default())
		details := config.WithOrigins
		if *docs {
			details, bad = config.WithDocs, nil // the default lacks a secret, and that is no fault
		}
		if err := config.Write(c.OutOrStdout(), l, details); err != nil {
			return err
		}
		return bad
	}
	return c
}
