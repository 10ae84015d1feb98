package ladder

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is everything a run found.
type Report struct {
	Made     time.Time `json:"made"`
	Go       string    `json:"go"`
	System   string    `json:"system"`
	CPU      string    `json:"cpu"`
	Cores    int       `json:"cores"`
	Time     string    `json:"time"`
	Conns    int       `json:"conns"`
	Policies int       `json:"policies"`
	SHA256   float64   `json:"sha256_us"` // CPU of SHA-256 over 1 KiB, median of all looks
	Rungs    []Line    `json:"rungs"`
	Rounds   []Round   `json:"rounds"`
	Allocs   float64   `json:"allocs"` // heap objects a call of the whole gateway with receipts, over the bare proxy's
}

// Line is one rung over all rounds that count: medians, and the range of the ratio.
type Line struct {
	Name  string  `json:"name"`
	Label string  `json:"label"`
	Ratio float64 `json:"ratio"` // CPU a call over the bare proxy's of the same round
	Min   float64 `json:"ratio_min"`
	Max   float64 `json:"ratio_max"`
	Sample
}

func (b *bench) report(rounds []Round) *Report {
	r := &Report{
		Made: time.Now().UTC(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpuModel(), Cores: runtime.NumCPU(),
		Time: b.o.Time.String(), Conns: b.o.Conns, Policies: policyCount, Rounds: rounds,
	}
	var hashes []float64
	for _, x := range rounds {
		hashes = append(hashes, x.Before.SHA256, x.After.SHA256)
	}
	r.SHA256 = median(hashes)
	counted := slices.DeleteFunc(slices.Clone(rounds), func(x Round) bool { return !x.Counts })
	for _, g := range b.ladder {
		r.Rungs = append(r.Rungs, summarize(g.name, g.label, counted))
	}
	r.Allocs = median(column(counted, func(x Round) float64 { return x.Samples[receipts].Mallocs - x.Samples[bare].Mallocs }))
	return r
}

func summarize(name, label string, rounds []Round) Line {
	of := func(f func(Sample) float64) float64 {
		return median(column(rounds, func(x Round) float64 { return f(x.Samples[name]) }))
	}
	ratios := column(rounds, func(x Round) float64 { return x.ratio(name) })
	l := Line{Name: name, Label: label, Ratio: median(ratios), Min: slices.Min(ratios), Max: slices.Max(ratios)}
	l.CPU = of(func(s Sample) float64 { return s.CPU })
	l.Mallocs = of(func(s Sample) float64 { return s.Mallocs })
	l.Bytes = of(func(s Sample) float64 { return s.Bytes })
	l.Rate = of(func(s Sample) float64 { return s.Rate })
	l.P50 = of(func(s Sample) float64 { return s.P50 })
	l.P99 = of(func(s Sample) float64 { return s.P99 })
	for _, x := range rounds {
		l.Calls += x.Samples[name].Calls
	}
	return l
}

func column(rounds []Round, f func(Round) float64) []float64 {
	out := make([]float64, 0, len(rounds))
	for _, r := range rounds {
		out = append(out, f(r))
	}
	return out
}

// median of a list that is not empty.
func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

func (r *Round) ratio(name string) float64 { return r.Samples[name].CPU / r.Samples[bare].CPU }

// line is a round in short.
func (r *Round) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "bare %.1f us", r.Samples[bare].CPU)
	for _, name := range r.Order {
		if name != bare {
			fmt.Fprintf(&b, ", %s %.2fx", name, r.ratio(name))
		}
	}
	return b.String()
}

// find gives a rung's line.
func (r *Report) find(name string) Line {
	for _, l := range r.Rungs {
		if l.Name == name {
			return l
		}
	}
	return Line{}
}

// Write prints the table and, last, the line for machines.
func (r *Report) Write(w io.Writer) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "CPU us/call\tx bare\t(min-max)\tobjects/call\tcalls/s\tp50 ms\tp99 ms\t "+leftAligned("rung"))
	for _, l := range r.Rungs {
		fmt.Fprintf(t, "%.1f\t%.2f\t%.2f-%.2f\t%.1f\t%.0f\t%.2f\t%.2f\t %s\n", l.CPU, l.Ratio, l.Min, l.Max, l.Mallocs, l.Rate, l.P50/1000, l.P99/1000, leftAligned(l.Label))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\n%d rounds of %s a rung, %d connections in a closed loop (p50 and p99 are queueing at saturation, not added latency);\n", r.counted(), r.Time, r.Conns)
	fmt.Fprintf(&b, "rounds repeated for noise: %d, noisy rounds that count: %d; CPU is user and system time of the proxy's process;\n", len(r.Rounds)-r.counted(), r.noisy())
	fmt.Fprintf(&b, "%s, %d cores, %s, %s; sha256_us=%.2f\n\n", r.CPU, r.Cores, r.System, r.Go, r.SHA256)
	fmt.Fprintf(&b, "ladder ratio_full=%.2f ratio_receipts=%.2f ratio_reverseproxy=%.2f allocs=%.1f\n",
		r.find(full).Ratio, r.find(receipts).Ratio, r.find(reverseProxy).Ratio, r.Allocs)
	_, err := w.Write(b.Bytes())
	return err
}

// leftAligned pads a label so that a table that aligns to the right shows it at the left.
func leftAligned(label string) string { return fmt.Sprintf("%-32s", label) }

func (r *Report) counted() (n int) {
	for _, x := range r.Rounds {
		if x.Counts {
			n++
		}
	}
	return n
}

func (r *Report) noisy() (n int) {
	for _, x := range r.Rounds {
		if x.Counts && x.Noise != "" {
			n++
		}
	}
	return n
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
