package policy

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
)

// Report is everything a run found, as this machine measured it: sha256_us tells machines apart.
type Report struct {
	Made    time.Time `json:"made"`
	Go      string    `json:"go"`
	System  string    `json:"system"`
	Cores   int       `json:"cores"`
	Time    string    `json:"time"`
	OPA     string    `json:"opa,omitempty"`        // its version
	OPALoad []float64 `json:"opa_load_s,omitempty"` // of each size
	Missing string    `json:"missing,omitempty"`    // why there is no OPA
	SHA256  float64   `json:"sha256_us"`
	Rounds  []Round   `json:"rounds"`

	VsScan float64 `json:"vs_scan_1000"`
	VsOPA  float64 `json:"vs_opa_min"` // of all sizes; zero without OPA
	Growth float64 `json:"growth"`     // from 100 to 10,000 policies
}

func newReport(o *Options) *Report {
	return &Report{
		Made: time.Now().UTC(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(),
		Time: o.Time.String(),
	}
}

// median is that of a figure over the rounds that count.
func (r *Report) median(f func(*Round) float64) float64 { return rig.Median(rig.Column(r.Rounds, f)) }

func (r *Report) us(n int, name string) float64 {
	return r.median(func(x *Round) float64 { return x.Sizes[n][name].CPU })
}

// ratio is the median over the rounds of what two subjects take.
func (r *Report) ratio(n int, slow, fast string) float64 {
	return r.median(func(x *Round) float64 { return x.Sizes[n][slow].CPU / x.Sizes[n][fast].CPU })
}

func (r *Report) summarize() {
	r.SHA256 = r.median(func(x *Round) float64 { return x.Before.SHA256 })
	r.VsScan = r.ratio(1_000, scanned, ready)
	r.Growth = r.median(func(x *Round) float64 { return x.Sizes[10_000][ready].CPU / x.Sizes[100][ready].CPU })
	if r.Missing != "" {
		return
	}
	for i, n := range sizes {
		if v := r.ratio(n, opaParsed, ready); i == 0 || v < r.VsOPA {
			r.VsOPA = v
		}
	}
}

// line is a round in short.
func (x *Round) line() string {
	at := x.Sizes[1_000]
	s := fmt.Sprintf("1,000 policies: %.2f us ready, %.2f us from JSON, scan %.0f us", at[ready].CPU, at[fromJSON].CPU, at[scanned].CPU)
	if opa, ok := at[opaParsed]; ok {
		s += fmt.Sprintf(", OPA %.1f us", opa.CPU)
	}
	return s
}

// Write prints the tables and, last, the line for machines.
func (r *Report) Write(w io.Writer) error {
	var b bytes.Buffer
	r.table(&b)
	r.parts(&b)
	opa := "missing"
	if r.Missing == "" {
		opa = fmt.Sprintf("%.1f", r.VsOPA)
	}
	fmt.Fprintf(&b, "policy vs_scan_1000=%.0f vs_opa_min=%s us_ready_1000=%.2f us_json_1000=%.2f growth=%.2f list_ms=%.3f load_s_10000=%.2f replay_per_s=%.0f sha256_us=%.2f\n",
		r.VsScan, opa, r.us(1_000, ready), r.us(1_000, fromJSON), r.Growth, r.median(func(x *Round) float64 { return x.List })/1000,
		r.median(func(x *Round) float64 { return x.Load }), r.median(func(x *Round) float64 { return x.Replay }), r.SHA256)
	_, err := w.Write(b.Bytes())
	return err
}

func (r *Report) table(b *bytes.Buffer) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "policies\tready us\tobjects\tfrom JSON us\tobjects\tfirst us\tscan us\tx ready\tOPA us\tx ready\tOPA from JSON us\tx JSON\t")
	for _, n := range sizes {
		objects := func(name string) float64 {
			return r.median(func(x *Round) float64 { return x.Sizes[n][name].Mallocs })
		}
		fmt.Fprintf(t, "%d\t%.2f\t%.1f\t%.2f\t%.1f\t%.2f\t%.1f\t%.1f\t", n, r.us(n, ready), objects(ready), r.us(n, fromJSON), objects(fromJSON),
			r.us(n, first), r.us(n, scanned), r.ratio(n, scanned, ready))
		if r.Missing == "" {
			fmt.Fprintf(t, "%.1f\t%.1f\t%.1f\t%.1f\t\n", r.us(n, opaParsed), r.ratio(n, opaParsed, ready), r.us(n, opaJSON), r.ratio(n, opaJSON, fromJSON))
		} else {
			fmt.Fprint(t, "-\t-\t-\t-\t\n")
		}
	}
	_ = t.Flush() // into memory
}

// parts prints what is measured apart, and how.
func (r *Report) parts(b *bytes.Buffer) {
	counted, noisy := rig.Counted(r.Rounds)
	fmt.Fprintf(b, "\nready: the question stands there, its arguments are JSON that was checked, the context is not built yet; from JSON: the params of tools/call are\n"+
		"checked and read first; first: nothing is known of the caller yet; scan: cedar-go over all policies, contexts built before; OPA: a prepared query,\n"+
		"inputs parsed before, or from JSON. CPU is user and system time of the process, garbage collection included, in microseconds a decision.\n")
	fmt.Fprintf(b, "tools/list of %d tools under 1,000 policies: %.0f us for a new caller, %.1f us again\n", listed,
		r.median(func(x *Round) float64 { return x.List }), r.median(func(x *Round) float64 { return x.Cached }))
	fmt.Fprintf(b, "10,000 policies and 10,000 tools: parsed, validated and indexed in %.2f s of CPU", r.median(func(x *Round) float64 { return x.Load }))
	if len(r.OPALoad) > 0 {
		fmt.Fprintf(b, "; OPA prepares the policies in %.2f s", slices.Max(r.OPALoad))
	}
	fmt.Fprintf(b, "\nreplay on %d cores under 1,000 policies: %.0f recorded decisions a second\n", replayWorkers, r.median(func(x *Round) float64 { return x.Replay }))
	if r.Missing != "" {
		fmt.Fprintf(b, "OPA is missing: %s\n", r.Missing)
	} else {
		fmt.Fprintf(b, "OPA %s; ", r.OPA)
	}
	fmt.Fprintf(b, "%d rounds of %s a subject, of which noisy: %d; %d cores, %s, %s; sha256_us=%.2f\n\n", counted, r.Time, noisy, r.Cores, r.System, r.Go, r.SHA256)
}
