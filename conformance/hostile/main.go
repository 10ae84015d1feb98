// Command hostile shows that nothing a tenant uploads can hurt anybody. It takes every module of package corpus through
// what the gateway does with an upload and with calls, in a process of its own so that a death would be seen, and holds
// each to what must become of it: refused, and where and why, or trapped, or harmless. Then it runs those that never end,
// twice as many at once as there are processors, and measures what others see of it.
//
//	go run ./conformance/hostile
//
// A case is over its budget when it used more fuel than it was given or more than 15 ns of CPU for a unit. Its last line is
//
//	hostile cases=N deaths=N hangs=N over_budget=N gc_ms_p99=X gc_ms_max=X rss_mb_max=X
//
// It exits 1 when a case ended otherwise than it must, or one of these counts is not zero, or a garbage collection took
// longer than 10 ms (99 of 100) or 20 ms (any), or a neighbour's timer was late by more than 1 ms (99 of 100), or the
// process took more memory than 512 MiB.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/gatewright/gatewright/conformance/hostile/corpus"
	"github.com/gatewright/gatewright/wasm/build"
)

// Bounds that are held.
const (
	maxGC99   = 10 * time.Millisecond
	maxGC     = 20 * time.Millisecond
	maxLate99 = time.Millisecond
	maxMemory = 512 << 20 // bytes; instances of 16 MiB, a compiler at work and the runtime
)

// options are the flags.
type options struct {
	collections int           // measured beside each case that never ends; five times as many timers
	deadline    time.Duration // of a case
	match       string        // cases whose names contain it
	self        []string      // the command that starts this binary
	dir         string        // for what is compiled; empty: in the process that plays
}

