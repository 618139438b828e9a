package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/push/snowflake"
)

func idCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "id ID...",
		Short: "Explain a Snowflake ID: when it was issued, by which node",
		Args:  takes("one ID or more", cobra.MinimumNArgs(1)),
	}
	origin := c.Flags().String("origin", snowflake.DefaultOrigin.Format(time.RFC3339), "ID origin of the server (key snowflake.origin)")
	asJSON := c.Flags().Bool("json", false, "print one line of JSON an ID")
	c.RunE = func(c *cobra.Command, args []string) error {
		from, err := time.Parse(time.RFC3339, *origin)
		if err != nil {
			return fmt.Errorf("--origin: %q is no time, as in 2026-01-01T00:00:00Z", *origin)
		}
		for _, arg := range args {
			id, err := strconv.ParseInt(arg, 10, 64)
			if err != nil || id < 0 {
				return fmt.Errorf("%q is no ID: a positive number of up to 19 digits", arg)
			}
			if err := explain(c, id, from, *asJSON); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

func explain(c *cobra.Command, id int64, origin time.Time, asJSON bool) error {
	p := snowflake.Explain(id, origin)
	at := p.Time.Format("2006-01-02T15:04:05.000Z07:00")
	if asJSON {
		return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{
			"id": strconv.FormatInt(id, 10), "time": at, "unix_ms": p.Time.UnixMilli(), "node": p.Node, "step": p.Step,
		})
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "id    %d\ntime  %s\nnode  %d\nstep  %d\n", id, at, p.Node, p.Step)
	return err
}
