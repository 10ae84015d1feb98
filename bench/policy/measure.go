package policy

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
)

// Sample is one measurement: of decisions, microseconds and heap objects each.
type Sample struct {
	Calls   int     `json:"calls"`
	CPU     float64 `json:"cpu_us"`
	Mallocs float64 `json:"mallocs"`
}

// subject decides the i-th request.
type subject struct {
	name   string
	decide func(i int) (bool, error)
	next   int
}

// measure decides one request after the other until so much CPU time is used, garbage collection included.
func (s *subject) measure(d time.Duration) (out Sample, err error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	from, err := rig.CPU()
	if err != nil {
		return out, err
	}
	used := time.Duration(0)
	for batch := 1; used < d; batch = min(2*batch, requests) {
		for range batch {
			if _, err := s.decide(s.next); err != nil {
				return out, err
			}
			s.next = (s.next + 1) % requests
		}
		out.Calls += batch
		to, err := rig.CPU()
		if err != nil {
			return out, err
		}
		used = to - from
	}
	runtime.ReadMemStats(&after)
	out.CPU = float64(used.Nanoseconds()) / 1e3 / float64(out.Calls)
	out.Mallocs = float64(after.Mallocs-before.Mallocs) / float64(out.Calls)
	return out, nil
}

// spent is the CPU time of some work.
func spent(work func() error) (time.Duration, error) {
	runtime.GC()
	from, err := rig.CPU()
	if err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	to, err := rig.CPU()
	return to - from, err
}

// settling is how often all is asked before the engine's tables have grown to hold it.
const settling = 5

// first measures decisions of callers of whom the engine remembers nothing yet: each is the first.
func (o *ours) first() (Sample, error) {
	const times = 4
	total := time.Duration(0)
	for range times {
		o.renew()
		used, err := spent(func() error {
			for i := range o.asks {
				if _, err := o.ready(i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return Sample{}, err
		}
		total += used
	}
	for i := range settling * len(o.asks) { // what is measured next is not the first
		if _, err := o.ready(i % len(o.asks)); err != nil {
			return Sample{}, err
		}
	}
	n := times * len(o.asks)
	return Sample{Calls: n, CPU: float64(total.Nanoseconds()) / 1e3 / float64(n)}, nil
}

// replayWorkers is how many cores a replay is measured on.
const replayWorkers = 2

// replay decides from what a ledger keeps of calls, on several cores at once, and gives the decisions a second.
func (o *ours) replay(d time.Duration) (float64, error) {
	start := time.Now()
	counts, errs := make([]int, replayWorkers), make([]error, replayWorkers)
	var all sync.WaitGroup
	for k := range replayWorkers {
		all.Go(func() {
			for i := k; time.Since(start) < d && errs[k] == nil; {
				for range requests / replayWorkers {
					if errs[k] = o.again(i % requests); errs[k] != nil {
						return
					}
					i += replayWorkers
					counts[k]++
				}
			}
		})
	}
	all.Wait()
	n := 0
	for k := range replayWorkers {
		if errs[k] != nil {
			return 0, errs[k]
		}
		n += counts[k]
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

// agree holds what each subject decides against the first's.
func agree(n int, subjects []*subject, opa []bool) error {
	for i := range requests {
		want, err := subjects[0].decide(i)
		if err != nil {
			return err
		}
		for _, s := range subjects[1:] {
			if got, err := s.decide(i); err != nil || got != want {
				return fmt.Errorf("%d policies, request %d: %s decides %t and %s %t (%w)", n, i, subjects[0].name, want, s.name, got, err)
			}
		}
		if opa != nil && opa[i] != want {
			return fmt.Errorf("%d policies, request %d: %s decides %t and OPA %t", n, i, subjects[0].name, want, opa[i])
		}
	}
	return nil
}
