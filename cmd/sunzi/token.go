package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

func tokenCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Mint and revoke client tokens",
		Long:  "Mint and revoke client tokens, through a server (--url and --key with scope tokens).",
		RunE:  showCommands,
	}
	c.AddCommand(tokenMintCommand(), tokenRevokeCommand())
	return c
}

func tokenMintCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "mint CLIENT",
		Short: "Mint a token for a registered client",
		Args:  cobra.ExactArgs(1),
	}
	r := remoteFlags(c)
	realm := c.Flags().String("realm", "", "realm of the client")
	device := c.Flags().String("device", "", "bind the token to a device ID")
	ttl := c.Flags().Duration("ttl", 0, "how long it lives, as in 12h; 0 is the server's default")
	register := c.Flags().Bool("register", false, "register the client first: CLIENT is new")
	asJSON := c.Flags().Bool("json", false, "print the whole answer as JSON")
	c.RunE = func(c *cobra.Command, args []string) error {
		if *ttl < 0 || *ttl%time.Second != 0 {
			return fmt.Errorf("--ttl %s: take whole seconds", *ttl)
		}
		in := map[string]any{}
		for key, value := range map[string]string{"realm": *realm, "device": *device} {
			if value != "" {
				in[key] = value
			}
		}
		if *ttl > 0 {
			in["ttl"] = int64(*ttl / time.Second)
		}
		path := "/v1/tokens"
		if *register {
			path = "/v1/clients"
			in["client_id"] = args[0]
		} else {
			in["client"] = args[0]
		}
		var out map[string]any
		if err := r.call(c.Context(), http.MethodPost, path, in, &out); err != nil {
			return err
		}
		if *asJSON {
			return json.NewEncoder(c.OutOrStdout()).Encode(out)
		}
		_, err := fmt.Fprintln(c.OutOrStdout(), out["token"])
		return err
	}
	return c
}

func tokenRevokeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "revoke [JTI]",
		Short:   "Revoke one token by its jti, or a client's tokens, and close what stands on them",
		Example: "  sunzi token revoke uJ0zJbT5kQd4pQ2y9v0d1w\n  sunzi token revoke --client 42",
		Args:    cobra.MaximumNArgs(1),
	}
	r := remoteFlags(c)
	client := c.Flags().String("client", "", "revoke all tokens of this client")
	realm := c.Flags().String("realm", "", "realm of the client")
	before := c.Flags().String("issued-before", "", "only those issued before this time (RFC 3339); with --client")
	c.RunE = func(c *cobra.Command, args []string) error {
		if (len(args) == 1) == (*client != "") {
			return errors.New("name a jti, or a client with --client")
		}
		var out struct{ Revoked, Closed int }
		var err error
		if *client == "" {
			err = r.call(c.Context(), http.MethodDelete, "/v1/tokens/"+url.PathEscape(args[0]), nil, &out)
		} else {
			in := map[string]any{"client": *client}
			if *realm != "" {
				in["realm"] = *realm
			}
			if *before != "" {
				if _, err := time.Parse(time.RFC3339, *before); err != nil {
					return fmt.Errorf("--issued-before: %q is no time, as in 2026-01-01T00:00:00Z", *before)
				}
				in["issued_before"] = *before
			}
			err = r.call(c.Context(), http.MethodPost, "/v1/tokens/revoke", in, &out)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "revoked %d, closed %d\n", out.Revoked, out.Closed)
		return err
	}
	return c
}
