package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/bench"
)

func idle(o *options) *cobra.Command {
	var i bench.IdleOptions
	c := &cobra.Command{
		Use:   "idle",
		Short: "Memory and CPU of idle connections, and what setting one up costs",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), i.Run) },
	}
	c.Flags().IntVar(&i.Low, "low", 5000, "connections at the slope's lower end")
	c.Flags().IntVar(&i.High, "high", 18000, "connections at its upper end (a process may hold 20,000 descriptors here)")
	c.Flags().DurationVar(&i.Settle, "settle", 10*time.Second, "how long memory may take to stop growing before it is read")
	c.Flags().DurationVar(&i.Watch, "watch", 50*time.Second, "how long to watch the idle CPU: two heartbeat intervals")
	return c
}

func push(o *options) *cobra.Command {
	var p bench.PushOptions
	c := &cobra.Command{
		Use:     "push",
		Short:   "Pushes through HTTP, one client each, commit on, as many as go",
		Example: "  sunzi-bench push --on sqlite,mysql,mysql:3 --rounds 5\n  sunzi-bench push --on sqlite,sqlite+tls --rounds 5 --bulk 100 --connections 8",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), p.Run) },
	}
	c.Flags().IntVar(&p.Clients, "clients", 1000, "connected receivers, spread over all nodes")
	c.Flags().IntVar(&p.Connections, "connections", 64, "concurrent HTTP connections")
	c.Flags().IntVar(&p.Bulk, "bulk", 1, "pushes a request")
	c.Flags().IntVar(&p.Payload, "payload", 128, "bytes of data")
	c.Flags().StringVar(&p.Store, "store", "always", "always, offline or never")
	c.Flags().BoolVar(&p.Ack, "ack", false, "have receivers ack each push")
	c.Flags().DurationVar(&p.Warm, "warm", time.Second, "how long to push before it counts")
	c.Flags().DurationVar(&p.For, "for", 10*time.Second, "how long to push")
	return c
}

func latency(o *options) *cobra.Command {
	var l bench.LatencyOptions
	c := &cobra.Command{
		Use:   "latency",
		Short: "Push to receive at a fixed rate, whatever the answers take",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), l.Run) },
	}
	c.Flags().IntVar(&l.Clients, "clients", 10000, "connected receivers, spread over all nodes")
	c.Flags().IntVar(&l.Rate, "rate", 500, "pushes a second")
	c.Flags().IntVar(&l.Payload, "payload", 128, "bytes of data")
	c.Flags().BoolVar(&l.Ack, "ack", true, "have receivers ack each push")
	c.Flags().DurationVar(&l.Warm, "warm", 2*time.Second, "how long to push before it counts")
	c.Flags().DurationVar(&l.For, "for", 20*time.Second, "how long to push")
	return c
}

func fanout(o *options) *cobra.Command {
	var f bench.FanoutOptions
	c := &cobra.Command{
		Use:   "fanout",
		Short: "One push to everybody, store=never",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), f.Run) },
	}
	c.Flags().IntVar(&f.Receivers, "receivers", 10000, "connected clients")
	c.Flags().IntVar(&f.Pushes, "pushes", 50, "how many pushes, one after the other")
	c.Flags().IntVar(&f.Payload, "payload", 128, "bytes of data")
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
