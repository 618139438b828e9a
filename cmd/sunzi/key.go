package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/push/token"
)

func keyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Create, list and revoke API keys; show and rotate sealing keys",
		Long: `Create, list and revoke API keys, through a server (--url and --key with scope
admin) or, with --local, in the store of a configuration whose server does not
run: that is how the first key is made. Show, make, rotate, rewrap and abandon are
about the server's sealing keys.`,
		RunE: showCommands,
	}
	c.AddCommand(keyCreateCommand(), keyListCommand(), keyRevokeCommand(),
		keyShowCommand(), keyMakeCommand(), keyRotateCommand(), keyRewrapCommand(), keyAbandonCommand())
	return c
}

// shownKey is a key as the open API shows it.
type shownKey struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Scopes  []string `json:"scopes"`
	Realm   *string  `json:"realm,omitempty"`
	Created int64    `json:"created"` // unix ms
	Revoked bool     `json:"revoked"`
	Key     string   `json:"key,omitempty"` // its text, once
}

func showKey(k token.Key) shownKey {
	s := shownKey{ID: k.ID, Name: k.Name, Realm: k.Realm, Created: k.Created.UnixMilli(), Revoked: k.Revoked}
	for _, scope := range k.Scopes {
		s.Scopes = append(s.Scopes, string(scope))
	}
	return s
}

// keyFlags are common to the three.
type keyFlags struct {
	*remote
	*settings
	local, json bool
}

func addKeyFlags(c *cobra.Command) *keyFlags {
	f := &keyFlags{remote: remoteFlags(c), settings: settingFlags(c)}
	c.Flags().BoolVar(&f.local, "local", false, "work on the store of --config or --data itself; its server must not run")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return f
}

// withKeyring runs f on the local store.
func (f *keyFlags) withKeyring(c *cobra.Command, do func(context.Context, *token.Keyring) error) error {
	if c.Flags().Changed("data") {
		f.set = append(f.set, "data="+f.data)
	}
	st, _, err := localStore(c, f.settings)
	if err != nil {
		return err
	}
	return errors.Join(do(c.Context(), token.NewKeyring(st, nil)), st.Close())
}

func keyCreateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "create NAME",
		Short:   "Create an API key; its text is shown once",
		Example: "  sunzi key create shop --scopes push,read\n  sunzi key create web --scopes connect --realm shop",
		Args:    cobra.ExactArgs(1),
	}
	f := addKeyFlags(c)
	names := c.Flags().StringSlice("scopes", []string{"push", "read"}, "what it may do: push, read, clients, groups, tokens, admin; or connect alone, for a key that may be published")
	realm := c.Flags().String("realm", "", "bind it to a realm")
	c.RunE = func(c *cobra.Command, args []string) error {
		scopes, err := token.ParseScopes(*names)
		if err != nil {
			return err
		}
		var bound *string
		if c.Flags().Changed("realm") {
			bound = realm
		}
		var made shownKey
		if f.local {
			err = f.withKeyring(c, func(ctx context.Context, k *token.Keyring) error {
				raw, key, err := k.Create(ctx, args[0], scopes, bound)
				made = showKey(key)
				made.Key = raw
				return err
			})
		} else {
			in := map[string]any{"name": args[0], "scopes": scopes}
			if bound != nil {
				in["realm"] = *bound
			}
			err = f.call(c.Context(), http.MethodPost, "/v1/keys", in, &made)
		}
		if err != nil {
			return err
		}
		if f.json {
			return json.NewEncoder(c.OutOrStdout()).Encode(made)
		}
		c.PrintErrf("key %s with scopes %s; this is the only time its text is shown:\n", made.ID, strings.Join(made.Scopes, ","))
		_, err = fmt.Fprintln(c.OutOrStdout(), made.Key)
		return err
	}
	return c
}

func keyListCommand() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List API keys, revoked ones too", Args: cobra.NoArgs}
	f := addKeyFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var list struct {
			Keys []shownKey `json:"keys"`
		}
		var err error
		if f.local {
			err = f.withKeyring(c, func(ctx context.Context, k *token.Keyring) error {
				keys, err := k.List(ctx)
				for _, key := range keys {
					list.Keys = append(list.Keys, showKey(key))
				}
				return err
			})
		} else {
			err = f.call(c.Context(), http.MethodGet, "/v1/keys", nil, &list)
		}
		if err != nil {
			return err
		}
		if f.json {
			return json.NewEncoder(c.OutOrStdout()).Encode(list)
		}
		w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tNAME\tSCOPES\tREALM\tCREATED\tREVOKED")
		for _, k := range list.Keys {
			realm, revoked := "any", "no"
			if k.Realm != nil {
				realm = fmt.Sprintf("%q", *k.Realm)
			}
			if k.Revoked {
				revoked = "yes"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, strings.Join(k.Scopes, ","), realm,
				time.UnixMilli(k.Created).UTC().Format(time.RFC3339), revoked)
		}
		return w.Flush()
	}
	return c
}

func keyRevokeCommand() *cobra.Command {
	c := &cobra.Command{Use: "revoke ID", Short: "Revoke an API key by its ID", Args: cobra.ExactArgs(1)}
	f := addKeyFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		var err error
		if f.local {
			err = f.withKeyring(c, func(ctx context.Context, k *token.Keyring) error { return k.Revoke(ctx, args[0]) })
			if errors.Is(err, token.ErrNotFound) {
				err = oneLine(err, "there is no key %q", args[0])
			}
		} else {
			err = f.call(c.Context(), http.MethodDelete, "/v1/keys/"+url.PathEscape(args[0]), nil, nil)
		}
		if err != nil {
			return err
		}
		if f.json {
			return json.NewEncoder(c.OutOrStdout()).Encode(map[string]string{"revoked": args[0]})
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "revoked %s\n", args[0])
		return err
	}
	return c
}
