package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/api/pushclient"
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
		Args:  takes("CLIENT", cobra.ExactArgs(1)),
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
		client, err := r.client()
		if err != nil {
			return err
		}
		var out pushclient.Token
		if *register {
			out, err = client.Register(c.Context(), pushclient.Registration{ClientID: args[0], Realm: *realm, Device: *device, TTL: *ttl})
		} else {
			out, err = client.Mint(c.Context(), pushclient.Mint{Client: args[0], Realm: *realm, Device: *device, TTL: *ttl})
		}
		if err != nil {
			return r.failed(err)
		}
		if *asJSON {
			return json.NewEncoder(c.OutOrStdout()).Encode(out)
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), out.Token)
		return err
	}
	return c
}

func tokenRevokeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "revoke [JTI]",
		Short:   "Revoke one token by its jti, or a client's tokens, and close what stands on them",
		Example: "  sunzi token revoke uJ0zJbT5kQd4pQ2y9v0d1w\n  sunzi token revoke --client 42",
		Args:    takes("one JTI or --client", cobra.MaximumNArgs(1)),
	}
	r := remoteFlags(c)
	client := c.Flags().String("client", "", "revoke all tokens of this client")
	realm := c.Flags().String("realm", "", "realm of the client")
	before := c.Flags().String("issued-before", "", "only those issued before this time (RFC 3339); with --client")
	c.RunE = func(c *cobra.Command, args []string) error {
		if (len(args) == 1) == (*client != "") {
			return errors.New("name a jti, or a client with --client")
		}
		var until time.Time
		if *before != "" {
			var err error
			if until, err = time.Parse(time.RFC3339, *before); err != nil {
				return fmt.Errorf("--issued-before: %q is no time, as in 2026-01-01T00:00:00Z", *before)
			}
		}
		api, err := r.client()
		if err != nil {
			return err
		}
		var out pushclient.Revoked
		if *client == "" {
			out, err = api.Revoke(c.Context(), args[0])
		} else {
			out, err = api.RevokeClient(c.Context(), *realm, *client, until)
		}
		if err != nil {
			return r.failed(err)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "revoked %d, closed %d\n", out.Tokens, out.Connections)
		return err
	}
	return c
}
