package bench

import (
	"fmt"
	"io"
	"strings"
)

// Print writes the run as tables in Markdown, one a case.
func (r *SealReport) Print(w io.Writer) {
	fmt.Fprintf(w, "seal  (commit %s, %s)\n", r.result.Commit, r.result.Machine)
	for _, n := range r.result.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
	for _, c := range r.cases {
		fmt.Fprintf(w, "\n%s\n\n", c)
		fmt.Fprintln(w, "| seal | as | messages/s | of none | server CPU | of none | load CPU | received, B | stored, B | of it frames, B | in a frame | covers |")
		fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|---|")
		for _, v := range r.options.variants() {
			if c.in(v) {
				fmt.Fprintf(w, "| %s |\n", strings.Join(c.row(v.Name), " | "))
			}
		}
	}
}

func (c *sealCase) row(variant string) []string {
	f := c.figures[variant]
	number := func(name, format string) string {
		if v, ok := f.figure(name); ok {
			return fmt.Sprintf(format, v)
		}
		return "–"
	}
	return []string{
		variant, c.shapes[variant],
		number(sealRate, "%.0f"), ratio(f.times(sealRate)),
		number(sealCPU, "%.0f µs"), ratio(f.times(sealCPU)), number(sealLoad, "%.0f µs"),
		number(sealBytes, "%.0f"), number(sealStored, "%.0f"), number(sealFrames, "%.0f"),
		number(sealBatch, "%.1f"), number(sealCovers, "%.1f"),
	}
}

func ratio(v float64) string { return fmt.Sprintf("%.2f", v) }

// times is how many times the first's a figure is; of the first itself 1.
func (r *Result) times(name string) float64 {
	for _, f := range r.Figures {
		if f.Name == name && f.Times != 0 {
			return f.Times
		}
	}
	return 1
}
