package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// Plot writes the run as an SVG: on the left messages a second as multiples of
// none's, on the right what a client receives for each of its messages, of a
// logarithmic scale; above to one client each, below to all.
func (r *SealReport) Plot(w io.Writer) error {
	p := &sealPlot{}
	p.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	p.add(`<rect width="100%%" height="100%%" fill="#fff"/>` + "\n")
	p.legend(r.options.variants())
	for row, all := range []bool{false, true} {
		to := "to one client each"
		if all {
			to = "to all clients at once"
		}
		y := plotTop + row*panelStep
		p.panel(r, all, bars{left: panelLeft, top: y, title: "messages/s, none = 1: " + to, of: sealRate, times: true})
		p.panel(r, all, bars{left: panelLeft + panelWidth + panelGap, top: y, title: "bytes received by a client a message: " + to, of: sealBytes})
	}
	p.add("<text x=\"%d\" y=\"%d\" fill=\"#666\" font-size=\"10\">commit %s, %s</text>\n</svg>\n", panelLeft, plotHeight-8, r.result.Commit, r.result.Machine)
	_, err := io.WriteString(w, p.String())
	return err
}

// Places in the plot, in its units.
const (
	plotWidth, plotHeight = 980, 600
	plotTop               = 70
	panelLeft             = 50
	panelWidth            = 420
	panelGap              = 60
	panelHeight           = 200
	panelStep             = panelHeight + 80
)

var (
	plainColors = []string{"#555", "#2a7", "#a6cbe8", "#4a90c8", "#14507f", "#0b2c47"} // none, aead, crt by slots
	bareColors  = []string{"", "", "#f6cfa0", "#e8973a", "#a85a08", "#5c3004"}         // crt without covers
)

// sealPlot is an SVG that grows. Texts are ours, and hold nothing to escape.
type sealPlot struct{ strings.Builder }

func (p *sealPlot) add(format string, args ...any) { fmt.Fprintf(p, format, args...) }

func (p *sealPlot) text(x, y float64, anchor, text string) {
	p.add(`<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, text)
}

// color is a variant's: those with covers in blue, those without in orange.
func color(variants []sealVariant, i int) string {
	v, n := variants[i], min(i, 1)
	if v.Mode == "crt" {
		n = min(2+(i-2)/2, len(plainColors)-1)
	}
	if v.Bare {
		return bareColors[n]
	}
	return plainColors[n]
}

func (p *sealPlot) legend(variants []sealVariant) {
	for i, v := range variants {
		x, y := float64(panelLeft+i%4*230), float64(20+i/4*18)
		p.add(`<rect x="%.1f" y="%.1f" width="12" height="12" fill="%s"/>`+"\n", x, y-10, color(variants, i))
		p.text(x+18, y, "start", v.Name)
	}
}

// bars are a panel's place and what it shows.
type bars struct {
	left, top int
	title     string
	of        string // a figure
	times     bool   // as multiples of none's, from 0; else its value, logarithmic
}

func (p *sealPlot) panel(r *SealReport, all bool, b bars) {
	var cases []*sealCase
	for _, c := range r.cases {
		if c.All == all {
			cases = append(cases, c)
		}
	}
	scale := b.scale(cases)
	left, bottom := float64(b.left), float64(b.top+panelHeight)
	p.text(left, float64(b.top)-8, "start", b.title)
	for _, tick := range scale.ticks {
		y := bottom - scale.height(tick)
		p.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", left, y, left+panelWidth, y)
		p.text(left-4, y+4, "end", tickText(tick))
	}
	group := float64(panelWidth) / float64(len(cases))
	variants := r.options.variants()
	width := (group - 16) / float64(len(variants))
	for i, c := range cases {
		x := left + float64(i)*group + 8
		p.text(x+group/2-8, bottom+16, "middle", fmt.Sprintf("%s, crt %s", bytesText(c.Size), c.shapes[variants[len(variants)-2].Name]))
		for j, v := range variants {
			if !c.in(v) {
				continue
			}
			value := b.value(c, v.Name)
			h := scale.height(value)
			p.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"><title>%s, %s: %.4g</title></rect>`+"\n",
				x, bottom-h, width-1, h, color(variants, j), c, v.Name, value)
			x += width
		}
	}
	p.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#333"/>`+"\n", left, bottom, left+panelWidth, bottom)
}

func (b bars) value(c *sealCase, variant string) float64 {
	if b.times {
		return c.figures[variant].times(b.of)
	}
	v, _ := c.figures[variant].figure(b.of)
	return v
}

// scale is a panel's vertical axis.
type scale struct {
	low, high float64
	log       bool
	ticks     []float64
}

func (b bars) scale(cases []*sealCase) scale {
	low, high := math.Inf(1), 0.0
	for _, c := range cases {
		for name := range c.figures {
			low, high = min(low, b.value(c, name)), max(high, b.value(c, name))
		}
	}
	if b.times {
		s := scale{high: max(high*1.05, 1.1)}
		step := 0.25
		for s.high/step > 8 {
			step *= 2
		}
		for t := 0.0; t <= s.high; t += step {
			s.ticks = append(s.ticks, t)
		}
		return s
	}
	s := scale{low: math.Pow(10, math.Floor(math.Log10(max(low, 1)))), high: math.Pow(10, math.Ceil(math.Log10(max(high, 10)))), log: true}
	for t := s.low; t <= s.high; t *= 10 {
		s.ticks = append(s.ticks, t)
	}
	return s
}

func (s scale) height(v float64) float64 {
	part := v / s.high
	if s.log {
		part = math.Log(max(v, s.low)/s.low) / math.Log(s.high/s.low)
	}
	return part * panelHeight
}

func tickText(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%gk", v/1e3)
	}
	return fmt.Sprintf("%g", v)
}
