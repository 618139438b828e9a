package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/bench"
	"github.com/sunzi-push/sunzi/bench/chaos"
	"github.com/sunzi-push/sunzi/bench/chaos/planted"
	"github.com/sunzi-push/sunzi/bench/chaos/stage"
)

// chaosFlags are what a run can be asked for.
type chaosFlags struct {
	seed   uint64
	seeds  int
	short  bool
	redis  string
	plant  string
	keep   string
	listed int
	faults int
	length time.Duration
	pushes int
	kinds  []string
}

func chaosCommand(o *options) *cobra.Command {
	var f chaosFlags
	c := &cobra.Command{
		Use:   "chaos",
		Short: "Break nodes, MariaDB, Redis and links under load, and look for what was lost",
		Long: `Three nodes, MariaDB and Redis of its own, with a link before each of them. Four
producers push numbered messages to 200 clients that come and go, a third of
which have them sealed, while nodes, servers and links are killed, halted, cut
off, filled up and slowed down. Then everything heals, and what every party
wrote down is judged.

It ends with an error where anything was lost, invented, reordered or handled
twice, or where the run was too kind to prove anything. A seed fixes workload
and faults, not the interleaving. MariaDB and Redis have to be installed
(mariadb-server-core, mariadb-client-core, redis-server).`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c, o) },
	}
	c.Flags().Uint64Var(&f.seed, "seed", 0, "of workload and faults; 0: by the clock")
	c.Flags().IntVar(&f.seeds, "seeds", 1, "how many runs, each with the next seed")
	c.Flags().BoolVar(&f.short, "short", false, "one minute instead of ten, and nothing judged by the clock")
	c.Flags().StringVar(&f.redis, "redis", string(stage.Cluster), "single, or cluster: three masters with a replica each")
	c.Flags().StringVar(&f.plant, "plant", "", "plant a defect and want it found: its name, or all")
	c.Flags().StringVar(&f.keep, "keep", "", "folder for the logs, which are kept then; otherwise only where something was found")
	c.Flags().IntVar(&f.faults, "faults", -1, "how many faults; 0 is a run in health, whose judgement is that it was too kind. -1: the run's own")
	c.Flags().StringSliceVar(&f.kinds, "kinds", nil, "kinds of faults to draw from; none: all")
	c.Flags().DurationVar(&f.length, "for", 0, "how long pushes begin; 0: the run's own")
	c.Flags().IntVar(&f.pushes, "pushes", 0, "how many; 0: the run's own")
	c.Flags().IntVar(&f.listed, "list", 20, "how many findings to print")
	return c
}

func (f *chaosFlags) run(c *cobra.Command, o *options) (err error) {
	if f.seed == 0 {
		f.seed = uint64(time.Now().UnixNano())
	}
	dir, err := os.MkdirTemp("", "sunzi")
	if err != nil {
		return err
	}
	services, err := stage.OpenServices(c.Context(), dir, stage.Mode(f.redis))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, services.Close(), os.RemoveAll(dir)) }()
	if f.plant != "" {
		return f.runPlanted(c, o, services)
	}
	for i := range f.seeds {
		p := stage.LongPlay(f.seed + uint64(i))
		if f.short {
			p = stage.ShortPlay(f.seed + uint64(i))
		}
		report, err := f.play(c, services, f.changed(p))
		if err != nil {
			return err
		}
		if err := o.report(chaosResult(report)); err != nil {
			return err
		}
		if n := len(report.Found); n > 0 {
			return fmt.Errorf("seed %d: %d findings; logs are in %s", p.Seed, n, report.Options.Dir)
		}
	}
	return nil
}

// changed is the play as the flags want it.
func (f *chaosFlags) changed(p stage.Play) stage.Play {
	if f.faults >= 0 {
		p.Faults = f.faults
	}
	if f.kinds != nil {
		p.Kinds = f.kinds
	}
	if f.length > 0 {
		p.For = f.length
	}
	if f.pushes > 0 {
		p.Pushes = f.pushes
	}
	return p
}

// play does one run and prints what was found.
func (f *chaosFlags) play(c *cobra.Command, services *stage.Services, p stage.Play) (stage.Report, error) {
	self, err := os.Executable()
	if err != nil {
		return stage.Report{}, err
	}
	p.Options.Node = []string{self, "node"}
	if p.Options.Dir, err = f.folder(p); err != nil {
		return stage.Report{}, err
	}
	out := c.OutOrStdout()
	fmt.Fprintf(out, "seed %d %s\n", p.Seed, p.Options.Plant)
	report, err := p.Run(c.Context(), services)
	if err != nil {
		return report, fmt.Errorf("%w; logs are in %s", err, p.Options.Dir)
	}
	fmt.Fprintln(out, chaos.Tell(report.Evidence))
	for _, v := range report.Found[:min(len(report.Found), f.listed)] {
		fmt.Fprintln(out, v)
	}
	if f.keep == "" && (len(report.Found) == 0 || p.Options.Plant != "") {
		err = os.RemoveAll(p.Options.Dir)
	}
	return report, err
}

func (f *chaosFlags) folder(p stage.Play) (string, error) {
	name := fmt.Sprintf("chaos-%d", p.Seed)
	if p.Options.Plant != "" {
		name += "-" + p.Options.Plant
	}
	if f.keep != "" {
		return filepath.Join(f.keep, name), nil
	}
	return os.MkdirTemp("", name+"-")
}

// runPlanted wants each defect found, seed by seed.
func (f *chaosFlags) runPlanted(c *cobra.Command, o *options, services *stage.Services) error {
	names := []string{f.plant}
	if f.plant == "all" {
		names = planted.Names()
	}
	r := bench.NewResult("chaos-planted")
	var missed []error
	// Without any, or to find one would mean little.
	sound, err := f.play(c, services, stage.PlantedPlay(f.seed, ""))
	if err != nil {
		return err
	}
	if n := len(sound.Found); n > 0 {
		missed = append(missed, fmt.Errorf("without a defect there were %d findings", n))
	}
	for _, name := range names {
		if _, err := planted.Named(name); err != nil {
			return err
		}
		found := 0
		for i := range f.seeds {
			report, err := f.play(c, services, stage.PlantedPlay(f.seed+uint64(i), name))
			if err != nil {
				return err
			}
			if len(report.Found) > 0 {
				found++
			}
		}
		r.Add("found: "+name, float64(found), fmt.Sprintf("of %d seeds", f.seeds))
		if found*10 < f.seeds*9 {
			missed = append(missed, fmt.Errorf("%s was found in %d of %d seeds", name, found, f.seeds))
		}
	}
	r.Note("first seed %d", f.seed)
	return errors.Join(append(missed, o.report(r))...)
}

// chaosResult is a run as a line of figures.
func chaosResult(report stage.Report) *bench.Result {
	r := bench.NewResult("chaos")
	for _, f := range chaos.Figures(report.Evidence) {
		r.Add(f.Name, f.Value, f.Unit)
	}
	r.Add("findings", float64(len(report.Found)), "violations")
	r.Note("seed %d", report.Seed)
	for _, f := range report.Scheduled {
		r.Note("%s", f)
	}
	return r
}
