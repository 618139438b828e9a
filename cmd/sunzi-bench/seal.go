package main

import (
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/bench"
)

func seal(o *options) *cobra.Command {
	var s bench.SealOptions
	var plot string
	c := &cobra.Command{
		Use:   "seal",
		Short: "Durable pushes in clear, sealed with AEAD, and sealed with CRT",
		Long: `Durable pushes to clients that get them in clear, sealed with AEAD, and sealed
with CRT in shards of 4, 16 and 64 clients, with all frames covered and with none
(seal.cover; direct, the default, is as the first for what fits a slot, and as
the second for what does not): to one client each, and to all at once. Clients
are the library's: they open what they get, compare it with what was pushed, and
ack it.

--sizes are of messages as they stand in a seal: 38 bytes is what fits a slot of
512 bits, of which topic and data have 21 (here "bench" and a text of 15); longer
ones go in an envelope.`,
		Example: "  sunzi-bench seal --rounds 5 --save bench/results/seal.jsonl --plot bench/results/seal.svg",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			on, err := o.clusters()
			if err != nil {
				return err
			}
			if len(on) != 1 {
				return errors.New("seal compares ways to seal on one cluster: --on sqlite")
			}
			report, err := bench.Seal(cmd.Context(), on[0], o.rounds, s)
			if err != nil {
				return err
			}
			return o.reportSeal(report, plot)
		},
	}
	c.Flags().IntVar(&s.Clients, "clients", 64, "connected receivers")
	c.Flags().IntSliceVar(&s.Slots, "slots", []int{4, 16, 64}, "clients that share a shard of crt (seal.slots)")
	c.Flags().IntSliceVar(&s.Sizes, "sizes", []int{38, 1 << 10, 16 << 10}, "bytes of a message as it stands in a seal")
	c.Flags().IntVar(&s.One, "one", 64, "pushes to one client each that are on their way at once")
	c.Flags().IntVar(&s.All, "all", 8, "pushes to all clients that are on their way at once")
	c.Flags().DurationVar(&s.Warm, "warm", 500*time.Millisecond, "how long to push before it counts")
	c.Flags().DurationVar(&s.For, "for", 3*time.Second, "how long to push in each case")
	c.Flags().StringVar(&plot, "plot", "", "write a plot to this file, an SVG")
	return c
}

func (o *options) reportSeal(report *bench.SealReport, plot string) error {
	r := report.Result()
	if o.note != "" {
		r.Note("%s", o.note)
	}
	report.Print(os.Stdout)
	if plot != "" {
		if err := drawSeal(report, plot); err != nil {
			return err
		}
	}
	if o.save == "" {
		return nil
	}
	return r.Save(o.save)
}

func drawSeal(report *bench.SealReport, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(report.Plot(f), f.Close())
}
