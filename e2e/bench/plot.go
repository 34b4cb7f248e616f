package main

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// plots are the pictures that -update writes.
var plots = []struct {
	file string
	draw func(results []*result) (*plot.Plot, error)
}{
	{"bench-cpu.svg", plotCPU},
	{"bench-throughput.svg", plotThroughput},
	{"bench-in-flight.svg", plotInFlight},
}

var errNothing = errors.New("no results to plot")

// writePlots writes all plots into a folder.
func writePlots(dir string, results []*result) error {
	for _, p := range plots {
		drawn, err := p.draw(results)
		if err != nil {
			return fmt.Errorf("%s: %w", p.file, err)
		}
		canvas := vgsvg.New(18*vg.Centimeter, 10*vg.Centimeter)
		const margin = 14
		drawn.Draw(draw.Crop(draw.New(canvas), margin, -margin, margin, -margin))
		f, err := os.Create(filepath.Join(dir, p.file))
		if err != nil {
			return err
		}
		_, err = canvas.WriteTo(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Colours are readable on white and on black.
var (
	ink     = color.NRGBA{128, 128, 128, 255}
	colours = []color.Color{
		color.NRGBA{150, 150, 150, 255}, color.NRGBA{86, 140, 200, 255}, color.NRGBA{80, 160, 110, 255}, color.NRGBA{220, 120, 60, 255},
	}
)

// newPlot returns an empty plot without a background.
func newPlot(title, x, y string) *plot.Plot {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	p := plot.New()
	p.BackgroundColor = color.Transparent
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.TextStyle.Color, p.Legend.TextStyle.Color = ink, ink
	p.Title.Padding = vg.Points(8)
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Label.TextStyle.Color, a.Tick.Color, a.Tick.Label.Color = ink, ink, ink, ink
	}
	p.Y.Tick.Marker = plot.TickerFunc(shortTicks)
	p.Legend.Top, p.Legend.Padding, p.Legend.ThumbnailWidth = true, vg.Points(4), vg.Points(14)
	return p
}

// gap is room between a legend's text and its sign, for fonts that are wider
// than the one that the plot was made for.
const gap = "   "

// shortTicks labels an axis without superfluous digits.
func shortTicks(least, most float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(least, most)
	for i, t := range ticks {
		if t.Label != "" {
			ticks[i].Label = fmt.Sprintf("%.4g", t.Value)
		}
	}
	return ticks
}

// bars adds a group of bars for each series. NaN is drawn as no bar.
func bars(p *plot.Plot, names, series []string, value func(series, name int) float64) error {
	width := vg.Points(9)
	for s := range series {
		values := make(plotter.Values, len(names))
		for i := range names {
			if v := value(s, i); !math.IsNaN(v) && !math.IsInf(v, 0) {
				values[i] = v
			}
		}
		b, err := plotter.NewBarChart(values, width)
		if err != nil {
			return err
		}
		b.Color, b.LineStyle.Width = colours[s%len(colours)], 0
		b.Offset = width * vg.Length(float64(s)-float64(len(series)-1)/2)
		p.Add(b)
		p.Legend.Add(series[s]+gap, b)
	}
	p.NominalX(names...)
	p.Y.Min = 0
	p.Y.Max *= 1.35 // room for the legend
	return nil
}

// plotCPU shows the gateway's CPU time in multiples of its floor, at the base
// points.
func plotCPU(results []*result) (*plot.Plot, error) {
	p := newPlot("CPU time of the gateway (1 = its floor)", "", "multiples of the floor")
	series := []string{"http", "https"}
	ratios := make(map[string]map[string]float64)
	var names []string
	for _, c := range comparisons(results) {
		g := c.gateway
		if g.group != groupHTTP && g.group != groupHTTPS || g.goal.most == 0 || g.target != nameGateway {
			continue
		}
		name := g.op.name
		if g.op.part == 0 {
			name += " " + sizeName(g.size)
		}
		if ratios[name] == nil {
			names = append(names, name)
			ratios[name] = make(map[string]float64)
		}
		ratios[name][protocol(g.tls)] = c.ratio(metricCPU)
	}
	if names == nil {
		return nil, errNothing
	}
	floor := plotter.NewFunction(func(float64) float64 { return 1 })
	floor.Color, floor.Dashes = colours[3], []vg.Length{vg.Points(4), vg.Points(3)}
	if err := bars(p, names, series, func(s, i int) float64 { return ratios[names[i]][series[s]] }); err != nil {
		return nil, err
	}
	p.Add(floor)
	p.Legend.Add("floor"+gap, floor)
	return p, nil
}

// plotThroughput shows the throughput of large objects.
func plotThroughput(results []*result) (*plot.Plot, error) {
	p := newPlot("Throughput of 64 MiB objects, 2 at a time", "", "MiB/s")
	series := []string{nameDirect, nameBare, nameSio, nameGateway}
	names := []string{"PUT, http", "GET, http", "PUT, https", "GET, https"}
	rates := make(map[string]float64)
	for _, r := range results {
		if (r.group == groupHTTP || r.group == groupHTTPS) && r.size == 64*mib {
			rates[r.op.name+", "+protocol(r.tls)+r.target] = metricBytes.of(r)
		}
	}
	if len(rates) == 0 {
		return nil, errNothing
	}
	return p, bars(p, names, series, func(s, i int) float64 { return rates[names[i]+series[s]] })
}

// plotInFlight shows how the rate of small requests grows with their number at
// a time.
func plotInFlight(results []*result) (*plot.Plot, error) {
	p := newPlot("Requests of 4 KiB at a time, http", "requests at a time", "requests/s")
	p.X.Scale = plot.LogScale{}
	var ticks plot.ConstantTicks
	lines := make(map[string]plotter.XYs)
	var names []string
	for _, r := range results {
		if r.group != groupInFlight || r.size != 4*kib || r.target == nameOther {
			continue
		}
		name := r.op.name + ", " + r.target
		if lines[name] == nil {
			names = append(names, name)
		}
		if r.target == nameGateway && r.op.name == opPut.name {
			ticks = append(ticks, plot.Tick{Value: float64(r.parallel), Label: fmt.Sprint(r.parallel)})
		}
		lines[name] = append(lines[name], plotter.XY{X: float64(r.parallel), Y: requestRate(r)})
	}
	if names == nil {
		return nil, errNothing
	}
	p.X.Tick.Marker = ticks
	for i, name := range names {
		line, points, err := plotter.NewLinePoints(lines[name])
		if err != nil {
			return nil, err
		}
		line.Color, points.Color = colours[i%len(colours)], colours[i%len(colours)]
		line.Width = vg.Points(2)
		p.Add(line, points)
		p.Legend.Add(name+gap, line)
	}
	p.Y.Min = 0
	p.Y.Max *= 1.35
	return p, nil
}
