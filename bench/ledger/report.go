package ledger

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
)

// The reference machine, to which CPU figures are scaled, in microseconds: SHA-256 over 1 KiB, and an Ed25519 signature
// over 300 bytes. It has no instructions for SHA-256. So what a figure hashes is scaled by the first and the rest of it by
// the second: scaled by hashing alone, a machine that has such instructions would be charged four times for work that they
// do not touch.
const (
	reference     = 3.1
	referenceSign = rig.ReferenceSign
)

// Report is everything a run found. What is scaled is scaled to the reference machine; all else is as measured.
type Report struct {
	Made   time.Time `json:"made"`
	Go     string    `json:"go"`
	System string    `json:"system"`
	Cores  int       `json:"cores"`
	Time   string    `json:"time"`
	SHA256 float64   `json:"sha256_us"`
	Rounds []Round   `json:"rounds"`

	Seal       float64 `json:"seal_us"`    // scaled
	Receipt    float64 `json:"receipt_us"` // scaled
	SealAllocs float64 `json:"seal_allocs"`
	Verify     float64 `json:"verify_per_s"` // of one core of this machine
	P50        float64 `json:"p50_vs_fsync"`
}

func newReport(o *Options) *Report {
	return &Report{
		Made: time.Now().UTC(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(),
		Time: o.Time.String(),
	}
}

func (r *Report) summarize() error {
	r.SHA256 = r.median(func(x *Round) float64 { return x.Before.SHA256 })
	if r.SHA256 <= 0 {
		return fmt.Errorf("the machine's speed is unknown: SHA-256 takes %v us", r.SHA256)
	}
	seal, receipt := r.Rounds[0].CPU.hashed()
	r.Seal = r.scaled(seal, func(x *Round) float64 { return x.CPU.Seal })
	r.Receipt = r.scaled(receipt, func(x *Round) float64 { return x.CPU.Receipt })
	r.SealAllocs = r.median(func(x *Round) float64 { return x.CPU.SealAllocs })
	r.Verify = r.median(func(x *Round) float64 { return x.Verify.PerSecond })
	r.P50 = r.latency(0)
	return nil
}

// kibBlocks is how many blocks SHA-256 compresses for 1 KiB: sixteen, and the padding.
const kibBlocks = 17

// scaled is a CPU figure on the reference machine, of which so many blocks are hashed.
func (r *Report) scaled(blocks int, figure func(*Round) float64) float64 {
	rest := referenceSign / r.median(func(x *Round) float64 { return x.CPU.Sign })
	hash := float64(blocks) / kibBlocks
	return hash*reference + rest*max(0, r.median(figure)-hash*r.SHA256)
}

func (r *Report) latency(i int) float64 {
	return r.median(func(x *Round) float64 { return float64(x.Latency[i].added()) / float64(x.Latency[i].Bare) })
}

// ratio is the median over the rounds of the rates of two subjects, with the same number of writers.
func (r *Report) ratio(a, b string, i int) float64 {
	return r.median(func(x *Round) float64 { return x.Loads[a][i].Rate / x.Loads[b][i].Rate })
}

func (r *Report) median(f func(*Round) float64) float64 {
	var all []float64
	for i := range r.Rounds {
		all = append(all, f(&r.Rounds[i]))
	}
	slices.Sort(all)
	if n := len(all); n%2 == 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return all[len(all)/2]
}

func (x *Round) line() string {
	var out []string
	for i := range subjects {
		name := subjects[i].name
		out = append(out, fmt.Sprintf("%s %.0f/s", name, x.Loads[name][0].Rate))
	}
	return strings.Join(out, ", ")
}

// Write prints the tables and, last, the line for machines.
func (r *Report) Write(w io.Writer) error {
	var b bytes.Buffer
	r.table(&b)
	r.parts(&b)
	fmt.Fprintf(&b, "ledger vs_unsealed=%.2f vs_badger_batch=%.2f vs_badger_txn=%.1f seal_us=%.2f seal_allocs=%.2f receipt_us=%.2f p50_vs_fsync=%.2f sync_vs_write=%.2f verify_per_s=%.0f sha256_us=%.2f\n",
		r.ratio(sealed, unsealed, 0), r.ratio(sealed, batched, 0), r.ratio(sealed, each, 0), r.Seal, r.SealAllocs, r.Receipt,
		r.P50, r.ratio(sealed, written, 0), r.Verify, r.SHA256)
	_, err := w.Write(b.Bytes())
	return err
}

func (r *Report) table(b *bytes.Buffer) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "writers\tsubject\trecords/s\tmin\tmax\tsealed/it\tCPU us\tbatch\tp50 us\tp99 us\t")
	for i, n := range writers {
		for _, s := range subjects {
			of := func(f func(*Load) float64) float64 {
				return r.median(func(x *Round) float64 { return f(&x.Loads[s.name][i]) })
			}
			rates := r.rates(s.name, i)
			fmt.Fprintf(t, "%d\t%s\t%.0f\t%.0f\t%.0f\t%.2f\t%.1f\t%.1f\t%.0f\t%.0f\t\n", n, s.name,
				of(func(l *Load) float64 { return l.Rate }), slices.Min(rates), slices.Max(rates), r.ratio(sealed, s.name, i),
				of(func(l *Load) float64 { return l.CPU }), of(func(l *Load) float64 { return l.Batch }),
				of(func(l *Load) float64 { return micros(l.P50) }), of(func(l *Load) float64 { return micros(l.P99) }))
		}
	}
	_ = t.Flush() // into memory
}

