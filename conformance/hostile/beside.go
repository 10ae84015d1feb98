package main

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/conformance/hostile/corpus"
	"github.com/gatewright/gatewright/wasm"
)

// Beside is what others saw of a process in which runaways were at work.
type Beside struct {
	GC     []time.Duration // how long a collection took that somebody asked for
	Late   []time.Duration // how late a timer of a millisecond was
	Others float64         // share of the machine that other processes took meanwhile
}

func (b *Beside) add(more Beside) {
	b.GC, b.Late = append(b.GC, more.GC...), append(b.Late, more.Late...)
}

// enough fuel for a runaway to go on while others are measured.
const enough = 1 << 40

// timers is how many timers are looked at for each collection.
const timers = 5

// beside measures while runaways of a case are at work. Every second one has fuel without end; the others have what a
// filter has by default and begin anew, each time with a new instance, when they were stopped.
func (s *stage) beside(ctx context.Context, c corpus.Case, runaways, times int) (b Beside, err error) {
	if c.Name == quiet {
		return watch(times), nil
	}
	running, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer func() { stop(); all.Wait() }()
	for _, fuel := range []int64{enough, wasm.DefaultConfig().Fuel} {
		r, _, err := s.host(ctx, fuel, runaways)
		if err != nil {
			return b, err
		}
		defer func() { stop(); err = errors.Join(err, r.Close(context.WithoutCancel(ctx))) }()
		f, err := r.Load(ctx, c.Name, c.Make(), c.Config)
		if err != nil {
			return b, err
		}
		for range runaways / 2 {
			all.Go(func() { runAway(running, f) })
		}
	}
	time.Sleep(10 * time.Millisecond) // until they are at work
	return watch(times), nil
}

// runAway asks a filter again and again. What its calls come to was told when it was played.
func runAway(ctx context.Context, f *wasm.Filter) {
	var v wasm.Verdict
	input := inputs()[1]
	for ctx.Err() == nil {
		_ = f.Decide(ctx, input, &v)
		runtime.Gosched() // as one who reads the next call from a connection
	}
}

// Other processes delay whatever is measured. While they take more than busy of the machine it is measured again, looks
// times at most; the quietest counts.
const (
	looks = 4
	busy  = 0.03
)

// watch asks for collections, and then waits for timers.
func watch(times int) (b Beside) {
	for look := 0; look < looks && (look == 0 || b.Others > busy); look++ {
		if again := watchOnce(times); look == 0 || again.Others < b.Others {
			b = again
		}
	}
	return b
}

func watchOnce(times int) (b Beside) {
	start, others := time.Now(), othersCPU()
	for range times {
		began := time.Now()
		runtime.GC()
		b.GC = append(b.GC, time.Since(began))
	}
	for range timers * times {
		began := time.Now()
		time.Sleep(time.Millisecond)
		b.Late = append(b.Late, time.Since(began)-time.Millisecond)
	}
	b.Others = (othersCPU() - others).Seconds() / time.Since(start).Seconds() / float64(runtime.NumCPU())
	return b
}

// quantile returns the q-quantile of all, 0 when there are none.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
