package wasm

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
)

// Report is everything a run found. Microseconds are of this machine's CPU but for those of the last line, which are as the
// reference machine would take them.
type Report struct {
	Made   time.Time `json:"made"`
	Go     string    `json:"go"`
	System string    `json:"system"`
	Cores  int       `json:"cores"`
	Time   string    `json:"time"`
	Cached int       `json:"cached_bytes"` // of the module that is loaded from the cache
	SHA256 float64   `json:"sha256_us"`
	Sign   float64   `json:"sign_us"` // an Ed25519 signature, by which figures are scaled
	Rounds []Round   `json:"rounds"`

	Noop      float64 `json:"noop_us"`
	VsClose   float64 `json:"noop_vs_close"`
	VsNative  float64 `json:"loop_vs_native"`
	Reset256K float64 `json:"reset_us_256k"`
	Reset4M   float64 `json:"reset_us_4m"`
	Loop      float64 `json:"meter_loop"`
	Calls     float64 `json:"meter_calls"`
	CachedMS  float64 `json:"cached_ms"`
}

func newReport(o *Options) *Report {
	return &Report{
		Made: time.Now().UTC(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(),
		Time: o.Time.String(),
	}
}

// median is that of a figure over the rounds that count.
func (r *Report) median(f func(*Round) float64) float64 { return rig.Median(rig.Column(r.Rounds, f)) }

func (r *Report) work(name string) float64 {
	return r.median(func(x *Round) float64 { return x.Samples[name].Work })
}

func (r *Report) rest(name string) float64 {
	return r.median(func(x *Round) float64 { return x.Samples[name].Rest })
}

// ratio is the median over the rounds of what two subjects take.
func (r *Report) ratio(a, b string) float64 {
	return r.median(func(x *Round) float64 { return x.Samples[a].Work / x.Samples[b].Work })
}

func noop(language string, size int) string { return fmt.Sprintf("%s noop %d", language, size) }

// summarize makes the last line's figures. Where the goal is one for a guest in C or Rust, the better of both stands; where
// it is for all of them, the worst.
func (r *Report) summarize() {
	r.SHA256 = r.median(func(x *Round) float64 { return x.Before.SHA256 })
	r.Sign = r.median(func(x *Round) float64 { return x.Before.Sign })
	scale, small := rig.ScaleWork(r.Sign), sizes[0] // filters hash nothing
	best := func(f func(language string) float64) float64 { return min(f("c"), f("rust")) }
	r.Noop = scale * best(func(l string) float64 { return r.work(noop(l, small)) })
	r.VsClose = best(func(l string) float64 { return r.ratio(noop(l, small), l+" noop closing") })
	r.VsNative = best(func(l string) float64 { return r.ratio(l+" loop", "native loop") })
	for _, l := range languages {
		r.Reset256K = max(r.Reset256K, scale*r.rest(noop(l, 256<<10)))
		r.Reset4M = max(r.Reset4M, scale*r.rest(noop(l, 4<<20)))
		r.Calls = max(r.Calls, r.ratio(l+" calls metered", l+" calls plain"))
	}
	for _, l := range [...]string{"c", "rust"} {
		r.Loop = max(r.Loop, r.ratio(l+" loop metered", l+" loop plain"))
	}
	r.CachedMS = scale * r.work("cached") / 1000
}

// line is a round in short.
func (x *Round) line() string {
	return fmt.Sprintf("noop in C %.3f us, put back %.2f us, loop %.2f us against %.2f us native",
		x.Samples[noop("c", sizes[0])].Work, x.Samples[noop("c", sizes[0])].Rest, x.Samples["c loop"].Work, x.Samples["native loop"].Work)
}

// Write prints the tables and, last, the line for machines.
func (r *Report) Write(w io.Writer) error {
	var b bytes.Buffer
	r.calls(&b)
	r.resets(&b)
	r.notes(&b)
	fmt.Fprintf(&b, "wasm noop_us=%.3f noop_vs_close=%.3f loop_vs_native=%.2f reset_us_256k=%.2f reset_us_4m=%.2f meter_loop=%.2f meter_calls=%.2f cached_ms=%.3f sha256_us=%.2f\n",
		r.Noop, r.VsClose, r.VsNative, r.Reset256K, r.Reset4M, r.Loop, r.Calls, r.CachedMS, r.SHA256)
	_, err := w.Write(b.Bytes())
	return err
}

// calls prints a row for each guest.
func (r *Report) calls(b *bytes.Buffer) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "guest\tno-op us\tbare us\twatched us\tclosing us\tx closing\tloop us\tx native\tloop metered\tcalls metered\tx closing loop\t")
	for _, l := range languages {
		small := noop(l, sizes[0])
		fmt.Fprintf(t, "%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", l, r.work(small), r.work(l+" noop plain"), r.work(l+" noop watched"), r.work(l+" noop closing"),
			r.ratio(small, l+" noop closing"), r.work(l+" loop"), r.ratio(l+" loop", "native loop"),
			r.ratio(l+" loop metered", l+" loop plain"), r.ratio(l+" calls metered", l+" calls plain"), r.ratio(l+" loop", l+" loop closing"))
	}
	_ = t.Flush() // into memory
}

// resets prints what putting an instance back takes.
func (r *Report) resets(b *bytes.Buffer) {
	fmt.Fprintln(b)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "put back, us\t")
	for _, size := range sizes {
		fmt.Fprintf(t, "%d KiB\t", size>>10)
	}
	fmt.Fprintln(t)
	for _, l := range languages {
		fmt.Fprintf(t, "%s\t", l)
		for _, size := range sizes {
			fmt.Fprintf(t, "%.2f\t", r.rest(noop(l, size)))
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush() // into memory
}

func (r *Report) notes(b *bytes.Buffer) {
	counted, noisy := rig.Counted(r.Rounds)
	fmt.Fprintf(b, `
no-op: a whole call with a context of %d bytes until its verdict stands, metered and pooled; putting the instance back is not in it but below. bare: the
engine's calls alone, plain. closing: the same with WithCloseOnContextDone and a context with a deadline of the call's own, which is how the engine bounds
a call. watched: with a context that lives longer, so that no call is bounded. loop: FNV-1a over the context, a whole call. metered: on the engine alone,
over plain. CPU is the calling thread's (of closing the process's) in microseconds as this machine takes them; the last line's are as the reference machine would (times %.1f / %.1f, an Ed25519 signature there and here).
a module of %d bytes from the sealed cache: ready in %.0f us
%d rounds of %s a subject, of which noisy: %d; %d cores, %s, %s; sha256_us=%.2f

`, contextSize, rig.ReferenceSign, r.Sign, r.Cached, r.work("cached"), counted, r.Time, noisy, r.Cores, r.System, r.Go, r.SHA256)
}
