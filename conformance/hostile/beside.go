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
	GC   []time.Duration // how long a collection took that somebody asked for
	Late []time.Duration // how late a timer of a millisecond was
}

func (b *Beside) add(more Beside) {
	b.GC, b.Late = append(b.GC, more.GC...), append(b.Late, more.Late...)
}

// enough fuel for a runaway to go on while others are measured.
const enough = 1 << 40

// timers is how many timers are looked at for each collection.
const timers = 5

// beside measures while runaways of a case are at work, all of one filter.
func beside(ctx context.Context, c corpus.Case, runaways, times int) (b Beside, err error) {
	if c.Name == quiet {
		return watch(times), nil
	}
	r, _, err := host(ctx, enough, runaways)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, r.Close(context.WithoutCancel(ctx))) }()
	f, err := r.Load(ctx, c.Name, c.Make(), c.Config)
	if err != nil {
		return b, err
	}
	running, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	for range runaways {
		all.Go(func() {
			var v wasm.Verdict
			for running.Err() == nil {
				_ = f.Decide(running, inputs()[1], &v) // what it comes to was told when it was played
			}
		})
	}
	time.Sleep(30 * time.Millisecond) // until all are at work
	b = watch(times)
	stop()
	all.Wait()
	return b, nil
}

// watch asks for collections, and then waits for timers.
func watch(times int) (b Beside) {
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
