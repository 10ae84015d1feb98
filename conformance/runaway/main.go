// Command runaway shows that no filter can take more than it was given, nor hold up anybody else. It runs filters that
// never end, each written to defeat one way of stopping it, and measures two things: what a unit of fuel costs in CPU time
// at most, and how long a garbage collection that somebody else asks for takes meanwhile.
//
//	go run ./conformance/runaway
//
// Its last line is `runaway shapes=N overspent=N ns_per_unit_max=X gc_p99_ms=X gc_max_ms=X`. It exits 1 when a filter
// spent more than its fuel, a unit cost more than 15 ns, or a collection took longer than 10 ms (99 of 100) or 20 ms (any).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// Bounds that are held.
const (
	maxNanosPerUnit = 15.0
	maxGC99         = 10 * time.Millisecond
	maxGC           = 20 * time.Millisecond
)

// What one decision may spend: a little to see what a unit costs, and enough to go on while collections are measured.
const (
	little = 20_000_000
	enough = 1 << 40
)

func main() {
	collections := flag.Int("collections", 60, "garbage collections measured beside each shape")
	flag.Parse()
	r, err := run(context.Background(), *collections, os.Stdout)
	if err == nil {
		err = r.judge()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "runaway:", err)
		os.Exit(1)
	}
}

// result is the worst of all shapes.
type result struct {
	shapes, overspent int
	nanos             float64
	collections       []time.Duration
}

func (r *result) quantile(q float64) time.Duration {
	slices.Sort(r.collections)
	return r.collections[min(int(q*float64(len(r.collections))), len(r.collections)-1)]
}

func (r *result) judge() error {
	switch p99, most := r.quantile(0.99), r.quantile(1); {
	case r.overspent > 0:
		return fmt.Errorf("%d decisions spent more than their fuel", r.overspent)
	case r.nanos > maxNanosPerUnit:
		return fmt.Errorf("a unit of fuel cost %.1f ns, at most %.0f are allowed", r.nanos, maxNanosPerUnit)
	case p99 > maxGC99 || most > maxGC:
		return fmt.Errorf("a collection took %v (99 of 100 %v), at most %v (%v) are allowed", most, p99, maxGC, maxGC99)
	}
	return nil
}

func run(ctx context.Context, collections int, out io.Writer) (*result, error) {
	r := &result{}
	fmt.Fprintf(out, "%-28s %10s %12s %12s %12s\n", "filter that never ends", "ns/unit", "GC p50", "GC p99", "GC max")
	quiet := &result{collections: measure(collections)}
	fmt.Fprintf(out, "%-28s %10s %12v %12v %12v\n", "(none)", "", round(quiet.quantile(0.5)), round(quiet.quantile(0.99)), round(quiet.quantile(1)))
	for _, s := range shapes() {
		nanos, over, err := price(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		pauses, err := beside(ctx, s, collections)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		one := &result{collections: pauses}
		fmt.Fprintf(out, "%-28s %10.2f %12v %12v %12v\n", s.name, nanos, round(one.quantile(0.5)), round(one.quantile(0.99)), round(one.quantile(1)))
		r.shapes++
		r.overspent += over
		r.nanos = max(r.nanos, nanos)
		r.collections = append(r.collections, pauses...)
	}
	fmt.Fprintf(out, "runaway shapes=%d overspent=%d ns_per_unit_max=%.2f gc_p99_ms=%.2f gc_max_ms=%.2f\n", r.shapes, r.overspent, r.nanos,
		r.quantile(0.99).Seconds()*1e3, r.quantile(1).Seconds()*1e3)
	return r, nil
}

// load gives the shape a host of its own with that much fuel, and a function that ends both.
func load(ctx context.Context, s shape, fuel int64) (*wasm.Filter, func(), error) {
	c := wasm.DefaultConfig()
	c.Fuel, c.Traps, c.Instances = fuel, 1_000_000, 8
	host, err := wasm.New(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	f, err := host.Load(ctx, s.name, s.module, nil)
	if err != nil {
		return nil, nil, errors.Join(err, host.Close(ctx))
	}
	return f, func() { _ = errors.Join(f.Close(ctx), host.Close(ctx)) }, nil
}

func round(d time.Duration) time.Duration { return d.Round(time.Microsecond) }

// price runs the filter alone on one thread and gives the CPU time of a unit, and how many runs spent more than their fuel.
// The smallest of several runs counts: the machine's other work is not the filter's.
func price(ctx context.Context, s shape) (nanos float64, overspent int, err error) {
	f, end, err := load(ctx, s, little)
	if err != nil {
		return 0, 0, err
	}
	defer end()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range 5 {
		before := threadCPU()
		var v wasm.Verdict
		var input abi.Context
		if err := ended(f.Decide(ctx, &input, &v)); err != nil {
			return 0, 0, err
		}
		spent := threadCPU() - before
		if v.Fuel > little+int64(input.Size(abi.FormJSON))*wasm.DefaultConfig().ByteFuel {
			overspent++
		}
		if per := float64(spent.Nanoseconds()) / float64(max(v.Fuel, 1)); nanos == 0 || per < nanos {
			nanos = per
		}
	}
	return nanos, overspent, nil
}

// ended holds the filter to its end: it must be stopped for its fuel or its depth, by nothing else.
func ended(err error) error {
	var trap *wasm.Trap
	if !errors.As(err, &trap) {
		return fmt.Errorf("it came to an end by itself: %w", err)
	}
	if trap.Kind != wasm.TrapFuel && trap.Kind != wasm.TrapDepth {
		return trap
	}
	return nil
}

// beside measures collections while four runaways are at work.
func beside(ctx context.Context, s shape, n int) ([]time.Duration, error) {
	f, end, err := load(ctx, s, enough)
	if err != nil {
		return nil, err
	}
	defer end()
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var v wasm.Verdict
			var input abi.Context
			for ctx.Err() == nil {
				_ = f.Decide(ctx, &input, &v) // its end is price's concern
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	pauses := measure(n)
	stop()
	wg.Wait()
	return pauses, nil
}

// measure asks for n collections and says how long each took.
func measure(n int) []time.Duration {
	pauses := make([]time.Duration, 0, n)
	for range n {
		began := time.Now()
		runtime.GC()
		pauses = append(pauses, time.Since(began))
	}
	return pauses
}
