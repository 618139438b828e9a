package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/api/pushclient"
)

// maxData bounds what send reads from stdin, in bytes; the server's own limit
// is usually lower.
const maxData = 8 << 20

// sendOptions are the flags of send.
type sendOptions struct {
	client, group, realm string
	all                  bool
	topic, collapse      string
	store, idempotency   string
	priority             int
	ttl                  time.Duration
	text, json           bool
}

func sendCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "send DATA",
		Short: "Push from the command line",
		Long: `Push DATA: JSON where it is that, else a string; - reads it from stdin, bytes
that are no text too. Without a target it goes to the client of sunzi dev.`,
		Example: "  sunzi send hello\n  sunzi send --client 42 --topic orders '{\"order\":7}'\n  date | sunzi send --group account:42 -",
		Args:    takes("DATA (in quotes where it has spaces)", cobra.ExactArgs(1)),
	}
	r := remoteFlags(c)
	o := &sendOptions{}
	f := c.Flags()
	f.StringVar(&o.client, "client", "", "client ID to push to")
	f.StringVar(&o.group, "group", "", "group to push to")
	f.BoolVar(&o.all, "all", false, "push to all clients")
	f.StringVar(&o.realm, "realm", "", "realm of the target")
	f.StringVar(&o.topic, "topic", "", "topic")
	f.StringVar(&o.collapse, "collapse-key", "", "replace what waits under the same key")
	f.StringVar(&o.store, "store", "", "always, offline or never")
	f.StringVar(&o.idempotency, "idempotency-key", "", "the same key pushes once; one is made where none is given")
	f.IntVar(&o.priority, "priority", 0, "1 (dropped first) to 5")
	f.DurationVar(&o.ttl, "ttl", 0, "how long it waits for its client, as in 12h; 0s is now or never")
	f.BoolVar(&o.text, "text", false, "DATA is a string even where it is JSON")
	f.BoolVar(&o.json, "json", false, "print the receipt as JSON")
	c.RunE = func(c *cobra.Command, args []string) error {
		p, err := o.push(c, r, args[0])
		if err != nil {
			return err
		}
		client, err := r.client()
		if err != nil {
			return err
		}
		receipt, err := client.Push(c.Context(), p)
		if err != nil {
			return r.failed(err)
		}
		if o.json {
			return json.NewEncoder(c.OutOrStdout()).Encode(receipt)
		}
		return printReceipt(c.OutOrStdout(), receipt)
	}
	return c
}

func (o *sendOptions) push(c *cobra.Command, r *remote, data string) (pushclient.Push, error) {
	if err := o.check(); err != nil {
		return pushclient.Push{}, err
	}
	p := pushclient.Push{
		To:    pushclient.Target{Client: o.client, Group: o.group, All: o.all, Realm: o.realm},
		Topic: o.topic, Priority: o.priority, CollapseKey: o.collapse,
		Store: pushclient.Store(o.store), IdempotencyKey: o.idempotency,
	}
	if c.Flags().Changed("ttl") {
		p.TTL = pushclient.For(o.ttl)
	}
	if o.client == "" && o.group == "" && !o.all {
		dev, err := r.find()
		if err != nil {
			return p, err
		}
		if dev.ClientID == "" {
			return p, errors.New("to whom? Set --client, --group or --all")
		}
		p.To.Client = dev.ClientID
	}
	raw := []byte(data)
	if data == "-" {
		var err error
		if raw, err = io.ReadAll(io.LimitReader(c.InOrStdin(), maxData+1)); err != nil {
			return p, fmt.Errorf("stdin can't be read: %w", err)
		}
		if len(raw) > maxData {
			return p, fmt.Errorf("stdin has more than %d MiB", maxData>>20)
		}
	}
	switch {
	case !utf8.Valid(raw):
		p.Bytes = raw
	case !o.text && json.Valid(raw):
		p.Data = json.RawMessage(raw)
	default:
		p.Data = string(raw)
	}
	return p, nil
}

// check refuses flags that don't go together or that the API can't say.
func (o *sendOptions) check() error {
	targets := 0
	for _, named := range []bool{o.client != "", o.group != "", o.all} {
		if named {
			targets++
		}
	}
	switch {
	case targets > 1:
		return errors.New("take one of --client, --group and --all")
	case o.ttl < 0 || o.ttl%time.Second != 0:
		return fmt.Errorf("--ttl %s: take whole seconds, 0s for now or never", o.ttl)
	}
	return nil
}

func printReceipt(w io.Writer, r pushclient.Receipt) error {
	text := fmt.Sprintf("%s  online %d, stored %d", r.ID, r.Online, r.Stored)
	for _, x := range []struct {
		on   bool
		what string
	}{{r.Duplicate, "already pushed"}, {r.Scheduled, "scheduled"}, {r.Expanding, "being expanded"}} {
		if x.on {
			text += ", " + x.what
		}
	}
	if _, err := fmt.Fprintln(w, text); err != nil {
		return err
	}
	for _, x := range r.Rejected {
		if _, err := fmt.Fprintf(w, "  not to %s: %s (code %d)\n", x.Client, x.Name, x.Code); err != nil {
			return err
		}
	}
	return nil
}
