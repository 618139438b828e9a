package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/cmd/internal/doctor"
)

func doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look whether this machine is fit for the configuration",
		Long: `Look at limits, ports, clock, disk and store as a server of this configuration
would find them, and say what to do about each. Nothing is changed; a server
may be running. The exit code is 1 where something would fail.`,
		Args: cobra.NoArgs,
	}
	s := settingFlags(c, "listen", "admin.listen", "data")
	c.RunE = func(c *cobra.Command, _ []string) error {
		l, bad := s.load(c, config.Default())
		if bad != nil {
			tell(c.ErrOrStderr(), bad)
		}
		n, err := doctor.Write(c.OutOrStdout(), doctor.Examine(c.Context(), l.Config))
		if err != nil {
			return err
		}
		if bad != nil {
			n++
		}
		if n > 0 {
			return fmt.Errorf("%d of these would fail", n)
		}
		return nil
	}
	return c
}
