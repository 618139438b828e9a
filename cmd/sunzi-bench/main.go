// Command sunzi-bench measures Sunzi servers from outside. It starts its own,
// with databases that are theirs alone, and stops them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sunzi-bench:", err)
		os.Exit(1)
	}
}

// options are common to all scenarios.
type options struct {
	binary string
	on     []string
	rounds int
	save   string
	gogc   string
	note   string
}

func root() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:           "sunzi-bench",
		Short:         "Measures Sunzi servers: idle memory, pushes, latency, fan-out, sealing",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.PersistentFlags().StringVar(&o.binary, "sunzi", "bin/sunzi", "the server's binary")
	c.PersistentFlags().StringSliceVar(&o.on, "on", []string{"sqlite"}, "clusters to measure in turn, ENGINE[:NODES][+tls][@BINARY]: sqlite, mysql, mysql:3, sqlite+tls, sqlite@bin/sunzi-before; all but the first are told as multiples of it")
	c.PersistentFlags().IntVar(&o.rounds, "rounds", 1, "how often to measure each, A B A B; medians are told")
	c.PersistentFlags().StringVar(&o.save, "save", "", "append the results to this file, a line of JSON for each cluster")
	c.PersistentFlags().StringVar(&o.note, "note", "", "a remark kept with the result, such as the server's environment")
	c.PersistentFlags().StringVar(&o.gogc, "gogc", "", "run the server with this GOGC; empty: the server's own default")
	c.AddCommand(idle(&o), push(&o), latency(&o), fanout(&o), seal(&o), floor(&o), chaosCommand(&o), node())
	return c
}

// run measures the clusters in turn, prints and saves.
func (o *options) run(ctx context.Context, measure bench.Scenario) error {
	of, err := o.clusters()
	if err != nil {
		return err
	}
	results, err := bench.Alternate(ctx, of, o.rounds, measure)
	if err != nil {
		return err
	}
	for i, r := range results {
		r.On = o.on[i]
		if o.gogc != "" {
			r.Note("GOGC=%s", o.gogc)
		}
		if err := o.report(r); err != nil {
			return err
		}
	}
	return nil
}

// clusters are what --on and its like ask for.
func (o *options) clusters() (of []bench.ClusterOptions, err error) {
	if o.rounds < 1 {
		return nil, errors.New("--rounds must be at least 1")
	}
	for _, text := range o.on {
		c, err := bench.ParseCluster(text)
		if err != nil {
			return nil, err
		}
		if c.Binary == "" {
			c.Binary = o.binary
		}
		if o.gogc != "" {
			c.Env = append(c.Env, "GOGC="+o.gogc)
		}
		of = append(of, c)
	}
	return of, nil
}

// report prints and saves.
func (o *options) report(r *bench.Result) error {
	if o.note != "" {
		r.Note("%s", o.note)
	}
	r.Print(os.Stdout)
	if o.save == "" {
		return nil
	}
	return r.Save(o.save)
}
