package rig

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is everything a run found.
type Report struct {
	Made   time.Time `json:"made"`
	Go     string    `json:"go"`
	System string    `json:"system"`
	CPU    string    `json:"cpu"`
	Cores  int       `json:"cores"`
	Time   string    `json:"time"`
	Conns  int       `json:"conns"`
	SHA256 float64   `json:"sha256_us"` // CPU of SHA-256 over 1 KiB, median of all looks
	Rungs  []Line    `json:"rungs"`
	Rounds []Round   `json:"rounds"`
}

// Line is one row over all rounds that count: medians, and the range of the ratio.
type Line struct {
	Name    string  `json:"name"`
	Label   string  `json:"label"`
	Against string  `json:"against"`
	Ratio   float64 `json:"ratio"` // CPU a call over that of the row it is compared with, of the same round
	Min     float64 `json:"ratio_min"`
	Max     float64 `json:"ratio_max"`
	Sample
}

// Report puts together what the rounds found.
func (b *Bench) Report(rounds []Round) Report {
	r := Report{
		Made: time.Now().UTC(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpuModel(), Cores: runtime.NumCPU(),
		Time: b.Options.Time.String(), Conns: b.Options.Conns, Rounds: rounds,
	}
	var hashes []float64
	for _, x := range rounds {
		hashes = append(hashes, x.Before.SHA256, x.After.SHA256)
	}
	r.SHA256 = Median(hashes)
	for _, row := range b.Rows {
		r.Rungs = append(r.Rungs, r.summarize(row))
	}
	return r
}

func (r *Report) summarize(row *Row) Line {
	of := func(f func(Sample) float64) float64 {
		return r.Median(func(x Round) float64 { return f(x.Samples[row.Name]) })
	}
	ratios := r.column(func(x Round) float64 { return x.ratio(row.Name, row.Against) })
	l := Line{Name: row.Name, Label: row.Label, Against: row.Against, Ratio: Median(ratios), Min: slices.Min(ratios), Max: slices.Max(ratios)}
	l.CPU = of(func(s Sample) float64 { return s.CPU })
	l.Mallocs = of(func(s Sample) float64 { return s.Mallocs })
	l.Bytes = of(func(s Sample) float64 { return s.Bytes })
	l.Rate = of(func(s Sample) float64 { return s.Rate })
	l.P50 = of(func(s Sample) float64 { return s.P50 })
	l.P99 = of(func(s Sample) float64 { return s.P99 })
	for _, calls := range r.column(func(x Round) float64 { return float64(x.Samples[row.Name].Calls) }) {
		l.Calls += int(calls)
	}
	return l
}

// Median is that of a figure over the rounds that count.
func (r *Report) Median(f func(Round) float64) float64 { return Median(r.column(f)) }

// column is a figure of each round that counts.
func (r *Report) column(f func(Round) float64) []float64 {
	return Column(r.Rounds, func(x *Round) float64 { return f(*x) })
}

// Find gives a row's line; it is empty when the row was not measured.
func (r *Report) Find(name string) Line {
	for _, l := range r.Rungs {
		if l.Name == name {
			return l
		}
	}
	return Line{}
}

// ReferenceSign is the CPU time in microseconds that the reference machine takes for an Ed25519 signature over 300 bytes.
const ReferenceSign = 31.7

// referenceSHA256 is the CPU time in microseconds that the reference machine takes for SHA-256 over 1 KiB.
const referenceSHA256 = 3.1

// Scaled is CPU time of this run as the reference machine would take it.
func (r *Report) Scaled(us float64) float64 { return us * referenceSHA256 / r.SHA256 }

// Table is the rows for people, and how they were measured. ratio heads the column of ratios, cpu says whose CPU time
// was taken.
func (r *Report) Table(ratio, cpu string) ([]byte, error) {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "CPU us/call\t%s\t(min-max)\tobjects/call\tcalls/s\tp50 ms\tp99 ms\t %s\n", ratio, r.padded("rung"))
	for _, l := range r.Rungs {
		fmt.Fprintf(t, "%.1f\t%.2f\t%.2f-%.2f\t%.1f\t%.0f\t%.2f\t%.2f\t %s\n", l.CPU, l.Ratio, l.Min, l.Max, l.Mallocs, l.Rate, l.P50/1000, l.P99/1000, r.padded(l.Label))
	}
	if err := t.Flush(); err != nil {
		return nil, err
	}
	counted, noisy := Counted(r.Rounds)
	fmt.Fprintf(&b, "\n%d rounds of %s a rung, %d connections in a closed loop (p50 and p99 are queueing at saturation, not added latency);\n", counted, r.Time, r.Conns)
	fmt.Fprintf(&b, "rounds repeated for noise: %d, noisy rounds that count: %d; CPU is user and system time of %s;\n", len(r.Rounds)-counted, noisy, cpu)
	fmt.Fprintf(&b, "%s, %d cores, %s, %s; sha256_us=%.2f\n\n", r.CPU, r.Cores, r.System, r.Go, r.SHA256)
	return b.Bytes(), nil
}

// padded fills a label up so that a table that aligns to the right shows it at the left.
func (r *Report) padded(label string) string {
	width := 0
	for _, l := range r.Rungs {
		width = max(width, len(l.Label))
	}
	return fmt.Sprintf("%-*s", width, label)
}

// cpuModel is what the processor calls itself.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "model name"); ok {
			return strings.TrimLeft(name, "\t :")
		}
	}
	return runtime.GOARCH
}
