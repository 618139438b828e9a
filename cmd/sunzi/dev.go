package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/cmd/internal/devdata"
	"github.com/sunzi-push/sunzi/cmd/internal/server"
)

func devCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a server to try things out, with nothing to configure",
		Long: `Run a server on SQLite with a live page, a client and an API key of its own,
kept in the data folder from one start to the next. For one machine and one
person: whoever can open the page can push. Use sunzi serve in production.`,
		Args: cobra.NoArgs,
	}
	s := settingFlags(c, "listen", "data", "log.level")
	asJSON := c.Flags().Bool("json", false, "print one line of JSON (url, ws_url, page, api_key, client_id, token) and nothing else on stdout")
	c.RunE = func(c *cobra.Command, _ []string) error {
		base := config.DevDefault()
		// The start is what people read; what goes wrong later is told still.
		base.Log.Level = "warn"
		l, err := s.load(c, base)
		if err != nil {
			return err
		}
		data, err := devdata.Open(l.Config.Data)
		if err != nil {
			return err
		}
		return runServer(c, l.Config, func(srv *server.Server, _ *slog.Logger) error {
			if err := data.SaveServer(srv.Dev()); err != nil {
				return err
			}
			if *asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(srv.Dev()) //nolint:gosec // G117: it is to tell the key
			}
			return welcome(c.OutOrStdout(), srv.Dev(), l.Config.Data)
		})
	}
	return c
}

// welcome is the first minute: what to open, what to paste.
func welcome(w io.Writer, d server.DevInfo, dir string) error {
	_, err := fmt.Fprintf(w, `Sunzi is running. Open the live page, then push to it:

  Page       %s
  API key    %s
  Client     %s
  Token      %s
  Data       %s (kept for the next start)

  %s

  <script type="module">
    %s
  </script>

Ctrl-C stops it; what was pushed meanwhile waits in the mailbox.
`, d.Page, d.APIKey, d.ClientID, d.Token, dir, d.Curl(), strings.ReplaceAll(d.Snippet(), "\n", "\n    "))
	return err
}