func main() {
	build.Hook() // a process started to compile a module never comes back from here
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, out, log io.Writer) int {
	if len(args) == 2 && args[0] == verb {
		if err := serve(ctx, args[1], os.Stdin, out); err != nil {
			fmt.Fprintln(log, "hostile: child:", err)
			return 1
		}
		return 0
	}
	o := options{}
	flags := flag.NewFlagSet("hostile", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.IntVar(&o.collections, "collections", 40, "garbage collections measured beside each case that never ends; five times as many timers")
	flags.DurationVar(&o.deadline, "deadline", 30*time.Second, "within which a case must be over")
	flags.StringVar(&o.match, "match", "", "only cases whose names contain it")
	if flags.Parse(args) != nil {
		return 2
	}
	self, err := os.Executable()
	if err == nil {
		o.self = []string{self}
		o.dir, err = os.MkdirTemp("", "gatewright-hostile-")
	}
	if err == nil {
		err = errors.Join(all(ctx, o, out), os.RemoveAll(o.dir))
	}
	if err != nil {
		fmt.Fprintln(log, "hostile:", err)
		return 1
	}
	return 0
}

// all plays every case, then measures beside those that never end, and judges.
func all(ctx context.Context, o options, out io.Writer) error {
	r := &runner{self: o.self, dir: o.dir, deadline: o.deadline}
	s := &sum{}
	fmt.Fprintf(out, "%-34s %-24s %10s %9s %8s\n", "case", "ended", "took", "ns/unit", "peak MB")
	var cases []corpus.Case
	for _, c := range corpus.All() {
		if strings.Contains(c.Name, o.match) {
			cases = append(cases, c)
			a, err := r.do(ctx, order{Case: c.Name})
			s.played(out, c, a.Finding, err)
			s.compiler = max(s.compiler, a.Compiler)
		}
	}
	if err := s.measure(ctx, r, o, cases, out); err != nil {
		return err
	}
	s.deaths, s.hangs = r.deaths, r.hangs
	if err := r.close(); err != nil {
		return err
	}
	s.write(out)
	return s.judge()
}

// sum is what all cases came to.
type sum struct {
	cases, over   int
	deaths, hangs int
	wrong         []string // what is not as it must be
	peak          int64
	compiler      int64 // as peak, of processes that compiled
	beside        Beside
}

func (s *sum) played(out io.Writer, c corpus.Case, f Finding, err error) {
	s.cases++
	if f.Overspent || f.Slow {
		s.over++
	}
	s.peak = max(s.peak, f.Peak)
	if err == nil {
		err = contained(c, f)
	}
	ended := strings.TrimSpace(string(f.Stage) + " " + f.Kind)
	if err != nil {
		s.wrong = append(s.wrong, c.Name+": "+err.Error())
		ended = "WRONG " + ended
	}
	price := ""
	if f.Nanos > 0 {
		price = fmt.Sprintf("%.2f", f.Nanos)
	}
	fmt.Fprintf(out, "%-34s %-24s %10s %9s %8.1f\n", c.Name, ended, round(f.Took), price, mb(f.Peak))
}

// measure asks what others see of each case that never ends.
func (s *sum) measure(ctx context.Context, r *runner, o options, cases []corpus.Case, out io.Writer) error {
	fmt.Fprintf(out, "\n%-34s %10s %10s %10s %10s %10s %8s %7s\n", "beside", "GC p50", "GC p99", "GC max", "timer p50", "timer p99", "peak MB", "others")
	cases = append([]corpus.Case{{Name: quiet, Endless: true}}, cases...)
	for _, c := range cases {
		if !c.Endless {
			continue
		}
		a, err := r.do(ctx, order{Case: c.Name, Beside: 2 * runtime.GOMAXPROCS(0), Times: o.collections})
		if err != nil {
			s.wrong = append(s.wrong, c.Name+": "+err.Error())
			continue
		}
		b := a.Beside
		fmt.Fprintf(out, "%-34s %10s %10s %10s %10s %10s %8.1f %6.1f%%\n", c.Name, round(quantile(b.GC, 0.5)), round(quantile(b.GC, 0.99)),
			round(quantile(b.GC, 1)), round(quantile(b.Late, 0.5)), round(quantile(b.Late, 0.99)), mb(a.Finding.Peak), 100*b.Others)
		if c.Name != quiet {
			s.beside.add(b)
			s.peak = max(s.peak, a.Finding.Peak)
		}
	}
	return ctx.Err()
}

func (s *sum) write(out io.Writer) {
	fmt.Fprintln(out)
	for _, w := range s.wrong {
		fmt.Fprintln(out, "wrong:", w)
	}
	fmt.Fprintf(out, "timer late_ms_p50=%.2f late_ms_p99=%.2f late_ms_max=%.2f\n", ms(quantile(s.beside.Late, 0.5)), ms(quantile(s.beside.Late, 0.99)), ms(quantile(s.beside.Late, 1)))
	fmt.Fprintf(out, "compiler rss_mb_max=%.0f\n", mb(s.compiler))
	fmt.Fprintf(out, "hostile cases=%d deaths=%d hangs=%d over_budget=%d gc_ms_p99=%.2f gc_ms_max=%.2f rss_mb_max=%.0f\n", s.cases, s.deaths, s.hangs,
		s.over, ms(quantile(s.beside.GC, 0.99)), ms(quantile(s.beside.GC, 1)), mb(s.peak))
}

func (s *sum) judge() error {
	gc99, gc, late := quantile(s.beside.GC, 0.99), quantile(s.beside.GC, 1), quantile(s.beside.Late, 0.99)
	switch {
	case len(s.wrong) > 0:
		return fmt.Errorf("%d cases are not as they must be", len(s.wrong))
	case s.deaths > 0 || s.hangs > 0 || s.over > 0:
		return fmt.Errorf("%d deaths, %d hangs, %d over their budget", s.deaths, s.hangs, s.over)
	case gc99 > maxGC99 || gc > maxGC:
		return fmt.Errorf("a collection took %v (99 of 100 %v), at most %v (%v) are allowed", gc, gc99, maxGC, maxGC99)
	case late > maxLate99:
		return fmt.Errorf("one of 100 timers is late by %v, at most %v are allowed", late, maxLate99)
	case s.peak > maxMemory:
		return fmt.Errorf("%.0f MB of memory, at most %.0f are allowed", mb(s.peak), mb(maxMemory))
	}
	return nil
}

func round(d time.Duration) time.Duration { return d.Round(time.Microsecond) }
func ms(d time.Duration) float64          { return d.Seconds() * 1e3 }
func mb(n int64) float64                  { return float64(n) / (1 << 20) }
