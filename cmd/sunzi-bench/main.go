// Command sunzi-bench measures a Sunzi server from outside. It starts one of
// its own, and stops it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

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
	save   string
	gogc   string
	note   string
}

func root() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:           "sunzi-bench",
		Short:         "Measures a Sunzi server: idle memory, pushes, fan-out",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.PersistentFlags().StringVar(&o.binary, "sunzi", "bin/sunzi", "the server's binary")
	c.PersistentFlags().StringVar(&o.save, "save", "", "append the result to this file, as a line of JSON")
	c.PersistentFlags().StringVar(&o.note, "note", "", "a remark kept with the result, such as the server's environment")
	c.PersistentFlags().StringVar(&o.gogc, "gogc", "", "run the server with this GOGC; empty: the server's own default")
	c.AddCommand(idle(&o), push(&o), fanout(&o), floor(&o), chaosCommand(&o), node())
	return c
}

// run starts a server, measures, prints and saves.
func (o *options) run(ctx context.Context, measure func(context.Context, *bench.Server) (*bench.Result, error)) error {
	so := bench.ServerOptions{Binary: o.binary}
	if o.gogc != "" {
		so.Env = append(so.Env, "GOGC="+o.gogc)
	}
	s, err := bench.StartServer(ctx, so)
	if err != nil {
		return err
	}
	r, err := measure(ctx, s)
	if stopErr := s.Stop(); err == nil {
		err = stopErr
	}
	if err != nil {
		return err
	}
	if o.gogc != "" {
		r.Note("GOGC=%s", o.gogc)
	}
	return o.report(r)
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

func idle(o *options) *cobra.Command {
	var low, high int
	var watch time.Duration
	c := &cobra.Command{
		Use:   "idle",
		Short: "Memory and CPU of idle connections",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), func(ctx context.Context, s *bench.Server) (*bench.Result, error) {
				return bench.Idle(ctx, s, low, high, watch)
			})
		},
	}
	c.Flags().IntVar(&low, "low", 5000, "connections at the slope's lower end")
	c.Flags().IntVar(&high, "high", 18000, "connections at its upper end (a process may hold 20,000 descriptors here)")
	c.Flags().DurationVar(&watch, "watch", 50*time.Second, "how long to watch the idle CPU: two heartbeat intervals")
	return c
}

func push(o *options) *cobra.Command {
	var p bench.PushOptions
	c := &cobra.Command{
		Use:   "push",
		Short: "Pushes through HTTP, one client each, commit on",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), func(ctx context.Context, s *bench.Server) (*bench.Result, error) {
				return bench.Push(ctx, s, p)
			})
		},
	}
	c.Flags().IntVar(&p.Clients, "clients", 1000, "connected receivers")
	c.Flags().IntVar(&p.Connections, "connections", 64, "concurrent HTTP connections")
	c.Flags().IntVar(&p.Bulk, "bulk", 1, "pushes a request")
	c.Flags().IntVar(&p.Payload, "payload", 128, "bytes of data")
	c.Flags().StringVar(&p.Store, "store", "always", "always, offline or never")
	c.Flags().DurationVar(&p.For, "for", 10*time.Second, "how long to push")
	return c
}

func fanout(o *options) *cobra.Command {
	var receivers, rounds, payload int
	c := &cobra.Command{
		Use:   "fanout",
		Short: "One push to everybody, store=never",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), func(ctx context.Context, s *bench.Server) (*bench.Result, error) {
				return bench.Fanout(ctx, s, receivers, rounds, payload)
			})
		},
	}
	c.Flags().IntVar(&receivers, "receivers", 10000, "connected clients")
	c.Flags().IntVar(&rounds, "rounds", 50, "pushes")
	c.Flags().IntVar(&payload, "payload", 128, "bytes of data")
	return c
}

func floor(o *options) *cobra.Command {
	var p bench.PushOptions
	var serve bool
	c := &cobra.Command{
		Use:   "floor",
		Short: "What net/http alone costs for the same requests",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if serve {
				return bench.ServeFloor(cmd.OutOrStdout())
			}
			r, err := bench.Floor(cmd.Context(), p)
			if err != nil {
				return err
			}
			return o.report(r)
		},
	}
	c.Flags().IntVar(&p.Connections, "connections", 64, "concurrent HTTP connections")
	c.Flags().IntVar(&p.Payload, "payload", 128, "bytes of data")
	c.Flags().DurationVar(&p.For, "for", 10*time.Second, "how long")
	c.Flags().BoolVar(&serve, "serve", false, "be the server")
	if err := c.Flags().MarkHidden("serve"); err != nil {
		panic(err) // the flag is defined above
	}
	return c
}