func (r *Report) rates(name string, i int) []float64 {
	var out []float64
	for k := range r.Rounds {
		out = append(out, r.Rounds[k].Loads[name][i].Rate)
	}
	return out
}

// parts prints what is measured apart, unscaled.
func (r *Report) parts(b *bytes.Buffer) {
	of := r.median
	c := &r.Rounds[0].CPU
	fmt.Fprintf(b, "\nCPU of a record of %d B: encode %.2f us (%.1f allocs), seal %.2f us (%.2f allocs)\n", c.Leaf,
		of(func(x *Round) float64 { return x.CPU.Encode }), of(func(x *Round) float64 { return x.CPU.EncodeAllocs }),
		of(func(x *Round) float64 { return x.CPU.Seal }), r.SealAllocs)
	blocks, _ := c.hashed()
	fmt.Fprintf(b, "of the seal %.2f us compress %d blocks of SHA-256; an Ed25519 signature takes %.1f us, on the reference machine %.1f\n",
		float64(blocks)/kibBlocks*r.SHA256, blocks, of(func(x *Round) float64 { return x.CPU.Sign }), referenceSign)
	fmt.Fprintf(b, "receipt of %d B, %d a signature: %.2f us (%.2f allocs); under load %.0f records/s with %.1f a signature\n", c.ReceiptBytes, batchSize,
		of(func(x *Round) float64 { return x.CPU.Receipt }), of(func(x *Round) float64 { return x.CPU.ReceiptAllocs }),
		of(func(x *Round) float64 { return x.Receipt.Rate }), of(func(x *Round) float64 { return x.Receipt.Batch }))
	for i := range r.Rounds[0].Latency {
		at := func(f func(*Latency) time.Duration) float64 {
			return of(func(x *Round) float64 { return micros(f(&x.Latency[i])) })
		}
		fmt.Fprintf(b, "open loop, %.0f records/s: p50 %.0f us, p99 %.0f us, nothing kept p50 %.0f us; bare fdatasync, %.0f a second, p50 %.0f us, p99 %.0f us; added p50 %.2fx\n",
			of(func(x *Round) float64 { return x.Latency[i].Rate }),
			at(func(l *Latency) time.Duration { return l.P50 }), at(func(l *Latency) time.Duration { return l.P99 }),
			at(func(l *Latency) time.Duration { return l.None }),
			of(func(x *Round) float64 { return x.Latency[i].Commits }),
			at(func(l *Latency) time.Duration { return l.Bare }), at(func(l *Latency) time.Duration { return l.BareP99 }), r.latency(i))
	}
	fmt.Fprintf(b, "verify: %.0f records a second of CPU time, %.0f a second by the clock\n",
		of(func(x *Round) float64 { return x.Verify.PerSecond }),
		of(func(x *Round) float64 { return float64(x.Verify.Records) / x.Verify.Elapsed.Seconds() }))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
